//! The command line: one file a subcommand. Messages go to standard error; `--json` prints one object on standard output.

#[macro_use]
mod common;
mod bench;
mod calibrate;
mod demo;
mod dense_args;
mod eval;
mod eval_dense;
mod gap;
mod index;
mod info;
mod inputs;
mod locate;
mod present;
mod profile;
mod refine_args;
mod register;
mod selftest;
mod study;
mod synth;
mod train;
mod transport;
mod tune;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Finds where on an optical map a SAR (radar) image was taken, on any GPU.
#[derive(Debug, Parser)]
#[command(name = "echogrid", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: common::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(info::Args),
    Synth(synth::Args),
    Train(train::Args),
    Index(index::Args),
    Locate(locate::Args),
    Eval(eval::Args),
    Gap(gap::Args),
    Register(register::Args),
    Calibrate(calibrate::Args),
    Study(study::Args),
    Transport(transport::Args),
    Profile(profile::Args),
    Tune(tune::Args),
    Bench(bench::Args),
    Demo(demo::Args),
}

/// Runs the command line: 0 on success, 1 on failure, 2 on wrong usage.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    cli.global.start_log();
    let result = match cli.command {
        Command::Info(args) => info::run(&cli.global, &args),
        Command::Synth(args) => synth::run(&cli.global, &args),
        Command::Train(args) => train::run(&cli.global, &args),
        Command::Index(args) => index::run(&cli.global, &args),
        Command::Locate(args) => {
            return match locate::run(&cli.global, &args) {
                Ok(common::Outcome::Done) => ExitCode::SUCCESS,
                Ok(common::Outcome::NothingFound) => ExitCode::from(3),
                Err(e) => failed(&e),
            };
        }
        Command::Eval(args) => eval::run(&cli.global, &args),
        Command::Gap(args) => gap::run(&cli.global, &args),
        Command::Register(args) => register::run(&cli.global, &args),
        Command::Calibrate(args) => calibrate::run(&cli.global, &args),
        Command::Study(args) => study::run(&cli.global, &args),
        Command::Transport(args) => transport::run(&cli.global, &args),
        Command::Profile(args) => profile::run(&cli.global, &args),
        Command::Tune(args) => tune::run(&cli.global, &args),
        Command::Bench(args) => bench::run(&cli.global, &args),
        Command::Demo(args) => demo::run(&cli.global, &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&e),
    }
}

fn failed(e: &crate::Error) -> ExitCode {
    eprintln!("error: {e}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn help_is_for_those_who_do_not_read_the_code() {
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            for code in ["[`", "`]", "::"] {
                assert!(!help.contains(code), "`{code}` in the help of {}:\n{help}", command.get_name());
            }
            command.get_subcommands_mut().for_each(check);
        }
        Cli::command().debug_assert();
        check(&mut Cli::command());
    }
}
