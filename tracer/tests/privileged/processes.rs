//! Which process of a pod connected, asked or pinged: against what ss and the processes themselves say.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::lab::ProxyMode;
use testbed::stage::{CLIENT, NODE, Stage, text};

/// The Service default/clusterip-nginx-ds.
const SERVICE: &str = "10.152.183.117";

/// Connects, prints its port, and stays.
const PYTHON: &str = "import os, socket, time
connection = socket.create_connection(('10.152.183.117', 80))
print(connection.getsockname()[1], flush=True)
time.sleep(300)";

/// Prints its port, asks over UDP for the name in its argument when it reads a line, and stays until the next.
const ASKER: &str = "import socket, sys
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.connect(('10.152.183.10', 53))
print(asker.getsockname()[1], flush=True)
sys.stdin.readline()
labels = b''.join(bytes([len(label)]) + label.encode() for label in sys.argv[1].split('.'))
asker.send(b'\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0' + labels + b'\\0\\x01\\0\\x01')
sys.stdin.readline()";

/// An established connection to the Service by a process of this name.
fn established(event: &Value, comm: &str) -> bool {
    event["type"] == "tcp"
        && event["state"] == "established"
        && event["peer"]["ip"] == SERVICE
        && event["pod"]["process"]["comm"] == comm
}

/// The process that ss shows for a TCP (-t) or UDP (-u) port of the client: its name and id.
fn by_ss(stage: &Stage, transport: &str, port: u16) -> (String, u64) {
    let filter = format!("sport = :{port}");
    let listed = text(&stage.run(&["ss", transport, "-npH", &filter]));
    users(&listed)
}

/// The name and the id of the process in a line of ss.
fn users(listed: &str) -> (String, u64) {
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
    let (comm, pid) = by_ss(&stage, "-t", port);
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

/// Runs a command in the client; the id that its process has, as it says itself.
fn run(stage: &Stage, command: &str) -> u64 {
    let script = format!("echo $$ && exec {command} >/dev/null 2>&1");
    let output = text(&stage.run(&["sh", "-c", &script]));
    output.trim().parse().expect("a number")
}

/// An [`ASKER`] in the client, and its port.
struct Asker {
    process: Child,
    port: u16,
}

impl Asker {
    fn start(stage: &Stage, name: &str) -> Asker {
        let argv = ["python3", "-c", ASKER, name];
        let mut command = stage.lab.exec(CLIENT, &argv).expect("a pod");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3");
        let mut printed = String::new();
        BufReader::new(process.stdout.take().expect("a pipe"))
            .read_line(&mut printed)
            .expect("it prints");
        let port = printed.trim().parse().expect("a port");
        Asker { process, port }
    }

    fn proceed(&mut self) {
        let input = self.process.stdin.as_mut().expect("a pipe");
        input.write_all(b"\n").expect("it reads");
    }
}

#[test]
fn questions_lookups_and_pings_have_the_process_that_sent_them() {
    const NAME: &str = "clusterip-nginx-ds.default.svc.cluster.local";
    let stage = Stage::new(ProxyMode::Nftables);
    let mut events = stage.events(&["--type", "dns,lookup,icmp"]);
    let only_dig = ["--type", "dns", "--comm", "dig", "--instance", "filtered"];
    let mut digs = testbed::watch::Events::new(vec![stage.trace(NODE, &only_dig)]);
    for (comm, command, kind) in [
        ("dig", format!("dig +short {NAME}").as_str(), "dns"),
        ("nslookup", &format!("nslookup {NAME}."), "dns"),
        ("curl", "curl -sS http://clusterip-nginx-ds/", "lookup"),
        ("ping", "ping -n -c 1 -W 1 10.1.39.194", "icmp"),
    ] {
        let pid = run(&stage, command);
        let event = events
            .wait_for(comm, |event| {
                event["type"] == kind && event["pod"]["process"]["pid"] == pid
            })
            .unwrap();
        assert_eq!(event["pod"]["process"]["comm"], comm, "{event}");
    }
    let unnamed: Vec<_> = events
        .all()
        .iter()
        .filter(|event| event["direction"] == "client" && event["pod"]["process"].is_null())
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    digs.wait_for("dig's question", |event| {
        event["pod"]["process"]["comm"] == "dig"
    })
    .unwrap();
    digs.stop().unwrap();
    for event in digs.all() {
        assert_eq!(event["pod"]["process"]["comm"], "dig", "{event}");
    }
}

#[test]
fn two_processes_that_ask_for_one_name_are_told_apart() {
    const NAME: &str = "clusterip-nginx-ds.default.svc.cluster.local";
    let stage = Stage::new(ProxyMode::Nftables);
    let mut events = stage.events(&["--type", "dns"]);
    let mut askers = [Asker::start(&stage, NAME), Asker::start(&stage, NAME)];
    let owners = [0, 1].map(|index: usize| by_ss(&stage, "-u", askers[index].port));
    assert_ne!(owners[0].1, owners[1].1);
    askers.iter_mut().for_each(Asker::proceed);
    for (asker, (comm, pid)) in askers.iter().zip(&owners) {
        let event = events
            .wait_for("its answer", |event| event["pod"]["port"] == asker.port)
            .unwrap();
        assert_eq!(event["pod"]["process"]["pid"], *pid, "{event}");
        assert_eq!(event["pod"]["process"]["comm"], comm.as_str(), "{event}");
    }
    for asker in &mut askers {
        asker.proceed();
        asker.process.wait().expect("it ends");
    }
}

#[test]
fn a_process_that_ended_long_before_the_timeout_of_its_question_is_named() {
    const NAME: &str = "clusterip-nginx-ds.default.svc.cluster.local";
    let stage = Stage::new(ProxyMode::Nftables);
    let mut events = stage.events(&["--type", "dns"]);
    stage.lab.silence_dns(true).expect("the DNS server stops");
    let mut asker = Asker::start(&stage, NAME);
    let (comm, pid) = by_ss(&stage, "-u", asker.port);
    asker.proceed();
    asker.proceed();
    asker.process.wait().expect("it ends");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let event = events
        .wait_for("a timeout", |event| event["outcome"] == "timeout")
        .unwrap();
    assert_eq!(event["pod"]["process"]["pid"], pid, "{event}");
    assert_eq!(event["pod"]["process"]["comm"], comm.as_str(), "{event}");
    stage
        .lab
        .silence_dns(false)
        .expect("the DNS server resumes");
}

/// A pod of the client's node with one process, and its address.
const SERVER: &str = "default/nginx-ds-v2qf5";
const SERVER_IP: &str = "10.1.39.194";

/// What the server's side of a new connection of the client shows as its process.
fn servers_process(stage: &Stage, events: &mut testbed::watch::Events) -> Value {
    let url = format!("http://{SERVER_IP}/");
    let curl = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{local_port}",
        &url,
    ];
    let port: u16 = text(&stage.run(&curl)).parse().expect("a port");
    let event = events
        .wait_for("the server's side", |event| {
            event["peer"]["port"] == port && event["state"] == "established"
        })
        .unwrap();
    event["pod"]["process"].clone()
}

