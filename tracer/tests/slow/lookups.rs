//! Lookups on real packets: glibc, bind's tools, musl, Go, BusyBox, Node.js and Java in a pod, with the
//! resolv.conf options that change what they send, compared with tcpdump and the tools' output.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::lab::{Inventory, ProxyMode};
use testbed::stage::{CLIENT, Stage, text};
use testbed::watch::{Events, listed};

const SEARCH: &str = "search default.svc.cluster.local svc.cluster.local cluster.local";
/// kube-dns, as every pod has it.
const CLUSTER: &str = "nameserver 10.152.183.10";
/// The pod behind it, as a second nameserver.
const POD: &str = "nameserver 10.1.235.206";
/// An address without a Service: nothing answers.
const SILENT: &str = "nameserver 10.152.183.99";
/// Longer than a lookup can count as begun before the tracer.
const SETTLE: Duration = Duration::from_millis(1_100);

/// A lookup as it must be reported: what was asked for, if the wire shows it, and how it ended.
type Expected<'a> = (Option<&'a str>, &'a str);

/// The client pod, a tracer beside it, and a place for captures.
pub(super) struct Client {
    events: Events,
    directory: TempDir,
    pub(super) stage: Stage,
}

/// A query as tshark reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Query {
    pub(super) name: String,
    qtype: String,
    server: String,
    id: String,
}

impl Client {
    pub(super) fn new(stage: Stage) -> Client {
        let events = stage.events(&[]);
        sleep(SETTLE);
        Client {
            events,
            directory: tempfile::tempdir().expect("a directory for captures"),
            stage,
        }
    }

    /// Gives the pod a resolv.conf of these lines. Never the machine's: the pod's is recognised by its
    /// nameserver.
    fn resolv_conf(&self, lines: &[&str]) {
        let lines = format!("{}\n", lines.join("\n"));
        let script =
            r#"grep -q '^nameserver 10\.1' /etc/resolv.conf && printf %s "$1" > /etc/resolv.conf"#;
        let output = self.stage.run(&["sh", "-c", script, "sh", &lines]);
        assert!(
            output.status.success(),
            "the pod has a resolv.conf of its own: {output:?}"
        );
    }

    /// Runs a command in the pod. Returns its output and the queries that it sent.
    pub(super) fn run(&self, argv: &[&str]) -> (Output, Vec<Query>) {
        let file = self.directory.path().join("queries.pcap");
        let capture = Capture::start(&self.stage, &file);
        let output = self.stage.run(argv);
        capture.stop();
        (output, queries(&file))
    }

