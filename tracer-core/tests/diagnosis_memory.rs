//! The memory of the diagnosis while pods flood it, as the allocator counts it.

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracer_core::diagnose::{Diagnosis, DiagnosisSettings};
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::dns::{DnsName, RecordType};
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::exchange::Outcome;
use tracer_core::model::flow::{Ifindex, Role};
use tracer_core::model::identity::{PeerEnd, PodEnd, PodIdentity, UnknownReason};
use tracer_core::model::lookup::{Lookup, SentQuery, Step};
use tracer_core::model::settings::Thresholds;
use tracer_core::model::time::Timestamp;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the diagnosis may use by default.
const BUDGET: usize = 24 << 20;
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));

/// A pod, or an address that one invents behind its interface.
fn ends(pod: u32, named: bool) -> Ends {
    let identity = PodIdentity {
        namespace: "default".into(),
        name: format!("pod-{pod}").into(),
        uid: format!("uid-{pod}").into(),
        workload: None,
        node: None,
    };
    Ends {
        ifindex: Ifindex(if named { pod } else { 1 }),
        role: Role::Client,
        pod: PodEnd {
            ip: Ipv4Addr::from(0x0a01_0000 + pod).into(),
            port: Some(40_000),
            identity: match named {
                true => Ok(Arc::new(identity)),
                false => Err(UnknownReason::NotInInventory),
            },
            container: None,
            at_uplink: false,
            process: None,
        },
        peer: PeerEnd {
            ip: SERVER,
            port: Some(53),
            pod: None,
            host_pod: None,
            service: None,
            node: None,
            names: Vec::new(),
            backend: None,
        },
        peer_traced_here: false,
    }
}

/// A lookup of a name of 250 characters that does not exist.
fn lookup(at: Timestamp, number: u64) -> Lookup {
    let label = "x".repeat(60);
    let name = format!("n{number}.{label}.{label}.{label}.example.com.");
    let outcome = Outcome::Nxdomain;
    let latency = Some(Duration::from_millis(1));
    Lookup {
        asked: Some(name.trim_end_matches('.').to_owned()),
        qtypes: vec![RecordType::A],
        outcome,
        queries: 1,
        duration: Duration::from_millis(1),
        waited: Duration::ZERO,
        steps: vec![Step {
            name: DnsName::new(&name),
            qtype: RecordType::A,
            outcome: Some(outcome),
            latency,
            attempts: 1,
            data: Vec::new(),
            errors: Vec::new(),
            asked: at,
            sent: vec![SentQuery {
                at,
                server: SERVER,
                port: 40_000,
                outcome: Some(outcome),
                latency,
            }],
        }],
    }
}

/// The bytes that the diagnosis holds at most during so many lookups of these pods, in turn.
fn most_held(pods: u32, lookups: u64, named: bool) -> usize {
    let index = Index::new(IndexSettings::default());
    let region = Region::new(ALLOCATOR);
    let thresholds = Thresholds::default();
    let mut diagnosis = Diagnosis::new(&DiagnosisSettings::default(), vec![53], &thresholds);
    let (mut most, mut out) = (0, Vec::new());
    for number in 0..lookups {
        let at = Timestamp(1_000_000_000 + number * 100_000);
        let pod = 1 + u32::try_from(number % u64::from(pods)).expect("a number of a pod");
        let event = Event {
            time: at,
            ends: Some(ends(pod, named)),
            incomplete: false,
            body: Body::Lookup(Box::new(lookup(at, number))),
        };
        diagnosis.event(at, &event, &index, &mut out);
        diagnosis.advance(at, &index, &mut out);
        drop(event);
        out = Vec::new();
        if number % 256 == 0 {
            let change = region.change();
            most = most.max(
                change
                    .bytes_allocated
                    .saturating_sub(change.bytes_deallocated),
            );
        }
    }
    drop(out);
    most
}

#[test]
fn floods_of_many_pods_and_of_invented_addresses_stay_within_the_budget() {
    // Enough to fill it: without limits each lookup leaves about a kilobyte.
    let many = most_held(100, 40_000, true);
    assert!(many < BUDGET, "{many} bytes for 100 pods");
    let invented = most_held(25_000, 25_000, false);
    assert!(invented < BUDGET, "{invented} bytes for 25,000 addresses");
    assert!(many > 1 << 20 && invented > 1 << 20, "{many}, {invented}");
}
