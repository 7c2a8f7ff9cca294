//! What the tracer's programs cost a packet: the kernel's statistics of them, less those of an empty program
//! on another pod's link, under the same packets in turns.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::bed::{Bed, SERVER};
use super::bulk;
use super::cpu::Window;
use super::delay::pod_socket;
use super::empty::{Empty, Runs, Statistics, runs_of};
use super::tool::{Output, Programs, Running, Tool};

/// The server drops what is sent to it from this port on.
const FIRST_PORT: u16 = 2000;
/// Packets in a row on one link.
const BATCH: u16 = 32;
/// New flows: below the size of the table of flows, which is not what is measured.
const FLOWS: u16 = 16_000;

/// The packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Packets {
    /// UDP with 22 bytes of payload, 64 with all headers, always of one flow.
    KnownFlow,
    /// iperf3 over TCP.
    Bulk,
    /// UDP, each packet to another port.
    NewFlow,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct PacketCost {
    /// Nanoseconds of the tracer's program for each packet.
    pub tracer_ns: f64,
    /// Nanoseconds of the empty one.
    pub empty_ns: f64,
    /// Share of the machine that others used meanwhile, 0 to 1.
    pub foreign: f64,
}

/// Measures it. The bed has two pods: the first is traced, the second has the empty program.
pub fn packets(
    bed: &Bed,
    programs: &Programs,
    packets: Packets,
    lasts: Duration,
) -> Result<PacketCost> {
    let statistics = Statistics::enable()?;
    let empty = Empty::attach(bed, "vc1")?;
    let tool = Tool::tracer(Output::Json);
    let Some(running) = Running::start_on(bed, programs, tool, "vc0")? else {
        bail!("the tracer is a program");
    };
    let pid = running.pid().as_raw_nonzero().get();
    let sockets = [pod_socket(bed, 0)?, pod_socket(bed, 1)?];
    // The neighbours are known, and the flow that is to be known.
    for socket in &sockets {
        send(socket, (SERVER, FIRST_PORT))?;
    }
    let before = (runs_of(pid)?, empty.runs()?);
    let window = Window::begin(bed)?;
    match packets {
        Packets::KnownFlow => {
            let until = Instant::now() + lasts;
            while Instant::now() < until {
                for socket in &sockets {
                    for _ in 0..BATCH {
                        send(socket, (SERVER, FIRST_PORT))?;
                    }
                }
            }
        }
        Packets::NewFlow => {
            for first in (1..FLOWS).step_by(BATCH.into()) {
                for socket in &sockets {
                    for port in first..first + BATCH {
                        send(socket, (SERVER, FIRST_PORT + port))?;
                    }
                }
            }
        }
        Packets::Bulk => {
            for pod in [0, 1] {
                bulk::iperf3(bed, pod, lasts)?;
            }
        }
    }
    let (lasted, used) = window.end(bed)?;
    let mean = |now: Runs, before| now.since(before).mean().context("the program did not run");
    let cost = PacketCost {
        tracer_ns: mean(runs_of(pid)?, before.0)?,
        empty_ns: mean(empty.runs()?, before.1)?,
        foreign: used.foreign_share(lasted),
    };
    running.stop(bed)?;
    drop(statistics);
    Ok(cost)
}

pub(super) fn send(socket: &UdpSocket, to: (Ipv4Addr, u16)) -> Result<()> {
    socket
        .send_to(&[0; 22], to)
        .map(drop)
        .context("cannot send")
}
