//! A filter changes what the probes read but not what is shown: a filtered tracer beside an unfiltered one,
//! on the same packets.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::{CLIENT, NODE, Stage, program, text};
use testbed::watch::{Ended, Events, Watch};

/// tcpdump on the node's end of the client's interface.
struct Tcpdump(Child);

impl Tcpdump {
    fn start(stage: &Stage, expression: &str) -> Tcpdump {
        let interface = stage.lab.host_interface(CLIENT).expect("a pod of the lab");
        let mut tcpdump = stage
            .on_node(
                NODE,
                &[
                    "tcpdump",
                    "-n",
                    "-l",
                    "--immediate-mode",
                    "-i",
                    &interface,
                    expression,
                ],
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump starts");
        let stderr = BufReader::new(tcpdump.stderr.take().expect("a pipe"));
        let listens = stderr
            .lines()
            .map_while(Result::ok)
            .any(|line| line.starts_with("listening on"));
        assert!(listens, "tcpdump did not start");
        Tcpdump(tcpdump)
    }

    /// How many packets it printed: ICMP and DNS.
    fn stop(self) -> usize {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("it runs");
        let output = self.0.wait_with_output().expect("it ends");
        // Each packet has a line; a remark can follow.
        text(&output)
            .lines()
            .filter(|line| {
                [": ICMP ", ".53 > ", ".53: "]
                    .iter()
                    .any(|part| line.contains(part))
            })
            .count()
    }
}

/// Two tracers on the client's node: one with these options, one without a filter.
struct Pair {
    filtered: Watch,
    whole: Events,
}

impl Pair {
    fn start(stage: &Stage, options: &[&str]) -> Pair {
        let options = [options, &["--instance", "filtered"]].concat();
        Pair {
            filtered: stage.trace_known(NODE, &options),
            whole: Events::new(vec![stage.trace_known(NODE, &["--instance", "whole"])]),
        }
    }

