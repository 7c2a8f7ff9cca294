//! More records than the ring buffer can hold: no answered query becomes a timeout, and the pod that fills the
//! ring buffer hides nothing of the others.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testbed::turn;
use tracer::capture::Options;
use tracer::capture::live::{Capture, CaptureMessage, InterfaceEvent};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::exchange::{Exchange, Outcome};
use tracer_core::model::flow::Ifindex;
use tracer_core::model::loss::InterfaceLoss;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};

use super::live::{GATEWAY, udp_socket};
use super::netns::Netns;

/// The flood's length, long enough for the capture's queue to fill. On a busy machine it lasts until there was enough.
const FLOOD: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);
/// Sockets of a flood, each with one query in flight.
const SOCKETS: usize = 64;
/// The reader's pause per message: with batches of 256 records it reads at most 2,560 a second.
const PAUSE: Duration = Duration::from_millis(100);

/// A query for an A record.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// Answers every query with one address until stopped.
fn serve(socket: UdpSocket, end: &Arc<AtomicBool>) -> JoinHandle<()> {
    let end = Arc::clone(end);
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while !end.load(Ordering::Relaxed) {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let mut answer = buffer[..len].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[7] = 1;
            // The name, A, IN, 60 seconds, an address.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
            socket.send_to(&answer, from).expect("answers");
        }
    })
}

/// Asks from many sockets as fast as the server answers, until this many queries were `enough`. Returns the number of
/// answered queries; every query is.
fn flood(pod: &Netns, enough: impl Fn(u64) -> bool + Send + 'static) -> JoinHandle<u64> {
    let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| udp_socket(pod, "0.0.0.0:0")).collect();
    std::thread::spawn(move || {
        let begun = Instant::now();
        let (mut asked, mut buffer) = (0_u64, [0; 512]);
        while begun.elapsed() < FLOOD || !enough(asked) {
            assert!(begun.elapsed() < PATIENCE, "only {asked} queries");
            for socket in &sockets {
                asked += 1;
                let message = query(asked as u16, &format!("flood{asked}.example.org"));
                socket.send_to(&message, (GATEWAY, 53)).expect("sends");
            }
            for socket in &sockets {
                socket.recv(&mut buffer).expect("an answer");
            }
        }
        asked
    })
}

