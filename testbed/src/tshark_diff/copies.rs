//! Finds the packets of a capture that are one packet, seen at several interfaces.
//!
//! A capture of all interfaces (`tcpdump -i any`), or one merged from several, holds a packet at each
//! interface that it crosses, before and after its addresses are translated. The tracer reports it once, at
//! the pod's interface; tshark takes the first for the message and, over TCP, dissects no other. Nothing of
//! the tracer counts here: what is on both sides of a router is recognised by the payload, the sequence
//! number and options of TCP, and the identification of IPv4.

use std::collections::HashMap;

use serde_json::Value;

use super::message::{End, Time};

/// Link types of captures of all interfaces (wiretap's numbers): Linux cooked v1 and v2.
const COOKED: [&str; 2] = ["25", "210"];

/// Longer than a packet needs to cross a machine, shorter than a client's retry interval.
const CROSSING_NS: Time = 100_000_000;

/// Where and when a packet was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its stamp there.
    pub time: Time,
    /// The sender's address there.
    pub src: End,
    /// The receiver's.
    pub dst: End,
}

/// What stays the same from one interface to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Print(Vec<String>);

/// The sightings of each packet.
#[derive(Debug, Default)]
pub struct Copies {
    seen: HashMap<Print, Vec<Sighting>>,
}

impl Copies {
    /// Of all packets, with what each was called there; nothing of a capture of one interface, where two
    /// equal packets are two packets.
    pub fn of(packets: &[(&Value, Sighting)]) -> Copies {
        let mut copies = Copies::default();
        if several_interfaces(packets) {
            for (layers, sighting) in packets {
                if let Some(print) = print(layers) {
                    copies.seen.entry(print).or_default().push(sighting.clone());
                }
            }
        }
        copies
    }

    /// Where else the packet with these layers was seen.
    pub fn elsewhere(&self, layers: &Value, here: &Sighting) -> Vec<Sighting> {
        let Some(all) = print(layers).and_then(|print| self.seen.get(&print)) else {
            return Vec::new();
        };
        let near = |other: &&Sighting| (other.time - here.time).abs() < CROSSING_NS;
        let mut elsewhere: Vec<Sighting> = all.iter().filter(near).cloned().collect();
        // One of them is this one; of a file merged with itself others are equal to it.
        if let Some(this) = elsewhere.iter().position(|other| other == here) {
            elsewhere.swap_remove(this);
        }
        elsewhere
    }
}

fn several_interfaces(packets: &[(&Value, Sighting)]) -> bool {
    let frames = || packets.iter().map(|(layers, _)| &layers["frame"]);
    let first = frames().next().map(|frame| &frame["frame.interface_id"]);
    frames().any(|frame| {
        let cooked = frame["frame.encap_type"].as_str();
        cooked.is_some_and(|link| COOKED.contains(&link))
            || Some(&frame["frame.interface_id"]) != first
    })
}

/// None without a payload.
fn print(layers: &Value) -> Option<Print> {
    let (tcp, udp) = (&layers["tcp"], &layers["udp"]);
    let payload = tcp["tcp.payload"]
        .as_str()
        .or(udp["udp.payload"].as_str())?;
    let rest = [
        &layers["ip"]["ip.id"],
        &tcp["tcp.seq_raw"],
        &tcp["tcp.options"],
    ];
    let mut parts = vec![payload.to_owned()];
    parts.extend(rest.map(ToString::to_string));
    Some(Print(parts))
}