    fn stop(mut self) -> (Ended, Ended) {
        let filtered = self.filtered.stop().expect("ends");
        let whole = end(&mut self.whole);
        for ended in [&filtered, &whole] {
            assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
            assert!(
                ended.log.iter().any(|line| line == "lost: nothing"),
                "{:#?}",
                ended.log
            );
        }
        (filtered, whole)
    }
}

/// Sends SIGINT and returns all lines from the beginning.
fn end(events: &mut Events) -> Ended {
    let ended = events.stop().expect("ends").pop().expect("one tracer");
    Ended {
        lines: events.all().iter().map(Value::to_string).collect(),
        ..ended
    }
}

/// The number before this word in the closing summary.
fn summed(ended: &Ended, words: &str) -> u64 {
    let summary = ended
        .log
        .iter()
        .find(|line| line.contains(" packets seen"))
        .unwrap_or_else(|| panic!("no summary: {:#?}", ended.log));
    summary
        .split([':', ','])
        .find_map(|part| part.trim().strip_suffix(words)?.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {words} in {summary}"))
}

/// The events without what differs between two tracers: the time at which their probe saw the packet, and whether
/// a sweep of the counters found the acknowledgment of a connection's last FIN before the event.
fn events(ended: &Ended, of: impl Fn(&Value) -> bool) -> Vec<String> {
    let mut events: Vec<String> = ended
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(of)
        .map(|mut event: Value| {
            forget_times(&mut event);
            if event["state"] == "closed" {
                event["tx"] = Value::from("counted");
                event["rx"] = Value::from("counted");
            }
            event.to_string()
        })
        .collect();
    events.sort();
    events
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == "time" || name.ends_with("_ns") && !field.is_null() {
                    *field = Value::from("measured");
                } else {
                    forget_times(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// Fails with the events that only one of the two has.
fn assert_same(shown: &[String], expected: &[String], options: &[&str]) {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|event| !those.contains(event))
            .cloned()
            .collect()
    };
    assert!(
        shown == expected,
        "{options:?}: of {} and {} events only the first has {:#?}, only the second {:#?}",
        shown.len(),
        expected.len(),
        only(shown, expected),
        only(expected, shown)
    );
}

/// A Service, whose address no pod pings.
const PINGED_BY_NAME: &str = "clusterip-nginx-ds";

/// Traffic of every kind: names, a page, a refused connection and an unanswered datagram that ICMP errors
/// end, a rejected ping and one that is answered. Until a tracer that sees everything has reported the last
/// of it.
fn traffic(stage: &Stage, whole: &mut Events) {
    // The kernel sends a destination six ICMP errors at once, then one a second (net/ipv4/icmp.c): how many a
    // ping gets would depend on how long ago the last ones were.
    let unlimited = ["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0"];
    let mut sysctl = stage.lab.exec_node("k8s-worker03", &unlimited);
    let status = sysctl.as_mut().expect("the node runs").status();
    assert!(status.is_ok_and(|status| status.success()), "sysctl");
    stage.run(&["nslookup", "clusterip-nginx-ds"]);
    stage.run(&["nslookup", "clusterip-apache2-ds-myns"]);
    let page = stage.run(&[
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "http://clusterip-nginx-ds/",
    ]);
    assert!(page.status.success(), "{page:?}");
    let rejected = stage.run(&[
        "curl",
        "-sS",
        "--max-time",
        "3",
        "http://10.152.183.115:91/",
    ]);
    assert_eq!(rejected.status.code(), Some(7), "curl: could not connect");
    stage.run(&[
        "dig",
        "@10.1.79.65",
        "-p",
        "9999",
        "+tries=1",
        "+time=1",
        "x.",
    ]);
    let ping =
        |address| text(&stage.run(&["ping", "-n", "-c", "5", "-i", "0.2", "-W", "1", address]));
    assert!(ping("10.1.79.66").contains("5 received"));
    assert!(ping("10.152.183.115").contains("+5 errors"));
    assert!(ping(PINGED_BY_NAME).contains("+5 errors"));
    whole
        .wait_for("the end of the last ping", |event| {
            event["kind"] == "echo"
                && event["state"] == "done"
                && event["peer"]["service"]["name"] == PINGED_BY_NAME
        })
        .expect("it is reported");
}

#[test]
fn a_filter_for_icmp_limits_the_probes_to_icmp_and_dns_and_changes_no_event() {
    let stage = Stage::new(ProxyMode::Nftables);
    let mut pair = Pair::start(&stage, &["--type", "icmp"]);
    let tcpdump = Tcpdump::start(&stage, "icmp or udp port 53");
    traffic(&stage, &mut pair.whole);
    let packets = tcpdump.stop();
    let (filtered, whole) = pair.stop();
    let icmp = |event: &Value| event["type"] == "icmp";
    let shown = events(&filtered, |_| true);
    // The three runs; the other errors end a connection and a flow, and are reported with those.
    assert_eq!(shown.len(), 3, "{shown:#?}");
    let named = |event: &&String| event.contains(&format!("\"names\":[\"{PINGED_BY_NAME}."));
    assert_eq!(shown.iter().filter(named).count(), 1, "{shown:#?}");
    assert_same(&shown, &events(&whole, icmp), &["--type", "icmp"]);
    // 5 requests with 5 replies, 5 with 5 errors, 5 more, at least one error each for curl and dig; of
    // nslookup 8 queries with their answers at least.
    assert!(packets >= 43, "{packets}");
    assert_eq!(summed(&filtered, "records read"), packets as u64);
    // The other one read at least the SYNs of two connections and the answers to them on top of that.
    let all = summed(&whole, "records read");
    assert!(all >= packets as u64 + 4, "{:#?}", whole.log);
    // Unreported packets are counted.
    assert!(
        summed(&filtered, "packets seen") >= all,
        "{:#?}",
        filtered.log
    );
}

#[test]
fn asked_for_a_port_or_a_pod_the_events_are_those_of_a_tracer_that_sees_everything() {
    let stage = Stage::new(ProxyMode::Nftables);
    let tcp = |event: &Value| event["type"] == "tcp";
    for (options, fits) in [
        (
            &["--type", "tcp", "--port", "80"][..],
            Box::new(|event: &Value| tcp(event) && event["peer"]["port"] == 80)
                as Box<dyn Fn(&Value) -> bool>,
        ),
        (
            // Every packet counts for one of these, so that there are fewer is because of the other pods'
            // interfaces.
            &["--type", "dns,lookup,tcp,udp,icmp", "-p", "deb-ubuntu"],
            Box::new(|event: &Value| {
                event["pod"]["name"] == "deb-ubuntu"
                    && event["type"] != "finding"
                    && event["type"] != "drop"
            }),
        ),
        (
            &["--type", "dns,lookup"],
            Box::new(|event: &Value| event["type"] == "dns" || event["type"] == "lookup"),
        ),
    ] {
        let mut pair = Pair::start(&stage, options);
        // Between two pods of this node, on two interfaces.
        stage.run(&["curl", "-sS", "-o", "/dev/null", "http://10.1.39.194/"]);
        stage.run(&["ping", "-n", "-c", "2", "-i", "0.2", "10.1.39.194"]);
        traffic(&stage, &mut pair.whole);
        let (filtered, whole) = pair.stop();
        let shown = events(&filtered, |_| true);
        assert!(!shown.is_empty(), "{options:?}");
        assert_same(&shown, &events(&whole, fits), options);
        let [fewer, all] = [&filtered, &whole].map(|ended| summed(ended, "records read"));
        assert!(fewer < all, "{options:?}: {fewer} of {all} records");
    }
}

/// What an event is about, without what only a live tracer knows: names in the order of their learning,
/// packets in between those that are recorded.
fn about(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect("JSON");
    let paths = [
        "/type",
        "/kind",
        "/rule",
        "/direction",
        "/pod/name",
        "/pod/port",
        "/peer/ip",
        "/peer/port",
        "/peer/service/name",
        "/peer/pod/name",
        "/name",
        "/qtype",
        "/outcome",
        "/asked",
        "/state",
        "/by",
        "/sent",
        "/received",
        "/errors",
    ];
    paths
        .into_iter()
        .filter_map(|path| event.pointer(path))
        .map(|field| format!("{field} "))
        .collect()
}

#[test]
fn a_filter_means_the_same_live_and_in_replay() {
    let stage = Stage::new(ProxyMode::Nftables);
    let directory = tempfile::tempdir().expect("a directory");
    let recording = directory.path().join("whole.pcapng");
    let recording = recording.to_str().expect("UTF-8");
    let filters: [&[&str]; 7] = [
        &["--type", "icmp"],
        &["--type", "tcp", "--port", "80"],
        &["--peer", "kube-system/kube-dns", "--qtype", "A"],
        &["--peer", "10.152.183.0/24", "--failed"],
        &["--slow", "1us", "--type", "dns,tcp"],
        &["-p", "deb-ubuntu", "--type", "dns,lookup,tcp,udp,icmp"],
        &["--direction", "server"],
    ];
    let watches: Vec<Watch> = filters
        .iter()
        .enumerate()
        .map(|(number, options)| {
            let instance = format!("filter-{number}");
            stage.trace_known(NODE, &[*options, &["--instance", &instance]].concat())
        })
        .collect();
    let options = ["--instance", "whole", "--record", recording];
    let mut whole = Events::new(vec![stage.trace_known(NODE, &options)]);
    traffic(&stage, &mut whole);
    end(&mut whole);
    for (options, watch) in filters.iter().zip(watches) {
        let live = watch.stop().expect("it ends");
        let replayed = Command::new(program())
            .args([
                "observe",
                "--replay",
                recording,
                "-o",
                "json",
                "--node-name",
                NODE,
                "--inventory",
            ])
            .arg(stage.lab.inventory_file())
            .args(*options)
            .output()
            .expect("the program runs");
        assert!(replayed.status.success(), "{replayed:?}");
        let sorted = |lines: Vec<&str>| {
            let mut lines: Vec<String> = lines.into_iter().map(about).collect();
            lines.sort();
            lines
        };
        let live = sorted(live.lines.iter().map(String::as_str).collect());
        assert!(
            !live.is_empty() || options.contains(&"server"),
            "{options:?}"
        );
        assert_same(&live, &sorted(text(&replayed).lines().collect()), options);
    }
}

#[test]
fn an_unknown_name_is_reported_once_even_after_the_inventory_changed() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut watch = Watch::start(
        &stage.lab,
        program(),
        NODE,
        &["--peer", "myns/no-such-service", "-p", "no-such-pod"],
    )
    .expect("the tracer starts");
    let inventory = stage.lab.inventory();
    stage.lab.publish(inventory).expect("published");
    // The file is read every two seconds, not on the pod's traffic.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while std::time::Instant::now() < deadline {
        watch.line(Duration::from_millis(200)).expect("it runs");
    }
    let ended = watch.stop().expect("it runs to the end");
    for name in ["myns/no-such-service", "no-such-pod"] {
        let reported = ended
            .log
            .iter()
            .filter(|line| line.starts_with("warning: no ") && line.contains(name))
            .count();
        assert_eq!(reported, 1, "{:#?}", ended.log);
    }
}