/// Moves all other processes of the server's container to a cgroup beside it: a runtime has the pause process there, and
/// the lab has not. It goes with the lab.
fn leave_alone(server: u64) {
    let file = fs::read_to_string(format!("/proc/{server}/cgroup")).expect("it runs");
    let path = file.lines().find_map(|line| line.strip_prefix("0::/"));
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let mut mounts = mounts.into_iter();
    let mount = mounts.find(|mount| mount.join("cgroup.procs").exists());
    let container = mount
        .expect("version 2 is mounted")
        .join(path.expect("a cgroup of version 2"));
    let sandbox = container.with_file_name("5a4db0");
    fs::create_dir(&sandbox).expect("a new cgroup");
    let members = fs::read_to_string(container.join("cgroup.procs")).expect("its processes");
    for pid in members.lines().filter(|pid| *pid != server.to_string()) {
        fs::write(sandbox.join("cgroup.procs"), pid).expect("it moves");
    }
}

#[test]
fn a_server_alone_in_its_container_is_named_and_one_of_two_is_not() {
    let stage = Stage::new(ProxyMode::Nftables);
    let listed = text(&stage.run_in(SERVER, &["ss", "-tnlpH", "sport = :80"]));
    let (comm, pid) = users(&listed);
    leave_alone(pid);
    let mut events = stage.events(&["--type", "tcp", "--direction", "server"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let process = loop {
        let process = servers_process(&stage, &mut events);
        if !process.is_null() {
            break process;
        }
        assert!(Instant::now() < deadline, "it is never named");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(process, json!({"comm": comm, "pid": pid}));

    // Any other process in the container, as by kubectl exec.
    let mut other = stage.spawn_in(SERVER, &["sleep", "300"]);
    assert_eq!(servers_process(&stage, &mut events), Value::Null);
    other.kill().expect("it runs");
    other.wait().expect("it ends");
    assert_eq!(servers_process(&stage, &mut events), Value::Null);
}
