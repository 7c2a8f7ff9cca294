//! The program itself, traced with and told to end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::netns::Netns;

/// `tracer observe --local -o json`, attached.
pub struct Tracer {
    child: Child,
    /// The lines of its standard error.
    says: Receiver<String>,
    /// Those of them that were read while it started.
    said: String,
}

impl Tracer {
    /// Starts it and waits until it says that it traces the interface: from then on it takes a direction that is not seen for
    /// one that cannot be seen.
    pub fn start(node: &Netns, interface: &str) -> Tracer {
        let mut child = node
            .enter(|| {
                Command::new(env!("CARGO_BIN_EXE_tracer"))
                    .args(["observe", "--local", "-o", "json"])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
            })
            .expect("starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (line, says) = channel();
        std::thread::spawn(move || {
            for text in stderr.lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    break;
                }
            }
        });
        let mut tracer = Tracer {
            child,
            says,
            said: String::new(),
        };
        while !tracer.said.contains(&format!("({interface})")) {
            // An emulated machine takes its time.
            let line = tracer.says.recv_timeout(Duration::from_secs(120));
            let line = line.unwrap_or_else(|_| panic!("it does not attach: {}", tracer.said));
            tracer.said.push_str(&line);
            tracer.said.push('\n');
        }
        tracer
    }

    /// Ctrl-C; then its JSON lines and what it said on standard error.
    pub fn stop(mut self) -> (Vec<Value>, String) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), Signal::INT).expect("told");
        let output = self.child.wait_with_output().expect("ends");
        for line in self.says {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        assert!(output.status.success(), "{}", self.said);
        let lines = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        (lines, self.said)
    }
}
