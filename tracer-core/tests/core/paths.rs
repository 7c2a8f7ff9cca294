//! Paths from the events of two nodes: each file of `tests/paths` is played by one pipeline a node, and joined.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracer_core::diagnose::settled;
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::finding::Finding;
use tracer_core::model::flow::{Ifindex, Protocol, Role, SeenFlags};
use tracer_core::model::identity::{Backend, PeerEnd, PodEnd, PodIdentity, UnknownReason};
use tracer_core::model::loss::{Loss, Stage};
use tracer_core::model::sentence::Sentence;
use tracer_core::model::signal::{DropPlace, PacketDrop, Tuple};
use tracer_core::model::time::Timestamp;
use tracer_core::path::{Clock, Join, JoinLimits, NodeFacts, Question, Watch, clocks};

use super::scenario::play;
use super::scenario::words::time;

/// One node's part of a file.
#[derive(Default)]
struct Part {
    node: Arc<str>,
    clock: Clock,
    facts: NodeFacts,
    scenario: String,
    extra: Vec<Event>,
}

impl Part {
    /// A statement about this node that is not one of its pipeline's.
    fn statement(&mut self, words: &[&str]) -> Result<bool, String> {
        match words {
            ["clock", "ahead", ahead, "error", error] => {
                self.clock = Clock {
                    ahead_ns: i64::try_from(time(ahead)?.0).map_err(|error| error.to_string())?,
                    error: Duration::from_nanos(time(error)?.0),
                };
            }
            ["clock", "behind", behind, "error", error] => {
                self.clock = Clock {
                    ahead_ns: -i64::try_from(time(behind)?.0).map_err(|error| error.to_string())?,
                    error: Duration::from_nanos(time(error)?.0),
                };
            }
            ["watched", pod, from, until] => self.facts.watched.push(Watch {
                pod: pod.parse().map_err(|_| format!("{pod:?} is no address"))?,
                only: None,
                from: time(from)?,
                until: time(until)?,
            }),
            ["sees-drops"] => self.facts.sees_drops = true,
            ["loses-records", at] => self.extra.push(event(
                time(at)?,
                None,
                Body::Lost(Loss {
                    stage: Stage::Ring,
                    reason: "ring buffer full",
                    count: 1,
                }),
            )),
            ["dropped", at, "tcp", src, dst, flags, reason, place] => {
                let (src, dst) = (socket(src)?, socket(dst)?);
                let dropped = PacketDrop {
                    tuple: Tuple {
                        protocol: Protocol::Tcp,
                        src,
                        dst,
                    },
                    tcp_flags: Some(match *flags {
                        "syn" => SeenFlags::SYN,
                        "syn+ack" => SeenFlags::SYN | SeenFlags::ACK,
                        _ => SeenFlags::ACK,
                    }),
                    reason: String::leak((*reason).to_owned()),
                    function: None,
                    place: match *place {
                        "node" => DropPlace::Node,
                        "pod" => DropPlace::Pod,
                        _ => DropPlace::Unknown,
                    },
                    device: None,
                    unreported: 0,
                };
                let body = Body::Drop(Box::new(dropped));
                self.extra
                    .push(event(time(at)?, Some(ends(src, dst)), body));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no socket"))
}

fn event(time: Timestamp, ends: Option<Ends>, body: Body) -> Event {
    Event {
        time,
        ends,
        incomplete: false,
        body,
    }
}

fn ends(pod: SocketAddr, peer: SocketAddr) -> Ends {
    Ends {
        ifindex: Ifindex(1),
        role: Role::Client,
        pod: PodEnd {
            ip: pod.ip(),
            port: Some(pod.port()),
            identity: Err(UnknownReason::NoInventory),
            container: None,
            at_uplink: false,
            process: None,
        },
        peer: PeerEnd {
            ip: peer.ip(),
            port: Some(peer.port()),
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

/// `translates IP:PORT IP:PORT POD NODE`: conntrack's part, which these pipelines do not have.
struct Translation {
    service: SocketAddr,
    backend: Arc<Backend>,
}

fn translation(words: &[&str]) -> Result<Translation, String> {
    let [service, endpoint, pod, node] = words else {
        return Err("translates SERVICE ENDPOINT POD NODE".to_owned());
    };
    let endpoint = socket(endpoint)?;
    let node: Arc<str> = Arc::from(*node);
    Ok(Translation {
        service: socket(service)?,
        backend: Arc::new(Backend {
            ip: endpoint.ip(),
            port: Some(endpoint.port()),
            pod: Some(Arc::new(PodIdentity {
                namespace: "myns".into(),
                name: Arc::from(*pod),
                uid: "uid".into(),
                workload: None,
                node: Some(Arc::clone(&node)),
            })),
            node: Some(node),
        }),
    })
}

/// Plays a file; the differences. `adjusted_ns`: how much the node's clock is adjusted between two events of a connection.
fn check(text: &str, adjusted_ns: u64) -> Result<Vec<String>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut translations = Vec::new();
    let mut common = String::new();
    let mut expected = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), parts.last_mut()) {
            ([], _) => {}
            ([first, ..], _) if first.starts_with('#') => {}
            (["inventory", ..], _) => common = line.to_owned(),
            (["translates", rest @ ..], _) => translations.push(translation(rest)?),
            (["node", node], _) => parts.push(Part {
                node: Arc::from(*node),
                ..Part::default()
            }),
            (
                [
                    "path" | "verdict" | "line" | "headline" | "fix" | "why" | "no-why" | "try"
                    | "no-try",
                    ..,
                ],
                _,
            ) => expected.push(line.to_owned()),
            (words, Some(part)) => {
                if !part.statement(words)? {
                    part.scenario.push_str(line);
                    part.scenario.push('\n');
                }
            }
            (_, None) => return Err(format!("{line:?} is of no node")),
        }
    }
    let mut join = Join::default();
    let mut events = Vec::new();
    for part in &parts {
        let played = play(&format!("{common}\n{}", part.scenario))?.events;
        join.know(&part.node, part.facts.clone(), part.clock);
        for mut event in played.into_iter().chain(part.extra.clone()) {
            translate(&mut event, &translations);
            if matches!(event.body, Body::Tcp(_)) && adjusted_ns > 0 {
                join.feed(&part.node, &event, part.clock);
                event.time = event.time.after(Duration::from_nanos(adjusted_ns));
            }
            join.feed(&part.node, &event, part.clock);
            events.push((Arc::clone(&part.node), event));
        }
    }
    compare(&join, &events, &expected)
}

fn translate(event: &mut Event, translations: &[Translation]) {
    let Some(ends) = &mut event.ends else { return };
    let peer = (ends.peer.ip, ends.peer.port);
    let of = |known: &&Translation| (known.service.ip(), Some(known.service.port())) == peer;
    if ends.role == Role::Client
        && let Some(known) = translations.iter().find(of)
    {
        ends.peer.backend = Some(Arc::clone(&known.backend));
    }
}

fn compare(
    join: &Join,
    events: &[(Arc<str>, Event)],
    expected: &[String],
) -> Result<Vec<String>, String> {
    let mut differences = Vec::new();
    let mut path = None;
    let mut found = None;
    for line in expected {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "path" => {
                let client = socket(rest)?;
                let asked = events.iter().rev().find_map(|(node, event)| {
                    let ends = event.ends.as_ref()?;
                    let own = (ends.pod.ip, ends.pod.port) == (client.ip(), Some(client.port()));
                    Question::about(node, event).filter(|_| own)
                });
                let asked = asked.ok_or_else(|| format!("no event of {client}"))?;
                path = join.path(&asked);
                found = finding_of(events, client, path.clone());
            }
            "verdict" => {
                let verdict = path.as_ref().map_or("none", |path| path.verdict.as_str());
                if verdict != rest {
                    differences.push(format!("verdict {verdict}, expected {rest}"));
                }
            }
            "headline" | "fix" | "why" | "no-why" | "try" | "no-try" => {
                let finding = found.as_ref().ok_or("no finding of that client")?;
                let words = words_of(finding, what);
                let is_there = words.iter().any(|words| words.contains(rest));
                if is_there == what.starts_with("no-") {
                    differences.push(format!("{line}: {words:#?}"));
                }
            }
            _ => {
                let line = path.as_ref().map_or("", |path| path.line.as_str());
                if line != rest {
                    differences.push(format!("line\n  {line}\nexpected\n  {rest}"));
                }
            }
        }
    }
    Ok(differences)
}

/// The latest finding about a client's connection, with this path.
fn finding_of(
    events: &[(Arc<str>, Event)],
    client: SocketAddr,
    path: Option<tracer_core::model::path::Path>,
) -> Option<Finding> {
    let findings = events.iter().rev().filter_map(|(_, event)| {
        let pod = &event.ends.as_ref()?.pod;
        match &event.body {
            Body::Finding(finding) if pod.ip == client.ip() => Some((**finding).clone()),
            _ => None,
        }
    });
    let mut finding = { findings }.next()?;
    finding.path = path.map(Box::new);
    Some(settled(&finding).into_owned())
}

fn words_of(finding: &Finding, what: &str) -> Vec<String> {
    let texts = |sentences: &[Sentence]| sentences.iter().map(ToString::to_string).collect();
    match what {
        "headline" => vec![finding.headline.to_string()],
        "fix" => vec![
            finding
                .fix
                .as_ref()
                .map_or("none".to_owned(), ToString::to_string),
        ],
        "why" | "no-why" => texts(&finding.why),
        _ => texts(&finding.remedies),
    }
}

#[test]
fn each_verdict_rests_on_both_nodes_events() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/paths");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the files")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 15, "only {} files", files.len());
    let mut failures = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a readable file");
        assert!(
            text.contains("\nverdict "),
            "{} expects nothing",
            file.display()
        );
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for adjusted_ns in [0, 5, 1_000_000] {
            match check(&text, adjusted_ns) {
                Ok(differences) => {
                    failures.extend(differences.iter().map(|one| format!("{name}: {one}")));
                }
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_join_is_bounded_and_claims_no_absence_of_what_it_forgot() {
    let limits = JoinLimits {
        nodes: 2,
        sightings: 100,
        drops: 10,
    };
    let mut join = Join::new(limits);
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/paths/pod-asked-directly.txt"),
    );
    let text = text.expect("the file");
    let (client, server) = text.split_once("node k8s-worker01").expect("two nodes");
    let (_, client) = client.split_once("sees-drops").expect("the first node");
    let (_, server) = server.split_once("sees-drops").expect("the second node");
    let (server, _) = server.split_once("path ").expect("an expectation");
    let inventory = "inventory testbed/lab/inventory.yaml\n";
    let events = |part: &str| play(&format!("{inventory}{part}")).expect("events").events;
    let [here, there]: [Arc<str>; 2] = ["k8s-worker03".into(), "k8s-worker01".into()];
    let clock = Clock::default();
    let facts = NodeFacts {
        watched: vec![Watch {
            pod: "10.1.79.66".parse().expect("an address"),
            only: None,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
        }],
        sees_drops: true,
    };
    join.know(&there, facts.clone(), clock);
    join.know(&here, facts, clock);
    let seen = events(server);
    seen.iter()
        .for_each(|event| join.feed(&there, event, clock));
    let mut asked = None;
    for event in events(client) {
        join.feed(&here, &event, clock);
        asked = Question::about(&here, &event).or(asked);
    }
    let asked = asked.expect("the client's event");
    let verdict = |join: &Join| join.path(&asked).map(|path| path.verdict.as_str());
    assert_eq!(verdict(&join), Some("lost-between-nodes"));
    let template = seen.first().expect("an event of the server");
    for number in 0..1_000_u64 {
        let mut event = template.clone();
        event.time = Timestamp(number * 20_000_000);
        join.feed(&there, &event, clock);
    }
    // One replaced the sighting of the same time.
    assert!(
        (900..=901).contains(&join.forgotten()),
        "{}",
        join.forgotten()
    );
    assert_eq!(verdict(&join), Some("server-half-unknown"));
    let forgotten = join.forgotten();
    join.feed(&"a third node".into(), template, clock);
    assert_eq!(join.forgotten(), forgotten + 1);
}

#[test]
fn handshakes_of_both_nodes_show_how_far_their_clocks_differ() {
    // Both parts are of one connection; the server's clock is 2 s ahead.
    let inventory = "inventory testbed/lab/inventory.yaml";
    let client = "pod 7 default/deb-ubuntu
        at 1s 7 out tcp 10.1.39.193:50001 10.1.79.66:90 syn 100
        at 1.004s 7 in tcp 10.1.79.66:90 10.1.39.193:50001 syn+ack 900 101
        end 20s";
    let server = "pod 3 myns/apache-ds-myns-5tjrr
        at 3.001s 3 in tcp 10.1.39.193:50001 10.1.79.66:90 syn 100
        at 3.002s 3 out tcp 10.1.79.66:90 10.1.39.193:50001 syn+ack 900 101
        end 22s";
    let events = |part: &str| {
        play(&format!("{inventory}\n{part}"))
            .expect("events")
            .events
    };
    let [here, there, elsewhere]: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
    let (client, server) = (events(client), events(server));
    let of = |node, events: &'static [Event]| events.iter().map(move |event| (node, event));
    let (client, server): (&'static [Event], &'static [Event]) = (client.leak(), server.leak());
    let unrelated: &'static [Event] = events(
        "pod 7 default/deb-ubuntu
        at 1s 7 out tcp 10.1.39.193:50009 10.1.79.66:90 syn 100
        end 20s",
    )
    .leak();
    let all = of(&here, client)
        .chain(of(&there, server))
        .chain(of(&elsewhere, unrelated));
    let clocks = clocks(all);
    assert_eq!(clocks.get(&here), Some(&Clock::default()));
    let ahead = clocks.get(&there).expect("its clock");
    // The SYN took at least nothing and at most the round trip.
    let error_ns = i64::try_from(ahead.error.as_nanos()).expect("small");
    let (least, most) = (ahead.ahead_ns - error_ns, ahead.ahead_ns + error_ns);
    assert!(least <= 2_000_000_000 && 2_000_000_000 <= most, "{ahead:?}");
    assert!(error_ns <= 5_000_000, "{ahead:?}");
    assert_eq!(clocks.get(&elsewhere), None);
}
