//! The configuration that arguments resolve to.

use std::time::Duration;

use clap::FromArgMatches;

use super::*;
use crate::cli::{Cli, Command, command};
use crate::cluster::{ClusterSource, RemoteIdentity};
use crate::config::ClusterConfig;
use tracer_core::model::dns::{RecordType, ResponseCode};
use tracer_core::model::flow::Role;
use tracer_core::model::glob::Glob;
use tracer_core::view::Format;
use tracer_core::view::filter::{EventType, PodPattern};

fn host() -> Host {
    Host {
        name: "k8s-worker03".to_owned(),
        terminal: false,
        width: None,
        no_color: None,
        term: None,
        now: "2026-03-29T10:30:00+02:00[Europe/Berlin]"
            .parse()
            .expect("a time"),
    }
}

fn parse(args: &str) -> Result<ObserveArgs, clap::Error> {
    let words = ["tracer", "observe"]
        .into_iter()
        .chain(args.split_whitespace());
    let matches = command().try_get_matches_from(words)?;
    match Cli::from_arg_matches(&matches)?.command {
        Command::Observe(args) => Ok(*args),
        other => panic!("not observe: {other:?}"),
    }
}

fn resolve(args: &str) -> ObserveConfig {
    parse(args)
        .expect("valid arguments")
        .resolve(&host())
        .expect("a configuration")
}

fn refusal(args: &str) -> String {
    match parse(args) {
        Err(error) => error.to_string(),
        Ok(args) => args.resolve(&host()).expect_err("refused").to_string(),
    }
}

#[test]
fn the_command_line_definition_is_valid() {
    command().debug_assert();
}

#[test]
fn without_options_the_configuration_has_the_defaults() {
    let config = resolve("--local");
    assert_eq!(&*config.node, "k8s-worker03");
    assert_eq!(config.pipeline.dns_ports, [53]);
    assert_eq!(
        config.pipeline.index.cluster_domain.as_str(),
        "cluster.local."
    );
    assert_eq!(
        config.pipeline.thresholds,
        tracer_core::model::settings::Thresholds::default()
    );
    assert_eq!(
        config.pipeline.limits,
        tracer_core::model::settings::Limits::default()
    );
    assert_eq!(config.output, OutputSettings::default());
    assert_eq!(config.duration, None);
    assert_eq!(config.inventory, None);
    let capture = config.capture;
    assert_eq!(capture.payload_cap_bytes, 1232);
    assert_eq!(capture.ring_bytes, 8 * 1024 * 1024);
    assert_eq!(capture.flow_entries, 65_536);
    assert_eq!(capture.instance, "default");
    assert!(capture.interfaces.is_empty());
    assert!(!capture.probe_log);
    assert_eq!(capture.records_per_second, 10_000);
    assert_eq!(capture.flow_idle, config.pipeline.thresholds.flow_idle);
    assert_eq!(capture.emission, Emission::default());
}