    /// Runs a command and compares: every query that tcpdump saw is in a lookup, and no other; the lookups
    /// are these; the addresses that the tool printed are the lookups' answers.
    fn check(&mut self, argv: &[&str], expected: &[Expected<'_>]) -> Vec<Value> {
        self.events.next_step();
        let (output, sent) = self.run(argv);
        let shown = text(&output);
        let lookups = self.lookups(sent.len());
        let context = || {
            let sent: String = sent.iter().map(|query| format!("\n  {query:?}")).collect();
            format!("{argv:?}\n{shown}\nsent:{sent}\ntold:{}", listed(&lookups))
        };
        let reported: Vec<Expected<'_>> = lookups
            .iter()
            .map(|lookup| {
                (
                    lookup["asked"].as_str(),
                    lookup["outcome"].as_str().unwrap_or("?"),
                )
            })
            .collect();
        assert_eq!(reported, expected, "{}", context());

        let mut by_question: BTreeMap<(String, String), u64> = BTreeMap::new();
        for query in &sent {
            *by_question
                .entry((query.name.clone(), query.qtype.clone()))
                .or_default() += 1;
        }
        let mut reported: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut addresses = BTreeSet::new();
        for step in lookups.iter().flat_map(|lookup| list(&lookup["steps"])) {
            let name = step["name"].as_str().expect("a name").trim_end_matches('.');
            let qtype = step["qtype"].as_str().expect("a type");
            *reported
                .entry((name.to_owned(), qtype.to_owned()))
                .or_default() += step["attempts"].as_u64().expect("attempts");
            addresses.extend(list(&step["data"]).iter().filter_map(address));
        }
        assert_eq!(reported, by_question, "{}", context());
        let servers: BTreeSet<&str> = sent.iter().map(|query| query.server.as_str()).collect();
        let printed: BTreeSet<IpAddr> = shown
            .split_whitespace()
            .filter(|word| !servers.contains(word))
            .filter_map(|word| word.parse().ok())
            .collect();
        if argv[0] != "curl" {
            assert_eq!(addresses, printed, "{}", context());
        }
        lookups
    }

    /// Waits until this step's lookups have this many queries, and returns them by their start.
    fn lookups(&mut self, queries: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.events.poll().expect("the tracer runs");
            let of_step = self.events.of_step().iter();
            let mut lookups: Vec<Value> = of_step
                .filter(|event| event["type"] == "lookup")
                .cloned()
                .collect();
            let reported: u64 = lookups
                .iter()
                .filter_map(|lookup| lookup["queries"].as_u64())
                .sum();
            if reported >= queries as u64 || Instant::now() > deadline {
                lookups.sort_by_key(|lookup| lookup["time"].as_str().map(str::to_owned));
                return lookups;
            }
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn address(data: &Value) -> Option<IpAddr> {
    data.as_str()?.parse().ok()
}

/// tcpdump in the pod.
struct Capture(Child);

impl Capture {
    fn start(stage: &Stage, file: &Path) -> Capture {
        let file = file.to_str().expect("a path that is UTF-8");
        let mut command = stage
            .lab
            .exec(
                CLIENT,
                &[
                    "tcpdump",
                    "--immediate-mode",
                    "-U",
                    "-Z",
                    "root",
                    "-i",
                    "eth0",
                    "-w",
                    file,
                    "dst",
                    "port",
                    "53",
                ],
            )
            .expect("the client pod");
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump (Debian: tcpdump)");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let listening = said.any(|line| line.is_ok_and(|line| line.contains("listening on")));
        assert!(listening, "tcpdump captures");
        Capture(child)
    }

    /// Earlier packets are in the file once it returns.
    fn stop(mut self) {
        sleep(Duration::from_millis(100));
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("tcpdump runs");
        self.0.wait().expect("tcpdump ends");
    }
}

/// The queries of a capture.
fn queries(file: &Path) -> Vec<Query> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(file)
        .args([
            "-Y",
            "dns.flags.response == 0",
            "-T",
            "fields",
            "-E",
            "separator=,",
        ])
        .args([
            "-e",
            "dns.qry.name",
            "-e",
            "dns.qry.type",
            "-e",
            "ip.dst",
            "-e",
            "dns.id",
        ])
        .output()
        .expect("tshark (Debian: tshark)");
    assert!(output.status.success(), "{output:?}");
    let queries = text(&output);
    let queries = queries.lines().map(|line| {
        let [name, qtype, server, id] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("tshark's line {line:?}");
        };
        let qtype = match qtype {
            "1" => "A",
            "28" => "AAAA",
            other => other,
        };
        Query {
            name: name.to_owned(),
            qtype: qtype.to_owned(),
            server: server.to_owned(),
            id: id.to_owned(),
        }
    });
    queries.collect()
}

pub(super) fn stage() -> Stage {
    Stage::new(ProxyMode::Iptables)
}

#[test]
fn each_call_of_glibc_is_one_lookup() {
    let mut client = Client::new(stage());
    let nginx = "clusterip-nginx-ds";
    client.check(&["getent", "ahosts", nginx], &[(None, "answered")]);
    let wrong = client.check(
        &["getent", "ahosts", "no-such"],
        &[(Some("no-such"), "nxdomain")],
    );
    assert_eq!(wrong[0]["queries"], 8, "four candidates, two types");
    let labels = "clusterip-apache2-ds-myns.myns";
    client.check(&["getent", "ahosts", labels], &[(Some(labels), "answered")]);
    // gethostbyname2 for AAAA through the whole list, then for A: two calls.
    client.check(
        &["getent", "hosts", nginx],
        &[(Some(nginx), "nodata"), (None, "answered")],
    );
    client.check(
        &["getent", "hosts", "no-such"],
        &[(Some("no-such"), "nxdomain"), (Some("no-such"), "nxdomain")],
    );
    // A trailing dot: no other candidate.
    let full = "clusterip-nginx-ds.default.svc.cluster.local.";
    client.check(&["getent", "ahosts", full], &[(None, "answered")]);
    client.check(
        &["getent", "ahosts", "no-such."],
        &[(Some("no-such."), "nxdomain")],
    );
    let external = client.check(
        &["getent", "ahosts", "www.example.com."],
        &[(Some("www.example.com."), "answered")],
    );
    assert_eq!(external[0]["queries"], 2);
    // Asked again after the failure, and once more over the list.
    client.check(
        &["getent", "ahosts", "servfail.example."],
        &[(Some("servfail.example."), "servfail")],
    );
    client.check(
        &["getent", "ahosts", "servfail.example"],
        &[(Some("servfail.example"), "servfail")],
    );
    client.check(
        &["getent", "ahosts", "refused.example"],
        &[(Some("refused.example"), "refused")],
    );
}

#[test]
fn each_call_of_binds_tools_is_one_lookup() {
    let mut client = Client::new(stage());
    client.check(&["nslookup", "clusterip-nginx-ds"], &[(None, "answered")]);
    client.check(&["nslookup", "no-such"], &[(Some("no-such"), "nxdomain")]);
    let www = client.check(
        &["nslookup", "www.example.com"],
        &[(Some("www.example.com"), "answered")],
    );
    assert_eq!(www[0]["queries"], 5, "three suffixes, then A and AAAA");
    client.check(
        &["nslookup", "servfail.example."],
        &[(Some("servfail.example."), "servfail")],
    );
    let short = ["dig", "+search", "+short"];
    for (name, reported) in [
        ("clusterip-nginx-ds", (None, "answered")),
        (
            "clusterip-apache2-ds-myns",
            (Some("clusterip-apache2-ds-myns"), "nxdomain"),
        ),
        ("refused.example", (Some("refused.example"), "refused")),
        ("mail.example.com", (Some("mail.example.com"), "answered")),
    ] {
        client.check(&[&short[..], &[name]].concat(), &[reported]);
    }
    // Without +search only the name itself.
    client.check(
        &["dig", "+short", "mail.example.com"],
        &[(Some("mail.example.com."), "answered")],
    );
}

#[test]
fn options_of_resolv_conf_change_the_queries_and_not_the_number_of_lookups() {
    let mut client = Client::new(stage());
    let unknown = [(Some("no-such"), "nxdomain")];
    let getent = ["getent", "ahosts", "no-such"];
    client.resolv_conf(&[SEARCH, CLUSTER, "options ndots:5 single-request"]);
    client.check(&getent, &unknown);
    client.resolv_conf(&[SEARCH, CLUSTER, "options ndots:5 single-request-reopen"]);
    client.check(&getent, &unknown);
    client.resolv_conf(&[SEARCH, CLUSTER, POD, "options ndots:5 rotate"]);
    client.check(&getent, &unknown);
    let fails = ["getent", "ahosts", "servfail.example."];
    let failed = client.check(&fails, &[(Some("servfail.example."), "servfail")]);
    assert_eq!(failed[0]["steps"][0]["attempts"], 4, "two servers, twice");

    // The first of two servers is silent: glibc goes to the next one, bind's tools after three attempts.
    client.resolv_conf(&[SEARCH, SILENT, CLUSTER, "options ndots:5 timeout:1"]);
    let nginx = "clusterip-nginx-ds";
    let slow = client.check(&["getent", "ahosts", nginx], &[(None, "answered")]);
    assert_eq!(slow[0]["steps"][0]["attempts"], 2);
    let waited = slow[0]["duration_ns"].as_u64().expect("a duration");
    assert!(
        (1_000_000_000..5_000_000_000).contains(&waited),
        "{}",
        slow[0]
    );
    let dig = ["dig", "+search", "+short", "+timeout=1", nginx];
    let slow = client.check(&dig, &[(None, "answered")]);
    assert_eq!(slow[0]["steps"][0]["attempts"], 4);
}

#[test]
fn musl_asks_the_list_in_order_all_servers_at_once_and_stops_at_nodata() {
    let mut client = Client::new(stage());
    let program = musl_client(client.directory.path());
    let resolve = program.to_str().expect("a path that is UTF-8").to_owned();
    let resolve = |name| [resolve.as_str(), name];
    client.check(&resolve("clusterip-nginx-ds"), &[(None, "answered")]);
    client.check(&resolve("no-such"), &[(Some("no-such"), "nxdomain")]);
    let labels = "clusterip-apache2-ds-myns.myns";
    client.check(&resolve(labels), &[(Some(labels), "answered")]);
    let failed = client.check(
        &resolve("servfail.example."),
        &[(Some("servfail.example."), "servfail")],
    );
    assert_eq!(
        failed[0]["steps"][0]["attempts"], 6,
        "three times in each of two rounds"
    );
    // The second candidate, default.svc.cluster.local, has no addresses but names below it.
    let empty = client.check(&resolve("default"), &[(Some("default"), "nodata")]);
    assert_eq!(empty[0]["queries"], 4, "two candidates, two types");
    client.resolv_conf(&[SEARCH, CLUSTER, POD, "options ndots:5"]);
    let both = client.check(&resolve("no-such"), &[(Some("no-such"), "nxdomain")]);
    assert_eq!(
        both[0]["queries"], 16,
        "four candidates, two types, two servers"
    );
    client.resolv_conf(&[SEARCH, SILENT, CLUSTER, "options ndots:5"]);
    client.check(&resolve("clusterip-nginx-ds"), &[(None, "answered")]);
}

#[test]
fn go_asks_each_type_from_its_own_socket() {
    let mut client = Client::new(stage());
    let program = go_client(client.directory.path());
    let resolve = program.to_str().expect("a path that is UTF-8").to_owned();
    let resolve = |name| [resolve.as_str(), name];
    client.check(&resolve("clusterip-nginx-ds"), &[(None, "answered")]);
    let wrong = client.check(&resolve("no-such"), &[(Some("no-such"), "nxdomain")]);
    assert_eq!(wrong[0]["queries"], 8, "four candidates, two types");
    let labels = "clusterip-apache2-ds-myns.myns";
    client.check(&resolve(labels), &[(Some(labels), "answered")]);
    let failed = client.check(
        &resolve("servfail.example."),
        &[(Some("servfail.example."), "servfail")],
    );
    assert_eq!(failed[0]["queries"], 4, "each type twice");
    client.resolv_conf(&[SEARCH, CLUSTER, "options ndots:5 use-vc"]);
    client.check(&resolve("no-such"), &[(Some("no-such"), "nxdomain")]);
    client.resolv_conf(&[SEARCH, SILENT, CLUSTER, "options ndots:5"]);
    let slow = client.check(&resolve("clusterip-nginx-ds"), &[(None, "answered")]);
    let waited = slow[0]["waited_ns"].as_u64().expect("a wait");
    assert!(
        (4_900_000_000..6_000_000_000).contains(&waited),
        "{}",
        slow[0]
    );
}

#[test]
fn busybox_asks_for_all_search_domains_at_once() {
    let mut client = Client::new(stage());
    let nslookup = |name| ["busybox", "nslookup", name];
    let nginx = "clusterip-nginx-ds";
    let found = client.check(&nslookup(nginx), &[(Some(nginx), "answered")]);
    assert_eq!(found[0]["queries"], 6, "three search domains, two types");
    client.check(&nslookup("no-such"), &[(Some("no-such"), "nxdomain")]);
    // With a dot, only the name itself.
    let labels = "clusterip-apache2-ds-myns.myns";
    let absolute = format!("{labels}.");
    let wrong = client.check(&nslookup(labels), &[(Some(&absolute), "nxdomain")]);
    assert_eq!(wrong[0]["queries"], 2);
}

#[test]
fn node_searches_in_lookup_and_not_in_resolve() {
    let mut client = Client::new(stage());
    let lookup = "require('dns').lookup(process.argv[1], {all: true}, (error, found) => \
                  error ? process.exit(1) : found.forEach(each => console.log(each.address)))";
    let nginx = "clusterip-nginx-ds";
    client.check(&["node", "-e", lookup, nginx], &[(None, "answered")]);
    client.check(
        &["node", "-e", lookup, "no-such"],
        &[(Some("no-such"), "nxdomain")],
    );
    // Two calls, whose packets are those of one for both types.
    let resolve = "for (const call of ['resolve4', 'resolve6']) \
                   require('dns')[call](process.argv[1], (error, found) => \
                   error || found.forEach(each => console.log(each)))";
    let full = "clusterip-nginx-ds.default.svc.cluster.local";
    client.check(&["node", "-e", resolve, full], &[(None, "answered")]);
    client.check(
        &["node", "-e", resolve, "no-such"],
        &[(Some("no-such."), "nxdomain")],
    );
}

#[test]
fn java_looks_names_up_through_libc() {
    let mut client = Client::new(stage());
    let program = client.directory.path().join("Resolve.java");
    let source = "public class Resolve { public static void main(String[] names) throws Exception { \
                  for (var each : java.net.InetAddress.getAllByName(names[0])) \
                  System.out.println(each.getHostAddress()); } }";
    std::fs::write(&program, source).expect("the source is written");
    let program = program.to_str().expect("a path that is UTF-8").to_owned();
    let nginx = "clusterip-nginx-ds";
    client.check(&["java", &program, nginx], &[(None, "answered")]);
    let wrong = client.check(
        &["java", &program, "no-such"],
        &[(Some("no-such"), "nxdomain")],
    );
    assert_eq!(wrong[0]["queries"], 8);
}

#[test]
fn ndots_of_the_pods_dns_config_decides_what_is_asked_first() {
    let stage = stage();
    let mut objects = stage.lab.inventory().objects().to_vec();
    let pod = objects
        .iter_mut()
        .find(|object| object["kind"] == "Pod" && object["metadata"]["name"] == "deb-ubuntu");
    pod.expect("the client pod")["spec"]["dnsConfig"] =
        json!({ "options": [{ "name": "ndots", "value": "1" }] });
    let inventory = Inventory::from_objects(objects).expect("the inventory, with dnsConfig");
    stage
        .lab
        .publish(&inventory)
        .expect("the inventory is published");
    let mut client = Client::new(stage);
    client.resolv_conf(&[SEARCH, CLUSTER, "options ndots:1"]);
    let found = client.check(
        &["getent", "ahosts", "mail.example.com"],
        &[(None, "answered")],
    );
    assert_eq!(found[0]["queries"], 2, "as it is first");
    let name = "no-such.example.com";
    let wrong = client.check(&["getent", "ahosts", name], &[(Some(name), "nxdomain")]);
    assert_eq!(wrong[0]["steps"][0]["name"], "no-such.example.com.");
    assert_eq!(wrong[0]["queries"], 8);
    client.check(&["nslookup", "no-such"], &[(Some("no-such"), "nxdomain")]);
}

#[test]
fn a_search_domain_of_the_node_is_learned_from_the_wire() {
    let mut client = Client::new(stage());
    client.resolv_conf(&[&format!("{SEARCH} example.com"), CLUSTER, "options ndots:5"]);
    let found = client.check(&["getent", "ahosts", "www"], &[(Some("www"), "answered")]);
    assert_eq!(
        found[0]["queries"], 8,
        "the fourth candidate is www.example.com"
    );
    client.check(&["nslookup", "no-such"], &[(Some("no-such"), "nxdomain")]);
    let of = |client: &Client, name: &str| {
        let place = client
            .events
            .of_step()
            .iter()
            .find(|event| event["name"] == name);
        place.map(|event| event["lookup"].clone())
    };
    assert_eq!(
        of(&client, "no-such.svc.cluster.local."),
        Some(json!({ "asked": "no-such", "candidate": 2, "of": 5 }))
    );
}

#[test]
fn a_connection_says_which_name_its_address_came_from() {
    let mut client = Client::new(stage());
    let curl = |url| {
        [
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{remote_ip}",
            url,
        ]
    };
    for (url, name, server, reported) in [
        (
            "http://www.example.com/",
            "www.example.com.",
            "external",
            (Some("www.example.com"), "answered"),
        ),
        (
            "http://clusterip-nginx-ds/",
            "clusterip-nginx-ds.default.svc.cluster.local.",
            "default/clusterip-nginx-ds",
            (None, "answered"),
        ),
    ] {
        client.check(&curl(url), &[reported]);
        let tcp = client
            .events
            .wait_for("a connection", |event| {
                event["type"] == "tcp" && event["peer"]["port"] == 80
            })
            .unwrap();
        assert_eq!(tcp["peer"]["names"], json!([name]), "{tcp}");
        let service = &tcp["peer"]["service"];
        let service = if service.is_null() {
            "external".to_owned()
        } else {
            testbed::stage::name(service)
        };
        assert_eq!(service, server);
    }
}

/// A client whose resolver is musl's.
fn musl_client(directory: &Path) -> PathBuf {
    const SOURCE: &str = r#"
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found, *each;
    int error = argc == 2 ? getaddrinfo(argv[1], 0, &hints, &found) : EAI_FAIL;
    if (error) {
        fprintf(stderr, "%s\n", gai_strerror(error));
        return 1;
    }
    for (each = found; each; each = each->ai_next) {
        char address[64];
        getnameinfo(each->ai_addr, each->ai_addrlen, address, sizeof address, 0, 0, NI_NUMERICHOST);
        puts(address);
    }
    return 0;
}
"#;
    let (source, program) = (directory.join("resolve.c"), directory.join("resolve"));
    std::fs::write(&source, SOURCE).expect("the source is written");
    let status = Command::new("musl-gcc")
        .arg("-static")
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("musl-gcc (Debian: musl-tools)");
    assert!(status.success(), "the client compiles");
    program
}

/// A client whose resolver is Go's own.
fn go_client(directory: &Path) -> PathBuf {
    const SOURCE: &str = r#"package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	found, err := net.LookupHost(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "not found")
		os.Exit(1)
	}
	for _, each := range found {
		fmt.Println(each)
	}
}
"#;
    let (source, program) = (directory.join("resolve.go"), directory.join("resolve-go"));
    std::fs::write(&source, SOURCE).expect("the source is written");
    let status = Command::new("go")
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", directory.join("go-cache"))
        .arg("build")
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("go (Debian: golang-go)");
    assert!(status.success(), "the client compiles");
    program
}
