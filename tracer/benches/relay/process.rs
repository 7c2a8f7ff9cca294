//! The relay's process, and what it costs by /proc.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::api::ApiServer;

pub struct Relay {
    child: Child,
    /// Where it serves the API.
    pub api: SocketAddr,
    /// Where it accepts agents.
    pub agents: SocketAddr,
}

impl Relay {
    pub fn start(program: &str, api: &ApiServer) -> Relay {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address")
        };
        let (own, agents) = (free(), free());
        Relay {
            child: spawn(program, api, own, agents),
            api: own,
            agents,
        }
    }

    /// Kills it, and starts it again on the same ports.
    pub fn restart(&mut self, program: &str, api: &ApiServer) {
        self.stop();
        self.child = spawn(program, api, self.api, self.agents);
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// CPU seconds so far.
    pub fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |field: usize| -> f64 {
            fields
                .get(field)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default()
        };
        // utime and stime (proc(5)), in ticks of 10 ms.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// The part of a core that it uses.
    pub async fn cpu_over(&self, time: Duration) -> f64 {
        let before = self.cpu();
        tokio::time::sleep(time).await;
        (self.cpu() - before) / time.as_secs_f64()
    }

    /// MiB of resident memory.
    pub fn memory(&self) -> f64 {
        self.status("VmRSS:")
    }

    pub fn most_memory(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(program: &str, api: &ApiServer, own: SocketAddr, agents: SocketAddr) -> Child {
    Command::new(program)
        .arg("relay")
        .arg("--kubeconfig")
        .arg(api.directory().join("config"))
        .args(["--relay-namespace", "tracer", "--log", "warn"])
        .args([
            "--listen",
            &own.to_string(),
            "--agents",
            &agents.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the relay starts")
}
