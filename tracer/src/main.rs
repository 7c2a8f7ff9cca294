//! The command line of tracer.

/// Records and events are allocated on one thread and freed on another, thousands a millisecond, which glibc's
/// allocator does slowly.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tracer::cli::main()
}
