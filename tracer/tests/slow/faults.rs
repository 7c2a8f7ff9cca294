//! Faults of networks and servers, injected under real clients: a lost query, a server that is slow or fails
//! for one type, packets that exceed the path's MTU. The findings are compared with the clients' own output,
//! and similar but harmless traffic runs at the same time.
//!
//! Each test runs in one of kube-proxy's modes: none depends on packets to a Service address without a rule.

use std::net::Ipv4Addr;
use std::process::Output;

use serde_json::Value;
use testbed::lab::{NewPod, ProxyMode};
use testbed::stage::faults::{self, RAW, counted, done, question};
use testbed::stage::findings::{Findings, brief, expect, pasted, text_of};
use testbed::stage::{CLIENT, NODE, Stage, name, text};

const NGINX: &str = "default/nginx-ds-v2qf5";
const APACHE: &str = "myns/apache-ds-myns-d4f2h";
/// Pods that the test adds.
const FAILING: &str = "default/failing";
const WASTEFUL: &str = "default/wasteful";
const THRIFTY: &str = "default/thrifty";

const A: u16 = 1;
const AAAA: u16 = 28;

/// A web server on another node.
const WEB: &str = "10.1.79.65";

fn add_pods(stage: &mut Stage) {
    for (number, pod) in [FAILING, WASTEFUL, THRIFTY].into_iter().enumerate() {
        let number = u8::try_from(number).expect("few pods");
        let (namespace, name) = pod.split_once('/').expect("namespace/name");
        let new = NewPod {
            namespace: namespace.into(),
            name: name.into(),
            uid: format!("6f0e0000-0000-4000-8000-0000000000d{number}"),
            node: NODE.into(),
            ipv4: address(number),
            ipv6: None,
        };
        stage.lab.add_pod(&new, true).expect("a pod");
    }
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 39, 210 + number)
}

/// Standard output of a client that succeeded.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(output)
}

/// What nftables in the client's node has counted under that name.
fn on_node(stage: &Stage, counter: &str) -> u64 {
    counted(stage.on_node(NODE, &["nft", "list", "counter", "inet", "fault", counter]))
}

#[test]
fn faults_of_the_dns_are_reported_as_the_clients_met_them() {
    let mut stage = Stage::new(ProxyMode::Nftables);
    add_pods(&mut stage);
    let mut reported = Findings::all_of(stage.events(&[]));
    slow(&stage, &mut reported);
    at_once(&stage, &mut reported);
    cured(&stage, &mut reported);
    race_again(&stage, &mut reported);
    let (events, _) = reported.nothing_else();
    let again = events
        .iter()
        .rfind(|event| event["rule"] == "dns-race")
        .expect("it was reported before");
    assert_eq!(
        (&again["count"], &again["severity"]),
        (&2.into(), &"warning".into()),
        "the second time it is a warning: {again}"
    );
}

/// The upstream's link takes 1,500 bits a second: an answer of 120 bytes takes more than half a second.
fn slow(stage: &Stage, reported: &mut Findings) {
    let link = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        done(stage.lab.exec_upstream(&words));
    };
    link("tc qdisc add dev eth0 root tbf rate 1500bit burst 200 limit 100000");
    let dig = || said(&stage.run(&["dig", "+tries=1", "+time=8", "www.example.com."]));
    let mut slow = 0;
    for _ in 0..20 {
        let answer = dig();
        let ms = answer
            .split_once(";; Query time: ")
            .and_then(|(_, rest)| rest.split_once(" msec"))
            .and_then(|(ms, _)| ms.parse::<u64>().ok())
            .expect("dig says how long it took");
        slow += u64::from(ms >= 500);
        if slow == 3 {
            break;
        }
    }
    assert_eq!(slow, 3, "dig itself waited");
    reported.expect(expect(
        "dns-slow",
        CLIENT,
        &[
            "DNS server kube-system/kube-dns (10.152.183.10) answers default/deb-ubuntu slowly",
            "for www.example.com., the 3rd time within a minute",
            "the cluster's DNS asks another server",
        ],
    ));
    reported.wait();
    link("tc qdisc del dev eth0 root");
    for _ in 0..10 {
        dig();
    }
    reported.resolved("dns-slow", CLIENT, "at its usual pace again");
}

