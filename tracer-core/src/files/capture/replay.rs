//! A capture file as records: reader, order, fragments, sides and meter in a row.

use std::net::IpAddr;
use std::time::Duration;

use super::fragments::{Fragments, Whole};
use super::order::Order;
use super::{FileError, Meter, Reader, ReaderStats, Sides, SidesStats};
use crate::model::flow::Ifindex;
use crate::model::loss::Losses;
use crate::model::record::Record;

/// How a file is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// DNS is what has one of these ports on either side.
    pub dns_ports: Vec<u16>,
    /// How many flows are counted, and of how many it is remembered who began them.
    pub flows: usize,
    /// A flow that was silent for so long makes room for another.
    pub flow_idle: Duration,
}

impl Default for ReplaySettings {
    fn default() -> ReplaySettings {
        ReplaySettings {
            dns_ports: vec![53],
            flows: 65_536,
            flow_idle: Duration::from_secs(300),
        }
    }
}

/// Turns a capture file into the records that a live run would have had.
///
/// Every packet becomes a record, also those for which a probe only counts: their flow's totals are then simply newer.
pub struct Replay {
    reader: Reader,
    order: Order,
    fragments: Fragments,
    /// Why reading ended, to be told after what was read.
    failed: Option<FileError>,
    sides: Sides,
    meter: Meter,
}

impl Replay {
    /// Takes what `reader` reads.
    pub fn new(reader: Reader, settings: &ReplaySettings) -> Replay {
        Replay {
            reader,
            order: Order::default(),
            fragments: Fragments::default(),
            failed: None,
            sides: Sides::new(&settings.dns_ports, settings.flows),
            meter: Meter::new(settings.flows, settings.flow_idle),
        }
    }

    /// Takes one packet and appends its records; false at the end of the file. `is_pod` says of an address whether a pod
    /// has it; without an inventory it says no to all. After an error it can be called again: see [`Reader`].
    pub fn step(
        &mut self,
        is_pod: impl Fn(IpAddr) -> bool,
        out: &mut Vec<Record>,
    ) -> Result<bool, FileError> {
        let Some(Whole { packet, fragments }) = self.packet()? else {
            return Ok(false);
        };
        // The kernel's own counters are in the recording, and they count packets that are not.
        let counted = packet.recorded.is_some();
        let start = out.len();
        self.sides.place(packet, is_pod, out);
        if !counted {
            for record in out.iter_mut().skip(start) {
                match fragments {
                    None => self.meter.count(record),
                    Some(fragments) => self.meter.count_as(record, fragments),
                }
            }
        }
        Ok(true)
    }

    /// The next packet in order. What was read before an error comes before the error.
    fn packet(&mut self) -> Result<Option<Whole>, FileError> {
        loop {
            if let Some(whole) = self.fragments.pop() {
                return Ok(Some(whole));
            }
            if let Some(packet) = self.order.pop() {
                self.fragments.push(packet);
                continue;
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            match self.reader.next() {
                Some(Ok(packet)) => self.order.push(packet, self.reader.interleaved()),
                Some(Err(error)) => {
                    self.failed = Some(error);
                    if self.reader.is_over() {
                        self.end();
                    }
                }
                None => {
                    self.end();
                    return Ok(self.fragments.pop());
                }
            }
        }
    }

    /// Nothing follows, so nothing waits any more.
    fn end(&mut self) {
        self.order.end();
        while let Some(packet) = self.order.pop() {
            self.fragments.push(packet);
        }
        self.fragments.end();
    }

    /// Whether packets were read that wait for others.
    pub fn holds(&self) -> bool {
        self.order.holds() || self.fragments.holds()
    }

    /// How far the file was read, in bytes as they are on the disk.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// How many packets were put together from fragments.
    pub fn reassembled(&self) -> u64 {
        self.fragments.reassembled()
    }

    /// Interfaces that appeared since the last call, with their pod's address.
    pub fn fresh_interfaces(&mut self) -> Vec<(Ifindex, IpAddr)> {
        self.sides.fresh_interfaces()
    }

    /// What was read, and how many packets were copies of others.
    pub fn stats(&self) -> (ReaderStats, SidesStats) {
        (self.reader.stats(), self.sides.stats())
    }

    /// What was lost on the way.
    pub fn losses(&self) -> Losses {
        let mut losses = self.reader.losses().clone();
        losses.merge(&self.fragments.losses());
        losses.merge(&self.sides.losses());
        losses.merge(&self.meter.losses());
        losses
    }
}