#[test]
fn every_option_reaches_the_configuration() {
    let config = resolve(
        "--local -o json --color always --count 5 --duration 90s -n default,myns -n shop -p default/web-*,10.1.2.3 \
         --type dns,tcp --type icmp --name *.example.com --rcode nxdomain,2 --outcome refused,timeout --failed \
         --slow 20ms --peer 10.0.0.0/8,kube-system/kube-dns --port 53,80 --qtype A,aaaa --follow --direction server --inventory i.yaml --cluster-domain corp.example --node-name n1 --interface cali*,veth? \
         --instance second --dns-port 53,1053 --ring-size 1MiB --flow-table-size 1024 --payload-bytes 512 --records-per-second 500 \
         --record-burst 50 --flow-idle 1m --probe-log --no-drops --no-retransmits \
         --dns-timeout 3s --tcp-opening-retransmits 3 --max-lookups 10",
    );
    let output = &config.output;
    assert_eq!(output.format, Format::Json);
    assert!(output.color);
    assert_eq!(output.count, Some(5));
    assert_eq!(config.duration, Some(Duration::from_secs(90)));
    let filter = &output.filter;
    let namespaces: Vec<_> = filter.namespaces.iter().map(Glob::as_str).collect();
    assert_eq!(namespaces, ["default", "myns", "shop"]);
    let pods: Vec<PodPattern> = ["default/web-*", "10.1.2.3"]
        .iter()
        .map(|pod| pod.parse().expect("a pattern"))
        .collect();
    assert_eq!(filter.pods, pods);
    assert_eq!(
        filter.types,
        [EventType::Dns, EventType::Tcp, EventType::Icmp]
    );
    assert_eq!(filter.names.len(), 1);
    assert_eq!(
        filter.rcodes,
        [ResponseCode::NXDomain, ResponseCode::ServFail]
    );
    assert_eq!(filter.outcomes, ["refused", "timeout"]);
    assert!(filter.failed);
    assert_eq!(filter.slow, Some(Duration::from_millis(20)));
    let peers = ["10.0.0.0/8", "kube-system/kube-dns"].map(|peer| peer.parse().expect("a peer"));
    assert_eq!(filter.peers, peers);
    assert_eq!(filter.ports, [53, 80]);
    assert_eq!(filter.qtypes, [RecordType::A, RecordType::AAAA]);
    assert_eq!(filter.direction, Some(Role::Server));
    assert_eq!(config.inventory, Some("i.yaml".into()));
    assert_eq!(
        config.pipeline.index.cluster_domain.as_str(),
        "corp.example."
    );
    assert_eq!(&*config.node, "n1");
    let capture = &config.capture;
    let interfaces: Vec<_> = capture.interfaces.iter().map(Glob::as_str).collect();
    assert_eq!(interfaces, ["cali*", "veth?"]);
    assert_eq!(capture.instance, "second");
    assert_eq!(config.pipeline.dns_ports, [53, 1053]);
    assert_eq!(capture.ring_bytes, 1 << 20);
    assert_eq!(capture.flow_entries, 1024);
    assert_eq!(capture.payload_cap_bytes, 512);
    assert_eq!(capture.dns_ports, [53, 1053]);
    assert_eq!(capture.records_per_second, 500);
    assert_eq!(capture.flow_idle, Duration::from_secs(60));
    assert_eq!(capture.emission, filter.emission());
    assert!(capture.probe_log);
    assert!(!capture.drops);
    assert!(!capture.retransmits);
    assert_eq!(
        config.pipeline.thresholds.dns_timeout,
        Duration::from_secs(3)
    );
    assert_eq!(config.pipeline.thresholds.tcp_opening_retransmits, 3);
    assert_eq!(config.pipeline.limits.lookups, 10);
}

#[test]
fn an_error_names_the_option_and_what_is_allowed() {
    for (args, says) in [
        ("--local --server unix:/a", "agents that trace already"),
        ("--replay f --node a", "agents that trace already"),
        ("--server tcp:a", "unix:PATH or https://HOST:PORT"),
        ("--record g", "agents send events, not packets"),
        ("--local --replay f", "leave one out"),
        ("--replay f --record g", "a file that exists already"),
        ("--replay f --follow", "reads to the end"),
        ("--local --record -", "needs a file"),
        ("--local --duration 10", "needs its unit"),
        ("--local --ring-size 5MiB", "8.0 MiB"),
        ("--local --rcode NX", "NXDOMAIN"),
        ("--local --type http", "lookup"),
        ("--local --outcome lost", "no outcome or state"),
        ("--local --dns-port 0", "1..=65535"),
        ("--local --dns-port 1,2,3,4,5,6,7,8,9", "at most 8"),
        ("--local --cluster-domain a..b", "labels"),
        ("--local --count 0", "1.."),
        ("--local --slow 20", "needs its unit"),
        ("--local --peer 10.0.0.0/33", "is not a range of addresses"),
        ("--local --port 70000", "1..=65535"),
        ("--local --qtype AAAAA", "did you mean AAAA"),
        ("--local --since 5m", "--local has only new ones"),
        ("--local --last 10", "--local has only new ones"),
        ("--local --since yesterday", "12:30"),
        ("--local --last 10 --count 10", "cannot be used with"),
    ] {
        let refusal = refusal(args);
        assert!(refusal.contains(says), "{args}: {refusal}");
    }
}