/// Independent faults, at the same time.
fn at_once(stage: &Stage, reported: &mut Findings) {
    // One query of the client: there is room for a packet of 61 bytes, and not for two. Every one of another
    // pod, and of a third one all about AAAA of one name.
    let of = |pod: &str| {
        format!(
            "ip saddr {}",
            stage.lab.inventory().pod(pod).expect("a pod").ipv4
        )
    };
    let rules = [
        format!("{} udp dport 53 counter name wasteful", of(WASTEFUL)),
        format!("{} udp dport 53 counter name thrifty", of(THRIFTY)),
        format!(
            "{} {} quota until 100 bytes counter name raced drop",
            of(CLIENT),
            question("www.example.com.", AAAA)
        ),
        format!("{} udp dport 53 counter name silent drop", of(NGINX)),
        format!(
            "{} {} counter name no_aaaa drop",
            of(APACHE),
            question("example.org.", AAAA)
        ),
    ];
    let counters = ["wasteful", "thrifty", "raced", "silent", "no_aaaa"];
    let script = faults::table(RAW, &counters, &rules);
    done(stage.on_node(NODE, &["nft", &script]));
    // The outer resolver cannot ask for that name's AAAA, and answers so at once.
    let rejected = format!("oifname lo {} reject", question("mail.example.com.", AAAA));
    let script = faults::table("type filter hook output priority 0", &[], &[rejected]);
    done(stage.lab.exec_upstream(&["nft", &script]));

    let getent = |pod: &str, name: &str| stage.spawn_in(pod, &["getent", "ahosts", name]);
    let clients = [
        getent(CLIENT, "www.example.com."),
        getent(NGINX, "www.example.com."),
        getent(APACHE, "example.org."),
        getent(FAILING, "mail.example.com."),
    ];
    // Eight queries each time, of which two are answered; and two where the name is absolute.
    for _ in 0..4 {
        let found = said(&stage.run_in(WASTEFUL, &["getent", "ahosts", "www.example.com"]));
        assert!(found.contains("198.51.100.10"), "{found}");
    }
    for _ in 0..8 {
        said(&stage.run_in(THRIFTY, &["getent", "ahosts", "www.example.com."]));
    }
    assert_eq!(
        (on_node(stage, "wasteful"), on_node(stage, "thrifty")),
        (32, 16)
    );
    let wasted: &[&str] = &[
        "default/wasteful sends 8.0 DNS queries a lookup: 24 of 32 within a minute went to names of the search path",
        "\"www.example.com\"",
        "ndots",
    ];
    reported.expect(expect("search-path-waste", WASTEFUL, wasted));

    // A Service without IPv6 addresses: a client that asks for them alone finds nothing; one that asks for
    // others, too, finds it.
    let service = "clusterip-nginx-ds.default.svc.cluster.local.";
    let empty = said(&stage.run_in(WASTEFUL, &["dig", "+tries=1", "AAAA", service]));
    assert!(
        empty.contains("status: NOERROR") && empty.contains("ANSWER: 0,"),
        "{empty}"
    );
    reported.expect(expect(
        "nodata-not-found",
        WASTEFUL,
        &[
            "the name exists and has no AAAA record",
            "It is the name of Service default/clusterip-nginx-ds and has IPv4 addresses only.",
        ],
    ));
    let mapped = said(&stage.run_in(THRIFTY, &["getent", "ahostsv6", "clusterip-nginx-ds"]));
    assert!(mapped.contains("::ffff:10.152.183.117"), "{mapped}");

    let [raced, silent, no_aaaa, failing] =
        clients.map(|client| client.wait_with_output().expect("it ends"));
    // Of two queries one was lost: found, after five seconds.
    let raced = said(&raced);
    assert!(
        raced.contains("198.51.100.10") && raced.contains("2001:db8::10"),
        "{raced}"
    );
    assert_eq!(on_node(stage, "raced"), 1, "packets dropped");
    reported.expect(expect(
        "dns-race",
        CLIENT,
        &[
            "default/deb-ubuntu waited ",
            "for \"www.example.com\": of two queries sent together AAAA got no answer from DNS server kube-system/kube-dns",
            "AAAA after 2 attempts",
            "Once, that is ordinary.",
        ],
    ));
    // Both were lost, and their retries, too: not found.
    assert_eq!(
        (silent.status.code(), text(&silent)),
        (Some(2), String::new())
    );
    assert_eq!(on_node(stage, "silent"), 4, "packets dropped");
    reported.expect(expect(
        "dns-timeout",
        NGINX,
        &[
            "looked up \"www.example.com\": no answer from DNS server kube-system/kube-dns (10.152.183.10) (4 queries, ",
            "of this node",
        ],
    ));
    // AAAA is never answered, A is each time: found.
    let no_aaaa = said(&no_aaaa);
    assert!(no_aaaa.contains("198.51.100.10"), "{no_aaaa}");
    assert_eq!(on_node(stage, "no_aaaa"), 3, "packets dropped");
    reported.expect(expect(
        "aaaa-fails",
        APACHE,
        &[
            "looked up example.org.: A is answered",
            "no answer, asked 3 times",
        ],
    ));
    // AAAA is answered with a failure.
    let failing = said(&failing);
    assert!(failing.contains("198.51.100.25"), "{failing}");
    let failed = said(&stage.run_in(FAILING, &["dig", "+tries=1", "AAAA", "mail.example.com."]));
    assert!(failed.contains("status: SERVFAIL"), "{failed}");
    reported.expect(expect(
        "aaaa-fails",
        FAILING,
        &["looked up mail.example.com.: A is answered", "SERVFAIL"],
    ));
    reported.expect(expect(
        "dns-servfail",
        FAILING,
        &["\"mail.example.com\": SERVFAIL"],
    ));
    reported.wait();
    let race = reported.finding("dns-race", CLIENT);
    assert_eq!(race["severity"], "info", "{race}");
}

