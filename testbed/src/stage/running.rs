//! A program of the tests that runs beside them: what it prints and says, line by line, and its end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What does not happen within this does not happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program that says something on both outputs, line by line.
pub struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    /// What it printed so far.
    pub lines: Vec<String>,
    /// What it said on standard error so far.
    pub said: Vec<String>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = lines(child.stdout.take().expect("a pipe"));
        let err = lines(child.stderr.take().expect("a pipe"));
        Running {
            child,
            out,
            err,
            lines: Vec::new(),
            said: Vec::new(),
        }
    }

    pub fn wait_for(&mut self, what: &str, done: impl Fn(&Running) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.hear();
            if done(self) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: it never came; it printed\n{}\nand said\n{}",
                self.lines.join("\n"),
                self.said.join("\n")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Takes in what it printed and said meanwhile.
    pub fn hear(&mut self) {
        self.lines.extend(self.out.try_iter());
        self.said.extend(self.err.try_iter());
    }

    pub fn says(&self, words: &str) -> bool {
        self.said.iter().any(|line| line.contains(words))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Ends it; all it printed and said.
    pub fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        let code = self.child.wait().expect("it ends").code();
        self.lines.extend(self.out.iter());
        self.said.extend(self.err.iter());
        code
    }

    pub fn events(&self) -> Vec<Value> {
        self.lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `stop` there is nothing left to end. SIGTERM lets an agent detach its probes.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        drop(self.child.wait());
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
