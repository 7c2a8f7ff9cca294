//! One pod floods, another one works: the memory stays within its budget, and every verdict about the other
//! pod is what it would be alone. The oracle is what the test itself sent.
//!
//! One test at a time: the allocator counts for the whole process.

use std::alloc::System;
use std::net::SocketAddr;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tracer_core::model::connection::TcpState;
use tracer_core::model::echo::EchoState;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::exchange::Outcome;
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::loss::Missing;
use tracer_core::model::record::Record;
use tracer_core::model::settings::Limits;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};

mod packet;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EVIL: Ifindex = Ifindex(1);
const VICTIM: Ifindex = Ifindex(2);
/// The bucket of the probes lets one interface emit this many records a second.
const FLOOD_PER_SECOND: u64 = 10_000;
const FLOOD: Duration = Duration::from_secs(4);
/// The server takes this long: less than any timeout, more than a flood needs to fill every table.
const SLOW: Duration = Duration::from_millis(2_500);
/// The victim starts something this often.
const EVERY: Duration = Duration::from_millis(500);
/// What the diagnosis, which has bounds of its own, may take beside the budget.
const DIAGNOSIS: usize = 24 << 20;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn socket(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), port)
}

/// The packet of a pod, or to it, at a time.
fn record(at: Timestamp, ifindex: Ifindex, direction: Direction, bytes: Vec<u8>) -> Record {
    Record {
        time: at,
        ifindex,
        direction,
        ethertype: 0x0800,
        wire_len: u32::try_from(bytes.len()).unwrap(),
        chunk_offset: 0,
        totals: None,
        missing: Missing::default(),
        sender_cgroup: 0,
        sender_process: None,
        bytes,
    }
}

/// What the victim did, and what came back.
#[derive(Debug, Default, PartialEq)]
struct Deeds {
    lookups: u64,
    connections: u64,
    pings: u64,
}

/// The victim's packets that are still to come, in order of time.
#[derive(Default)]
struct Victim {
    to_come: Vec<Record>,
    deeds: Deeds,
}

impl Victim {
    /// Looks a name up, connects and pings. Everything is answered, late but in time.
    fn act(&mut self, at: Timestamp, number: u16) {
        let pod = |port| socket("10.244.0.9", port);
        let port = 40_000 + number;
        let dns = socket("10.96.0.10", 53);
        let name = format!("name-{number}.example.com");
        let answered = at.after(SLOW);
        let mut send = |at: Timestamp, direction, bytes| {
            self.to_come.push(record(at, VICTIM, direction, bytes));
        };
        let query = packet::query(number, &name, 1);
        send(at, Direction::FromPod, packet::udp(pod(port), dns, &query));
        let answer = packet::answer(number, &name);
        send(
            answered,
            Direction::ToPod,
            packet::udp(dns, pod(port), &answer),
        );
        let web = socket("10.96.0.20", 80);
        let ack = 1 << 1;
        let (syn, fin) = (1, 1 << 2 | ack);
        send(
            at,
            Direction::FromPod,
            packet::tcp(pod(port), web, syn, 100, 0),
        );
        send(
            answered,
            Direction::ToPod,
            packet::tcp(web, pod(port), syn | ack, 900, 101),
        );
        let done = answered.after(Duration::from_secs(1));
        send(
            done,
            Direction::FromPod,
            packet::tcp(pod(port), web, fin, 101, 901),
        );
        send(
            done,
            Direction::ToPod,
            packet::tcp(web, pod(port), fin, 901, 102),
        );
        let far = socket("10.244.1.9", 0);
        send(
            at,
            Direction::FromPod,
            packet::echo(pod(0), far, false, number),
        );
        send(
            answered,
            Direction::ToPod,
            packet::echo(far, pod(0), true, number),
        );
        self.deeds.lookups += 1;
        self.deeds.connections += 1;
        self.deeds.pings += 1;
        self.to_come.sort_by_key(|record| record.time);
    }
}

/// What the events say about the victim.
#[derive(Debug, Default)]
struct Reported {
    deeds: Deeds,
    wrong: Vec<String>,
}

impl Reported {
    fn take(&mut self, event: &Event) {
        if event
            .ends
            .as_ref()
            .is_none_or(|ends| ends.ifindex != VICTIM)
        {
            return;
        }
        let right = match &event.body {
            Body::Dns(exchange, _) => exchange.outcome == Outcome::Answered,
            Body::Lookup(lookup) => {
                self.deeds.lookups += 1;
                lookup.outcome == Outcome::Answered
            }
            Body::Tcp(connection) => {
                self.deeds.connections += u64::from(connection.state == TcpState::Closed);
                matches!(connection.state, TcpState::Established | TcpState::Closed)
            }
            Body::Echo(echo) => {
                let done = echo.state == EchoState::Done;
                self.deeds.pings += if done { echo.received } else { 0 };
                !done || echo.received == echo.sent
            }
            // No finding among them.
            _ => false,
        };
        if !right {
            self.wrong.push(format!("{event:?}"));
        }
    }
}