/// Asks at most twenty times a second until the flood ends: far less than any share of the ring buffer.
fn ask_calmly(pod: &Netns, flood: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let socket = udp_socket(pod, "0.0.0.0:0");
    let ended = Arc::clone(flood);
    std::thread::spawn(move || {
        let (mut asked, mut buffer) = (0_u64, [0; 512]);
        while !ended.load(Ordering::Relaxed) {
            asked += 1;
            let message = query(asked as u16, &format!("calm{asked}.example.org"));
            socket.send_to(&message, (GATEWAY, 53)).expect("sends");
            socket.recv(&mut buffer).expect("an answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        asked
    })
}

/// What a reader made of the traffic.
struct Read {
    events: Vec<Event>,
    lost: u64,
    reported: Vec<InterfaceLoss>,
}

impl Read {
    /// Reads until the traffic has ended, with this pause after each message, then lets all timeouts pass. The traffic
    /// knows how many records were lost so far.
    fn with_pause(
        pause: Duration,
        node: &Netns,
        traffic: impl FnOnce(&Capture, &Arc<AtomicU64>) -> Vec<JoinHandle<u64>>,
    ) -> (Read, Vec<u64>) {
        let options = Options {
            ring_bytes: 256 << 10,
            ..Options::default()
        };
        let (mut capture, mut messages) = node
            .enter(|| Capture::start(options))
            .expect("the capture starts");
        let mut pipeline = Pipeline::new(Settings::default());
        let (mut events, mut reported, mut read_until) = (Vec::new(), Vec::new(), Timestamp(0));
        let lost = Arc::new(AtomicU64::new(0));
        let traffic = traffic(&capture, &lost);
        let mut ended = None;
        while let Some(message) = messages.blocking_recv() {
            match message {
                CaptureMessage::Records(records) => {
                    for record in records {
                        pipeline.step(Input::Record(record), &mut events);
                    }
                    if ended.is_none() {
                        std::thread::sleep(pause);
                        let stats = capture.stats().expect("statistics");
                        lost.store(stats.lost_records(), Ordering::Relaxed);
                    }
                }
                CaptureMessage::Lost(lost) => {
                    reported.extend_from_slice(&lost);
                    let until = lost.iter().map(|loss| loss.until).max();
                    let until = until.expect("it is never empty");
                    pipeline.step(Input::Lost(until, lost), &mut events);
                }
                CaptureMessage::ReadUntil(until) => {
                    read_until = until;
                    pipeline.step(Input::Tick(until), &mut events);
                }
                CaptureMessage::Interface(InterfaceEvent::Attached { link, since }) => {
                    pipeline.step(Input::Attached(since, link.ifindex), &mut events);
                }
                CaptureMessage::Interface(_) | CaptureMessage::Drop(..) => {}
            }
            if ended.is_none() && traffic.iter().all(JoinHandle::is_finished) {
                ended = Some(capture.clock().now());
            }
            if ended.is_some_and(|ended| read_until > ended) {
                capture.shutdown();
            }
        }
        let later = Timestamp(read_until.0 + 30_000_000_000);
        pipeline.step(Input::Tick(later), &mut events);
        let answered = traffic
            .into_iter()
            .map(|thread| thread.join().expect("every query was answered"))
            .collect();
        let lost = capture.stop().expect("stops").lost_records();
        let read = Read {
            events,
            lost,
            reported,
        };
        (read, answered)
    }

    fn exchanges(&self, ifindex: Ifindex) -> impl Iterator<Item = &Exchange> {
        self.events
            .iter()
            .filter_map(move |event| match &event.body {
                Body::Dns(exchange, _) if exchange.flow.ifindex == ifindex => Some(&**exchange),
                _ => None,
            })
    }

    /// The queries that ended as timeouts. Every query was answered, so all of them are false.
    fn false_timeouts(&self, ifindex: Ifindex) -> usize {
        self.exchanges(ifindex)
            .filter(|exchange| exchange.outcome == Outcome::Timeout)
            .count()
    }

    fn answered(&self, ifindex: Ifindex) -> usize {
        self.exchanges(ifindex)
            .filter(|exchange| exchange.outcome == Outcome::Answered && exchange.latency.is_some())
            .count()
    }
}

/// The index of an interface, once it is traced.
fn ifindex(capture: &Capture, name: &str) -> Ifindex {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut interfaces = capture.interfaces().into_iter();
        if let Some(found) = interfaces.find(|status| status.link.name == name) {
            return found.link.ifindex;
        }
        assert!(Instant::now() < deadline, "{name} is not traced");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn answered_queries_at_full_speed_through_a_small_ring_never_time_out() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let end = Arc::new(AtomicBool::new(false));
    let server = serve(udp_socket(&node, &format!("{GATEWAY}:53")), &end);
    let mut interface = None;
    let (read, answered) = Read::with_pause(Duration::ZERO, &node, |capture, _| {
        interface = Some(ifindex(capture, "pod1"));
        vec![flood(&pod, |asked| asked > 20_000)]
    });
    end.store(true, Ordering::Relaxed);
    server.join().expect("the server ends");
    let interface = interface.expect("it is traced");
    let reported = read.answered(interface) as u64;
    println!(
        "{} queries a second, {reported} of {} reported as answered, {} records lost",
        answered[0] / FLOOD.as_secs(),
        answered[0],
        read.lost
    );
    assert_eq!(read.false_timeouts(interface), 0);
    assert!(
        reported > answered[0] / 100,
        "{reported} of {}",
        answered[0]
    );
}

#[test]
fn a_pod_over_its_share_has_no_false_timeout_and_hides_no_lookup_of_another() {
    let _turn = turn::shared();
    let (node, busy, calm) = (Netns::new(), Netns::new(), Netns::new());
    node.add_pod(&busy, "pod1", 1);
    node.add_pod(&calm, "pod2", 2);
    let end = Arc::new(AtomicBool::new(false));
    let server = serve(udp_socket(&node, &format!("{GATEWAY}:53")), &end);
    let mut interfaces = None;
    let (read, answered) = Read::with_pause(PAUSE, &node, |capture, lost| {
        interfaces = Some((ifindex(capture, "pod1"), ifindex(capture, "pod2")));
        let lost = Arc::clone(lost);
        let flood = flood(&busy, move |_| lost.load(Ordering::Relaxed) > 10_000);
        let flooded = Arc::new(AtomicBool::new(false));
        let calm = ask_calmly(&calm, &flooded);
        let flood = std::thread::spawn(move || {
            let answered = flood.join();
            flooded.store(true, Ordering::Relaxed);
            answered.expect("every query was answered")
        });
        vec![flood, calm]
    });
    end.store(true, Ordering::Relaxed);
    server.join().expect("the server ends");
    let (first, second) = interfaces.expect("both are traced");
    let reported: u64 = read.reported.iter().map(|loss| loss.count).sum();
    assert_eq!(reported, read.lost);
    assert_eq!(
        (read.false_timeouts(first), read.false_timeouts(second)),
        (0, 0)
    );
    assert_eq!(read.answered(second) as u64, answered[1]);
    let some = read.answered(first) as u64;
    assert!(some > 0 && some < answered[0], "{some} of {}", answered[0]);
}
