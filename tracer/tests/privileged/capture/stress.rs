//! Interfaces that change, foreign programs, killed tracers: no traffic is lost, and nothing stays behind.

use std::collections::{BTreeSet, VecDeque};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testbed::turn;
use tracer::capture::live::InterfaceEvent;
use tracer::capture::{HookChoice, Options};

use super::child::{Child, hooks, programs, programs_left};
use super::interfaces::{attached, by, clsact_programs};
use super::live::{GATEWAY, Live, udp_payload, udp_socket};
use super::netns::Netns;
use super::programs::{Loaded, verdict};

/// A pod that asks and a node that answers, one question at a time and some thousand a second, until
/// stopped.
struct Conversation {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<(u64, u64)>,
    answering: JoinHandle<u64>,
}

impl Conversation {
    fn start(node: &Netns, pod: &Netns) -> Conversation {
        let stop = Arc::new(AtomicBool::new(false));
        let server = udp_socket(node, &format!("{GATEWAY}:7777"));
        let client = udp_socket(pod, "0.0.0.0:0");
        client.connect((GATEWAY, 7777)).expect("connects");
        let answering = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || answer(&server, &stop)
        });
        let asking = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || ask(&client, &stop)
        });
        Conversation {
            stop,
            asking,
            answering,
        }
    }

    /// How many questions were asked, each of which was answered.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let (asked, lost) = self.asking.join().expect("asks");
        let answered = self.answering.join().expect("answers");
        assert_eq!((lost, answered), (0, asked), "lost, and answered of asked");
        asked
    }
}

/// How long a busy machine may delay a thread; a later answer counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

fn ask(client: &UdpSocket, stop: &AtomicBool) -> (u64, u64) {
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut asked, mut lost) = (0_u64, 0);
    let mut buffer = [0; 8];
    while !stop.load(Ordering::Relaxed) {
        asked += 1;
        let began = Instant::now();
        client.send(&asked.to_be_bytes()).expect("sends");
        let answered = client.recv(&mut buffer).is_ok();
        if !answered || buffer != asked.to_be_bytes() {
            lost += 1;
        }
        // Leaves a slow machine time for the tracer, but asks often enough for each test.
        std::thread::sleep((began.elapsed() * 3).min(LONGEST_PAUSE));
    }
    // Closes the channel: there are no more.
    client.send(b"end").expect("sends");
    (asked, lost)
}

fn answer(server: &UdpSocket, stop: &AtomicBool) -> u64 {
    // Longer than the client is ever away: its last query must still find a server.
    server
        .set_read_timeout(Some(2 * PATIENCE))
        .expect("a timeout");
    let mut answered = 0;
    let mut buffer = [0; 8];
    loop {
        match server.recv_from(&mut buffer) {
            Ok((8, from)) => {
                server.send_to(&buffer, from).expect("answers");
                answered += 1;
            }
            Ok(_) => return answered,
            Err(_) if stop.load(Ordering::Relaxed) => return answered,
            Err(_) => {}
        }
    }
}

fn pair() -> (Netns, Netns) {
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    (node, pod)
}

/// A clsact qdisc is never deleted, and creating it can cost a packet.
fn with_qdisc(node: &Netns, hook: HookChoice) {
    if hook == HookChoice::Clsact {
        node.sh("tc qdisc add dev pod1 clsact");
    }
}

fn recorded(live: &Live, payload: &str) -> bool {
    live.records
        .iter()
        .any(|record| udp_payload(record) == payload.as_bytes())
}

/// A DNS query, as the probes take it, is recorded.
fn expect_query(live: &mut Live, pod: &Netns, payload: &str) {
    let client = udp_socket(pod, "0.0.0.0:0");
    client
        .send_to(payload.as_bytes(), (GATEWAY, 53))
        .expect("sends");
    live.wait(payload, |live| recorded(live, payload));
}

fn gone(live: &Live) -> usize {
    live.events
        .iter()
        .filter(|event| matches!(event, InterfaceEvent::Gone { .. }))
        .count()
}

