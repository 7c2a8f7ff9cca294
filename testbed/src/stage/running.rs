//! A child process of a test, with its output line by line.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a test waits for something to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A child process that prints lines on both outputs.
pub struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    /// Standard output so far.
    pub lines: Vec<String>,
    /// Standard error so far.
    pub said: Vec<String>,
}

impl Running {
    /// Starts the command.
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

    /// Waits until `done`, and fails with all output after [`PATIENCE`].
    pub fn wait_for(&mut self, what: &str, done: impl Fn(&Running) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.hear();
            if done(self) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: not within the time limit; standard output:\n{}\nstandard error:\n{}",
                self.lines.join("\n"),
                self.said.join("\n")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads new output.
    pub fn hear(&mut self) {
        self.lines.extend(self.out.try_iter());
        self.said.extend(self.err.try_iter());
    }

    /// Whether a line of standard error contains the text.
    pub fn says(&self, words: &str) -> bool {
        self.said.iter().any(|line| line.contains(words))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Ends it with the signal, reads the rest of its output and returns its exit code.
    pub fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        let code = self.child.wait().expect("it ends").code();
        self.lines.extend(self.out.iter());
        self.said.extend(self.err.iter());
        code
    }

    /// Standard output as JSON lines.
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
