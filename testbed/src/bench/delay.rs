//! From packet to line: a client asks, and the time until the tracer's JSON line about it can be read.
//!
//! The client asks before the tracer starts and continues to ask, so the first seconds after the start are included. The
//! time begins when the query is sent; the answer comes about 50 microseconds later.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::bed::{Bed, SERVER, address};
use super::cpu::Window;
use super::tool::{ALL_PODS, Programs, Tracer, observe};

/// Between two queries.
const INTERVAL: Duration = Duration::from_millis(10);

/// Until the first line.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Clone, Debug)]
pub struct Delay {
    /// For each line, when its query was sent, counted from the first one, and how much later the line was
    /// read. In the order of sending.
    pub lines: Vec<(Duration, Duration)>,
    /// Queries that were sent after the first of which there is a line.
    pub sent: usize,
    /// Share of the machine that others used meanwhile, 0 to 1.
    pub foreign: f64,
}

impl Delay {
    /// A percentile, 0 to 1, of the delays of queries that were sent in the given time.
    pub fn percentile(&self, from: Duration, to: Duration, share: f64) -> Option<Duration> {
        let within = |sent: &Duration| (from..to).contains(sent);
        let mut delays: Vec<Duration> = self
            .lines
            .iter()
            .filter(|(sent, _)| within(sent))
            .map(|(_, delay)| *delay)
            .collect();
        delays.sort();
        let rank = (share * delays.len() as f64).ceil() as usize;
        delays.get(rank.saturating_sub(1)).copied()
    }
}

/// Measures it for some time after the tracer has started.
pub fn delay(bed: &Bed, programs: &Programs, tracer: Tracer, lasts: Duration) -> Result<Delay> {
    let socket = bed.within("client", || {
        let socket = UdpSocket::bind((address(0), 0)).context("a socket")?;
        socket.connect((SERVER, 53)).context("the server")?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    let argv = observe(bed, programs, tracer, ALL_PODS)?;
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let window = Window::begin(bed)?;
    let ended = AtomicBool::new(false);
    let (sent, read) = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&socket, &ended));
        let read = lines(bed, &argv, lasts);
        ended.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap_or_default();
        read.map(|read| (sent, read))
    })?;
    let (lasted, used) = window.end(bed)?;
    let mut lines = Vec::new();
    for (number, at) in &read {
        if let Some(sent) = sent.get(usize::from(*number)) {
            lines.push((*sent, at.saturating_duration_since(*sent)));
        }
    }
    lines.sort();
    let first = lines.first().context("the tracer printed no line")?.0;
    Ok(Delay {
        sent: sent.iter().filter(|at| **at >= first).count(),
        lines: lines
            .into_iter()
            .map(|(sent, delay)| (sent.duration_since(first), delay))
            .collect(),
        foreign: used.foreign_share(lasted),
    })
}

/// Asks until it is ended. The query's id is its index in the result.
fn send(socket: &UdpSocket, ended: &AtomicBool) -> Vec<Instant> {
    let mut sent = Vec::new();
    let mut answer = [0; 512];
    while !ended.load(Ordering::Relaxed) && sent.len() < usize::from(u16::MAX) {
        let number = sent.len() as u16;
        sent.push(Instant::now());
        let _ = socket.send(&query(number));
        sleep(INTERVAL);
        while socket.recv(&mut answer).is_ok() {}
    }
    sent
}

/// A query for the address of a name that exists, with that id (RFC 1035 section 4.1).
fn query(id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let name = format!("svc-{}.default.svc.cluster.local", id % 1000);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    // The root, type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// Runs the tracer for some time after its first line, and returns the ids of the queries in its lines, with the time at which each was read.
fn lines(bed: &Bed, argv: &[&str], lasts: Duration) -> Result<Vec<(u16, Instant)>> {
    let mut child = bed
        .command("node", "tool", argv)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("the tracer")?;
    let Some(stdout) = child.stdout.take() else {
        bail!("a child without a pipe");
    };
    let pid = Pid::from_child(&child);
    let (sender, first) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let at = Instant::now();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let id = event["id"].as_u64().and_then(|id| u16::try_from(id).ok());
            // A query whose answer came before that direction was traced has its line only after a timeout.
            if let Some(id) = id.filter(|_| event["latency_ns"].is_u64()) {
                if read.is_empty() {
                    let _ = sender.send(());
                }
                read.push((id, at));
            }
        }
        read
    });
    // A big inventory is read first.
    if first.recv_timeout(PATIENCE).is_ok() {
        sleep(lasts);
    }
    let interrupted = kill_process(pid, Signal::INT);
    let read = reader.join().unwrap_or_default();
    child.wait()?;
    interrupted.context("the tracer ended by itself")?;
    Ok(read)
}

/// The address that a socket of a pod sends from.
pub(super) fn pod_socket(bed: &Bed, pod: usize) -> Result<UdpSocket> {
    bed.within("client", || {
        let source: (Ipv4Addr, u16) = (address(pod), 0);
        UdpSocket::bind(SocketAddr::from(source)).context("a socket")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_queries_in_that_time() {
        let ms = Duration::from_millis;
        let delay = Delay {
            lines: (0..100).map(|n| (ms(n * 10), ms(n))).collect(),
            sent: 100,
            foreign: 0.0,
        };
        let of = |from, to, share| delay.percentile(ms(from), ms(to), share);
        assert_eq!(of(0, 1000, 0.99), Some(ms(98)));
        assert_eq!(of(0, 1000, 0.5), Some(ms(49)));
        assert_eq!(of(0, 100, 1.0), Some(ms(9)));
        assert_eq!(of(5000, 6000, 0.5), None);
    }

    #[test]
    fn a_query_has_its_id_and_one_question() {
        let message = query(0x1234);
        assert_eq!(&message[..6], [0x12, 0x34, 1, 0, 0, 1]);
        assert!(message.ends_with(b"\x05local\0\0\x01\0\x01"));
    }
}