/// The faults end, and so do the findings whose end is visible.
fn cured(stage: &Stage, reported: &mut Findings) {
    let table = ["nft", "delete", "table", "inet", "fault"];
    done(stage.on_node(NODE, &table));
    done(stage.lab.exec_upstream(&table));
    reported.resolved_by("dns-timeout", NGINX, "default/nginx-ds-v2qf5", || {
        said(&stage.run_in(NGINX, &["getent", "ahosts", "www.example.com."]));
    });
    said(&stage.run_in(APACHE, &["getent", "ahosts", "example.org."]));
    reported.resolved("aaaa-fails", APACHE, "AAAA of example.org. is answered");
    // The resolver outside remembers its failure for a second.
    let mut again = 0;
    loop {
        let answer =
            said(&stage.run_in(FAILING, &["dig", "+tries=1", "AAAA", "mail.example.com."]));
        if answer.contains("status: NOERROR") {
            break;
        }
        again += 1;
        assert!(again < 1_000, "it never recovers: {answer}");
    }
    reported.resolved(
        "aaaa-fails",
        FAILING,
        "AAAA of mail.example.com. is answered",
    );
    reported.resolved_by("dns-servfail", FAILING, "mail.example.com", || {
        said(&stage.run_in(FAILING, &["dig", "+tries=1", "AAAA", "mail.example.com."]));
    });
    // The answer is empty as it should be, and dig asks for nothing else.
    reported.expect(expect(
        "nodata-not-found",
        FAILING,
        &["mail.example.com. exists, without such a record"],
    ));
    reported.wait();
}

/// The client loses one query of two once more. The other one, this time: it is A that is late.
fn race_again(stage: &Stage, reported: &mut Findings) {
    let ip = stage.lab.inventory().pod(CLIENT).expect("a pod").ipv4;
    let rule = format!(
        "ip saddr {ip} {} quota until 100 bytes counter name raced drop",
        question("www.example.com.", A)
    );
    done(stage.on_node(NODE, &["nft", &faults::table(RAW, &["raced"], &[rule])]));
    let found = said(&stage.run(&["getent", "ahosts", "www.example.com."]));
    assert!(found.contains("198.51.100.10"), "{found}");
    assert_eq!(on_node(stage, "raced"), 1, "packets dropped");
    reported
        .events
        .wait_for("the lookup", |event| {
            event["type"] == "dns" && event["attempts"] == 2 && event["qtype"] == "A"
        })
        .expect("it is reported");
}

