//! `cargo xtask`: parses, dispatches, turns an error into an exit code. Owns nothing else.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Project tasks",
    version
)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find, or install, what building the probes and raising the lab need
    Setup(xtask::setup::Arguments),
    /// The scenario's cluster on this machine: namespaces, routes, DNS, Services
    Lab(xtask::lab::cli::Arguments),
    /// The scenario happens in the lab, and the tracer tells it
    Demo(xtask::demo::Arguments),
    /// Ordinary traffic in the lab for a while: the tracer must find nothing wrong with it
    Soak(xtask::soak::Arguments),
    /// What the agent costs under ordinary traffic in the lab: memory and CPU, by its metrics and by /proc
    Cost(xtask::soak::cost::Arguments),
    /// All tests that need no more than this machine; those with real probes need root
    Test(xtask::test::Arguments),
    /// The capture tests inside QEMU, on older kernels
    Kernels(xtask::kernels::Arguments),
    /// The fuzz targets under libFuzzer: 60 seconds each, or as long as is wanted
    Fuzz(xtask::fuzz::Arguments),
    /// A real Kubernetes cluster on this machine, without a link to its network
    Cluster(xtask::cluster::Arguments),
    /// The deployment and the scenario on a real cluster
    E2e(xtask::e2e::Arguments),
    /// The agent's container image as an OCI archive, without Docker, reproducibly
    Image(xtask::image::Arguments),
    /// DNS of captures as the tracer and as tshark decode it, compared
    TsharkDiff(xtask::tshark_diff::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Setup(arguments) => xtask::setup::run(&arguments),
        Task::Lab(arguments) => xtask::lab::cli::run(arguments),
        Task::Demo(arguments) => xtask::demo::run(&arguments),
        Task::Soak(arguments) => xtask::soak::run(&arguments),
        Task::Cost(arguments) => xtask::soak::cost::run(&arguments),
        Task::Test(arguments) => xtask::test::run(&arguments),
        Task::Cluster(arguments) => xtask::cluster::run(arguments),
        Task::E2e(arguments) => xtask::e2e::run(&arguments),
        Task::Image(arguments) => xtask::image::run(&arguments),
        Task::Kernels(arguments) => xtask::kernels::run(&arguments),
        Task::TsharkDiff(arguments) => xtask::tshark_diff::run(&arguments),
        Task::Fuzz(arguments) => xtask::fuzz::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
