//! The command line of tracer.
fn main() {}
