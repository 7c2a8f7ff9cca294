//! Which end of a packet is the client, in captures without a known pod.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::headers::{About, Headers, Sign};
use crate::model::flow::Protocol;

/// Ports below this one belong to servers (RFC 6335).
const WELL_KNOWN_PORTS: u16 = 1024;

/// Fragmented packets remembered at a time; their fragments follow each other closely.
const MAX_FRAGMENTED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// Server sockets remembered at a time; one that is forgotten is recognised by its port.
const MAX_SERVERS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// A flow regardless of direction: the lower end first.
type FlowKey = (Protocol, SocketAddr, SocketAddr);
type FragmentKey = (IpAddr, IpAddr, Protocol, u32);

/// The client of each flow.
#[derive(Debug)]
pub(super) struct Roles {
    clients: LruCache<FlowKey, SocketAddr>,
    /// Whether the sender of a fragmented packet is the client.
    fragmented: LruCache<FragmentKey, bool>,
    /// Sockets that others connect to.
    servers: LruCache<SocketAddr, ()>,
    dns_ports: Vec<u16>,
    evicted: u64,
}

impl Roles {
    /// Remembers `limit` flows; the least recently used one is evicted.
    pub(super) fn new(dns_ports: Vec<u16>, limit: NonZeroUsize) -> Roles {
        Roles {
            clients: LruCache::new(limit),
            fragmented: LruCache::new(MAX_FRAGMENTED),
            servers: LruCache::new(MAX_SERVERS),
            dns_ports,
            evicted: 0,
        }
    }

    /// The number of evicted flows.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Whether the packet's sender is the client of its flow.
    pub(super) fn sender_is_client(&mut self, headers: &Headers) -> bool {
        if let Some(about) = &headers.about {
            // An error belongs to the client of the quoted flow, whichever end refused: a client that
            // disappeared refuses answers. If neither end is the client, the error comes from a place where
            // the flow has translated addresses.
            let client = self.client_of_quoted(about);
            return match headers.src == headers.dst {
                // The error goes to the sender of the quoted packet.
                true => client == about.dst,
                false => client.ip() == headers.src,
            };
        }
        let Some(fragment) = headers.fragment else {
            return self.sender_opened(headers);
        };
        let key = (headers.src, headers.dst, headers.protocol, fragment.id);
        if fragment.first {
            let client = self.sender_opened(headers);
            self.fragmented.push(key, client);
            client
        } else {
            match self.fragmented.get(&key) {
                Some(client) => *client,
                None => self.sender_opened(headers),
            }
        }
    }

    fn sender_opened(&mut self, headers: &Headers) -> bool {
        let (src, dst) = headers.ends();
        // ICMP messages identify the client themselves, so no state is kept for them.
        if let (Protocol::Icmp | Protocol::Icmpv6, Some(sign)) = (headers.protocol, headers.sign) {
            return sign == Sign::Began;
        }
        let key = (headers.protocol, src.min(dst), src.max(dst));
        let client = match headers.sign {
            Some(Sign::Began) => src,
            Some(Sign::Answers) => dst,
            None => match self.clients.get(&key) {
                Some(client) => return *client == src,
                None => self.guess(headers.protocol, src, dst),
            },
        };
        if headers.protocol == Protocol::Tcp && headers.sign.is_some() {
            let server = if client == src { dst } else { src };
            self.servers.put(server, ());
        }
        if let Some((other, _)) = self.clients.push(key, client)
            && other != key
        {
            self.evicted += 1;
        }
        client == src
    }

    fn client_of_quoted(&self, about: &About) -> SocketAddr {
        let About {
            protocol,
            src,
            dst,
            sign,
        } = *about;
        match sign {
            Some(Sign::Began) => src,
            Some(Sign::Answers) => dst,
            None => match self.clients.peek(&(protocol, src.min(dst), src.max(dst))) {
                Some(client) => *client,
                None => self.guess(protocol, src, dst),
            },
        }
    }

    /// A guess for a flow that began before the capture, or whose protocol does not show its client: others
    /// connect to the server's socket, or it has a well-known port.
    fn guess(&self, protocol: Protocol, src: SocketAddr, dst: SocketAddr) -> SocketAddr {
        let known = |end| protocol == Protocol::Tcp && self.servers.peek(&end).is_some();
        match (known(src), known(dst)) {
            (true, false) => return dst,
            (false, true) => return src,
            _ => {}
        }
        match (self.is_server(src), self.is_server(dst)) {
            (true, false) => dst,
            (false, true) => src,
            // A connection without its SYN began earlier; the higher port is the ephemeral one.
            _ if protocol == Protocol::Tcp && src.port() < dst.port() => dst,
            // Otherwise the end that is seen first.
            _ => src,
        }
    }

    fn is_server(&self, end: SocketAddr) -> bool {
        end.port() != 0 && (end.port() < WELL_KNOWN_PORTS || self.dns_ports.contains(&end.port()))
    }
}
