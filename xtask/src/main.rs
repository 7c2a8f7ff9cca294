//! `cargo xtask`: parses, dispatches, turns an error into an exit code. Owns nothing else.

mod build;
mod cluster;
mod demo;
mod e2e;
mod fuzz;
mod image;
mod kernels;
mod lab;
mod setup;
mod soak;
mod test;
mod tshark_diff;

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
    Setup(setup::Arguments),
    /// The scenario's cluster on this machine: namespaces, routes, DNS, Services
    Lab(lab::Arguments),
    /// The scenario happens in the lab, and the tracer tells it
    Demo(demo::Arguments),
    /// Ordinary traffic in the lab for a while: the tracer must find nothing wrong with it
    Soak(soak::Arguments),
    /// What the agent costs under ordinary traffic in the lab: memory and CPU, by its metrics and by /proc
    Cost(soak::cost::Arguments),
    /// All tests that need no more than this machine; those with real probes need root
    Test(test::Arguments),
    /// The capture tests inside QEMU, on older kernels
    Kernels(kernels::Arguments),
    /// The fuzz targets under libFuzzer: 60 seconds each, or as long as is wanted
    Fuzz(fuzz::Arguments),
    /// A real Kubernetes cluster on this machine, without a link to its network
    Cluster(cluster::Arguments),
    /// The deployment and the scenario on a real cluster
    E2e(e2e::Arguments),
    /// The agent's container image as an OCI archive, without Docker, reproducibly
    Image(image::Arguments),
    /// DNS of captures as the tracer and as tshark decode it, compared
    TsharkDiff(tshark_diff::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Setup(arguments) => setup::run(&arguments),
        Task::Lab(arguments) => lab::run(arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Cost(arguments) => soak::cost::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Cluster(arguments) => cluster::run(arguments),
        Task::E2e(arguments) => e2e::run(&arguments),
        Task::Image(arguments) => image::run(&arguments),
        Task::Kernels(arguments) => kernels::run(&arguments),
        Task::TsharkDiff(arguments) => tshark_diff::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
