//! The five steps of the scenario and the remedies of its findings on real packets, compared with nslookup,
//! ping and curl.

use std::time::{Duration, Instant};

use testbed::lab::ProxyMode;
use testbed::scenario::{NODES, REMEDIES, STEPS, Step};
use testbed::stage::{Stage, program};
use testbed::watch::{Events, Watch};

#[test]
fn every_step_is_reported_as_the_tools_report_it_and_what_the_findings_say_to_try_works() {
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
        until_reported(&mut events, step.title, |events| {
            step.check(&outputs, events.of_step())
        });
    }
    for remedy in &REMEDIES {
        events.next_step();
        let finding = remedy.finding(events.all()).expect("the finding").clone();
        let outputs = remedy.run(&stage.lab, &finding).expect("it can be tried");
        until_reported(&mut events, remedy.rule, |events| {
            remedy.check(&finding, &outputs, events.of_step(), events.all())
        });
    }
    for ended in events.stop().expect("the tracers run to the end") {
        assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
    }
}

fn until_reported(events: &mut Events, what: &str, check: impl Fn(&Events) -> anyhow::Result<()>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        events.poll().expect("JSON lines");
        match check(events) {
            Ok(()) => break,
            Err(error) if Instant::now() > deadline => panic!("{what}: {error:#}"),
            Err(_) => {}
        }
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
    // Pending events are reported at the end.
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
