//! The hour's events in order of time, and the pipeline that they are played to.

use std::sync::Arc;

use tracer_core::model::cluster::{ClusterChange, Inventory};
use tracer_core::model::event::Event;
use tracer_core::model::flow::{
    Direction, Flow, FlowSnapshot, FlowTotals, Ifindex, Protocol, SeenFlags, Traffic,
};
use tracer_core::model::loss::Missing;
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};

use crate::scenario::packet;

/// A time in nanoseconds.
pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1000 * MS;
pub const MINUTE: u64 = 60 * SECOND;
/// The interval of ticks; the program itself ticks at least as often.
const TICK: u64 = 250 * MS;

/// Something that happens.
pub enum Happening {
    /// A packet as scenario files write it, out of the pod or into it.
    Packet(u32, Direction, String),
    /// A pod's interface comes; its pod is found a little later.
    Attached(u32),
    Found(u32, Arc<str>),
    Gone(u32),
    /// The cluster as the API shows it from then on.
    Cluster(Box<Inventory>),
    /// A connection's counters: packets of the pod, and to it.
    Counted(u32, String, String, u64),
}

/// Happenings with their times, in any order.
#[derive(Default)]
pub struct Story {
    all: Vec<(u64, Happening)>,
}

impl Story {
    pub fn at(&mut self, time: u64, happening: Happening) {
        self.all.push((time, happening));
    }

    pub fn out(&mut self, time: u64, ifindex: u32, packet: String) {
        self.at(time, Happening::Packet(ifindex, Direction::FromPod, packet));
    }

    pub fn back(&mut self, time: u64, ifindex: u32, packet: String) {
        self.at(time, Happening::Packet(ifindex, Direction::ToPod, packet));
    }

    /// Its inputs in order, until a minute after the last event.
    pub fn each(self, mut step: impl FnMut(Input)) {
        let mut all = self.all;
        // Stable: what happens at the same time stays in the order in which it was reported.
        all.sort_by_key(|(time, _)| *time);
        let mut ticked = 0;
        let mut last = 0;
        for (time, happening) in all {
            while ticked + TICK <= time {
                ticked += TICK;
                step(Input::Tick(Timestamp(ticked)));
            }
            last = time;
            inputs(Timestamp(time), happening)
                .into_iter()
                .for_each(&mut step);
        }
        while ticked < last + MINUTE {
            ticked += TICK;
            step(Input::Tick(Timestamp(ticked)));
        }
        step(Input::End(Timestamp(ticked)));
    }
}

/// The pipeline's output.
pub struct Played {
    pub events: Vec<Event>,
    pub losses: Vec<String>,
}

/// Plays it to its end, a minute after the last event.
pub fn play(story: Story) -> Played {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut events = Vec::new();
    story.each(|input| pipeline.step(input, &mut events));
    let losses = pipeline.losses();
    let losses = losses
        .iter()
        .map(|loss| format!("{} {}", loss.count, loss.reason));
    Played {
        events,
        losses: losses.collect(),
    }
}

fn inputs(at: Timestamp, happening: Happening) -> Vec<Input> {
    let interface = |ifindex, uid| ClusterChange::Interface {
        ifindex: Ifindex(ifindex),
        uid,
    };
    match happening {
        Happening::Packet(ifindex, direction, words) => {
            let words: Vec<&str> = words.split_whitespace().collect();
            let packet = packet::build(&words).expect("a packet");
            vec![Input::Record(Record {
                time: at,
                ifindex: Ifindex(ifindex),
                direction,
                ethertype: packet.ethertype,
                wire_len: u32::try_from(packet.bytes.len()).expect("a short packet"),
                chunk_offset: 0,
                totals: None,
                missing: Missing::default(),
                sender_cgroup: 0,
                sender_process: None,
                bytes: packet.bytes,
            })]
        }
        Happening::Attached(ifindex) => vec![
            Input::Change(at, interface(ifindex, None)),
            Input::Attached(at, Ifindex(ifindex)),
        ],
        Happening::Found(ifindex, uid) => vec![Input::Change(at, interface(ifindex, Some(uid)))],
        Happening::Gone(ifindex) => vec![
            Input::Gone(at, Ifindex(ifindex)),
            Input::Change(at, ClusterChange::InterfaceGone(Ifindex(ifindex))),
        ],
        Happening::Cluster(inventory) => vec![Input::Change(at, ClusterChange::Replace(inventory))],
        Happening::Counted(ifindex, pod, peer, packets) => {
            let traffic = Traffic {
                packets,
                bytes: 100 * packets,
            };
            let both = SeenFlags::SYN | SeenFlags::ACK | SeenFlags::PSH;
            let snapshot = FlowSnapshot {
                flow: Flow {
                    ifindex: Ifindex(ifindex),
                    protocol: Protocol::Tcp,
                    pod: pod.parse().expect("a socket"),
                    peer: peer.parse().expect("a socket"),
                },
                totals: FlowTotals {
                    tx: traffic,
                    rx: traffic,
                    retransmits: None,
                },
                first: Timestamp(0),
                last: at,
                tcp_flags: SeenFlags { tx: both, rx: both },
            };
            vec![Input::Counters(at, vec![snapshot])]
        }
    }
}
