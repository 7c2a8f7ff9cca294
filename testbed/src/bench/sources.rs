//! What each source beyond the pods' packets costs: the helpers that name a packet's sender, the probes of connecting and
//! of sending sockets and of dropped packets, conntrack's events, and the programs at the node's uplink.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::bed::{Bed, SERVER};
use super::cpu::Window;
use super::delay::pod_socket;
use super::empty::{COOKIE, Empty, HELPER, Runs, Statistics, runs_of_program};
use super::packets::send;
use super::tool::{Output, Programs, Running, Source, Tool};
use super::uplink::{Uplink, uplink};
use crate::lab::shell::run;

/// The node drops what is sent to this port.
const DROPPED: u16 = 1999;
/// A Service's address: the node translates it to the server's.
const SERVICE: &str = "10.99.0.1";
/// New flows in each interval: well below the 5,000 a second at which the agent pauses.
const FLOWS: u16 = 20;
const INTERVAL: Duration = Duration::from_millis(10);
/// Packets in a row on one link.
const BATCH: usize = 32;
/// Sends that are timed together.
const SENDS: u32 = 500;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// Nanoseconds of the helper that reads a sender's cgroup, for each packet that is recorded.
    pub sender_ns: f64,
    /// Nanoseconds of the helper that reads a sender's socket, for each packet that is recorded.
    pub socket_ns: f64,
    /// Nanoseconds of the probe of connecting sockets, for each refused connection: it runs at each change of state.
    pub connect_ns: f64,
    /// Nanoseconds that a UDP socket's send takes longer.
    pub send_ns: f64,
    /// The same for the first send of a socket.
    pub first_send_ns: f64,
    /// The same for a socket that is neither UDP's nor ICMP's.
    pub foreign_send_ns: f64,
    /// Nanoseconds of the probe, for each packet of a pod that the node drops.
    pub drop_ns: f64,
    /// Microseconds of CPU time of an agent for each new translated flow, with conntrack's events.
    pub flow_us: f64,
    /// The same with `--no-conntrack`.
    pub flow_without_us: f64,
    /// The programs at the node's uplink.
    pub uplink: Uplink,
    /// Share of the machine that others used meanwhile, 0 to 1.
    pub foreign: f64,
}

/// Measures them. The bed has two pods.
pub fn sources(bed: &Bed, programs: &Programs, lasts: Duration) -> Result<Sources> {
    let script = format!(
        "table ip bench_sources {{
chain drops {{ type filter hook forward priority 0; udp dport {DROPPED} drop; }}
chain translates {{ type nat hook prerouting priority -100; ip daddr {SERVICE} dnat to {SERVER}; }}
}}"
    );
    run(&mut bed.command("node", "load", &["nft", &script])?)?;
    let measured = measure(bed, programs, lasts);
    run(&mut bed.command(
        "node",
        "load",
        &["nft", "delete", "table", "ip", "bench_sources"],
    )?)?;
    measured
}

fn measure(bed: &Bed, programs: &Programs, lasts: Duration) -> Result<Sources> {
    let window = Window::begin(bed)?;
    let sender_ns = helper(bed, &HELPER, lasts)?;
    let socket_ns = helper(bed, &COOKIE, lasts)?;
    let connect_ns = connected(bed, programs, lasts)?;
    let [send_ns, first_send_ns, foreign_send_ns] = sent(bed, programs, lasts)?;
    let drop_ns = dropped(bed, programs, lasts)?;
    let flow_us = flows(bed, programs, Output::Agent, lasts)?;
    let flow_without_us = flows(
        bed,
        programs,
        Output::AgentWithout(Source::Conntrack),
        lasts,
    )?;
    let uplink = uplink(bed, programs, lasts)?;
    let (lasted, used) = window.end(bed)?;
    Ok(Sources {
        sender_ns,
        socket_ns,
        connect_ns,
        send_ns,
        first_send_ns,
        foreign_send_ns,
        drop_ns,
        flow_us,
        flow_without_us,
        uplink,
        foreign: used.foreign_share(lasted),
    })
}

/// A program of helpers alone, less an empty program on the other pod's link, under the same packets in turns.
fn helper(bed: &Bed, program: &[u64], lasts: Duration) -> Result<f64> {
    let _statistics = Statistics::enable()?;
    let helper = Empty::attach_program(bed, "vc0", program)?;
    let empty = Empty::attach(bed, "vc1")?;
    let sockets = [pod_socket(bed, 0)?, pod_socket(bed, 1)?];
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        for socket in &sockets {
            for _ in 0..BATCH {
                send(socket, (SERVER, DROPPED))?;
            }
        }
    }
    let mean = |runs: Runs| runs.mean().context("the program did not run");
    Ok(mean(helper.runs()?)? - mean(empty.runs()?)?)
}

