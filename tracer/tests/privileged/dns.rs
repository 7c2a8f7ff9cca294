//! DNS on real packets, compared with dig: failures, silence, IPv6, a pod's first query, both record orders.

use serde_json::Value;
use testbed::lab::{NewPod, ProxyMode};
use testbed::stage::faults::{counted, done, table};
use testbed::stage::{CLIENT, NODE, Stage, asked, name, program, text};
use testbed::watch::{Events, Watch};

/// The status and the answers' data, as dig prints them.
fn dig(output: &str) -> (String, Vec<String>) {
    let status = output
        .split("status: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("none");
    let answers = output
        .split(";; ANSWER SECTION:\n")
        .nth(1)
        .map(|section| section.lines().take_while(|line| !line.is_empty()))
        .into_iter()
        .flatten()
        .map(|line| {
            line.split_whitespace()
                .skip(4)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    (status.to_owned(), answers)
}

fn answers(event: &Value) -> Vec<String> {
    let answers = event["answers"].as_array().expect("answers");
    answers
        .iter()
        .map(|answer| answer["data"].as_str().expect("data").to_owned())
        .collect()
}

/// The words of dig's output between two strings.
fn words<'a>(output: &'a str, before: &str, after: char) -> Vec<&'a str> {
    let rest = output.split(before).nth(1).unwrap_or_default();
    let until = rest.split(after).next().unwrap_or_default();
    until.split_whitespace().collect()
}

/// The lesser of the TTL and the last number of the SOA in dig's authority section (RFC 2308 section 5).
fn negative_ttl(output: &str) -> Option<u64> {
    let soa = words(output, ";; AUTHORITY SECTION:\n", '\n');
    let [_, ttl, _, "SOA", .., minimum] = soa[..] else {
        return None;
    };
    Some(ttl.parse::<u64>().ok()?.min(minimum.parse().ok()?))
}

#[test]
fn outcome_rcode_and_answers_are_digs() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let cases = [
        (
            "clusterip-nginx-ds.default.svc.cluster.local.",
            "A",
            "answered",
        ),
        (
            "clusterip-nginx-ds.default.svc.cluster.local.",
            "AAAA",
            "nodata",
        ),
        (
            "no-such-service.default.svc.cluster.local.",
            "A",
            "nxdomain",
        ),
        ("www.example.com.", "A", "answered"),
        ("servfail.example.", "A", "servfail"),
        ("refused.example.", "A", "refused"),
        (
            "_dns._udp.kube-dns.kube-system.svc.cluster.local.",
            "SRV",
            "answered",
        ),
        ("117.183.152.10.in-addr.arpa.", "PTR", "answered"),
    ];
    for (question, qtype, outcome) in cases {
        events.next_step();
        let output = text(&stage.run(&["dig", "+tries=1", question, qtype]));
        let (status, data) = dig(&output);
        let event = events.wait_for(question, asked(question, qtype)).unwrap();
        assert_eq!(event["outcome"], outcome, "{output}\n{event}");
        assert_eq!(event["rcode"], status.as_str(), "{output}\n{event}");
        assert_eq!(answers(&event), data, "{output}\n{event}");
        let mut flags = words(&output, ";; flags: ", ';');
        assert_eq!(flags.remove(0), "qr", "{output}");
        assert_eq!(event["flags"], Value::from(flags), "{output}\n{event}");
        assert_eq!(
            event["negative_ttl"].as_u64(),
            negative_ttl(&output),
            "{event}"
        );
        let negative = ["nodata", "nxdomain"].contains(&outcome);
        assert_eq!(
            event["negative_ttl"].is_u64(),
            negative,
            "{output}\n{event}"
        );
        let size = words(&output, "; udp: ", '\n');
        let reported = event["edns"]["size"].as_u64().map(|size| size.to_string());
        assert_eq!(
            reported.as_deref(),
            size.first().copied(),
            "{output}\n{event}"
        );
        assert_eq!(event["attempts"], 1);
        assert_eq!(name(&event["peer"]["service"]), "kube-system/kube-dns");
        // dig prints whole milliseconds of a clock that moves by the kernel's tick, 10 ms at most; its own
        // way through the stack comes on top.
        let dig_ms: u64 = output
            .split("Query time: ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .expect("dig's query time")
            .parse()
            .expect("milliseconds");
        assert!(
            event["latency_ns"].as_u64().expect("latency") < (dig_ms + 11) * 1_000_000,
            "{output}\n{event}"
        );
    }
}

#[test]
fn a_dns_pods_own_question_names_the_client_that_asked() {
    const NODE_OF_DNS: &str = "k8s-master";
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = Events::new(vec![stage.trace(NODE_OF_DNS, &[])]);
    let question = "www.example.com.";
    let of_dns = |event: &Value, direction: &str| {
        event["type"] == "dns"
            && event["name"] == question
            && event["qtype"] == "A"
            && event["direction"] == direction
            && name(&event["pod"]).starts_with("kube-system/coredns-")
    };
    let output = text(&stage.run(&["dig", "+tries=1", "-b", "0.0.0.0#41111", question, "A"]));
    let id: u64 = words(&output, ", id: ", '\n')[0].parse().expect("an id");
    let own = events
        .wait_for("its question", |event| of_dns(event, "client"))
        .unwrap();
    let cause = &own["caused_by"];
    assert_eq!(name(&cause["pod"]), CLIENT, "{own}");
    let of_client = (cause["port"].as_u64(), cause["id"].as_u64());
    assert_eq!(of_client, (Some(41_111), Some(id)), "{output}\n{own}");
    assert_eq!(cause["inferred"], true, "{own}");
    // Near miss: the client's question itself has no cause.
    let asked = events
        .wait_for("the client's question", |event| of_dns(event, "server"))
        .unwrap();
    assert_eq!(asked.get("caused_by"), None, "{asked}");

    // The other server is silent, and a client on the same node asks.
    let drop = table(
        "type filter hook input priority 0",
        &["dropped"],
        &["udp dport 53 counter name dropped drop".to_owned()],
    );
    done(stage.lab.exec_upstream(&["nft", &drop]));
    let client = "default/nginx-ds-jfzxv";
    let output = text(&stage.run_in(client, &["dig", "+tries=1", "example.org.", "A"]));
    assert!(output.contains("status: SERVFAIL"), "{output}");
    let counter = ["nft", "list", "counter", "inet", "fault", "dropped"];
    assert!(counted(stage.lab.exec_upstream(&counter)) > 0);
    let finding = events
        .wait_for("its finding", |event| {
            event["rule"] == "dns-servfail" && name(&event["pod"]) == client
        })
        .unwrap();
    let why = finding["why"].as_str().expect("a reason");
    let silence = "pf4ld asked 192.168.2.53 for example.org. A, and got no answer within";
    assert!(why.contains(silence) && why.contains("inferred"), "{why}");
}

#[test]
fn dns_over_ipv6_is_reported_like_ipv4() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let server = stage
        .lab
        .inventory()
        .pod("kube-system/coredns-6f5f9b5d74-pf4ld")
        .expect("coredns");
    let address = server.ipv6.expect("the lab is dual-stack").to_string();
    let question = "clusterip-nginx-ds.default.svc.cluster.local.";
    let output = text(&stage.run(&["dig", "+tries=1", &format!("@{address}"), question, "A"]));
    let event = events.wait_for(question, asked(question, "A")).unwrap();
    assert_eq!(answers(&event), dig(&output).1, "{output}");
    assert_eq!(event["peer"]["ip"], address.as_str());
    assert_eq!(
        name(&event["peer"]["pod"]),
        "kube-system/coredns-6f5f9b5d74-pf4ld"
    );
    assert_eq!(name(&event["pod"]), CLIENT);
}

