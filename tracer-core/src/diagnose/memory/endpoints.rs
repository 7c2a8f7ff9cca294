//! How a pod's attempts at a Service went, by the endpoint that conntrack shows behind each.

use std::net::SocketAddr;
use std::time::Duration;

use super::recent::Recent;
use crate::model::time::Timestamp;

/// An endpoint that was not used for this long starts anew.
const KEEP: Duration = Duration::from_secs(600);
/// Endpoints of a pod's Services. Those used last stay.
const MAX_ENDPOINTS: usize = 256;

/// What goes to an endpoint of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::diagnose) enum Use {
    /// TCP connections.
    Tcp,
    /// UDP flows.
    Udp,
    /// DNS queries.
    Dns,
}

/// The attempts at an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Outcomes {
    pub failures: u64,
    pub attempts: u64,
}

/// The attempts at one endpoint, and when the latest one that failed began.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    outcomes: Outcomes,
    failed: Option<Timestamp>,
}

/// An endpoint behind an address and port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Behind {
    service: SocketAddr,
    what: Use,
    endpoint: SocketAddr,
}

/// A pod's attempts by endpoint.
#[derive(Debug)]
pub(in crate::diagnose) struct Endpoints {
    used: Recent<Behind, Used>,
}

impl Endpoints {
    pub fn new() -> Endpoints {
        Endpoints {
            used: Recent::new(MAX_ENDPOINTS),
        }
    }

    /// Takes in an attempt; `failed`: when it began, if it failed. Returns the number of entries that gave way.
    pub fn add(
        &mut self,
        now: Timestamp,
        (service, what): (SocketAddr, Use),
        endpoint: SocketAddr,
        failed: Option<Timestamp>,
    ) -> u64 {
        let behind = Behind {
            service,
            what,
            endpoint,
        };
        let mut used = self.used.get(&behind).copied().unwrap_or_default();
        used.outcomes.attempts += 1;
        used.outcomes.failures += u64::from(failed.is_some());
        used.failed = used.failed.max(failed);
        self.used.insert(now, behind, used)
    }

    /// The attempts at this endpoint, and at the others behind the same address, with their number.
    pub fn outcomes(
        &self,
        service: (SocketAddr, Use),
        endpoint: SocketAddr,
    ) -> (Outcomes, Outcomes, usize) {
        let (mut own, mut others, mut count) = (Outcomes::default(), Outcomes::default(), 0);
        for (behind, used) in self.behind(service) {
            let sum = if behind.endpoint == endpoint {
                &mut own
            } else {
                count += 1;
                &mut others
            };
            sum.attempts += used.outcomes.attempts;
            sum.failures += used.outcomes.failures;
        }
        (own, others, count)
    }

    /// The endpoints with an attempt that began at this time or later and failed, in the order of their
    /// addresses.
    pub fn failed_since(&self, service: (SocketAddr, Use), since: Timestamp) -> Vec<SocketAddr> {
        let failed = |(_, used): &(&Behind, &Used)| used.failed.is_some_and(|at| at >= since);
        let failed = self.behind(service).filter(failed);
        let mut endpoints: Vec<SocketAddr> = failed.map(|(behind, _)| behind.endpoint).collect();
        endpoints.sort_unstable();
        endpoints
    }

    /// The endpoint whose latest failed attempt began at this time, if no other one's did.
    pub fn failed_at(&self, service: (SocketAddr, Use), at: Timestamp) -> Option<SocketAddr> {
        let failed = |(_, used): &(&Behind, &Used)| used.failed == Some(at);
        let mut failed = self.behind(service).filter(failed);
        let (behind, _) = failed.next()?;
        failed.next().is_none().then_some(behind.endpoint)
    }

    fn behind(&self, (service, what): (SocketAddr, Use)) -> impl Iterator<Item = (&Behind, &Used)> {
        let all = self.used.iter();
        all.filter(move |(behind, _)| behind.service == service && behind.what == what)
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.used.expire(now, KEEP);
    }

    pub fn shrink(&mut self) {
        self.used.shrink();
    }

    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.used.bytes()
    }
}
