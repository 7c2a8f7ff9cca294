//! The parts of the way from a client to a server's pod and back.
//!
//! Words of a finding can be about some of them only. Where the path of the attempt is known, words about the others
//! no longer explain it.

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stretch {
    /// The client's node, which also translates a Service's address.
    ClientNode,
    /// Between the nodes.
    Network,
    /// The server's node, before the pod.
    ServerNode,
    /// The server's pod: its interface has shown the request.
    Pod,
    /// The way of the answer.
    Return,
}

/// A set of them. The empty one stands for no part in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stretches(u8);

const ALL: Stretches = Stretches::of(&[
    Stretch::ClientNode,
    Stretch::Network,
    Stretch::ServerNode,
    Stretch::Pod,
    Stretch::Return,
]);

impl Stretches {
    /// No part in particular.
    pub const NONE: Stretches = Stretches(0);

    /// These parts.
    pub const fn of(parts: &[Stretch]) -> Stretches {
        let mut bits = 0;
        let mut next = 0;
        while next < parts.len() {
            bits |= 1 << parts[next] as u8;
            next += 1;
        }
        Stretches(bits)
    }

    /// One bit each, in the order of travel.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The reverse of [`Stretches::bits`]; `None` for parts of a later version.
    pub fn from_bits(bits: u32) -> Option<Stretches> {
        let bits = u8::try_from(bits).ok();
        bits.filter(|bits| bits & !ALL.0 == 0).map(Stretches)
    }

    /// Whether words about these parts can hold where the attempt ended on one of `left`.
    pub fn meets(self, left: Stretches) -> bool {
        self.0 == 0 || self.0 & left.0 != 0
    }
}
