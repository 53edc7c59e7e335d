//! The echogrid command.
fn main() {}
