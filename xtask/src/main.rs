//! `cargo xtask`: parses, dispatches, turns an error into an exit code. Owns nothing else.

mod bench;
mod build;
mod chart;
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
    about = "Tasks of this repository",
    version
)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find or install what the probes' build and the lab need
    Setup(setup::Arguments),
    /// Raise the scenario's cluster on this machine: namespaces, routes, DNS, Services
    Lab(lab::Arguments),
    /// Play the scenario in the lab and show what the tracer reports
    Demo(demo::Arguments),
    /// Check that the tracer finds nothing wrong with ordinary traffic in the lab
    Soak(soak::Arguments),
    /// Measure the agent's memory and CPU under ordinary traffic in the lab
    Cost(soak::cost::Arguments),
    /// Measure loss, CPU, memory and latency under load, beside other tools in the same run
    Bench(bench::Arguments),
    /// Run all tests; those with real probes need root
    Test(test::Arguments),
    /// Run the capture tests on older kernels in QEMU
    Kernels(kernels::Arguments),
    /// Run the fuzz targets under libFuzzer, 60 seconds each by default
    Fuzz(fuzz::Arguments),
    /// Raise a real Kubernetes cluster on this machine, isolated from its network
    Cluster(cluster::Arguments),
    /// Test the deployment and the scenario on a real cluster
    E2e(e2e::Arguments),
    /// Build the agent's container image reproducibly, as an OCI archive, without Docker
    Image(image::Arguments),
    /// Check the manifests, the Helm chart, the alerts and the steps of a release
    Chart(chart::Arguments),
    /// Compare how the tracer and tshark decode the DNS of captures
    TsharkDiff(tshark_diff::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Setup(arguments) => setup::run(&arguments),
        Task::Lab(arguments) => lab::run(arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Cost(arguments) => soak::cost::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Cluster(arguments) => cluster::run(arguments),
        Task::E2e(arguments) => e2e::run(&arguments),
        Task::Image(arguments) => image::run(&arguments),
        Task::Chart(arguments) => chart::run(&arguments),
        Task::Kernels(arguments) => kernels::run(&arguments),
        Task::TsharkDiff(arguments) => tshark_diff::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_task_that_the_documents_name_exists() {
        let mut files = vec![
            "README.md",
            "CONTRIBUTING.md",
            "ARCHITECTURE.md",
            "SECURITY.md",
        ]
        .into_iter()
        .map(|file| build::root().join(file))
        .collect::<Vec<_>>();
        let docs = fs::read_dir(build::root().join("docs")).expect("docs/");
        files.extend(docs.map(|entry| entry.expect("a directory entry").path()));
        let command = Arguments::command();
        let mut count = 0;
        for file in files {
            let text = fs::read_to_string(&file).expect("a readable document");
            for rest in text.split("cargo xtask ").skip(1) {
                let name: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '-' || c.is_ascii_digit())
                    .collect();
                let exists = command.find_subcommand(&name).is_some();
                assert!(exists, "{}: cargo xtask {name}", file.display());
                count += 1;
            }
        }
        assert!(count > 20, "{count} uses");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
