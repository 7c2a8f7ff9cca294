//! The command line of tracer.

fn main() -> std::process::ExitCode {
    tracer::cli::main()
}
