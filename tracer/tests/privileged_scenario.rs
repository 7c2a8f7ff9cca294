//! The five steps of the scenario on real packets, against what nslookup, ping and curl report themselves.

mod lab;

use std::time::{Duration, Instant};

use lab::{Stage, program};
use xtask::lab::ProxyMode;
use xtask::scenario::{NODES, STEPS, Step};
use xtask::watch::{Events, Watch};

#[test]
fn every_step_is_told_as_the_tools_report_it() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = Events::new(
        NODES
            .map(|node| stage.trace(node, &[]))
            .into_iter()
            .collect(),
    );
    for step in &STEPS {
        events.next_step();
        let outputs: Vec<_> = step
            .commands
            .iter()
            .map(|argv| Step::run(&stage.lab, argv).expect("the command runs"))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            events.poll().expect("JSON lines");
            match step.check(&outputs, events.of_step()) {
                Ok(()) => break,
                Err(error) if Instant::now() > deadline => panic!("{}: {error:#}", step.title),
                Err(_) => {}
            }
        }
    }
    for ended in events.stop().expect("the tracers run to the end") {
        assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
    }
}

#[test]
fn the_text_names_pod_server_service_outcome_and_time() {
    let stage = Stage::new(ProxyMode::Iptables);
    let node = NODES[0];
    let watch =
        Watch::start(&stage.lab, program(), node, &["-o", "text"]).expect("the tracer starts");
    for argv in STEPS.iter().flat_map(|step| step.commands) {
        Step::run(&stage.lab, argv).expect("the command runs");
    }
    // A ping run is told 3 s after its last request.
    std::thread::sleep(Duration::from_secs(4));
    let ended = watch.stop().expect("it runs to the end");
    let text = ended.lines.join("\n");
    let has = |words: &[&str]| {
        assert!(
            text.lines()
                .any(|line| words.iter().all(|word| line.contains(word))),
            "no line has {words:?}:\n{text}"
        );
    };
    has(&[
        "default/deb-ubuntu",
        "clusterip-nginx-ds.default.svc.cluster.local.",
        "answered",
        " ms",
        "kube-system/kube-dns",
    ]);
    has(&["├ clusterip-nginx-ds", "answered", "10.152.183.117"]);
    has(&[
        "default/deb-ubuntu",
        "default/clusterip-nginx-ds:80",
        "established",
        " ms",
    ]);
    has(&[
        "default/deb-ubuntu",
        "clusterip-apache2-ds-myns",
        "NXDOMAIN",
        "4 queries",
        "kube-system/kube-dns",
    ]);
    has(&[
        "default/deb-ubuntu",
        "myns/clusterip-apache2-ds-myns:90",
        "established",
    ]);
    has(&[
        "default/deb-ubuntu",
        "myns/clusterip-apache2-ds-myns",
        "8 sent, 0 received",
    ]);
    has(&[
        "default/deb-ubuntu",
        "myns/apache-ds-myns-9785z",
        "5 sent, 5 received",
    ]);
    has(&[
        "default/deb-ubuntu",
        "myns/apache-ds-myns-5tjrr",
        "5 sent, 5 received",
    ]);
    assert!(
        !text.contains('\u{1b}'),
        "colour without a terminal:\n{text}"
    );
    let summary = ended.log.join("\n");
    assert!(
        summary.contains(" packets seen") && summary.contains("lost: nothing"),
        "no summary: {summary}"
    );
}
