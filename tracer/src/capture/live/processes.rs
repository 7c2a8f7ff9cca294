//! The processes behind sockets: whether this kernel names them, where it has their fields, and the table of them.

use std::io;
use std::time::Duration;

use aya::maps::{HashMap, MapData};
use aya::util::KernelVersion;
use tracer_common::{ProcessOffsets, SocketOwner};
use tracer_core::decode;
use tracer_core::model::flow::{Protocol, SeenFlags};
use tracer_core::model::identity::Process;
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;

use super::btf::Btf;
use super::{clock, inode, only_processes};

/// The tracepoints, and the programs' names.
pub(super) const INET_SOCK_SET_STATE: &str = "inet_sock_set_state";
pub(super) const SOCK_SEND_LENGTH: &str = "sock_send_length";
/// The first kernel that gives a tracing program a socket's cookie.
const SINCE: KernelVersion = KernelVersion::new(5, 12, 0);

/// What the probe of connecting sockets needs to know of the running kernel.
pub(super) struct ProcessFacts {
    pub offsets: ProcessOffsets,
    /// The inode number of this process's PID namespace.
    pub namespace: u32,
    /// Whether the kernel says who sends from UDP and ICMP sockets, or why not.
    pub datagrams: Result<(), String>,
}

impl ProcessFacts {
    /// Reads them from the kernel's BTF, or says what it lacks.
    pub(super) fn read() -> Result<ProcessFacts, String> {
        if KernelVersion::current().is_ok_and(|version| version < SINCE) {
            return Err(
                "the kernel does not say which socket connects before Linux 5.12".to_owned(),
            );
        }
        let btf = Btf::of_kernel().map_err(|error| format!("the kernel's types (BTF): {error}"))?;
        if btf.tracepoint_arguments(INET_SOCK_SET_STATE) != Some(3) {
            return Err(format!(
                "the kernel has no tracepoint {INET_SOCK_SET_STATE}"
            ));
        }
        let datagrams = match btf.tracepoint_arguments(SOCK_SEND_LENGTH) {
            Some(3) => Ok(()),
            _ => Err("the kernel does not say which socket sends before Linux 6.3".to_owned()),
        };
        Ok(ProcessFacts {
            offsets: offsets(&btf)?,
            datagrams,
            namespace: own_pid_namespace()
                .map_err(|error| format!("cannot identify this PID namespace: {error}"))?,
        })
    }
}

/// Whether the kernel names the processes behind TCP sockets, and then behind UDP and ICMP sockets. An error is what it
/// lacks.
pub fn socket_processes() -> Result<Result<(), String>, String> {
    ProcessFacts::read().map(|facts| facts.datagrams)
}

/// How long after a packet its send has ended.
const SENT: Duration = Duration::from_millis(1);

/// Names the processes that sent a batch of records, from the kernel's table of sockets.
///
/// A send gets into the table at its end, when its packet is on its way already. So the table counts if a send from the
/// socket has ended since the packet, or if the packet is old enough. Then the process is the only one that has sent from
/// the socket: where there are two, the table has none. It can be wrong in one case: the first packet of a second process
/// that shares a socket, if the first process ends a send from it at the same moment, or the second does not come to
/// the end of its send for a millisecond.
pub(super) struct SocketOwners {
    sockets: HashMap<MapData, u64, SocketOwner>,
    /// The sends from UDP and ICMP sockets get into the table.
    datagrams: bool,
}

/// Names the processes that sent a batch of records: by the socket, else a container's only one.
#[derive(Default)]
pub(super) struct Senders {
    pub owners: Option<SocketOwners>,
    pub only: Option<only_processes::Names>,
}

impl Senders {
    /// Names the processes of records; `sent` as in [`SocketOwners::name`]. Returns the number of those whose processes
    /// the kernel has shown and that have none: their sockets are no longer in the table, or not yet.
    pub(super) fn name(&self, batch: &mut [Record], sent: Vec<(usize, u64)>, wait: bool) -> u64 {
        // A socket of several processes, or of one that the node does not see, has no other process.
        let mut decided = vec![false; batch.len()];
        let unknown = match &self.owners {
            Some(owners) => {
                mark(&mut decided, &sent, true);
                owners.name(batch, sent, wait)
            }
            None => Vec::new(),
        };
        mark(&mut decided, &unknown, false);
        if let Some(only) = &self.only {
            only.name(
                batch
                    .iter_mut()
                    .zip(&decided)
                    .filter_map(|(record, decided)| (!decided).then_some(record)),
            );
        }
        let datagrams = self.owners.as_ref().is_some_and(|owners| owners.datagrams);
        let unknown = unknown.iter().filter_map(|(at, _)| batch.get(*at));
        let missing = unknown
            .filter(|record| record.sender_process.is_none() && has_been_shown(record, datagrams));
        missing.count() as u64
    }
}

fn mark(decided: &mut [bool], records: &[(usize, u64)], as_decided: bool) {
    for (at, _) in records {
        if let Some(mark) = decided.get_mut(*at) {
            *mark = as_decided;
        }
    }
}

