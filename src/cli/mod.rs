//! The command line: one file a subcommand. Messages go to standard error; `--json` prints one object on standard output.

#[macro_use]
mod common;
mod bench;
mod calibrate;
mod cost;
mod databases;
mod demo;
mod dense_args;
mod detect;
mod eval;
mod gap;
mod index;
mod info;
mod inputs;
mod locate;
mod manual;
mod matching;
mod pairs;
mod points;
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

use crate::{Error, Result};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use common::Outcome;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

/// Finds where on an optical map a SAR (radar) image was taken, on any GPU.
#[derive(Debug, Parser)]
#[command(name = "echogrid", version, about, propagate_version = true, arg_required_else_help = true, after_help = EXIT_STATUS)]
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
    Match(matching::Args),
    Eval(eval::Args),
    Detect(detect::Args),
    Gap(gap::Args),
    Register(register::Args),
    Pairs(pairs::Args),
    Calibrate(calibrate::Args),
    Study(study::Args),
    Transport(transport::Args),
    Profile(profile::Args),
    Tune(tune::Args),
    Bench(bench::Args),
    Demo(demo::Args),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// What the exit status says.
const EXIT_STATUS: &str = "\
Exit status:
  0    done; with locate and register: found
  1    failed: what is wrong stands on standard error
  2    wrong usage
  3    searched, and nothing was found
  130  interrupted; what was done is saved, where the command says so";

/// The exit status of a command.
fn status<T: Into<Outcome>>(result: Result<T>) -> ExitCode {
    match result.map(Into::into) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NothingFound) => ExitCode::from(3),
        // Nobody is left to tell it to.
        Err(Error::Io { path, source, .. }) if path == Path::new("-") && source.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(if matches!(e, Error::Interrupted(_)) { 130 } else { 1 })
        }
    }
}

/// Whether the command that was chosen prints one JSON object.
fn prints_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, inner)) => prints_json(inner),
        None => matches.try_get_one::<bool>("json").is_ok_and(|flag| flag == Some(&true)),
    }
}

/// Runs the command line, and returns its exit status.
pub fn main() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|m| Ok((Cli::from_arg_matches(&m)?, prints_json(&m))));
    let (cli, json) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    if json {
        common::expect_json();
    }
    cli.global.start_log();
    match cli.command {
        Command::Info(args) => status(info::run(&cli.global, &args)),
        Command::Synth(args) => status(synth::run(&cli.global, &args)),
        Command::Train(args) => status(train::run(&cli.global, &args)),
        Command::Index(args) => status(index::run(&cli.global, &args)),
        Command::Locate(args) => status(locate::run(&cli.global, &args)),
        Command::Match(args) => status(matching::run(&cli.global, &args)),
        Command::Eval(args) => status(eval::run(&cli.global, &args)),
        Command::Detect(args) => status(detect::run(&cli.global, &args)),
        Command::Gap(args) => status(gap::run(&cli.global, &args)),
        Command::Register(args) => status(register::run(&cli.global, &args)),
        Command::Pairs(args) => status(pairs::run(&cli.global, &args)),
        Command::Calibrate(args) => status(calibrate::run(&cli.global, &args)),
        Command::Study(args) => status(study::run(&cli.global, &args)),
        Command::Transport(args) => status(transport::run(&cli.global, &args)),
        Command::Profile(args) => status(profile::run(&cli.global, &args)),
        Command::Tune(args) => status(tune::run(&cli.global, &args)),
        Command::Bench(args) => status(bench::run(&cli.global, &args)),
        Command::Demo(args) => status(demo::run(&cli.global, &args)),
        Command::Completions(args) => status(manual::completions(&args, Cli::command())),
        Command::Man(args) => status(manual::man(&cli.global, &args, Cli::command())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
