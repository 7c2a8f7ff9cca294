//! DNS by server: which CoreDNS pod, Service or address answers, and how fast.
//!
//! At a client the server is what the client asked: with kube-proxy a Service, whose choice of a pod is not
//! visible there. At a server's own interface it is that pod. `direction` keeps the two apart.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Forget as _, SeriesOwner, Table};
use super::owners::{Admission, Limited, OTHER};
use super::{inc, seconds};
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::exchange::Outcome;
use tracer_core::model::flow::Role;
use tracer_core::model::printable::replaced;
use tracer_core::view::words;

/// Servers with a name in the cluster that have series.
pub(super) const MAX_NAMED: usize = 64;
/// Addresses outside the cluster that have series. A pod can query any: they take no room from the others.
pub(super) const MAX_ADDRESSES: usize = 16;

/// A DNS server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Server {
    /// `pod`, `service`, `node` or `address`; [`OTHER`] for those without series.
    kind: &'static str,
    /// `namespace/name`, a node's name, or the address.
    name: Arc<str>,
}

impl SeriesOwner for Server {
    fn labels(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        vec![
            ("server_kind", self.kind.into()),
            ("server", replaced(&self.name)),
        ]
    }
}

impl Server {
    fn of(ends: &Ends) -> Server {
        let named = |kind, namespace: &str, name: &str| Server {
            kind,
            name: format!("{namespace}/{name}").into(),
        };
        match ends.role {
            Role::Server => match &ends.pod.identity {
                Ok(pod) => named("pod", &pod.namespace, &pod.name),
                Err(_) => Server::at(ends.pod.ip),
            },
            Role::Client => {
                let peer = &ends.peer;
                match (&peer.service, &peer.pod, &peer.node) {
                    (Some(service), ..) => named("service", &service.namespace, &service.name),
                    (None, Some(pod), _) => named("pod", &pod.namespace, &pod.name),
                    (None, None, Some(node)) => Server {
                        kind: "node",
                        name: Arc::clone(node),
                    },
                    (None, None, None) => Server::at(peer.ip),
                }
            }
        }
    }

    fn at(ip: IpAddr) -> Server {
        Server {
            kind: "address",
            name: ip.to_string().into(),
        }
    }

    fn other() -> Server {
        Server {
            kind: OTHER,
            name: OTHER.into(),
        }
    }
}

/// The servers that have series.
#[derive(Debug)]
struct Admitted {
    named: Limited<Server>,
    addresses: Limited<Server>,
}

/// The metrics of all servers.
#[derive(Debug)]
pub(super) struct DnsServers {
    exchanges: Table<2, Counter, Server>,
    latency: Table<1, Histogram, Server>,
    admitted: Mutex<Admitted>,
}

impl DnsServers {
    pub fn register(registry: &mut Registry) -> DnsServers {
        let servers = DnsServers {
            exchanges: Table::new(Counter::default),
            latency: Table::new(seconds),
            admitted: Mutex::new(Admitted {
                named: Limited::new(MAX_NAMED),
                addresses: Limited::new(MAX_ADDRESSES),
            }),
        };
        registry.register(
            "dns_server_exchanges",
            "DNS exchanges by server, as seen at the clients' and at the servers' interfaces",
            servers.exchanges.clone(),
        );
        registry.register_with_unit(
            "dns_server_latency",
            "Time from the first attempt of a DNS query to the answer of a server",
            Unit::Seconds,
            servers.latency.clone(),
        );
        servers
    }

    /// Counts an exchange; ignores all other events.
    pub fn observe(&self, event: &Event, ends: &Ends) {
        let Body::Dns(exchange, _) = &event.body else {
            return;
        };
        // A late one was counted as a timeout.
        if exchange.late {
            return;
        }
        let server = self.admit(event, Server::of(ends));
        let direction = ("direction", words::direction(ends.role));
        let outcome = match event.incomplete {
            true => Outcome::Undecided,
            false => exchange.outcome,
        };
        let outcome = ("outcome", outcome.as_str());
        self.exchanges.with([outcome, direction], &server, inc);
        if let (Some(latency), false) = (exchange.latency, event.incomplete) {
            let latency = latency.as_secs_f64();
            let observe = |histogram: &Histogram| histogram.observe(latency);
            self.latency.with([direction], &server, observe);
        }
    }

    /// The server, or the one that all servers without series share.
    fn admit(&self, event: &Event, server: Server) -> Server {
        let mut admitted = self.admitted.lock();
        let limited = match server.kind {
            "address" => &mut admitted.addresses,
            _ => &mut admitted.named,
        };
        match limited.admit(event.time, &server) {
            Admission::Shared => Server::other(),
            Admission::Own { evicted } => {
                if let Some(gone) = evicted {
                    self.exchanges.forget(&|server| *server == gone);
                    self.latency.forget(&|server| *server == gone);
                }
                server
            }
        }
    }
}
