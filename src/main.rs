//! The echogrid command.

fn main() -> std::process::ExitCode {
    echogrid::cli::main()
}
