//! The tracer as a user starts it on a node of the lab, with its output.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::Lab;

/// A running tracer.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    log: Vec<String>,
}

/// A tracer's last output and exit code.
#[derive(Debug)]
pub struct Ended {
    /// Lines of standard output that were not read before.
    pub lines: Vec<String>,
    /// All of standard error: progress, warnings, the closing summary.
    pub log: Vec<String>,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

impl Watch {
    /// Starts `tracer observe --local` on a node and returns when it traces.
    pub fn start(lab: &Lab, program: &Path, node: &str, arguments: &[&str]) -> Result<Watch> {
        Watch::start_within(lab, &[], program, node, arguments)
    }

    /// The same, started by another program that becomes the tracer: `wrapper` is that program's own
    /// arguments.
    pub fn start_within(
        lab: &Lab,
        wrapper: &[&str],
        program: &Path,
        node: &str,
        arguments: &[&str],
    ) -> Result<Watch> {
        let program = program.to_str().context("a program path that is UTF-8")?;
        let inventory = lab.inventory_file();
        let observe = [program, "observe", "--local", "--node-name", node];
        let mut command = lab.exec_node(node, &[wrapper, &observe].concat())?;
        command.arg("--inventory").arg(inventory).args(arguments);
        let mut watch = Watch::spawn(command)?;
        watch.wait_for_log("tracing ")?;
        Ok(watch)
    }

    /// Starts a command that is or becomes a tracer, and returns at once.
    pub fn spawn(mut command: Command) -> Result<Watch> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("a child without pipes");
        };
        Ok(Watch {
            child,
            stdout: lines(stdout),
            stderr: lines(stderr),
            log: Vec::new(),
        })
    }

    /// Waits for a line of standard error with this beginning.
    pub fn wait_for_log(&mut self, start: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log.iter().any(|line| line.starts_with(start)) {
            match self
                .stderr
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.push(line),
                Err(_) => bail!(
                    "tracer never said {start:?}; it said:\n{}",
                    self.log.join("\n")
                ),
            }
        }
        Ok(())
    }

    /// Waits until `count` lines of standard error contain the text.
    pub fn wait_for_logs(&mut self, text: &str, count: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.log.iter().filter(|line| line.contains(text)).count() < count {
            match self
                .stderr
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.push(line),
                Err(_) => bail!(
                    "tracer did not say {text:?} {count} times; it said:\n{}",
                    self.log.join("\n")
                ),
            }
        }
        Ok(())
    }

    /// The next line of standard output; `None` if there is none within the time. An early exit is an error.
    pub fn line(&mut self, patience: Duration) -> Result<Option<String>> {
        match self.stdout.recv_timeout(patience) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                self.log.extend(self.stderr.iter());
                bail!(
                    "tracer ended by itself ({status}); it said:\n{}",
                    self.log.join("\n")
                )
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends SIGINT and returns the remaining output.
    pub fn stop(mut self) -> Result<Ended> {
        kill_process(self.pid(), Signal::INT).context("tracer does not run any more")?;
        let code = self.child.wait()?.code();
        let mut log = std::mem::take(&mut self.log);
        log.extend(self.stderr.iter());
        Ok(Ended {
            lines: self.stdout.iter().collect(),
            log,
            code,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After `stop` both fail and nothing is left to end. After an error Ctrl-C lets it detach its probes.
        let _ = kill_process(self.pid(), Signal::INT);
        drop(self.child.wait());
    }
}

/// One or several tracers with `-o json`, their events in one list.
#[derive(Debug)]
pub struct Events {
    watches: Vec<Watch>,
    /// The lines as printed, and the parsed events.
    lines: Vec<String>,
    events: Vec<Value>,
    /// The start of the current step.
    mark: usize,
}

impl Events {
    /// From tracers that were started with `-o json`.
    pub fn new(watches: Vec<Watch>) -> Events {
        Events {
            watches,
            lines: Vec::new(),
            events: Vec::new(),
            mark: 0,
        }
    }

    /// Reads new events; waits a little if there are none. Returns the new lines.
    pub fn poll(&mut self) -> Result<&[String]> {
        let before = self.lines.len();
        for watch in &mut self.watches {
            let mut patience = Duration::from_millis(20);
            while let Some(line) = watch.line(patience)? {
                self.events.push(parse(&line)?);
                self.lines.push(line);
                patience = Duration::ZERO;
            }
        }
        Ok(&self.lines[before..])
    }

    /// The events since the last [`Events::next_step`].
    pub fn of_step(&self) -> &[Value] {
        &self.events[self.mark..]
    }

    /// All events so far.
    pub fn all(&self) -> &[Value] {
        &self.events
    }

    /// Begins another step.
    pub fn next_step(&mut self) {
        self.mark = self.events.len();
    }

    /// Waits for an event of this step.
    pub fn wait_for(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(event) = self.of_step().iter().find(|event| fits(event)) {
                return Ok(event.clone());
            }
            if Instant::now() > deadline {
                bail!(
                    "no event: {what}; the events were:{}",
                    listed(self.of_step())
                );
            }
            self.poll()?;
        }
    }

    /// Waits until `count` lines of each tracer's standard error contain the text.
    pub fn wait_for_logs(&mut self, text: &str, count: usize) -> Result<()> {
        let mut watches = self.watches.iter_mut();
        watches.try_for_each(|watch| watch.wait_for_logs(text, count))
    }

    /// Sends a signal to each tracer.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        for watch in &self.watches {
            kill_process(watch.pid(), signal).context("tracer does not run any more")?;
        }
        Ok(())
    }

    /// Interrupts all tracers and returns how each ended. The events stay.
    pub fn stop(&mut self) -> Result<Vec<Ended>> {
        let ended: Vec<Ended> = self
            .watches
            .drain(..)
            .map(Watch::stop)
            .collect::<Result<_>>()?;
        for line in ended.iter().flat_map(|ended| &ended.lines) {
            self.events.push(parse(line)?);
            self.lines.push(line.clone());
        }
        Ok(ended)
    }
}

fn parse(line: &str) -> Result<Value> {
    serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
}

/// Events, a line each, for messages.
pub fn listed(events: &[Value]) -> String {
    events.iter().map(|event| format!("\n  {event}")).collect()
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
