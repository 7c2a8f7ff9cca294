//! The failures of the scenario and others, on real packets and in both of kube-proxy's modes: the expected
//! finding is reported, it names the right pod, and no other finding sounds like a failure.
//!
//! Real clients cause them, most at the same time: a finding belongs to a pod and a cause, so they do not
//! interfere.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Child;
use std::time::Instant;

use serde_json::{Value, json};
use testbed::lab::{Inventory, NewPod, ProxyMode};
use testbed::stage::findings::{Expected, Findings, PATIENCE, expect, pasted, text_of};
use testbed::stage::{CLIENT, NODE, Stage};
use testbed::watch::Events;

/// Another pod of the client's node and namespace, and one of another namespace there.
const NGINX: &str = "default/nginx-ds-v2qf5";
const APACHE: &str = "myns/apache-ds-myns-d4f2h";
/// The DNS server, which is itself a client of the resolver outside.
const COREDNS: &str = "kube-system/coredns-6f5f9b5d74-pf4ld";

#[test]
fn in_iptables_mode_each_failure_has_its_finding_and_nothing_else_has() {
    play(ProxyMode::Iptables);
}

#[test]
fn in_nftables_mode_each_failure_has_its_finding_and_nothing_else_has() {
    play(ProxyMode::Nftables);
}

/// One lab and what is expected of it so far.
struct Play {
    stage: Stage,
    reported: Findings,
}

fn play(mode: ProxyMode) {
    let stage = Stage::with_near_misses(mode);
    let watches = [NODE, "k8s-master"].map(|node| stage.trace(node, &[]));
    let mut play = Play {
        reported: Findings::of(Events::new(watches.into_iter().collect())),
        stage,
    };
    play.all_at_once(mode);
    play.remedies();
    play.repaired();
    play.dns_without_endpoints();
    play.dns_silent();
    let (events, _) = play.reported.nothing_else();
    commands(&play.stage, &events);
}

/// Every command that a finding gives for a pod is one: its program is there, and takes its arguments.
fn commands(stage: &Stage, events: &[Value]) {
    let ran = pasted(stage, events);
    let mut programs = BTreeSet::new();
    for (line, output) in &ran {
        let (_, command) = line.split_once(" -- ").expect("in a pod");
        programs.extend(command.split_whitespace().next());
        let complaint = String::from_utf8_lossy(&output.stderr).to_lowercase();
        // 126 and 127: the shell cannot run it.
        assert!(
            !matches!(output.status.code(), Some(126 | 127)) && !complaint.contains("usage"),
            "{line}: {output:?}"
        );
    }
    let known = ["curl", "dig", "getent", "nslookup", "ping", "ss"];
    assert_eq!(programs, BTreeSet::from(known), "{:#?}", ran.keys());
}

impl Play {
    /// A command that must succeed.
    fn works(&self, pod: &str, argv: &[&str]) {
        let output = self.stage.run_in(pod, argv);
        assert!(output.status.success(), "{argv:?} in {pod}: {output:?}");
    }

    /// A command that works, repeated until it resolves the finding of this rule and pod.
    fn resolves(&mut self, (rule, pod, words): (&str, &str, &str), argv: &[&str]) {
        let Play { stage, reported } = self;
        reported.resolved_by(rule, pod, words, || {
            let output = stage.run_in(pod, argv);
            assert!(output.status.success(), "{argv:?} in {pod}: {output:?}");
        });
    }