/// Whether the kernel has shown the process that sent a packet: it opens a connection, or is a datagram.
fn has_been_shown(record: &Record, datagrams: bool) -> bool {
    decode::headers(&record.bytes).is_some_and(|packet| match packet.tcp_flags {
        Some(flags) => flags & (SeenFlags::SYN | SeenFlags::ACK) == SeenFlags::SYN,
        None => datagrams && packet.tuple.protocol == Protocol::Udp,
    })
}

impl SocketOwners {
    pub(super) fn new(
        sockets: HashMap<MapData, u64, SocketOwner>,
        datagrams: bool,
    ) -> SocketOwners {
        SocketOwners { sockets, datagrams }
    }

    /// Names the processes of records, by their positions in the batch and the cookies of their sockets. If there is
    /// time to `wait`, it waits for the sends that may not have ended. Returns those that stay unknown.
    fn name(
        &self,
        batch: &mut [Record],
        mut sent: Vec<(usize, u64)>,
        wait: bool,
    ) -> Vec<(usize, u64)> {
        if sent.is_empty() {
            return sent;
        }
        let now = clock::now();
        self.look_up(batch, &mut sent, now);
        if !wait || !self.datagrams {
            return sent;
        }
        let open = sent.iter().filter_map(|(at, _)| batch.get(*at));
        let latest = open
            .filter(|record| !is_tcp(record))
            .map(|record| record.time)
            .max();
        let age = latest.map_or(SENT, |latest| now.since(latest));
        if age < SENT {
            std::thread::sleep(SENT - age);
            self.look_up(batch, &mut sent, clock::now());
        }
        sent
    }

    /// Keeps those that are not known yet.
    fn look_up(&self, batch: &mut [Record], sent: &mut Vec<(usize, u64)>, now: Timestamp) {
        sent.retain(|(at, socket)| {
            let (Some(record), Ok(owner)) = (batch.get_mut(*at), self.sockets.get(socket, 0))
            else {
                return true;
            };
            let known = counts(&owner, record.time, now);
            if known {
                record.sender_process = process(&owner);
            }
            !known
        });
    }
}

/// Whether the entry of a socket counts for a packet from it that was seen at this time.
fn counts(owner: &SocketOwner, seen: Timestamp, now: Timestamp) -> bool {
    owner.sent_ktime_ns >= seen.0 || now.since(seen) >= SENT
}

/// connect() comes before its packets, so the process of a TCP packet is known at once or never.
fn is_tcp(record: &Record) -> bool {
    decode::headers(&record.bytes).is_some_and(|packet| packet.tcp_flags.is_some())
}

/// The process, if there is one. Its name can be of any bytes.
fn process(owner: &SocketOwner) -> Option<Process> {
    let comm = owner.comm.split(|byte| *byte == 0).next()?;
    (owner.pid != 0).then(|| Process {
        pid: owner.pid,
        comm: String::from_utf8_lossy(comm).into(),
    })
}

fn offsets(btf: &Btf) -> Result<ProcessOffsets, String> {
    let at = |of: &str, path: &str| {
        btf.offset(of, path)
            .ok_or_else(|| format!("the kernel's struct {of} has no field {path}"))
    };
    Ok(ProcessOffsets {
        task_group_leader: at("task_struct", "group_leader")?,
        task_thread_pid: at("task_struct", "thread_pid")?,
        task_comm: at("task_struct", "comm")?,
        pid_numbers: at("pid", "numbers")?,
        pid_level: at("pid", "level")?,
        upid_ns: at("upid", "ns")?,
        upid_size: btf.size("upid").ok_or("the kernel has no struct upid")?,
        pid_ns_inum: at("pid_namespace", "ns.inum")?,
        sock_protocol: at("sock", "sk_protocol")?,
    })
}

fn own_pid_namespace() -> io::Result<u32> {
    inode("/proc/thread-self/ns/pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_once_the_packets_send_has_ended() {
        let owner = |sent_ktime_ns| SocketOwner {
            sent_ktime_ns,
            ..SocketOwner::default()
        };
        let seen = Timestamp(5_000_000);
        let soon = Timestamp(5_100_000);
        // The send before this one.
        assert!(!counts(&owner(4_999_999), seen, soon));
        assert!(counts(&owner(5_000_001), seen, soon));
        // A packet that waited for its neighbour's address leaves after its send.
        assert!(counts(&owner(4_999_999), seen, seen.after(SENT)));
        assert!(counts(&owner(u64::MAX), seen, soon));
    }

    #[test]
    fn a_process_has_the_name_before_the_first_zero() {
        let mut owner = SocketOwner {
            pid: 7,
            comm: *b"dig\0\xffrest\0\0\0\0\0\0\0",
            ..SocketOwner::default()
        };
        assert_eq!(
            process(&owner).map(|found| found.comm).as_deref(),
            Some("dig")
        );
        owner.pid = 0;
        assert_eq!(process(&owner), None);
    }
}
