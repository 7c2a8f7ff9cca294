//! `tracer explain` in the lab: the names that it says are tried, compared with the queries of glibc's own
//! resolver, and `--watch` with a real attempt.

use std::time::Duration;

use serde_json::Value;
use testbed::stage::{CLIENT, NODE, program, text};
use testbed::watch::Watch;

use super::lookups::{Client, stage};

/// Long enough for the probes to attach on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names that the explanation has the pod try, up to the one that wins.
fn explained(client: &Client, asked: &str) -> Vec<String> {
    let inventory = client.stage.lab.inventory_file();
    let output = std::process::Command::new(program())
        .args([
            "explain",
            CLIENT,
            "--to",
            asked,
            "-o",
            "json",
            "--inventory",
        ])
        .arg(inventory)
        .output()
        .expect("the program runs");
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    let resolution = &answer["resolution"];
    let candidates = resolution["candidates"].as_array().expect("candidates");
    let names = candidates
        .iter()
        .map(|one| one["name"].as_str().expect("a name"));
    let mut tried: Vec<String> = Vec::new();
    for name in names {
        tried.push(name.trim_end_matches('.').to_owned());
        if resolution["winner"].as_str() == Some(name) {
            break;
        }
    }
    tried
}

#[test]
fn names_are_tried_in_the_order_in_which_glibc_asks() {
    let client = Client::new(stage());
    for asked in [
        "clusterip-nginx-ds",
        "clusterip-apache2-ds-myns",
        "clusterip-apache2-ds-myns.myns",
        "clusterip-nginx-ds.default.svc.cluster.local",
        "clusterip-nginx-ds.default.svc.cluster.local.",
        "no-such-name",
    ] {
        let (_, queries) = client.run(&["getent", "ahosts", asked]);
        let mut names: Vec<String> = queries.into_iter().map(|query| query.name).collect();
        // A and AAAA of a name are asked together.
        names.dedup();
        assert_eq!(explained(&client, asked), names, "{asked}");
    }
}

#[test]
fn watch_waits_for_the_attempt_and_explains_it() {
    let stage = stage();
    let node = NODE;
    let inventory = stage.lab.inventory_file();
    let inventory = inventory.to_str().expect("UTF-8");
    let program = program().to_str().expect("UTF-8");
    let argv = [
        program,
        "explain",
        CLIENT,
        "--to",
        "clusterip-nginx-ds:80",
        "--local",
        "--watch",
        "--node-name",
        node,
        "--inventory",
        inventory,
        "-o",
        "json",
    ];
    let command = stage.lab.exec_node(node, &argv).expect("the node");
    let mut watch = Watch::spawn(command).expect("it starts");
    watch.wait_for_log("tracing ").expect("it traces");
    let output = stage.run(&[
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "http://clusterip-nginx-ds/",
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let line = watch
        .line(PATIENCE)
        .expect("it runs")
        .expect("an explanation");
    let answer: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(answer["verdict"]["kind"], "works", "{answer:#}");
    let winner = &answer["resolution"]["candidates"][0];
    assert_eq!(winner["seen"][0]["outcome"], "answered", "{answer:#}");
    let kinds: Vec<&str> = answer["attempts"]["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .filter_map(|group| group["kind"].as_str())
        .collect();
    assert!(kinds.contains(&"tcp"), "{answer:#}");
}
