//! The key that identifies a query.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::model::dns::{OpCode, Question};
use crate::model::flow::{Flow, Ifindex, Protocol, Role};

/// Sorts before every other address.
const NO_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Client, server and question. The field order is the table's order: keys with equal first fields are
/// adjacent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// The least key of the same client.
    pub(super) fn first_of_client(&self) -> Key {
        Key {
            opcode: 0,
            id: 0,
            ..self.first_of_id()
        }
    }

    /// The least key of the same client and identifier.
    pub(super) fn first_of_id(&self) -> Key {
        Key {
            question: None,
            ..self.first_of_question()
        }
    }

    /// The least key of the same client, identifier and question.
    pub(super) fn first_of_question(&self) -> Key {
        Key {
            server: NO_SERVER,
            port: 0,
            ..self.clone()
        }
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
        self.server == other.server && self.port == other.port
    }
}