#[test]
fn a_silent_server_is_a_timeout_with_every_attempt_and_a_late_answer_is_reported_as_late() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let question = "clusterip-nginx-ds.default.svc.cluster.local.";
    stage.lab.silence_dns(true).expect("the DNS server stops");
    let output = text(&stage.run(&["dig", "+tries=2", "+timeout=1", question, "A"]));
    assert!(
        output.contains("no servers could be reached") || output.contains("timed out"),
        "{output}"
    );
    let timeout = events.wait_for("timeout", asked(question, "A")).unwrap();
    assert_eq!(timeout["outcome"], "timeout");
    assert_eq!(timeout["attempts"], 2, "{timeout}");
    assert_eq!(timeout["rcode"], Value::Null);
    assert_eq!(timeout["latency_ns"], Value::Null);
    stage
        .lab
        .silence_dns(false)
        .expect("the DNS server resumes");
    let late = events
        .wait_for("late answer", |event| {
            asked(question, "A")(event) && event["late"] == true
        })
        .unwrap();
    assert_eq!(late["outcome"], "answered");
    assert!(
        late["latency_ns"].as_u64().expect("latency") > 6_000_000_000,
        "{late}"
    );
}

#[test]
fn an_unreachable_server_is_an_icmp_error_and_not_a_timeout() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    // Nothing listens on port 53 of a web server's pod, so its kernel sends an ICMP error.
    let question = "clusterip-nginx-ds.default.svc.cluster.local.";
    stage.run(&[
        "dig",
        "+tries=1",
        "+timeout=1",
        "@10.1.39.194",
        question,
        "A",
    ]);
    let event = events.wait_for("icmp error", asked(question, "A")).unwrap();
    assert_eq!(event["outcome"], "icmp-error", "{event}");
    assert_eq!(name(&event["peer"]["pod"]), "default/nginx-ds-v2qf5");
}

