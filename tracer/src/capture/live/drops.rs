//! Packets that the kernel dropped: whether this kernel gives reasons, and what its records mean.
//!
//! Owns the names of drop reasons and functions, which only the running kernel knows.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tracer_common::{DropRecord, KernelOffsets, drop_place};

use super::btf::Btf;
use super::inode;
use super::offsets::kernel_offsets;
use super::symbols::Symbols;
use crate::intern::intern;
use tracer_core::decode;
use tracer_core::model::signal::{DropPlace, PacketDrop};
use tracer_core::model::time::Timestamp;

/// The tracepoint, and the program's name.
pub(super) const KFREE_SKB: &str = "kfree_skb";
const REASON: &str = "skb_drop_reason";
/// The last reason that names no cause.
const NOT_SPECIFIED: &str = "NOT_SPECIFIED";

/// What the drop probe needs to know of the running kernel.
pub(super) struct KernelFacts {
    pub offsets: KernelOffsets,
    /// Reasons up to this one stand for no drop, or for none in particular.
    pub no_reason: u32,
    reasons: HashMap<u32, &'static str>,
}

impl KernelFacts {
    /// Reads them from the kernel's BTF, or says what it lacks.
    pub(super) fn read() -> Result<KernelFacts, String> {
        let btf = Btf::of_kernel().map_err(|error| format!("the kernel's types (BTF): {error}"))?;
        if btf.tracepoint_arguments(KFREE_SKB) < Some(3) {
            return Err("the kernel gives no reasons for drops before Linux 5.17".to_owned());
        }
        let values = btf
            .values(REASON)
            .ok_or_else(|| format!("the kernel has no enum {REASON}"))?;
        let name = |value: &str| intern(value.strip_prefix("SKB_DROP_REASON_").unwrap_or(value));
        let reasons: HashMap<u32, &'static str> = values
            .into_iter()
            .map(|(number, value)| (number, name(value)))
            .collect();
        let unspecified = reasons.iter().find(|(_, name)| **name == NOT_SPECIFIED);
        let no_reason = unspecified.map_or(0, |(number, _)| *number);
        Ok(KernelFacts {
            offsets: kernel_offsets(&btf)?,
            no_reason,
            reasons,
        })
    }
}

/// Checks that the kernel gives reasons for drops. The error is what it lacks.
pub fn drop_reasons() -> Result<(), String> {
    KernelFacts::read().map(|_| ())
}

/// The inode number of this thread's network namespace.
pub(super) fn own_netns() -> io::Result<u32> {
    inode("/proc/thread-self/ns/net")
}

/// Reads drop records.
pub(super) struct DropReader {
    reasons: HashMap<u32, &'static str>,
    symbols: Symbols,
}

impl DropReader {
    /// A reader for this kernel.
    pub(super) fn new(facts: KernelFacts) -> DropReader {
        DropReader {
            reasons: facts.reasons,
            symbols: Symbols::default(),
        }
    }

    /// The drop in a record; `None` if its packet cannot be read.
    pub(super) fn read(&mut self, record: &DropRecord) -> Option<(Timestamp, PacketDrop)> {
        let captured = usize::from(record.header.captured_len_bytes);
        let packet = decode::headers(record.bytes.get(..captured)?)?;
        let reason = match self.reasons.get(&record.reason) {
            Some(name) => name,
            // Subsystems such as Open vSwitch have numbers of their own.
            None => intern(&format!("{:#x}", record.reason)),
        };
        let dropped = PacketDrop {
            tuple: packet.tuple,
            tcp_flags: packet.tcp_flags,
            reason,
            function: self.symbols.function(record.location),
            place: match record.place {
                drop_place::NODE => DropPlace::Node,
                drop_place::POD => DropPlace::Pod,
                _ => DropPlace::Unknown,
            },
            device: device(&record.device),
            unreported: record.unreported,
        };
        Some((Timestamp(record.header.ktime_ns), dropped))
    }
}

/// A device's name. The kernel accepts almost any byte in one.
fn device(name: &[u8; 16]) -> Option<Arc<str>> {
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    match &name[..end] {
        [] => None,
        name => Some(String::from_utf8_lossy(name).into()),
    }
}