fn dropped(bed: &Bed, programs: &Programs, lasts: Duration) -> Result<f64> {
    let _statistics = Statistics::enable()?;
    let (running, pid) = start(bed, programs, Output::Agent)?;
    let socket = pod_socket(bed, 0)?;
    send(&socket, (SERVER, DROPPED))?;
    let before = runs_of_program(pid, "kfree_skb")?;
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        for _ in 0..BATCH {
            send(&socket, (SERVER, DROPPED))?;
        }
    }
    let runs = runs_of_program(pid, "kfree_skb")?.since(before);
    running.stop(bed)?;
    runs.mean().context("the probe of drops did not run")
}

/// The probe of connecting sockets, for each connection of a pod to a closed port.
fn connected(bed: &Bed, programs: &Programs, lasts: Duration) -> Result<f64> {
    const TRACEPOINT: &str = "inet_sock_set_state";
    let _statistics = Statistics::enable()?;
    let (running, pid) = start(bed, programs, Output::Agent)?;
    let before = runs_of_program(pid, TRACEPOINT)?;
    let until = Instant::now() + lasts;
    let mut connections = 0_u32;
    while Instant::now() < until {
        bed.within("client", || {
            for _ in 0..BATCH {
                // Refused: each takes a port for a moment only.
                let _ = TcpStream::connect((SERVER, DROPPED));
            }
            Ok(())
        })?;
        connections += BATCH as u32;
    }
    let runs = runs_of_program(pid, TRACEPOINT)?.since(before);
    running.stop(bed)?;
    if runs.count < u64::from(connections) {
        bail!("the probe of connecting sockets did not run");
    }
    Ok(runs.nanoseconds as f64 / f64::from(connections))
}

/// What an agent adds to a send within a pod: from a UDP socket, from a new one each time, and from a Unix socket.
fn sent(bed: &Bed, programs: &Programs, lasts: Duration) -> Result<[f64; 3]> {
    let before = sends(bed, lasts / 2)?;
    let (running, _) = start(bed, programs, Output::Agent)?;
    let traced = sends(bed, lasts)?;
    running.stop(bed)?;
    let after = sends(bed, lasts / 2)?;
    let added = |kind: usize| traced[kind] - f64::midpoint(before[kind], after[kind]);
    Ok([added(0), added(1), added(2)])
}

/// The times that sends take, in nanoseconds: a tenth is shorter, as others use the CPU too. Each is received at once, so
/// that no queue is ever full.
fn sends(bed: &Bed, lasts: Duration) -> Result<[f64; 3]> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a socket");
    bed.within("client", || {
        let (socket, receiver) = (bind()?, bind()?);
        let (mut stream, mut other) = UnixStream::pair()?;
        let to = receiver.local_addr()?;
        let mut byte = [0];
        let mut times = [const { Vec::new() }; 3];
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            times[0].push(time(|| {
                socket.send_to(&byte, to)?;
                receiver.recv(&mut byte)
            })?);
            times[1].push(time(|| {
                UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(&byte, to)?;
                receiver.recv(&mut byte)
            })?);
            times[2].push(time(|| {
                stream.write_all(&byte)?;
                other.read(&mut byte)
            })?);
        }
        Ok(times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 10]
        }))
    })
}

/// The mean time in nanoseconds.
fn time(mut action: impl FnMut() -> std::io::Result<usize>) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..SENDS {
        action()?;
    }
    Ok(begun.elapsed().as_nanos() as f64 / f64::from(SENDS))
}

/// CPU time for each new flow to the Service, in microseconds.
fn flows(bed: &Bed, programs: &Programs, output: Output, lasts: Duration) -> Result<f64> {
    let (running, _) = start(bed, programs, output)?;
    let service = SERVICE.parse().context("an address")?;
    let window = Window::begin(bed)?;
    let until = Instant::now() + lasts;
    let mut flows = 0_u32;
    while Instant::now() < until {
        let begun = Instant::now();
        // A socket of its own has a port of its own.
        for _ in 0..FLOWS {
            send(&pod_socket(bed, 0)?, (service, DROPPED + 1))?;
            flows += 1;
        }
        std::thread::sleep(INTERVAL.saturating_sub(begun.elapsed()));
    }
    let (_, used) = window.end(bed)?;
    running.stop(bed)?;
    Ok(used.tool.as_secs_f64() * 1e6 / f64::from(flows))
}

fn start(bed: &Bed, programs: &Programs, output: Output) -> Result<(Running, i32)> {
    start_on(bed, programs, output, "vc0")
}

pub(super) fn start_on(
    bed: &Bed,
    programs: &Programs,
    output: Output,
    interface: &str,
) -> Result<(Running, i32)> {
    let Some(running) = Running::start_on(bed, programs, Tool::tracer(output), interface)? else {
        bail!("the tracer is a program");
    };
    let pid = running.pid().as_raw_nonzero().get();
    Ok((running, pid))
}
