//! Builds what the crate embeds: the wire format's Rust code and, for an agent, the probes' object.
//!
//! Sets `cfg(agent)` where the crate contains an agent: the feature `agent` on Linux. Without it the build
//! needs neither the eBPF toolchain nor bpf-linker.

use std::env;
use std::process::ExitCode;

mod commit;
mod probes;
mod proto;

type Step = (&'static str, fn() -> Result<(), String>);

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build/main.rs");
    println!("cargo::rustc-check-cfg=cfg(agent)");
    let mut steps: Vec<Step> = vec![
        ("record the commit", commit::record),
        ("compile the wire format", proto::compile),
    ];
    if has_agent() {
        println!("cargo::rustc-cfg=agent");
        steps.push(("build the eBPF probes", probes::build));
    }
    for (what, build) in steps {
        if let Err(message) = build() {
            eprintln!("cannot {what}: {message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn has_agent() -> bool {
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    linux && env::var_os("CARGO_FEATURE_AGENT").is_some()
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
