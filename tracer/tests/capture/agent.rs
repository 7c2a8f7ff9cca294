//! The program itself, traced with and told to end.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::child::{hooks, programs};
use crate::netns::Netns;

/// `tracer observe --local -o json`, attached.
pub struct Tracer(Child);

impl Tracer {
    /// Starts it and waits until it is attached to the interface.
    pub fn start(node: &Netns, interface: &str) -> Tracer {
        let child = node
            .enter(|| {
                Command::new(env!("CARGO_BIN_EXE_tracer"))
                    .args(["observe", "--local", "-o", "json"])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
            })
            .expect("starts");
        let tracer = Tracer(child);
        // An emulated machine takes its time.
        let deadline = Instant::now() + Duration::from_secs(120);
        while programs(node, interface, hooks()[0]).len() < 2 {
            assert!(Instant::now() < deadline, "it does not attach");
            std::thread::sleep(Duration::from_millis(20));
        }
        tracer
    }

    /// Ctrl-C; then its JSON lines and what it said on standard error.
    pub fn stop(self) -> (Vec<Value>, String) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), Signal::INT).expect("told");
        let output = self.0.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let lines = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        (lines, said)
    }
}
