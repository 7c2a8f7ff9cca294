//! A capture file as records: reader, order, fragments, sides and meter in sequence.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::fragments::{Fragments, Whole};
use super::order::Order;
use super::{FileError, Meter, Reader, ReaderStats, Sides, SidesStats};
use crate::model::flow::Ifindex;
use crate::model::loss::Losses;
use crate::model::record::Record;
use crate::model::settings::{Limits, Thresholds};
use crate::model::signal::Signal;
use crate::model::time::Timestamp;
use crate::pipeline;

/// Settings of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// Ports of DNS servers.
    pub dns_ports: Vec<u16>,
    /// The limits of the flow counters, and of the flows whose client is remembered.
    pub flows: usize,
    /// How long a flow must be silent before it may make room for another.
    pub flow_idle: Duration,
}

impl Default for ReplaySettings {
    fn default() -> ReplaySettings {
        ReplaySettings {
            dns_ports: pipeline::Settings::default().dns_ports,
            flows: Limits::default().connections,
            flow_idle: Thresholds::default().flow_idle,
        }
    }
}

/// Turns a capture file into the records that a live run would have produced.
///
/// Every packet becomes a record, even where a probe would only count: the flow's totals are then simply
/// newer.
pub struct Replay {
    reader: Reader,
    order: Order,
    fragments: Fragments,
    /// The error that ended reading, to be returned after the packets before it.
    failed: Option<FileError>,
    sides: Sides,
    meter: Meter,
    /// Signals that are not due, by time and then by their place in the file.
    signals: BTreeMap<(Timestamp, u64), Signal>,
    signals_read: u64,
}

impl Replay {
    /// A replay of the packets from `reader`.
    pub fn new(reader: Reader, settings: &ReplaySettings) -> Replay {
        Replay {
            reader,
            order: Order::default(),
            fragments: Fragments::default(),
            failed: None,
            sides: Sides::new(&settings.dns_ports, settings.flows),
            meter: Meter::new(settings.flows, settings.flow_idle),
            signals: BTreeMap::new(),
            signals_read: 0,
        }
    }

    /// Reads one packet and appends its records; false at the end of the file. `is_pod` returns whether a pod
    /// has an address; without an inventory it is always false. May be called again after an error: see
    /// [`Reader`].
    pub fn step(
        &mut self,
        is_pod: impl Fn(IpAddr) -> bool,
        out: &mut Vec<Record>,
    ) -> Result<bool, FileError> {
        let Some(Whole { packet, fragments }) = self.packet()? else {
            return Ok(false);
        };
        // The recording has the kernel's own counters, which include packets that were not recorded.
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

    /// The recorded signals that were read so far, up to a time; after the last packet all. They precede a record of
    /// that time. A signal of a time that is past comes with the next record.
    pub fn signals(&mut self, until: Option<Timestamp>) -> Vec<(Timestamp, Signal)> {
        for (at, signal) in self.reader.take_signals() {
            self.signals.insert((at, self.signals_read), signal);
            self.signals_read += 1;
        }
        let later = match until {
            Some(until) => self.signals.split_off(&(until, u64::MAX)),
            None => BTreeMap::new(),
        };
        let due = std::mem::replace(&mut self.signals, later);
        due.into_iter()
            .map(|((at, _), signal)| (at, signal))
            .collect()
    }

    /// The next packet in order. The packets read before an error come before the error.
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

    /// The input ended: releases every waiting packet.
    fn end(&mut self) {
        self.order.end();
        while let Some(packet) = self.order.pop() {
            self.fragments.push(packet);
        }
        self.fragments.end();
    }

    /// Whether packets have been read that wait for others.
    pub fn has_waiting(&self) -> bool {
        self.order.has_waiting() || self.fragments.has_waiting()
    }

    /// How many bytes of the file were read, before decompression.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// The number of packets reassembled from fragments.
    pub fn reassembled(&self) -> u64 {
        self.fragments.reassembled()
    }

    /// Interfaces that appeared since the last call, with their pod's address.
    pub fn new_interfaces(&mut self) -> Vec<(Ifindex, IpAddr)> {
        self.sides.new_interfaces()
    }

    /// Counts of the packets read, and of copies among them.
    pub fn stats(&self) -> (ReaderStats, SidesStats) {
        (self.reader.stats(), self.sides.stats())
    }

    /// Losses in all stages.
    pub fn losses(&self) -> Losses {
        let mut losses = self.reader.losses().clone();
        losses.merge(&self.fragments.losses());
        losses.merge(&self.sides.losses());
        losses.merge(&self.meter.losses());
        losses
    }
}
