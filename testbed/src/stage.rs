//! The stage of a privileged test: its own lab with the program under test in it.

pub mod running;

pub mod agents;
pub mod faults;
pub mod findings;
pub mod objects;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lab::{Inventory, Lab, Options, ProxyMode, TemporaryLab};
use crate::turn::{self, Turn};
use crate::watch::{Events, Watch};
use serde_json::Value;

/// The client pod's node.
pub const NODE: &str = "k8s-worker03";
/// The client pod.
pub const CLIENT: &str = "default/deb-ubuntu";

/// A lab for one test, removed on drop. Few exist at a time, because their tests measure time.
pub struct Stage {
    /// The lab.
    pub lab: TemporaryLab,
    _turn: Turn,
}

impl Stage {
    /// The scenario's cluster.
    pub fn new(proxy_mode: ProxyMode) -> Stage {
        Stage::of(
            proxy_mode,
            Inventory::scenario().expect("the scenario's inventory"),
        )
    }

    /// The scenario's cluster and misconfigured Services.
    pub fn with_near_misses(proxy_mode: ProxyMode) -> Stage {
        Stage::of(
            proxy_mode,
            Inventory::scenario_with_near_misses().expect("the near misses' inventory"),
        )
    }

    /// Another cluster.
    pub fn of(proxy_mode: ProxyMode, inventory: Inventory) -> Stage {
        static LABS: AtomicU32 = AtomicU32::new(0);

        let turn = turn::lab();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("tracer-test-{}-{number}", std::process::id());
        let lab = Lab::up(Options {
            name,
            proxy_mode,
            inventory,
        })
        .expect("the lab comes up (as root)");
        Stage {
            lab: lab.temporary(),
            _turn: turn,
        }
    }

    /// Starts the tracer on a node, with JSON lines.
    pub fn trace(&self, node: &str, arguments: &[&str]) -> Watch {
        let arguments = [&["-o", "json"], arguments].concat();
        Watch::start(&self.lab, program(), node, &arguments).expect("the tracer starts")
    }

    /// The same, but waits until it knows the pods behind the interfaces. Before, traffic between two pods of
    /// the node is reported from both sides.
    pub fn trace_known(&self, node: &str, arguments: &[&str]) -> Watch {
        let arguments = [&["-o", "json"], arguments].concat();
        let says = ["env", "TRACER_LOG=warn,tracer::run=debug"];
        let mut watch = Watch::start_within(&self.lab, &says, program(), node, &arguments)
            .expect("the tracer starts");
        let inventory = self.lab.inventory();
        let pods = inventory.pods.iter().filter(|pod| pod.node == node);
        watch
            .wait_for_logs("its pod is known", pods.count())
            .expect("it finds the pods behind the interfaces");
        watch
    }

    /// Starts the tracer on the client's node and follows its events.
    pub fn events(&self, arguments: &[&str]) -> Events {
        Events::new(vec![self.trace(NODE, arguments)])
    }

    /// Runs a command in the client pod to its end.
    pub fn run(&self, argv: &[&str]) -> Output {
        self.run_in(CLIENT, argv)
    }

    /// Runs a command in a pod to its end.
    pub fn run_in(&self, pod: &str, argv: &[&str]) -> Output {
        self.lab
            .exec(pod, argv)
            .expect("a pod of the lab")
            .output()
            .expect("the command runs")
    }

    /// Starts a command in a pod with its output in pipes.
    pub fn spawn_in(&self, pod: &str, argv: &[&str]) -> Child {
        let mut command = self.lab.exec(pod, argv).expect("a pod of the lab");
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().expect("it starts")
    }

    /// A command in the network of a node.
    pub fn on_node(&self, node: &str, argv: &[&str]) -> Command {
        self.lab.exec_node(node, argv).expect("a node of the lab")
    }
}

/// The program under test. cargo puts it one directory above the test programs.
pub fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = env::current_exe().expect("this test program");
        let directory = test.ancestors().nth(2).expect("cargo's target directory");
        directory.join("tracer")
    });
    &PROGRAM
}

/// Standard output as text.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `namespace/name` of a pod or Service in an event.
pub fn name(object: &Value) -> String {
    format!(
        "{}/{}",
        object["namespace"].as_str().unwrap_or("?"),
        object["name"].as_str().unwrap_or("?")
    )
}

/// A DNS exchange of the client for a name.
pub fn asked<'a>(name: &'a str, qtype: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["type"] == "dns" && event["name"] == name && event["qtype"] == qtype
}