#[test]
fn names_come_from_the_selected_cluster() {
    let cluster = |args| resolve(args).cluster;
    assert_eq!(cluster("--local"), None);
    let kubeconfig = |file: Option<&str>, context: Option<&str>| ClusterSource::Kubeconfig {
        file: file.map(PathBuf::from),
        context: context.map(str::to_owned),
    };
    for (args, source) in [
        ("--local --kubeconfig a", kubeconfig(Some("a"), None)),
        ("--local --context b", kubeconfig(None, Some("b"))),
        (
            "--local --kubeconfig a --context b",
            kubeconfig(Some("a"), Some("b")),
        ),
        ("--local --in-cluster", ClusterSource::InCluster),
    ] {
        let remote = RemoteIdentity::Cluster;
        assert_eq!(cluster(args), Some(ClusterConfig { source, remote }));
    }
    let few = cluster("--local --in-cluster --remote-identity endpoints");
    assert_eq!(few.expect("one").remote, RemoteIdentity::Endpoints);
    for (args, says) in [
        ("--local --in-cluster --kubeconfig a", "cannot be used with"),
        ("--local --kubeconfig a --inventory b", "leave one out"),
        ("--replay a --kubeconfig b", "--replay reads the past"),
    ] {
        let refusal = refusal(args);
        assert!(refusal.contains(says), "{args}: {refusal}");
    }
}

#[test]
fn events_come_from_agents_by_default() {
    let asked = |args: &str| match resolve(args).source {
        Source::Agents {
            agents,
            follow,
            history,
        } => (agents.servers.len(), agents.nodes.len(), follow, history),
        other => panic!("{args}: {other:?}"),
    };
    assert_eq!(asked(""), (0, 0, false, true));
    assert_eq!(asked("-f --node a,b*"), (0, 2, true, false));
    assert_eq!(asked("-f --last 5"), (0, 0, true, true));
    let servers = "--server unix:/a --server https://b:1 -f --since 5m";
    assert_eq!(asked(servers), (2, 0, true, true));
}

#[test]
fn packets_come_from_this_machine_or_a_file() {
    let source = |args| resolve(args).source;
    assert_eq!(source("--local"), Source::Local { record: None });
    let record = Some("r.pcapng".into());
    assert_eq!(
        source("--local --record r.pcapng"),
        Source::Local { record }
    );
    assert_eq!(source("--replay -"), Source::Replay("-".into()));
}

#[test]
fn a_recording_has_packets_that_the_filter_hides() {
    let emission = |args: &str| resolve(args).capture.emission;
    assert!(!emission("--local --type icmp").tcp);
    assert!(emission("--local --type icmp --record r.pcapng").tcp);
}

#[test]
fn since_and_last_apply_to_a_capture_file() {
    let output = resolve("--replay f --since 5m --last 10").output;
    let since = "2026-03-29T08:25:00Z".parse().expect("a time");
    assert_eq!((output.since, output.last), (Some(since), Some(10)));
}

#[test]
fn repeated_dns_ports_count_once() {
    assert_eq!(
        resolve("--local --dns-port 53,53,5353").pipeline.dns_ports,
        [53, 5353]
    );
}

#[test]
fn colour_follows_the_terminal() {
    let args = parse("--local").expect("valid arguments");
    let on_terminal = Host {
        terminal: true,
        width: Some(120),
        ..host()
    };
    assert!(
        args.resolve(&on_terminal)
            .expect("a configuration")
            .output
            .color
    );
    let asked_not_to = Host {
        no_color: Some("1".into()),
        ..on_terminal
    };
    assert!(
        !args
            .resolve(&asked_not_to)
            .expect("a configuration")
            .output
            .color
    );
}