#[test]
fn links_that_flap_stay_attached_once() {
    let _turn = turn::shared();
    for hook in hooks() {
        let (node, pod) = pair();
        let mut live = Live::start(&node, by(hook));
        let before = programs(&node, "pod1", hook);
        node.sh("for i in $(seq 50); do ip link set pod1 down; ip link set pod1 up; done");
        pod.sh(
            "for i in $(seq 50); do ip link set eth0 down; ip link set eth0 up; done
             ip route add 10.9.255.254 dev eth0; ip route add default via 10.9.255.254 dev eth0",
        );
        node.sh("ip route add 10.9.0.1/32 dev pod1 || true");
        expect_query(&mut live, &pod, "after all the flaps");
        assert_eq!(programs(&node, "pod1", hook), before);
        assert_eq!(gone(&live), 0, "{:?}", live.events);
        live.stop();
        programs_left(&node, "pod1", hook, 0);
    }
}

#[test]
fn renames_are_followed_to_the_last_name() {
    let _turn = turn::shared();
    let (node, pod) = pair();
    let mut live = Live::start(&node, Options::default());
    node.sh("ip link set pod1 down; last=pod1
         for i in $(seq 60); do ip link set $last name name$i; last=name$i; done
         ip link set name60 up; ip route add 10.9.0.1/32 dev name60");
    live.wait("last name", |live| attached(live, "name60"));
    let traced = live.capture.interfaces();
    assert_eq!(traced.len(), 1);
    assert_eq!(traced[0].link.name, "name60");
    assert_eq!(programs(&node, "name60", hooks()[0]).len(), 2);
    expect_query(&mut live, &pod, "under its last name");
    assert_eq!(gone(&live), 0);
    live.stop();
}

#[test]
fn a_host_end_that_leaves_and_comes_back_is_let_go_and_attached_again() {
    let _turn = turn::shared();
    for hook in hooks() {
        let (node, pod) = pair();
        let elsewhere = Netns::new();
        let mut live = Live::start(&node, by(hook));
        for round in 1..=5 {
            node.sh(&format!("ip link set pod1 netns {}", elsewhere.path()));
            live.wait("end", |live| gone(live) == round);
            // An untraced interface is left alone.
            programs_left(&elsewhere, "pod1", hook, 0);
            elsewhere.sh(&format!("ip link set pod1 netns {}", node.path()));
            node.sh("ip link set pod1 up; ip addr add 10.9.255.254/32 dev pod1
                 ip route add 10.9.0.1/32 dev pod1");
            live.wait("interface", |live| live.capture.interfaces().len() == 1);
            expect_query(&mut live, &pod, &format!("back for the {round}. time"));
        }
        live.stop();
        programs_left(&node, "pod1", hook, 0);
    }
}

#[test]
fn a_peer_that_moves_to_another_pod_is_reported_with_its_namespace() {
    let _turn = turn::shared();
    let (node, pod) = pair();
    let other = Netns::new();
    let mut live = Live::start(&node, Options::default());
    let before = live.capture.interfaces()[0].link.of;
    pod.sh(&format!("ip link set eth0 netns {}", other.path()));
    other.sh("ip link set eth0 up && ip addr add 10.9.0.1/32 dev eth0
         ip route add 10.9.255.254 dev eth0 && ip route add default via 10.9.255.254 dev eth0");
    live.wait("other namespace", |live| {
        live.events.iter().any(
            |event| matches!(event, InterfaceEvent::Attached { link, .. } if link.of != before),
        )
    });
    let traced = live.capture.interfaces();
    assert_eq!(traced.len(), 1);
    assert_ne!(traced[0].link.of, before);
    expect_query(&mut live, &other, "from another namespace");
    assert_eq!(gone(&live), 0);
    live.stop();
}

/// A pod that lives on, and whether it has asked yet.
struct Survivor {
    number: u8,
    pod: Netns,
    made: Instant,
    asked: bool,
    /// How long it took until its interface was attached.
    lag: Option<Duration>,
}

impl Survivor {
    fn question(&self) -> String {
        format!("first of {}", self.number)
    }

    /// Asks, once its container could run.
    fn live(&mut self, traced: &BTreeSet<String>) {
        /// Least time between the creation of a container's network and its start, with 200 at once.
        const START: Duration = Duration::from_secs(2);
        if self.lag.is_none() && traced.contains(&format!("pod{}", self.number)) {
            self.lag = Some(self.made.elapsed());
        }
        // On a busy machine a container starts later, and the tracer comes to it later, too.
        if !self.asked && self.lag.is_some() && self.made.elapsed() >= START {
            self.asked = true;
            udp_socket(&self.pod, "0.0.0.0:0")
                .send_to(self.question().as_bytes(), (GATEWAY, 53))
                .expect("sends");
        }
    }
}

fn live_all(survivors: &mut [Survivor], live: &Live) {
    let traced = live.capture.interfaces().into_iter();
    let traced = traced.map(|status| status.link.name).collect();
    for survivor in survivors {
        survivor.live(&traced);
    }
}

#[test]
fn every_survivor_of_two_hundred_pods_has_its_first_query_recorded() {
    let _turn = turn::shared();
    const PODS: u8 = 200;
    const MAKERS: u8 = 4;
    let node = Netns::new();
    let mut live = Live::start(&node, Options::default());
    let began = Instant::now();
    let mut survivors: Vec<Survivor> = Vec::new();
    let mut doomed = VecDeque::new();
    let (made, makers) = channel();
    std::thread::scope(|scope| {
        for maker in 1..=MAKERS {
            let (node, made) = (&node, made.clone());
            scope.spawn(move || {
                for number in (maker..=PODS).step_by(MAKERS.into()) {
                    let pod = Netns::new();
                    node.add_pod(&pod, &format!("pod{number}"), number);
                    made.send((number, pod)).expect("the receiver lives");
                }
            });
        }
        drop(made);
        loop {
            match makers.recv_timeout(Duration::from_millis(10)) {
                Ok((number, pod)) if number % 4 == 0 => survivors.push(Survivor {
                    number,
                    pod,
                    made: Instant::now(),
                    asked: false,
                    lag: None,
                }),
                Ok((_, pod)) => doomed.push_back(pod),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Three of four are removed once some more exist.
            if doomed.len() > 10 {
                doomed.pop_front();
            }
            live_all(&mut survivors, &live);
            live.receive();
        }
    });
    let took = began.elapsed();
    drop(doomed);
    let deadline = Instant::now() + Duration::from_secs(60);
    while survivors.iter().any(|survivor| !survivor.asked) {
        assert!(
            Instant::now() < deadline,
            "interfaces that are never attached: {:?}",
            live.events
        );
        live.receive();
        live_all(&mut survivors, &live);
        std::thread::sleep(Duration::from_millis(5));
    }
    live.wait("record of every survivor's first query", |live| {
        survivors
            .iter()
            .all(|survivor| recorded(live, &survivor.question()))
    });
    live.wait("end of all others", |live| {
        live.capture.interfaces().len() == survivors.len()
    });
    let count =
        |fits: fn(&InterfaceEvent) -> bool| live.events.iter().filter(|event| fits(event)).count();
    eprintln!(
        "{PODS} pods in {took:?}: {} attached, {} gone again; a survivor waited {:?} at most",
        count(|event| matches!(event, InterfaceEvent::Attached { .. })),
        count(|event| matches!(event, InterfaceEvent::Gone { .. })),
        survivors.iter().filter_map(|survivor| survivor.lag).max(),
    );
    assert_eq!(
        count(|event| matches!(event, InterfaceEvent::Failed { .. })),
        0,
        "{:?}",
        live.events
    );
    let mut left: Vec<u32> = survivors
        .iter()
        .flat_map(|survivor| programs(&node, &format!("pod{}", survivor.number), hooks()[0]))
        .collect();
    assert_eq!(left.len(), 2 * survivors.len());
    left.sort_unstable();
    left.dedup();
    let loaded = Loaded::of(&left);
    live.stop();
    loaded.assert_gone();
}

#[test]
fn two_instances_come_and_go_under_traffic_and_count_the_same() {
    let _turn = turn::shared();
    for hook in hooks() {
        let (node, pod) = pair();
        with_qdisc(&node, hook);
        let conversation = Conversation::start(&node, &pod);
        let first = Live::start(&node, by(hook));
        let second = Live::start(
            &node,
            Options {
                instance: "second".to_owned(),
                ..by(hook)
            },
        );
        assert_eq!(programs(&node, "pod1", hook).len(), 4);
        // A third conversation, which begins and ends while both run.
        let client = udp_socket(&pod, "10.9.0.1:0");
        for _ in 0..1_000 {
            client.send_to(b"counted", (GATEWAY, 8888)).expect("sends");
        }
        let of = |mut live: Live| {
            let flows = live.capture.sweep().expect("sweeps");
            let flow = flows
                .iter()
                .find(|flow| flow.flow.peer.port() == 8888)
                .expect("counted");
            let counted = (flow.totals.tx.packets, flow.totals.tx.bytes);
            live.stop();
            counted
        };
        let loaded = Loaded::of(&programs(&node, "pod1", hook));
        assert_eq!(of(first), (1_000, 1_000 * (28 + 7)));
        programs_left(&node, "pod1", hook, 2);
        assert_eq!(of(second), (1_000, 1_000 * (28 + 7)));
        programs_left(&node, "pod1", hook, 0);
        assert!(conversation.stop() > 1);
        loaded.assert_gone();
    }
}

fn killed_under_traffic(hook: HookChoice) {
    let (node, pod) = pair();
    with_qdisc(&node, hook);
    let conversation = Conversation::start(&node, &pod);
    let mut loaded = Vec::new();
    for _ in 0..3 {
        // Takes over the leftovers of the previous one, if any.
        let child = Child::start(&node, "pod1", hook);
        let ours = programs(&node, "pod1", hook);
        assert_eq!(ours.len(), 2, "one pair, after every kill");
        loaded.push(Loaded::of(&ours));
        child.kill();
        if hook == HookChoice::Clsact {
            // Two programs that only the filters hold: `Child::start` waits for two more.
            let live = Live::start(&node, by(hook));
            assert_eq!(clsact_programs(&node, "pod1").len(), 2);
            live.stop();
        }
    }
    let mut live = Live::start(&node, by(hook));
    expect_query(&mut live, &pod, "after the killed ones");
    loaded.push(Loaded::of(&programs(&node, "pod1", hook)));
    live.stop();
    assert!(conversation.stop() > 10);
    programs_left(&node, "pod1", hook, 0);
    for loaded in loaded {
        loaded.assert_gone();
    }
}

#[test]
fn a_killed_capture_costs_the_traffic_nothing_with_tcx() {
    let _turn = turn::shared();
    killed_under_traffic(HookChoice::Tcx);
}

#[test]
fn a_killed_capture_costs_the_traffic_nothing_with_clsact() {
    let _turn = turn::shared();
    killed_under_traffic(HookChoice::Clsact);
}

/// A foreign program's verdict on a packet from the pod, on either kind of hook, attached before or after
/// ours: we see the packet, and the foreign verdict decides.
fn beside_a_foreign_program(ours: HookChoice, theirs: HookChoice) {
    for (says, passes) in [(-1, true), (0, true), (2, false)] {
        for ours_first in [true, false] {
            let case =
                format!("ours {ours:?}, theirs {theirs:?} says {says}, ours first: {ours_first}");
            let (node, pod) = pair();
            pod.sh(&format!(
                "ip neigh add {GATEWAY} lladdr 02:00:00:00:00:01 dev eth0"
            ));
            node.sh("ip link set pod1 address 02:00:00:00:00:01");
            let attach = || match theirs {
                HookChoice::Tcx => Some(verdict(&node, "pod1", says)),
                _ => {
                    let bytecode = format!("1,6 0 0 {}", says.cast_unsigned());
                    node.sh(&format!(
                        "tc qdisc add dev pod1 clsact 2>/dev/null; tc filter add dev pod1 ingress prio 2 bpf da bytecode '{bytecode}'"
                    ));
                    None
                }
            };
            let (mut live, link) = if ours_first {
                let live = Live::start(&node, by(ours));
                (live, attach())
            } else {
                let link = attach();
                (Live::start(&node, by(ours)), link)
            };
            let server = udp_socket(&node, &format!("{GATEWAY}:53"));
            server
                .set_read_timeout(Some(Duration::from_millis(if passes {
                    5_000
                } else {
                    200
                })))
                .expect("a timeout");
            expect_query(&mut live, &pod, &case);
            let mut buffer = [0; 200];
            assert_eq!(server.recv_from(&mut buffer).is_ok(), passes, "{case}");
            live.stop();
            // The foreign filter stays, ours is gone; tc prints no id for classic bytecode.
            for hook in hooks() {
                let theirs = usize::from(hook == HookChoice::Tcx && link.is_some());
                programs_left(&node, "pod1", hook, theirs);
            }
        }
    }
}

#[test]
fn foreign_programs_of_either_kind_keep_their_verdict_and_hide_nothing_with_tcx() {
    let _turn = turn::shared();
    beside_a_foreign_program(HookChoice::Tcx, HookChoice::Tcx);
    beside_a_foreign_program(HookChoice::Tcx, HookChoice::Clsact);
}

#[test]
fn foreign_filters_keep_their_verdict_and_hide_nothing_with_clsact() {
    let _turn = turn::shared();
    beside_a_foreign_program(HookChoice::Clsact, HookChoice::Clsact);
}
