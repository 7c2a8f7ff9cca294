//! `cargo xtask lab`: arguments and what each of them calls.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};

use testbed::lab::{DEFAULT_NAME, Inventory, Lab, NewPod, Options, ProxyMode, check, status};

use crate::setup;

/// Arguments of `cargo xtask lab`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The lab's name; labs with different names are independent
    #[arg(long, global = true, default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Raise the lab, unless it already runs with these options
    Up {
        /// kube-proxy's mode on the nodes
        #[arg(long, value_enum, default_value_t)]
        proxy_mode: ProxyMode,
        /// Rebuild this cluster instead of the scenario's (`kubectl get
        /// nodes,ns,pods,svc,endpointslices,servicecidrs -A -o yaml`)
        #[arg(long, value_name = "FILE")]
        inventory: Option<PathBuf>,
        /// Add misconfigured Services: without endpoints, with a wrong target port, headless, ...
        #[arg(long, conflicts_with = "inventory")]
        near_misses: bool,
    },
    /// Remove the lab completely
    Down,
    /// Show what runs
    Status,
    /// Run a command in a pod, or in a node's network
    Exec {
        /// The pod ([NAMESPACE/]NAME), or with --node the node
        target: String,
        /// The target is a node; the machine's own /sys stays visible
        #[arg(long)]
        node: bool,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Add a pod that sleeps
    RunPod {
        /// The node it runs on
        node: String,
        /// NAMESPACE/NAME
        pod: String,
        /// Its UID
        uid: String,
        /// Its address, of the node's pod range
        ip: Ipv4Addr,
        /// Its IPv6 address
        ipv6: Option<Ipv6Addr>,
        /// Leave it out of the inventory file, as if the API lagged
        #[arg(long)]
        unlisted: bool,
    },
    /// Delete a pod
    RemovePod {
        /// [NAMESPACE/]NAME
        pod: String,
    },
    /// Replace Services and endpoints of the running lab with those of a file
    Apply {
        /// The inventory file; nodes and pods must be the same
        file: PathBuf,
    },
    /// Compare the DNS server's answers with those captured from a real CoreDNS, in a lab raised for it
    Check {
        /// Use the running lab instead
        #[arg(long)]
        running: bool,
        /// Print the answers in the fixture's form instead of comparing them
        #[arg(long)]
        print: bool,
    },
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let name = arguments.name;
    match arguments.command {
        Command::Up {
            proxy_mode,
            inventory,
            near_misses,
        } => {
            setup::ensure(setup::Needs::Lab)?;
            let inventory = match inventory {
                Some(file) => Inventory::read(&file)?,
                None if near_misses => Inventory::scenario_with_near_misses()?,
                None => Inventory::scenario()?,
            };
            let start = Instant::now();
            let lab = Lab::up(Options {
                name,
                proxy_mode,
                inventory,
            })?;
            let inventory = lab.inventory();
            eprintln!(
                "the lab is up: {} nodes, {} pods, {} Services, kube-proxy mode {} ({:.1} s)",
                inventory.nodes.len(),
                inventory.pods.len(),
                inventory.services.len(),
                lab.proxy_mode(),
                start.elapsed().as_secs_f64()
            );
            eprintln!("try: cargo xtask lab exec deb-ubuntu -- nslookup clusterip-nginx-ds");
        }
        Command::Down => {
            let was_up = Lab::down(&name)?;
            eprintln!(
                "{}",
                if was_up {
                    "the lab is down"
                } else {
                    "no lab was up"
                }
            );
        }
        Command::Status => {
            let (text, well) = status::describe(&Lab::attach(&name)?);
            print!("{text}");
            return Ok(if well {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Exec {
            target,
            node,
            command,
        } => {
            let lab = Lab::attach(&name)?;
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            let mut command = if node {
                lab.exec_node(&target, &argv)?
            } else {
                lab.exec(&target, &argv)?
            };
            // Becomes the command, so that signals, terminal and exit code are its own.
            return Err(command.exec()).context("cannot enter the namespace");
        }
        Command::RunPod {
            node,
            pod,
            uid,
            ip,
            ipv6,
            unlisted,
        } => {
            let (namespace, name_of_pod) = pod
                .split_once('/')
                .context("the pod must be NAMESPACE/NAME")?;
            let pod = NewPod {
                namespace: namespace.into(),
                name: name_of_pod.into(),
                uid,
                node,
                ipv4: ip,
                ipv6,
            };
            Lab::attach(&name)?.add_pod(&pod, !unlisted)?;
        }
        Command::RemovePod { pod } => Lab::attach(&name)?.remove_pod(&pod)?,
        Command::Apply { file } => {
            ensure!(file.exists(), "there is no {}", file.display());
            Lab::attach(&name)?.apply(Inventory::read(&file)?)?;
        }
        Command::Check { running, print } => {
            setup::ensure(setup::Needs::Lab)?;
            return if running {
                compare(&Lab::attach(&name)?, print)
            } else {
                compare(&*check::raise(&name)?, print)
            };
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(lab: &Lab, print: bool) -> Result<ExitCode> {
    if print {
        print!("{}", check::answers(lab)?);
        return Ok(ExitCode::SUCCESS);
    }
    let differences = check::differences(lab)?;
    for difference in &differences {
        println!("{difference}");
    }
    if differences.is_empty() {
        eprintln!("every answer equals the real CoreDNS's");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
