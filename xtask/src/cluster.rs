//! `cargo xtask cluster`: raises a real Kubernetes cluster on this machine, and removes it.
//!
//! Not part of `cargo xtask test`: it needs a Go toolchain, and 15 minutes the first time.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Subcommand;

use testbed::cluster::{self, Cluster, DEFAULT_NAME, Options, components};
use testbed::lab::ProxyMode;

use crate::setup;

/// Raise a real Kubernetes cluster on this machine, isolated from its network
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask cluster up --nodes 2\n  \
    cargo xtask cluster exec -- kubectl get pods -A\n  \
    cargo xtask cluster exec --node k8s-master -- crictl ps\n  \
    cargo xtask cluster down")]
pub struct Arguments {
    /// The cluster's name; clusters with different names are independent
    #[arg(long, global = true, default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build Kubernetes and CoreDNS, unless they are in the cache ($XDG_CACHE_HOME/tracer/cluster)
    Build,
    /// Raise the cluster, unless it already runs with these options
    Up {
        /// How many nodes: 1 or 2
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
        nodes: u8,
        /// kube-proxy's mode
        #[arg(long, value_enum, default_value_t)]
        proxy_mode: ProxyMode,
    },
    /// Remove the cluster completely
    Down,
    /// Show what runs
    Status,
    /// Load an image from an OCI archive onto every node
    Load {
        /// The archive
        file: PathBuf,
    },
    /// Run a command on an administrator's machine beside the nodes (kubectl is there), or on a node
    Exec {
        /// On this node
        #[arg(long)]
        node: Option<String>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let name = arguments.name;
    match arguments.command {
        Task::Build => components::ensure_built()?,
        Task::Up { nodes, proxy_mode } => {
            let start = Instant::now();
            let cluster = up(&Options {
                name,
                nodes: usize::from(nodes),
                proxy_mode,
            })?;
            eprintln!(
                "the cluster is up: Kubernetes {}, nodes {}, kube-proxy mode {} ({:.1} s)",
                components::KUBERNETES,
                cluster.nodes().join(" and "),
                cluster.proxy_mode(),
                start.elapsed().as_secs_f64()
            );
            eprintln!("cargo xtask cluster exec -- kubectl get pods -A");
        }
        Task::Down => {
            let was_up = Cluster::down(&name)?;
            eprintln!(
                "{}",
                if was_up {
                    "the cluster is gone"
                } else {
                    "there was no cluster"
                }
            );
        }
        Task::Status => print!("{}", cluster::describe(&Cluster::attach(&name)?)?),
        Task::Load { file } => Cluster::attach(&name)?.load_image(&file)?,
        Task::Exec { node, command } => {
            let cluster = Cluster::attach(&name)?;
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            let mut command = match node {
                Some(node) => cluster.command_on(&node, &argv)?,
                None => cluster.command(&argv)?,
            };
            // It returns only if it fails.
            return Err(command.exec().into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Raises a cluster, with everything that it needs.
pub fn up(options: &Options) -> Result<Cluster> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a cluster needs root, for namespaces, cgroups and mounts"
    );
    setup::ensure(setup::Needs::Lab)?;
    components::ensure_installed()?;
    components::ensure_built()?;
    Cluster::up(options)
}
