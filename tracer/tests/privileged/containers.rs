//! Which container of a pod asked: real sockets in real cgroups (version 2), two containers in one pod.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::lab::{Inventory, ProxyMode};
use testbed::stage::{CLIENT, NODE, Stage, asked, name, program, text};
use testbed::watch::Watch;

/// Time limit for anything that the test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
const SIDECAR: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";

/// The lab's inventory, with a second container in the client.
fn two_containers(stage: &Stage) -> String {
    let mut objects = stage.lab.inventory().objects().to_vec();
    let client = objects
        .iter_mut()
        .find(|object| object["kind"] == "Pod" && name(&object["metadata"]) == CLIENT);
    let client = client.expect("the client is in the inventory");
    let more = |list: &mut Value, one: Value| list.as_array_mut().expect("a list").push(one);
    more(
        &mut client["spec"]["containers"],
        json!({"name": "proxy", "image": "example.com/proxy:1"}),
    );
    let status = json!({
        "name": "proxy", "image": "example.com/proxy:1", "imageID": "", "ready": true, "restartCount": 0,
        "containerID": format!("containerd://{SIDECAR}"),
    });
    more(&mut client["status"]["containerStatuses"], status);
    let inventory = Inventory::from_objects(objects).expect("an inventory");
    inventory.to_yaml().expect("YAML")
}

/// A cgroup beside that of the client's container.
struct SecondCgroup(PathBuf);

impl SecondCgroup {
    fn new(stage: &Stage) -> SecondCgroup {
        let file = text(&stage.run_in(CLIENT, &["cat", "/proc/self/cgroup"]));
        let path = file.lines().find_map(|line| line.strip_prefix("0::"));
        let path = path.expect("a cgroup of version 2").trim();
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let mount = mounts
            .into_iter()
            .find(|mount| mount.join("cgroup.procs").exists());
        let first = mount
            .expect("version 2 is mounted")
            .join(path.trim_start_matches('/'));
        let second = first.parent().expect("the pod's").join(SIDECAR);
        fs::create_dir(&second).expect("a new cgroup");
        SecondCgroup(second)
    }
}

impl Drop for SecondCgroup {
    fn drop(&mut self) {
        for _ in 0..1_000 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The event of this question.
fn event_of(watch: &mut Watch, question: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = watch.line(left).expect("the tracer runs");
        let line = line.unwrap_or_else(|| panic!("no event of {question}"));
        let event: Value = serde_json::from_str(&line).expect("a line of JSON");
        if asked(question, "A")(&event) {
            return event;
        }
    }
}

#[test]
fn each_of_two_containers_of_a_pod_is_named_by_the_cgroup_of_its_socket_in_iptables_mode() {
    each_of_two_containers_is_named(ProxyMode::Iptables);
}

#[test]
fn each_of_two_containers_of_a_pod_is_named_by_the_cgroup_of_its_socket_in_nftables_mode() {
    each_of_two_containers_is_named(ProxyMode::Nftables);
}

fn each_of_two_containers_is_named(proxy_mode: ProxyMode) {
    let stage = Stage::new(proxy_mode);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("inventory.yaml");
    fs::write(&file, two_containers(&stage)).expect("writable");
    let second = SecondCgroup::new(&stage);
    let command = [
        program().to_str().expect("a path"),
        "observe",
        "--local",
        "--node-name",
        NODE,
        "-o",
        "json",
        "--type",
        "dns",
        "--inventory",
        file.to_str().expect("a path"),
    ];
    let mut watch = Watch::spawn(stage.on_node(NODE, &command)).expect("the tracer starts");
    watch.wait_for_log("tracing ").expect("it traces");

    let procs = second.0.join("cgroup.procs").display().to_string();
    // As a container's main process: without one the cgroup is not found.
    let stays = format!("echo $$ > {procs} && exec sleep 300");
    let mut main_process = stage.spawn_in(CLIENT, &["sh", "-c", &stays]);
    let mut ask = |container: &str, question: &str| {
        let dig = format!("dig +tries=1 {question} A");
        let script = match container {
            "proxy" => format!("echo $$ > {procs} && exec {dig}"),
            _ => format!("exec {dig}"),
        };
        stage.run_in(CLIENT, &["sh", "-c", &script]);
        event_of(&mut watch, question)["pod"]["container"].clone()
    };
    // The first packets come before anybody has looked for the containers' cgroups.
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let names = ["deb-ubuntu", "proxy"]
            .map(|container| ask(container, &format!("{container}-{number}.example.")));
        assert!(names[0].is_null() || names[0] == "deb-ubuntu", "{names:?}");
        assert!(names[1].is_null() || names[1] == "proxy", "{names:?}");
        if names == ["deb-ubuntu", "proxy"] {
            break;
        }
        assert!(Instant::now() < deadline, "{names:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    main_process.kill().expect("it runs");
    main_process.wait().expect("it ends");
    // A pod's only container needs no cgroup.
    stage.run_in(
        "default/nginx-ds-v2qf5",
        &["dig", "+tries=1", "only.example.", "A"],
    );
    let event = event_of(&mut watch, "only.example.");
    assert_eq!(event["pod"]["container"], "nginx", "{event}");
}
