//! The key that identifies a query.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::fair_table;
use crate::model::dns::{OpCode, Question};
use crate::model::flow::{Flow, Ifindex, Protocol, Role};

/// The group of entries with the same client and identifier.
pub(super) const SAME_ID: usize = 0;
/// The group of entries between the same two sockets.
pub(super) const SAME_SOCKETS: usize = 1;

/// Client, server and question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) ifindex: Ifindex,
    pub(super) role: Role,
    pub(super) protocol: Protocol,
    pub(super) client: IpAddr,
    /// Keeps a NOTIFY or UPDATE apart from a query with the same identifier.
    pub(super) opcode: u8,
    pub(super) id: u16,
    pub(super) question: Option<Question>,
    pub(super) server: SocketAddr,
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
            opcode: opcode.into(),
            id,
            question,
            server,
            port: client.port(),
        }
    }

    /// The key of a packet whose message is unknown.
    pub(super) fn from_flow(flow: &Flow, role: Role) -> Key {
        Key::new(flow, role, OpCode::Query, 0, None)
    }

    /// Whether both have the same client in the same role.
    pub(super) fn same_client(&self, other: &Key) -> bool {
        (self.ifindex, self.role, self.protocol, self.client)
            == (other.ifindex, other.role, other.protocol, other.client)
    }

    /// Whether both have the same client and identifier.
    pub(super) fn same_id(&self, other: &Key) -> bool {
        self.same_client(other) && (self.opcode, self.id) == (other.opcode, other.id)
    }

    /// Whether both have the same client, identifier and question.
    pub(super) fn same_question(&self, other: &Key) -> bool {
        self.same_id(other) && self.question == other.question
    }

    /// Whether both are between the same two sockets; over TCP, on the same connection.
    pub(super) fn same_sockets(&self, other: &Key) -> bool {
        self.same_client(other) && self.server == other.server && self.port == other.port
    }
}

impl fair_table::Key for Key {
    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, group: usize, state: &mut H) {
        (self.ifindex, self.role, self.protocol, self.client).hash(state);
        match group {
            SAME_ID => (self.opcode, self.id).hash(state),
            _ => (self.server, self.port).hash(state),
        }
    }
}
