//! What a query is known by.

use std::net::{IpAddr, SocketAddr};

use crate::model::dns::{OpCode, Question};
use crate::model::flow::{Flow, Ifindex, Protocol, Role};

/// Who asked whom what. The order of the fields is the order of the table: what has the first fields in common is together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) ifindex: Ifindex,
    pub(super) role: Role,
    pub(super) protocol: Protocol,
    pub(super) client: IpAddr,
    pub(super) server: SocketAddr,
    /// A NOTIFY or UPDATE is never taken for the query that has its identifier.
    pub(super) opcode: u8,
    pub(super) id: u16,
    pub(super) question: Option<Question>,
    pub(super) port: u16,
}

impl Key {
    pub(super) fn new(
        flow: &Flow,
        role: Role,
        opcode: OpCode,
        id: u16,
        question: Option<Question>,
    ) -> Key {
        let (client, server) = match role {
            Role::Client => (flow.pod, flow.peer),
            Role::Server => (flow.peer, flow.pod),
        };
        Key {
            ifindex: flow.ifindex,
            role,
            protocol: flow.protocol,
            client: client.ip(),
            server,
            opcode: opcode.into(),
            id,
            question,
            port: client.port(),
        }
    }

    /// Between the same two, in the same role.
    pub(super) fn same_ends(&self, other: &Key) -> bool {
        (
            self.ifindex,
            self.role,
            self.protocol,
            self.client,
            self.server,
        ) == (
            other.ifindex,
            other.role,
            other.protocol,
            other.client,
            other.server,
        )
    }
}
