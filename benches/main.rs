//! `cargo bench [-- ARGUMENTS]` is `echogrid bench [ARGUMENTS]`.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1).filter(|a| a != "--bench");
    match Command::new(env!("CARGO_BIN_EXE_echogrid")).arg("bench").args(args).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: echogrid cannot be started ({e})");
            ExitCode::FAILURE
        }
    }
}