    /// Pings an address until the tracer knows who has it: it reads the inventory again every now and then.
    fn known(&mut self, address: &str, fits: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.reported.events.next_step();
            self.stage.run(&["ping", "-c", "1", "-W", "1", address]);
            let reported = self.reported.events.wait_for("the ping", |event| {
                event["kind"] == "echo"
                    && event["state"] == "done"
                    && event["peer"]["ip"] == address
            });
            if fits(&reported.expect("a ping is reported")["peer"]) {
                return;
            }
            assert!(Instant::now() < deadline, "{address} stays unknown");
        }
    }

    /// Everything that needs no change of the lab.
    fn all_at_once(&mut self, mode: ProxyMode) {
        let rejected = mode == ProxyMode::Nftables;
        // A pod that is known, and then gone.
        let gone = NewPod {
            namespace: "default".into(),
            name: "gone".into(),
            uid: "6f0e0000-0000-4000-8000-00000000601e".into(),
            node: "k8s-worker02".into(),
            ipv4: Ipv4Addr::new(10, 1, 69, 220),
            ipv6: None,
        };
        self.stage.lab.add_pod(&gone, true).expect("a pod");
        self.known("10.1.69.220", |peer| peer["pod"]["name"] == "gone");
        if !rejected {
            // As kube-proxy in IPVS mode did: the node itself has the ClusterIP.
            let address = ["ip", "address", "add", "10.152.183.22/32", "dev", "lo"];
            let mut command = self.stage.on_node(NODE, &address);
            assert!(command.status().expect("ip runs").success());
        }
        self.stage
            .lab
            .remove_pod("default/gone")
            .expect("it can be removed");
        // The inventory names a Service that the DNS server does not know yet.
        let mut objects = self.stage.lab.inventory().objects().to_vec();
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "namespace": "default", "name": "just-made", "uid": "6f0e0000-0000-4000-8000-000000000001" },
            "spec": { "type": "ClusterIP", "clusterIP": "10.152.183.30", "clusterIPs": ["10.152.183.30"],
                      "ports": [{ "port": 80, "protocol": "TCP" }], "selector": { "name": "nginx" } },
        }));
        let ahead = Inventory::from_objects(objects).expect("an inventory");
        self.stage.lab.publish(&ahead).expect("it is written");
        self.known("10.152.183.30", |peer| {
            peer["service"]["name"] == "just-made"
        });
        let silent_or_rejected = if rejected {
            "It was rejected: ICMP port unreachable"
        } else {
            "No reply came"
        };
        self.reported.expect(expect(
            "ping-clusterip",
            CLIENT,
            &[
                "pinged 10.152.183.30, the ClusterIP of Service default/just-made",
                // The nodes do not know it yet either.
                "No reply came",
            ],
        ));

        let curl = |address: &'static str| vec!["curl", "-sS", "-m", "9", address];
        let ping =
            |address: &'static str| vec!["ping", "-n", "-c", "3", "-i", "0.3", "-W", "1", address];
        let mut cases: Vec<(&str, Vec<&str>, Option<Expected>)> = vec![
            // Names.
            (
                CLIENT,
                vec!["nslookup", "clusterip-apache2-ds-myns"],
                Some(expect(
                    "nxdomain-other-namespace",
                    CLIENT,
                    &[
                        "looked up \"clusterip-apache2-ds-myns\": NXDOMAIN (4 queries",
                        "Service myns/clusterip-apache2-ds-myns exists, in another namespace",
                        "clusterip-apache2-ds-myns.myns",
                    ],
                )),
            ),
            (
                NGINX,
                vec!["getent", "ahosts", "clusterip-apache2-ds-myns"],
                Some(expect(
                    "nxdomain-other-namespace",
                    NGINX,
                    &[
                        "looked up \"clusterip-apache2-ds-myns\": NXDOMAIN (8 queries",
                        "Service myns/clusterip-apache2-ds-myns exists",
                    ],
                )),
            ),
            (
                APACHE,
                vec!["dig", "+search", "clusterip-nginx-ds"],
                Some(expect(
                    "nxdomain-other-namespace",
                    APACHE,
                    &[
                        "looked up \"clusterip-nginx-ds\"",
                        "Service default/clusterip-nginx-ds exists",
                        "clusterip-nginx-ds.default",
                    ],
                )),
            ),
            (
                CLIENT,
                vec!["nslookup", "no-such-service"],
                Some(expect(
                    "nxdomain-unknown-name",
                    CLIENT,
                    &["looked up \"no-such-service\": NXDOMAIN"],
                )),
            ),
            (
                NGINX,
                vec!["nslookup", "clusterip-nginx-dz"],
                Some(expect(
                    "nxdomain-unknown-name",
                    NGINX,
                    &[
                        "looked up \"clusterip-nginx-dz\": NXDOMAIN",
                        "clusterip-nginx-ds",
                    ],
                )),
            ),
            (
                CLIENT,
                vec!["nslookup", "clusterip-nginx-ds.default.cluster.local"],
                Some(expect(
                    "nxdomain-wrong-form",
                    CLIENT,
                    &["svc", "clusterip-nginx-ds"],
                )),
            ),
            (
                CLIENT,
                vec!["getent", "ahosts", "headless-not-ready"],
                Some(expect(
                    "nxdomain-no-endpoints",
                    CLIENT,
                    &["Service default/headless-not-ready is headless"],
                )),
            ),
            (
                CLIENT,
                vec!["nslookup", "just-made"],
                Some(expect(
                    "nxdomain-negative-cache",
                    CLIENT,
                    &["Service default/just-made exists", "SOA"],
                )),
            ),
            (
                CLIENT,
                vec!["dig", "+tries=1", "servfail.example"],
                Some(expect(
                    "dns-servfail",
                    CLIENT,
                    &[
                        "\"servfail.example\": SERVFAIL from DNS server",
                        "kube-system/kube-dns",
                        "not a name of the cluster",
                    ],
                )),
            ),
            (
                CLIENT,
                vec!["dig", "+tries=1", "refused.example"],
                Some(expect(
                    "dns-refused",
                    CLIENT,
                    &["REFUSED by DNS server", "kube-system/kube-dns"],
                )),
            ),
            (
                CLIENT,
                vec!["dig", "+tries=1", "+ignore", "truncated.example"],
                Some(expect(
                    "dns-truncated-no-tcp",
                    CLIENT,
                    &["was truncated, and it was not asked for again over TCP"],
                )),
            ),
            // Connections.
            (
                CLIENT,
                curl("http://10.152.183.20:80/"),
                Some(expect(
                    "service-no-endpoints",
                    CLIENT,
                    &[
                        "Service default/no-endpoints (10.152.183.20 port 80)",
                        "rejected, ICMP port unreachable",
                    ],
                )),
            ),
            (
                CLIENT,
                curl("http://10.152.183.115:80/"),
                Some(expect(
                    "clusterip-port-not-served",
                    CLIENT,
                    &[
                        "Service myns/clusterip-apache2-ds-myns",
                        "no port 80/TCP: it forwards 90/TCP",
                        if rejected {
                            "rejected, ICMP port unreachable"
                        } else {
                            "no answer to"
                        },
                    ],
                )),
            ),
            (
                CLIENT,
                curl("http://10.152.183.21:80/"),
                Some(expect(
                    "connection-refused",
                    CLIENT,
                    &[
                        "Service default/wrong-target-port (10.152.183.21 port 80): refused (RST)",
                        "leads to port 8080 of its pods",
                    ],
                )),
            ),
            (
                CLIENT,
                curl("http://10.1.79.65:8081/"),
                Some(expect(
                    "connection-refused",
                    CLIENT,
                    &["pod default/nginx-ds-xmmfq (10.1.79.65 port 8081): refused (RST)"],
                )),
            ),
            (
                CLIENT,
                curl("http://10.1.79.99:80/"),
                Some(expect(
                    "connect-timeout",
                    CLIENT,
                    &[
                        "10.1.79.99 port 80",
                        "No pod, Service or node of the inventory has that address",
                    ],
                )),
            ),
            (
                CLIENT,
                curl("http://10.152.183.200:80/"),
                Some(expect(
                    "connect-timeout",
                    CLIENT,
                    &["10.152.183.200 port 80", "in the range of ClusterIPs"],
                )),
            ),
            (
                CLIENT,
                curl("http://10.1.69.220:80/"),
                Some(expect(
                    "stale-pod-address",
                    CLIENT,
                    &["10.1.69.220 was the address of pod default/gone, which had been gone for"],
                )),
            ),
            // Pings.
            (
                CLIENT,
                ping("10.152.183.115"),
                Some(expect(
                    "ping-clusterip",
                    CLIENT,
                    &[
                        "pinged 10.152.183.115, the ClusterIP of Service myns/clusterip-apache2-ds-myns: 3 sent, 0 received",
                        silent_or_rejected,
                        "90/TCP",
                        "Its 4 ready endpoints",
                        "ping -c 3 10.1.39.195",
                    ],
                )),
            ),
            (
                CLIENT,
                ping("10.152.183.200"),
                Some(expect(
                    "ping-service-range",
                    CLIENT,
                    &["pinged 10.152.183.200, which is no Service's address: 3 sent, 0 received"],
                )),
            ),
            // What works, or is no failure.
            (CLIENT, vec!["nslookup", "clusterip-nginx-ds"], None),
            (
                APACHE,
                vec!["getent", "hosts", "clusterip-apache2-ds-myns"],
                None,
            ),
            (CLIENT, curl("http://clusterip-nginx-ds/"), None),
            (CLIENT, curl("http://headless-nginx/"), None),
            (APACHE, curl("http://www.example.com/"), None),
            (
                CLIENT,
                vec![
                    "nslookup",
                    "-type=AAAA",
                    "clusterip-nginx-ds.default.svc.cluster.local.",
                ],
                None,
            ),
            (NGINX, vec!["dig", "+tries=1", "truncated.example"], None),
            (NGINX, ping("10.1.235.214"), None),
            (APACHE, ping("198.51.100.10"), None),
        ];
        if rejected {
            cases.push((NGINX, curl("http://hairpin.default/"), None));
        } else {
            cases.push((NGINX, ping("10.152.183.22"), None));
        }
        let children: Vec<Child> = cases
            .iter()
            .map(|(pod, argv, _)| self.stage.spawn_in(pod, argv))
            .collect();
        for ((pod, argv, expected), child) in cases.into_iter().zip(children) {
            let output = child.wait_with_output().expect("it ends");
            assert!(
                expected.is_some() || output.status.success(),
                "{argv:?} in {pod}: {output:?}"
            );
            expected
                .into_iter()
                .for_each(|expected| self.reported.expect(expected));
        }
        self.reported
            .expect(expect("dns-servfail", COREDNS, &["servfail.example"]));
        self.reported
            .expect(expect("dns-refused", COREDNS, &["REFUSED by DNS server"]));
        self.reported.wait();
        if !rejected {
            let answered = self
                .reported
                .events
                .all()
                .iter()
                .find(|event| event["rule"] == "ping-clusterip" && event["severity"] == "info");
            let text =
                text_of(answered.expect("a ping to a ClusterIP that is answered is reported, too"));
            assert!(
                text.contains("Service default/hairpin: 3 sent, 3 received"),
                "{text}"
            );
            assert!(text.contains("no sign that the Service works"), "{text}");
        }
    }

    /// What the findings say to try resolves them.
    fn remedies(&mut self) {
        self.works(
            CLIENT,
            &["getent", "hosts", "clusterip-apache2-ds-myns.myns"],
        );
        self.works(
            NGINX,
            &[
                "curl",
                "-sSf",
                "-m",
                "5",
                "http://clusterip-apache2-ds-myns.myns:90/",
            ],
        );
        self.works(APACHE, &["nslookup", "clusterip-nginx-ds.default"]);
        self.works(
            CLIENT,
            &["curl", "-sSf", "-m", "5", "http://10.152.183.115:90/"],
        );
        for pod in [CLIENT, NGINX, APACHE] {
            self.reported.resolved("nxdomain-other-namespace", pod, "");
        }
        self.reported.resolved(
            "ping-clusterip",
            CLIENT,
            "connects to 10.152.183.115 port 90",
        );
    }

    /// Services that are put right.
    fn repaired(&mut self) {
        let mut objects = self.stage.lab.inventory().objects().to_vec();
        for object in &mut objects {
            let service = object["metadata"]["labels"]["kubernetes.io/service-name"].clone();
            if service == "wrong-target-port" {
                object["ports"][0]["port"] = json!(80);
            }
            if service == "no-endpoints" {
                object["ports"] = json!([{ "name": "", "port": 80, "protocol": "TCP" }]);
                object["endpoints"] = json!([{
                    "addresses": ["10.1.79.65"],
                    "conditions": { "ready": true, "serving": true, "terminating": false },
                    "nodeName": "k8s-worker01",
                    "targetRef": { "kind": "Pod", "name": "nginx-ds-xmmfq", "namespace": "default" },
                }]);
            }
        }
        let inventory = Inventory::from_objects(objects).expect("an inventory");
        self.stage.lab.apply(inventory).expect("the lab follows");
        self.works(
            CLIENT,
            &["curl", "-sSf", "-m", "5", "http://10.152.183.20/"],
        );
        self.resolves(
            ("connection-refused", CLIENT, "10.152.183.21 port 80"),
            &["curl", "-sSf", "-m", "5", "http://10.152.183.21/"],
        );
        self.reported.resolved("service-no-endpoints", CLIENT, "");
    }

    fn dns_without_endpoints(&mut self) {
        let whole = self.stage.lab.inventory().clone();
        let mut objects = whole.objects().to_vec();
        for object in &mut objects {
            if object["metadata"]["labels"]["kubernetes.io/service-name"] == "kube-dns" {
                object["endpoints"] = json!([]);
            }
        }
        let none = Inventory::from_objects(objects).expect("an inventory");
        self.stage.lab.apply(none).expect("the lab follows");
        // conntrack still translates a source port that an earlier look-up used.
        let failed = (0..3).any(|_| {
            let output = self.stage.run(&[
                "dig",
                "+tries=1",
                "+time=2",
                "clusterip-nginx-ds.default.svc.cluster.local",
            ]);
            !output.status.success()
        });
        assert!(failed, "every look-up was answered");
        self.reported.expect(expect(
            "dns-server-unreachable",
            CLIENT,
            &["kube-system/kube-dns", "ICMP port unreachable"],
        ));
        self.reported.wait();
        self.stage.lab.apply(whole).expect("the lab follows");
        self.resolves(
            ("dns-server-unreachable", CLIENT, "default/deb-ubuntu"),
            &[
                "dig",
                "+tries=1",
                "clusterip-nginx-ds.default.svc.cluster.local",
            ],
        );
    }

    fn dns_silent(&mut self) {
        self.stage.lab.silence_dns(true).expect("it stops");
        let output = self.stage.run_in(
            APACHE,
            &[
                "dig",
                "+tries=1",
                "+time=1",
                "clusterip-nginx-ds.default.svc.cluster.local",
            ],
        );
        assert!(!output.status.success(), "{output:?}");
        self.reported.expect(expect(
            "dns-timeout",
            APACHE,
            &[
                "\"clusterip-nginx-ds.default.svc.cluster.local\": no answer from DNS server",
                "kube-system/kube-dns",
            ],
        ));
        self.reported.wait();
        self.stage.lab.silence_dns(false).expect("it continues");
        self.resolves(
            ("dns-timeout", APACHE, "myns/apache-ds-myns-d4f2h"),
            &[
                "dig",
                "+tries=1",
                "clusterip-nginx-ds.default.svc.cluster.local",
            ],
        );
    }
}