/// Uploads more than a packet holds; curl's exit code and what it says of the answer.
fn upload(stage: &Stage, pod: &str) -> std::process::Child {
    let script = format!(
        "head -c 300000 /dev/zero | curl -sS -m 8 -o /dev/null -w '%{{http_code}}' -T - http://{WEB}/upload"
    );
    stage.spawn_in(pod, &["sh", "-c", &script])
}

#[test]
fn packets_too_big_for_their_path_are_reported_while_the_pod_keeps_sending_them() {
    const MTU: u64 = 1280;
    let stage = Stage::new(ProxyMode::Iptables);
    let mut reported = Findings::all_of(stage.events(&[]));
    // The node's link has a smaller MTU than the pods assume. One pod does not receive the node's ICMP
    // errors.
    let link = ["ip", "link", "set", "eth0", "mtu", "1280"];
    done(stage.on_node(NODE, &link));
    let deaf = faults::table(
        RAW,
        &["unheard"],
        &[
            "icmp type destination-unreachable icmp code frag-needed counter name unheard drop"
                .into(),
        ],
    );
    let in_client = |argv: &[&str]| stage.lab.exec(CLIENT, argv).expect("a pod of the lab");
    done(in_client(&["nft", &deaf]));
    // A third pod's packets are dropped silently: nothing on the wire shows that their size is the reason.
    let ip = stage.lab.inventory().pod(APACHE).expect("a pod").ipv4;
    let swallowed = format!("ip saddr {ip} meta length > 1000 counter name swallowed drop");
    let script = faults::table(RAW, &["swallowed"], &[swallowed]);
    done(stage.on_node(NODE, &["nft", &script]));

    let uploads = [CLIENT, NGINX, APACHE].map(|pod| upload(&stage, pod));
    let [unheard, heard, swallowed] =
        uploads.map(|upload| upload.wait_with_output().expect("curl ends"));
    // 28: it took too long.
    assert_eq!(unheard.status.code(), Some(28), "{unheard:?}");
    assert_eq!(swallowed.status.code(), Some(28), "{swallowed:?}");
    assert!(on_node(&stage, "swallowed") > 0);
    assert!(heard.status.success(), "{heard:?}");
    let learned = text(&stage.run_in(NGINX, &["ip", "route", "get", WEB]));
    assert!(
        learned.contains("mtu 1280"),
        "the pod was reported: {learned}"
    );

    reported.expect(expect(
        "mtu-black-hole",
        CLIENT,
        &[
            "default/deb-ubuntu sends packets to 10.1.79.65 that are too big for the path",
            "The path takes packets of 1280 bytes at most: ICMP fragmentation needed from 192.168.2.33.",
        ],
    ));
    reported.wait();
    let finding = reported.finding("mtu-black-hole", CLIENT);
    // The connection outlives curl and sends on: counted before and after the tracer ends.
    let unheard = || {
        counted(in_client(&[
            "nft", "list", "counter", "inet", "fault", "unheard",
        ]))
    };
    let before = unheard();
    let (events, _) = reported.nothing_else();
    let errors = events.iter().filter(|event| {
        event["kind"] == "error" && event["mtu"] == MTU && name(&event["pod"]) == CLIENT
    });
    let errors = u64::try_from(errors.count()).expect("a count");
    let counted = before..=unheard();
    assert!(
        counted.contains(&errors),
        "each error that came to the pod is an event: {errors}, {counted:?}{}",
        brief(&events)
    );
    remedies(&stage, &finding);
}

/// Runs the finding's suggested commands in the pod; their output is as the finding describes.
fn remedies(stage: &Stage, finding: &Value) {
    let ran = pasted(stage, std::slice::from_ref(finding));
    let said: Vec<(&str, String)> = ran
        .iter()
        .map(|(command, output)| (command.as_str(), said(output)))
        .collect();
    let [(_, link), (ping, replies)] = said.as_slice() else {
        panic!("{}", text_of(finding));
    };
    assert!(link.contains("mtu 1500"), "the pod's own: {link}");
    assert!(replies.contains(" 0% packet loss"), "{replies}");
    let (_, larger) = ping.split_once(" -- ").expect("in the pod");
    assert!(larger.contains("-s 1252 "), "{larger}");
    let larger = larger.replace("-s 1252", "-s 1253");
    let output = stage.run(&["sh", "-c", &larger]);
    assert!(
        !output.status.success(),
        "one byte more does not pass: {output:?}"
    );
}
