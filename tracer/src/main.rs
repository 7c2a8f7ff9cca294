//! The command line of tracer.

/// Records and events are allocated on one thread and freed on another, thousands a millisecond.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tracer::cli::main()
}
