//! Two agents on nodes of the lab and one client of both: a kill, a restart, an orderly end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::running::{PATIENCE, Running};
use testbed::stage::{CLIENT, NODE, Stage, program, text};

const OTHER_NODE: &str = "k8s-master";

fn agent(stage: &Stage, node: &str, socket: &Path) -> Running {
    let program = program().to_str().expect("UTF-8");
    let inventory = stage.lab.inventory_file();
    let mut command = stage.on_node(node, &[program, "agent", "--node-name", node]);
    command
        .arg("--socket")
        .arg(socket)
        .arg("--inventory")
        .arg(inventory);
    let mut agent = Running::start(&mut command);
    agent.wait_for("the agent serves", |agent| agent.says("serving on unix:"));
    agent
}

fn client(arguments: &[&str], sockets: &[PathBuf]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments);
    for socket in sockets {
        command.arg("--server").arg(socket);
    }
    command
}

/// `tracer status` for each agent.
fn statuses(sockets: &[PathBuf]) -> Vec<Value> {
    let status = client(&["status", "-o", "json"], sockets)
        .output()
        .expect("it runs");
    assert_eq!(status.status.code(), Some(0));
    text(&status)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn asked(event: &Value, name: &str) -> bool {
    event["type"] == "lookup" && event["asked"] == name
}

fn lookups(client: &Running, name: &str) -> usize {
    client
        .events()
        .iter()
        .filter(|event| asked(event, name))
        .count()
}

#[test]
fn one_client_hears_several_agents_through_a_kill_and_a_restart_and_nothing_twice() {
    let stage = Stage::new(ProxyMode::Iptables);
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = [NODE, OTHER_NODE].map(|node| directory.path().join(node));
    let mut worker = agent(&stage, NODE, &sockets[0]);
    let mut master = agent(&stage, OTHER_NODE, &sockets[1]);
    let mut watch = Running::start(&mut client(&["observe", "-f", "-o", "json"], &sockets));

    // Both sides of one ping: each node reports its own. Until the client listens pings are not shown, so one
    // is sent again.
    let seen = |watch: &Running, node: &str, direction: &str| {
        watch.events().iter().any(|event| {
            event["type"] == "icmp" && event["node"] == node && event["direction"] == direction
        })
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ping = stage.run(&["ping", "-c", "1", "-W", "1", "10.1.235.214"]);
        assert!(ping.status.success(), "{}", text(&ping));
        // Its end is reported 3 s after its last request.
        std::thread::sleep(Duration::from_secs(4));
        watch.hear();
        if seen(&watch, NODE, "client") && seen(&watch, OTHER_NODE, "server") {
            break;
        }
        assert!(Instant::now() < deadline, "{:#?}", watch.lines);
    }
    stage.run(&["nslookup", "before-the-kill"]);
    watch.wait_for("a lookup", |watch| lookups(watch, "before-the-kill") > 0);

    worker.signal(Signal::KILL);
    watch.wait_for("the loss is reported", |watch| watch.says("trying again"));
    drop(worker);
    worker = agent(&stage, NODE, &sockets[0]);
    watch.wait_for("the return is reported", |watch| watch.says("restarted"));
    stage.run(&["nslookup", "after-the-restart"]);
    watch.wait_for("a lookup", |watch| lookups(watch, "after-the-restart") > 0);

    // An agent's status is up to a second old, and this agent has just started.
    let client_interface = stage.lab.host_interface(CLIENT).expect("a pod of the lab");
    let deadline = Instant::now() + PATIENCE;
    let nodes = loop {
        let nodes = statuses(&sockets);
        let interfaces = nodes
            .iter()
            .filter(|status| status["node"] == NODE)
            .filter_map(|status| status["interfaces"].as_array());
        let named = interfaces.flatten().any(|interface| {
            interface["name"] == client_interface.as_str()
                && interface["pod"]["name"] == "deb-ubuntu"
        });
        if named {
            break nodes;
        }
        assert!(Instant::now() < deadline, "{nodes:#?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(nodes.len(), 2, "{nodes:#?}");
    for status in &nodes {
        assert_eq!(status["clients"], 1, "{status:#}");
        assert!(status["lost"].is_array(), "{status:#}");
    }

    // The past of the restarted agent has what came after, and only that; a request for history ends by
    // itself.
    let past = client(&["observe", "-o", "json"], &sockets[..1])
        .output()
        .expect("it runs");
    assert_eq!(past.status.code(), Some(0));
    let past: Vec<Value> = text(&past)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let times = |name: &str| past.iter().filter(|event| asked(event, name)).count();
    assert_eq!(
        (times("before-the-kill"), times("after-the-restart")),
        (0, 1)
    );
    let diagnosis = client(&["diagnose"], &sockets).output().expect("it runs");
    assert_eq!(diagnosis.status.code(), Some(1), "{}", text(&diagnosis));
    assert!(
        text(&diagnosis).contains("after-the-restart"),
        "{}",
        text(&diagnosis)
    );

    // An orderly end: the client is informed, the socket and the probes are removed.
    assert_eq!(master.stop(Signal::TERM), Some(0), "{:#?}", master.said);
    assert!(!sockets[1].exists());
    watch.wait_for("the end is reported", |watch| watch.says("is ending"));
    assert_eq!(worker.stop(Signal::INT), Some(0), "{:#?}", worker.said);
    assert_eq!(watch.stop(Signal::INT), Some(0), "{:#?}", watch.said);
    assert!(watch.says("2 agents answered"), "{:#?}", watch.said);
    for name in ["before-the-kill", "after-the-restart"] {
        assert_eq!(lookups(&watch, name), 1, "{name}: {:#?}", watch.lines);
    }
}
