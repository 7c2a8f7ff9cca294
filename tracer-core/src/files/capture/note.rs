//! The comment that this program adds to each packet it records: the pod's interface, the direction, the flow's
//! counters, and who sent it. As text, so that Wireshark shows it; in a fixed form, so that replay can read it.
//!
//! `tracer: from pod, interface 12, flow sent 3 packets 180 bytes, received 2 packets 120 bytes, sent again 0 segments,
//! cgroup 4711, process 812 "curl"`
//!
//! What is not known is left out. The process comes last: its name can be of any characters, and is a string of JSON.

use super::Recorded;
use crate::model::flow::{Direction, FlowTotals, Ifindex, Traffic};
use crate::model::identity::Process;
use crate::model::record::Record;

const START: &str = "tracer: ";
const FROM_POD: &str = "from pod";
const TO_POD: &str = "to pod";
const INTERFACE: &str = "interface ";
const SENT: &str = "flow sent ";
const RECEIVED: &str = "received ";
const AGAIN: &str = "sent again ";
const CGROUP: &str = "cgroup ";
const PROCESS: &str = "process ";
/// 15 bytes, each of which can have become a replacement character.
const MAX_COMM_BYTES: usize = 45;

/// The note for a record.
pub(super) fn from_record(record: &Record) -> String {
    let direction = match record.direction {
        Direction::FromPod => FROM_POD,
        Direction::ToPod => TO_POD,
    };
    let mut note = format!("{START}{direction}, {INTERFACE}{}", record.ifindex.0);
    if let Some(FlowTotals {
        tx,
        rx,
        retransmits,
    }) = record.totals
    {
        note += &format!(
            ", {SENT}{} packets {} bytes, {RECEIVED}{} packets {} bytes",
            tx.packets, tx.bytes, rx.packets, rx.bytes
        );
        if let Some(segments) = retransmits {
            note += &format!(", {AGAIN}{segments} segments");
        }
    }
    if record.sender_cgroup != 0 {
        note += &format!(", {CGROUP}{}", record.sender_cgroup);
    }
    if let Some(Process { pid, comm }) = &record.sender_process {
        note += &format!(", {PROCESS}{pid} {}", serde_json::Value::from(&**comm));
    }
    note
}

/// Reads a note back. `None` for comments of other programs.
pub(super) fn read(comment: &[u8]) -> Option<Recorded> {
    let note = std::str::from_utf8(comment).ok()?.strip_prefix(START)?;
    let (note, process) = match note.split_once(", process ") {
        Some((note, process)) => (note, Some(read_process(process)?)),
        None => (note, None),
    };
    let mut parts = note.split(", ").peekable();
    let direction = match parts.next()? {
        FROM_POD => Direction::FromPod,
        TO_POD => Direction::ToPod,
        _ => return None,
    };
    let ifindex = parts.next()?.strip_prefix(INTERFACE)?.parse().ok()?;
    let totals = match parts.next_if(|part| part.starts_with(SENT)) {
        None => None,
        Some(sent) => Some(FlowTotals {
            tx: traffic(sent.strip_prefix(SENT)?)?,
            rx: traffic(parts.next()?.strip_prefix(RECEIVED)?)?,
            // Notes of earlier versions lack it.
            retransmits: match parts.next_if(|part| part.starts_with(AGAIN)) {
                None => None,
                Some(again) => Some(segments(again.strip_prefix(AGAIN)?)?),
            },
        }),
    };
    let cgroup = match parts.next() {
        None => 0,
        Some(cgroup) => cgroup.strip_prefix(CGROUP)?.parse().ok()?,
    };
    Some(Recorded {
        ifindex: Ifindex(ifindex),
        direction,
        totals,
        sender_cgroup: cgroup,
        sender_process: process,
    })
}

fn read_process(text: &str) -> Option<Process> {
    let (pid, comm) = text.split_once(' ')?;
    let comm: String = serde_json::from_str(comm).ok()?;
    (comm.len() <= MAX_COMM_BYTES).then_some(())?;
    Some(Process {
        pid: pid.parse().ok()?,
        comm: comm.into(),
    })
}

fn segments(text: &str) -> Option<u64> {
    text.strip_suffix(" segments")?.parse().ok()
}

fn traffic(text: &str) -> Option<Traffic> {
    let (packets, bytes) = text.strip_suffix(" bytes")?.split_once(" packets ")?;
    Some(Traffic {
        packets: packets.parse().ok()?,
        bytes: bytes.parse().ok()?,
    })
}