#[test]
fn the_first_query_of_a_new_pod_carries_its_name() {
    let mut stage = Stage::new(ProxyMode::Iptables);
    let says = ["env", "TRACER_LOG=warn,tracer::capture=debug"];
    let watch = Watch::start_within(&stage.lab, &says, program(), NODE, &["-o", "json"]);
    let mut events = Events::new(vec![watch.expect("the tracer starts")]);
    for number in 0..5_u8 {
        events.next_step();
        let pod = NewPod {
            namespace: "default".to_owned(),
            name: format!("newcomer-{number}"),
            uid: format!("0badcafe-0000-4000-8000-00000000000{number}"),
            node: NODE.to_owned(),
            ipv4: [10, 1, 39, 200 + number].into(),
            ipv6: None,
        };
        stage.lab.add_pod(&pod, true).expect("a new pod");
        // The end of its UID.
        let interface = format!("cali0000000000{number}");
        events.wait_for_logs(&interface, 1).expect("it is traced");
        let full_name = format!("default/newcomer-{number}");
        let question = format!("first-{number}.default.svc.cluster.local.");
        stage.run_in(&full_name, &["dig", "+tries=1", &question, "A"]);
        let event = events
            .wait_for("first query", asked(&question, "A"))
            .unwrap();
        assert_eq!(name(&event["pod"]), full_name, "{event}");
        assert_eq!(event["outcome"], "nxdomain", "{event}");
        assert_eq!(event["attempts"], 1, "{event}");
        stage.lab.remove_pod(&full_name).expect("the pod goes");
    }
}

#[test]
fn getent_of_a_name_that_is_not_there_is_one_lookup_of_eight_queries() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let output = stage.run(&["getent", "ahosts", "clusterip-apache2-ds-myns"]);
    assert!(!output.status.success(), "getent found it");
    let lookup = events
        .wait_for("lookup", |event| event["type"] == "lookup")
        .unwrap();
    assert_eq!(lookup["asked"], "clusterip-apache2-ds-myns", "{lookup}");
    assert_eq!(lookup["outcome"], "nxdomain");
    assert_eq!(lookup["queries"], 8, "{lookup}");
    // Lookups are reported in order: the next one's event comes after everything that this one caused.
    stage.run(&["getent", "ahosts", "kubernetes.default"]);
    events
        .wait_for("the next lookup", |event| {
            event["type"] == "lookup" && event["asked"] == "kubernetes.default"
        })
        .unwrap();
    let lookups = events
        .of_step()
        .iter()
        .filter(|event| event["type"] == "lookup" && event["asked"] != "kubernetes.default")
        .count();
    assert_eq!(lookups, 1, "one call of the resolver is one lookup");
}
