//! The program itself, as a child process that a test interrupts.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::netns::Netns;

/// Time limit for anything that a test waits for, even on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// `tracer observe --local -o json`, attached.
pub struct Tracer {
    child: Child,
    /// The lines of its standard output.
    reports: Receiver<String>,
    /// Those of them that were read while it ran.
    reported: Vec<Value>,
    /// The lines of its standard error.
    says: Receiver<String>,
    /// Those of them that were read while it started.
    said: String,
}

impl Tracer {
    /// Starts it and waits until it traces these interfaces, `a, b`. From then on it takes a
    /// direction without packets for an invisible one.
    pub fn start(node: &Netns, interfaces: &str) -> Tracer {
        let mut child = node
            .enter(|| {
                Command::new(env!("CARGO_BIN_EXE_tracer"))
                    .args(["observe", "--local", "-o", "json"])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
            })
            .expect("starts");
        let says = lines(child.stderr.take().expect("piped"));
        let reports = lines(child.stdout.take().expect("piped"));
        let mut tracer = Tracer {
            child,
            reports,
            reported: Vec::new(),
            says,
            said: String::new(),
        };
        while !tracer.said.contains(&format!("({interfaces})")) {
            let line = tracer.says.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it does not attach: {}", tracer.said));
            tracer.said.push_str(&line);
            tracer.said.push('\n');
        }
        tracer
    }

    /// Waits for a matching event.
    pub fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) {
        assert!(
            self.reports_within(PATIENCE, fits),
            "no {what}: {:?}",
            self.reported
        );
    }

    /// Whether it reports a matching event within this time.
    pub fn reports_within(&mut self, time: Duration, fits: impl Fn(&Value) -> bool) -> bool {
        let deadline = Instant::now() + time;
        while !self.reported.iter().any(&fits) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.reports.recv_timeout(left) else {
                return false;
            };
            self.reported
                .push(serde_json::from_str(&line).expect("JSON"));
        }
        true
    }

    /// Sends SIGINT and returns its JSON lines and standard error.
    pub fn stop(mut self) -> (Vec<Value>, String) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), Signal::INT).expect("a signal");
        let status = self.child.wait().expect("ends");
        for line in self.says {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        assert!(status.success(), "{}", self.said);
        let rest = self.reports.iter();
        let rest = rest.map(|line| serde_json::from_str(&line).expect("JSON"));
        self.reported.extend(rest);
        (self.reported, self.said)
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = channel();
    std::thread::spawn(move || {
        for text in BufReader::new(stream).lines().map_while(Result::ok) {
            if line.send(text).is_err() {
                break;
            }
        }
    });
    lines
}
