//! What the subcommands share: global options, the engine, and by file what they read, print, write and tell of their progress.

#[macro_use]
mod output;
mod global;
mod judged;
mod pace;
mod pairs;
mod progress;
mod reading;
pub(super) mod tuning;

pub(super) use global::{Global, Outcome, command_line, interrupt_flag, name_of};
pub(super) use judged::{Ground, JudgedArgs};
pub(super) use output::{
    check_apart, check_file, check_output, check_regular, expect_json, page, print_json, warn, warn_of, warn_of_many, write_out,
    written_once,
};
pub(super) use pairs::{APART, HELD_OUT, PairArgs, SizedPairs, TRAINING};
pub(super) use progress::Progress;
pub(super) use reading::{MapArgs, MapNoData, MirrorArgs, SarArgs};
