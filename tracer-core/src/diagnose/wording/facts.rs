//! The sentences that explain a finding, one file per subject.

mod connection;
mod flow;
mod inventory;
mod name;
mod path;
mod ping;
mod pod;
mod policy;
mod route;
mod server;

pub(crate) use self::path::drop_means;
pub(super) use self::route::family;

use super::parts::List;
use super::sentence;
use crate::diagnose::fact::{Fact, NotReady, Ready};
use crate::model::sentence::Sentence;

/// One fact, as a sentence or two.
pub(in crate::diagnose) fn fact(fact: &Fact) -> Sentence {
    match fact {
        Fact::Connection(fact) => connection::sentence(fact),
        Fact::Flow(fact) => flow::sentence(fact),
        Fact::Inventory(fact) => inventory::sentence(fact),
        Fact::Name(fact) => name::sentence(fact),
        Fact::Path(fact) => path::sentence(fact),
        Fact::Ping(fact) => ping::sentence(fact),
        Fact::Pod(fact) => pod::sentence(fact),
        Fact::Policy(fact) => policy::sentence(fact),
        Fact::Route(fact) => route::sentence(fact),
        Fact::Server(fact) => server::sentence(fact),
    }
}

/// How many endpoints of a Service are ready, and which.
fn ready(ready: &Ready) -> Sentence {
    match ready {
        Ready::Unknown(lacking) => sentence!(
            "Which endpoints it has is not known: {}.",
            inventory::lacking(*lacking)
        ),
        Ready::Endpoints(endpoints) => match endpoints.len() {
            0 => sentence!("It has no ready endpoint: a connection to its ports would fail too."),
            1 => sentence!("Its one ready endpoint: {}.", List(endpoints)),
            several => sentence!("Its {} ready endpoints: {}.", several, List(endpoints)),
        },
    }
}

/// Why a Service has no ready endpoint.
fn not_ready(why: &NotReady) -> Sentence {
    match why {
        NotReady::Unready(endpoints) => match endpoints.len() {
            1 => sentence!("Its one endpoint is not ready: {}.", List(endpoints)),
            all => sentence!(
                "None of its {} endpoints is ready: {}.",
                all,
                List(endpoints)
            ),
        },
        NotReady::Terminating(endpoints) => match endpoints.len() {
            1 => sentence!(
                "Its one endpoint is terminating: {}. A node may still forward to it while it passes its readiness probe.",
                List(endpoints)
            ),
            all => sentence!(
                "All its {} endpoints are terminating: {}. A node may still forward to those that pass their readiness probe.",
                all,
                List(endpoints)
            ),
        },
        NotReady::OtherFamily { v4, ready } => sentence!(
            "Its {} ready endpoints have {} addresses only; an {} address of a Service leads to endpoints with {} addresses.",
            *ready,
            family(!*v4),
            family(*v4),
            family(*v4)
        ),
        NotReady::NoSelector => {
            sentence!("It has no selector, so its endpoints are made by hand, and it has none.")
        }
        NotReady::PodsUnknown(selector, lacking) => sentence!(
            "It has no endpoint. Whether its selector {} matches a pod is not known: {}.",
            selector,
            inventory::lacking(*lacking)
        ),
        NotReady::Selects(selector, pods) => match pods.len() {
            0 => sentence!("Its selector {} matches no pod.", selector),
            1 => sentence!(
                "Its selector {} matches one pod, which is no endpoint: {}.",
                selector,
                List(pods)
            ),
            several => sentence!(
                "Its selector {} matches {} pods, none of which is an endpoint: {}.",
                selector,
                several,
                List(pods)
            ),
        },
    }
}
