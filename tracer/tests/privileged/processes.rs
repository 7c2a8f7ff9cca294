//! Which process of a pod connected: against what ss and the processes themselves say.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::{CLIENT, NODE, Stage, text};

/// The Service default/clusterip-nginx-ds.
const SERVICE: &str = "10.152.183.117";

/// Connects, prints its port, and stays.
const PYTHON: &str = "import os, socket, time
connection = socket.create_connection(('10.152.183.117', 80))
print(connection.getsockname()[1], flush=True)
time.sleep(300)";

/// An established connection to the Service by a process of this name.
fn established(event: &Value, comm: &str) -> bool {
    event["type"] == "tcp"
        && event["state"] == "established"
        && event["peer"]["ip"] == SERVICE
        && event["pod"]["process"]["comm"] == comm
}

/// The process that ss shows for a port of the client: its name and id.
fn by_ss(stage: &Stage, port: u16) -> (String, u64) {
    let filter = format!("sport = :{port}");
    let listed = text(&stage.run(&["ss", "-tnpH", &filter]));
    // users:(("python3",pid=123,fd=3))
    let (_, users) = listed
        .split_once("((\"")
        .unwrap_or_else(|| panic!("{listed}"));
    let (comm, rest) = users.split_once("\",pid=").expect("a name");
    let (pid, _) = rest.split_once(',').expect("an id");
    (comm.to_owned(), pid.parse().expect("a number"))
}

#[test]
fn two_programs_of_a_pod_are_told_apart_by_their_processes() {
    let stage = Stage::new(ProxyMode::Nftables);
    let mut events = stage.events(&["--type", "tcp"]);
    let only_curl = ["--type", "tcp", "--comm", "cur?", "--instance", "filtered"];
    let mut curls = testbed::watch::Events::new(vec![stage.trace(NODE, &only_curl)]);

    let mut python = stage.spawn_in(CLIENT, &["python3", "-c", PYTHON]);
    let mut printed = String::new();
    let mut output = BufReader::new(python.stdout.take().expect("a pipe"));
    output.read_line(&mut printed).expect("it connects");
    let port: u16 = printed.trim().parse().expect("a port");
    let (comm, pid) = by_ss(&stage, port);
    let event = events
        .wait_for("python's connection", |event| {
            event["pod"]["port"] == port && event["state"] == "established"
        })
        .unwrap();
    assert_eq!(event["pod"]["process"]["comm"], comm.as_str(), "{event}");
    assert_eq!(event["pod"]["process"]["pid"], pid, "{event}");

    // curl has ended before anybody can ask about it.
    let script = format!("echo $$ && exec curl -sS -o /dev/null http://{SERVICE}/");
    let pid: u64 = text(&stage.run(&["sh", "-c", &script]))
        .trim()
        .parse()
        .expect("a number");
    let event = events
        .wait_for("curl's connection", |event| established(event, "curl"))
        .unwrap();
    assert_eq!(event["pod"]["process"]["pid"], pid, "{event}");
    let closed = events
        .wait_for("its end", |event| {
            event["state"] == "closed" && event["pod"]["process"]["pid"] == pid
        })
        .unwrap();
    assert_eq!(closed["pod"]["process"]["comm"], "curl", "{closed}");

    curls
        .wait_for("curl's connection", |event| established(event, "curl"))
        .unwrap();
    curls.stop().unwrap();
    let others = curls.all().iter();
    let others: Vec<_> = others
        .filter(|event| event["pod"]["process"]["comm"] != "curl")
        .collect();
    assert!(others.is_empty(), "{others:?}");
    python.kill().expect("it runs");
    python.wait().expect("it ends");
}
