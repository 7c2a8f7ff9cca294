//! What has to be there before the crate can be compiled: the probes' object, and Rust of the wire format.

use std::process::ExitCode;

mod probes;
mod proto;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build/main.rs");
    let steps = [
        (
            "the eBPF probes",
            probes::build as fn() -> Result<(), String>,
        ),
        ("the wire format", proto::compile),
    ];
    for (what, build) in steps {
        if let Err(message) = build() {
            eprintln!("cannot build {what}: {message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
