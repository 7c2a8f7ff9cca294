//! The worst mixture that one pod can send: each kind as fast as its thread gets, to addresses that stay silent.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd as _, OwnedFd};

use crate::lab::Lab;

/// RFC 2544's range for tests: nothing has these addresses.
const SILENT: [u8; 2] = [198, 18];
/// Distinct questions: types, and names of each.
const QTYPES: u32 = 60;
const NAMES: u32 = 8_000;
/// Distinct UDP flows.
const FLOWS: u32 = 100_000;
/// Packets that a thread sends before it rests: bursts fill buckets, and other processes need the CPU, too.
const BATCH: u32 = 40;
const REST: Duration = Duration::from_millis(10);
/// Pause between two names that do not exist: some 300 findings a second.
const BETWEEN_FAILURES: Duration = Duration::from_millis(3);

/// Drops what is sent to the silent addresses, on the node.
#[derive(Debug)]
pub struct Silence<'a> {
    lab: &'a Lab,
    node: &'static str,
}

impl<'a> Silence<'a> {
    /// Begins to drop.
    pub fn new(lab: &'a Lab, node: &'static str) -> Result<Silence<'a>> {
        let rules = "table ip tracer_flood { chain in { type filter hook prerouting priority -400; ip daddr 198.18.0.0/15 drop; }; }";
        let done = lab.exec_node(node, &["nft", rules])?.status()?;
        if !done.success() {
            bail!("nft does not take the rule");
        }
        Ok(Silence { lab, node })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let delete = ["nft", "delete", "table", "ip", "tracer_flood"];
        let command: Result<Command> = self.lab.exec_node(self.node, &delete);
        drop(command.map(|mut command| command.status()));
    }
}

/// Threads that send until they are stopped.
#[derive(Debug)]
pub struct Attack {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// Sends the packet with this number.
type Send = Box<dyn FnMut(u32) -> Result<()> + std::marker::Send>;

/// Opens what one kind of traffic needs, and gives its sender.
type Open = fn(Ipv4Addr) -> Result<Send>;

impl Attack {
    /// Starts all kinds in a network namespace. `server` answers that names do not exist.
    pub fn start(netns: &Path, server: Option<IpAddr>) -> Result<Attack> {
        let server = match server {
            Some(IpAddr::V4(server)) => server,
            other => bail!("the cluster's DNS server is {other:?}"),
        };
        let kinds: [(Duration, u32, Open); 6] = [
            (REST, BATCH, unanswered_queries),
            (REST, BATCH, flows),
            (REST, BATCH, syns),
            (REST, BATCH, echo_requests),
            (REST, BATCH, malformed_messages),
            (BETWEEN_FAILURES, 1, failures),
        ];
        let mut attack = Attack {
            stop: Arc::default(),
            sent: Arc::default(),
            threads: Vec::new(),
        };
        for (rest, batch, kind) in kinds {
            let netns = File::open(netns).context("cannot open the pod's network namespace")?;
            let (stop, sent) = (Arc::clone(&attack.stop), Arc::clone(&attack.sent));
            attack.threads.push(std::thread::spawn(move || {
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
                let mut send = kind(server)?;
                let mut number = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..batch {
                        // A full queue or a firewall's refusal is no reason to stop.
                        if send(number).is_ok() {
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                        number = number.wrapping_add(1);
                    }
                    sleep(rest);
                }
                Ok(())
            }));
        }
        Ok(attack)
    }

    /// Stops, and returns how many packets were sent.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.sent.load(Ordering::Relaxed)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What it sent is counted; that it could not send shows there.
            drop(thread.join());
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.end();
    }
}

fn silent(number: u32) -> Ipv4Addr {
    let [_, _, third, fourth] = number.to_be_bytes();
    Ipv4Addr::new(SILENT[0], SILENT[1], third, fourth)
}

fn port(number: u32) -> u16 {
    // Not a DNS port.
    1_024 + (number % 60_000) as u16
}

/// Queries with names of 245 bytes that no server answers.
fn unanswered_queries(_: Ipv4Addr) -> Result<Send> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    Ok(Box::new(move |number| {
        let qtype = (number / NAMES % QTYPES) as u16 + 1;
        let query = query(number as u16, number % NAMES, 4, qtype);
        socket.send_to(&query, (silent(1), 53))?;
        Ok(())
    }))
}

/// A query for a name with this many labels of 60 bytes, the first of which has the number.
fn query(id: u16, number: u32, labels: usize, qtype: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in 0..labels {
        message.push(60);
        message.extend(format!("{number:06}{label}{:x<53}", "").bytes());
    }
    message.push(0);
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// Datagrams of distinct flows.
fn flows(_: Ipv4Addr) -> Result<Send> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    Ok(Box::new(move |number| {
        let flow = number % FLOWS;
        socket.send_to(&[0; 20], (silent(flow >> 2), port(flow)))?;
        Ok(())
    }))
}

fn raw(protocol: Protocol) -> Result<OwnedFd> {
    socket(AddressFamily::INET, SocketType::RAW, Some(protocol)).context("no raw socket")
}

/// SYNs of distinct connections.
fn syns(_: Ipv4Addr) -> Result<Send> {
    let socket = raw(ipproto::TCP)?;
    Ok(Box::new(move |number| {
        let mut segment = port(number).to_be_bytes().to_vec();
        segment.extend(80_u16.to_be_bytes());
        segment.extend(number.to_be_bytes());
        // No acknowledgment, five words of header, SYN, window; no process checks the checksum.
        segment.extend([0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
        let to = SocketAddrV4::new(silent(number), 0);
        sendto(&socket, &segment, SendFlags::empty(), &to)?;
        Ok(())
    }))
}

/// Echo requests of distinct runs.
fn echo_requests(_: Ipv4Addr) -> Result<Send> {
    let socket = raw(ipproto::ICMP)?;
    Ok(Box::new(move |number| {
        let mut message = vec![8, 0, 0, 0];
        message.extend((number as u16).to_be_bytes());
        message.extend(1_u16.to_be_bytes());
        let to = SocketAddrV4::new(silent(number >> 4), 0);
        sendto(&socket, &message, SendFlags::empty(), &to)?;
        Ok(())
    }))
}

/// Random bytes to the DNS port.
fn malformed_messages(_: Ipv4Addr) -> Result<Send> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    Ok(Box::new(move |_| {
        let mut bytes = [0_u8; 128];
        for chunk in bytes.chunks_exact_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_be_bytes());
        }
        let length = 1 + (state % 128) as usize;
        socket.send_to(bytes.get(..length).unwrap_or(&bytes), (silent(2), 53))?;
        Ok(())
    }))
}

/// Names that do not exist, each asked for once: a finding each.
fn failures(server: Ipv4Addr) -> Result<Send> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    Ok(Box::new(move |number| {
        socket.send_to(&query(number as u16, number, 1, 1), (server, 53))?;
        // Empties the queue, so that the server gets no ICMP error about a closed port.
        let mut buffer = [0; 512];
        while recv(&socket, &mut buffer, RecvFlags::DONTWAIT).is_ok() {}
        Ok(())
    }))
}