/// Lets one pod flood while the other one acts.
fn flood(what: &str, evil: impl Fn(u64) -> Vec<u8>) {
    let before = allocated();
    let mut pipeline = Pipeline::new(Settings::default());
    let (mut victim, mut reported) = (Victim::default(), Reported::default());
    let (mut events, mut peak) = (Vec::new(), 0);
    let start = Timestamp(1_000_000_000);
    let end = start.after(FLOOD);
    let (mut number, mut acts) = (0, 0);
    let step =
        |pipeline: &mut Pipeline, input, events: &mut Vec<Event>, reported: &mut Reported| {
            pipeline.step(input, events);
            for event in events.drain(..) {
                reported.take(&event);
            }
        };
    loop {
        let now = start.after(Duration::from_nanos(
            number * 1_000_000_000 / FLOOD_PER_SECOND,
        ));
        if now > end {
            break;
        }
        if now >= start.after(EVERY * acts) && now < end.after(Duration::ZERO) {
            victim.act(now, u16::try_from(acts).unwrap());
            acts += 1;
        }
        while victim
            .to_come
            .first()
            .is_some_and(|record| record.time <= now)
        {
            let record = victim.to_come.remove(0);
            step(
                &mut pipeline,
                Input::Record(record),
                &mut events,
                &mut reported,
            );
        }
        let record = record(now, EVIL, Direction::FromPod, evil(number));
        step(
            &mut pipeline,
            Input::Record(record),
            &mut events,
            &mut reported,
        );
        if number % 1_000 == 0 {
            peak = peak.max(allocated() - before);
        }
        number += 1;
    }
    for record in std::mem::take(&mut victim.to_come) {
        step(
            &mut pipeline,
            Input::Record(record),
            &mut events,
            &mut reported,
        );
    }
    let last = end.after(Duration::from_secs(400));
    step(&mut pipeline, Input::Tick(last), &mut events, &mut reported);
    step(&mut pipeline, Input::End(last), &mut events, &mut reported);

    println!("{what}: {} KiB at most, {number} packets", peak >> 10);
    let memory = Limits::default().memory;
    let budget = memory.total() + Limits::default().streams.total_bytes + DIAGNOSIS;
    assert!(peak <= budget, "{what}: {peak} bytes of {budget}");
    assert_eq!(reported.wrong, [""; 0], "{what}");
    assert_eq!(reported.deeds, victim.deeds, "{what}");
    let losses = pipeline.losses();
    let others: Vec<_> = (losses.interfaces().iter())
        .filter(|(ifindex, _)| *ifindex != EVIL)
        .collect();
    assert!(others.is_empty(), "{what}: {others:?}");
    let of_evil: u64 = (losses.interfaces().iter())
        .map(|(_, loss)| loss.count)
        .sum();
    assert!(
        of_evil > 0,
        "{what}: the flood did not fill a table: {losses:?}"
    );
}

#[test]
fn a_flood_of_one_pod_stays_within_the_budget_and_changes_no_verdict_about_another() {
    let pod = |port: u64| socket("10.244.0.8", u16::try_from(1_024 + port % 60_000).unwrap());
    let nowhere = |port: u64| socket("10.9.9.9", u16::try_from(1_024 + port % 60_000).unwrap());
    let dns = socket("10.96.0.10", 53);
    let long = "a-label-of-the-greatest-length-that-a-name-may-have-in-the-dns.".repeat(3);
    // 60 types of every name: the steps of one lookup.
    flood("many types of long names", |number| {
        let name = format!("n{}.{long}example.com", number / 60);
        let qtype = u16::try_from(1 + number % 60).unwrap();
        let query = packet::query(number as u16, &name, qtype);
        packet::udp(pod(number / 60), dns, &query)
    });
    flood("short names", |number| {
        let query = packet::query(number as u16, &format!("n{number}.test"), 1);
        packet::udp(pod(number), dns, &query)
    });
    flood("connections", |number| {
        packet::tcp(pod(number), nowhere(number / 60_000 + 80), 1, 100, 0)
    });
    flood("pings", |number| {
        packet::echo(
            socket("10.244.0.8", 0),
            socket("10.9.9.9", 0),
            false,
            number as u16,
        )
    });
    flood("datagrams", |number| {
        packet::udp(pod(number), nowhere(number * 7), b"x")
    });
}
