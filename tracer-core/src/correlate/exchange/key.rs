//! The key that identifies a query.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use foldhash::fast::RandomState;

use crate::fair_table;
use crate::model::dns::{OpCode, Question};
use crate::model::flow::{Flow, Ifindex, Protocol, Role};

/// The group of entries with the same client and identifier.
pub(super) const SAME_ID: usize = 0;
/// The group of entries between the same two sockets.
pub(super) const SAME_SOCKETS: usize = 1;

/// Hashes the parts of all keys. Differs between processes, so that no sender can choose colliding keys.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A hash that no sender can choose.
pub(super) fn hash(parts: impl Hash) -> u64 {
    HASHER.hash_one(parts)
}

/// Client, server and question. Several tables look it up for each message, so it is hashed once.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Of the fields up to `client`.
    client_hash: u64,
    /// Of those, and of both sockets.
    pub(super) sockets_hash: u64,
    /// Of all fields.
    pub(super) hash: u64,
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
        let opcode: u8 = opcode.into();
        let same_client = (flow.ifindex, role, flow.protocol, client.ip());
        let client_hash = hash(same_client);
        let sockets_hash = hash((client_hash, server, client.port()));
        Key {
            ifindex: flow.ifindex,
            role,
            protocol: flow.protocol,
            client: client.ip(),
            opcode,
            id,
            client_hash,
            sockets_hash,
            hash: hash((sockets_hash, opcode, id, &question)),
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

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl fair_table::Key for Key {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, group: usize, state: &mut H) {
        match group {
            SAME_ID => (self.client_hash, self.opcode, self.id).hash(state),
            _ => self.sockets_hash.hash(state),
        }
    }
}
