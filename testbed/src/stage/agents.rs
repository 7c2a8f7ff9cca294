//! Agents on several nodes of the lab, and programs that ask them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::running::{PATIENCE, Running};
use super::{Stage, program, text};

/// `tracer agent` on some nodes. They end on drop.
pub struct Agents {
    agents: Vec<Running>,
    sockets: Vec<PathBuf>,
}

impl Agents {
    /// Starts an agent on each node, with its socket in the directory, and returns when each knows the pods
    /// behind its interfaces.
    pub fn start(stage: &Stage, nodes: &[&str], directory: &Path) -> Agents {
        let program = program().to_str().expect("UTF-8");
        let inventory = stage.lab.inventory_file();
        let mut agents = Vec::new();
        let mut sockets = Vec::new();
        for node in nodes {
            let socket = directory.join(node);
            let mut command = stage.on_node(node, &[program, "agent", "--node-name", node]);
            command.arg("--socket").arg(&socket);
            command.arg("--inventory").arg(&inventory);
            agents.push(Running::start(&mut command));
            sockets.push(socket);
        }
        for agent in &mut agents {
            agent.wait_for("the agent serves", |agent| agent.says("serving on unix:"));
        }
        let agents = Agents { agents, sockets };
        agents.wait_for_pods(stage, nodes);
        agents
    }

    fn wait_for_pods(&self, stage: &Stage, nodes: &[&str]) {
        let pods = &stage.lab.inventory().pods;
        let count = |node: &str| pods.iter().filter(|pod| pod.node == node).count();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statuses = self.ask(&["status"]);
            let known = |node: &&str| {
                let mut statuses = statuses.iter();
                let status = statuses.find(|status| status["node"] == *node);
                let interfaces = status.and_then(|status| status["interfaces"].as_array());
                let named = interfaces.into_iter().flatten();
                named
                    .filter(|interface| interface["pod"].is_object())
                    .count()
                    == count(node)
            };
            if nodes.iter().all(known) {
                return;
            }
            assert!(Instant::now() < deadline, "{statuses:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A command that asks all of them.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments);
        for socket in &self.sockets {
            command.arg("--server").arg(socket);
        }
        command
    }

    /// The JSON lines that a command prints.
    pub fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let command = self.client(&[arguments, &["-o", "json"]].concat()).output();
        json_lines(&command.expect("it runs"))
    }

    /// Interrupts them and checks that each ends well.
    pub fn stop(mut self) {
        for agent in &mut self.agents {
            let code = agent.stop(rustix::process::Signal::INT);
            assert_eq!(code, Some(0), "{:#?}", agent.said);
        }
    }
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = text(output);
    let lines = text.lines();
    lines
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {output:?}"))
        })
        .collect()
}
