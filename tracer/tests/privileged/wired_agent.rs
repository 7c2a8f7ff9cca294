//! The agent as a DaemonSet runs it: names from an API server, options and rules from a ConfigMap that
//! kubelet mounts, health and metrics over HTTP, findings as Events, an orderly end. Real probes; the API
//! server runs in the node's network.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::running::{PATIENCE, Running};
use testbed::stage::{CLIENT, NODE, Stage, program, text};

use testbed::api::Api;

/// A pod of a namespace that will be excluded.
const EXCLUDED: &str = "myns/apache-ds-myns-d4f2h";

/// The node's interface with its address.
const BORROWS: &str = "borrows";

/// A ConfigMap as kubelet mounts it: files behind a symlink that is swapped, so that all of them change at
/// once.
struct Mount {
    directory: PathBuf,
    version: u32,
}

impl Mount {
    fn new(directory: PathBuf) -> Mount {
        fs::create_dir(&directory).expect("made");
        Mount {
            directory,
            version: 0,
        }
    }

    fn swap(&mut self, files: &[(&str, &str)]) {
        self.version += 1;
        let name = format!("..2026_{}", self.version);
        let version = self.directory.join(&name);
        fs::create_dir(&version).expect("made");
        for (file, text) in files {
            fs::write(version.join(file), text).expect("written");
        }
        let link = self.directory.join("..data_tmp");
        symlink(&name, &link).expect("linked");
        fs::rename(link, self.directory.join("..data")).expect("swapped");
        for entry in fs::read_dir(&self.directory).expect("a directory") {
            let entry = entry.expect("an entry").file_name().display().to_string();
            if !entry.starts_with("..") && !files.iter().any(|(file, _)| *file == entry) {
                fs::remove_file(self.directory.join(entry)).expect("removed");
            }
        }
        for (file, _) in files {
            let path = self.directory.join(file);
            if !path.is_symlink() {
                symlink(format!("..data/{file}"), path).expect("linked");
            }
        }
    }
}

/// The agent and its client.
struct Wired<'a> {
    stage: &'a Stage,
    agent: Running,
    socket: PathBuf,
}

impl Wired<'_> {
    /// The status and body of a path's response; `None` without a listener.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:9095{path}");
        let curl = ["curl", "-s", "-w", "\n%{http_code}", &url];
        let output = self.stage.on_node(NODE, &curl).output().expect("curl");
        let said = text(&output);
        let (body, code) = said.rsplit_once('\n')?;
        let code = code.parse().ok().filter(|code| *code != 0)?;
        Some((code, body.to_owned()))
    }

    /// The value of a metric, its labels and all.
    fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let output = Command::new(program())
            .args(arguments)
            .arg("--server")
            .arg(&self.socket)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = text(&output);
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    fn status(&self) -> Value {
        let mut all = self.ask(&["status", "-o", "json"]);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn traces(&self, interface: &str) -> bool {
        let status = self.status();
        let interfaces = status["interfaces"].as_array().expect("a list");
        interfaces.iter().any(|known| known["name"] == interface)
    }

    /// The agent's history.
    fn past(&self) -> Vec<Value> {
        self.ask(&["observe", "-o", "json"])
    }

    fn asked(&self, name: &str) -> bool {
        let mut past = self.past().into_iter();
        past.any(|event| event["type"] == "lookup" && event["asked"] == name)
    }

    /// The client looks a name up, and the agent reports it.
    fn look_up(&self, name: &str) {
        self.stage.run(&["nslookup", name]);
        self.until(name, || self.asked(name));
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(
                Instant::now() < deadline,
                "{what}: it never came; the status is\n{:#}",
                self.status()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn until_settings(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        self.until(what, || holds(&self.status()["settings"]));
    }
}

fn start<'a>(stage: &'a Stage, directory: &Path, kubeconfig: &Path, mount: &Path) -> Wired<'a> {
    let program = program().to_str().expect("UTF-8");
    let socket = directory.join("agent.sock");
    let mut command = stage.on_node(NODE, &[program, "agent", "--node-name", NODE]);
    // Otherwise the node's interface stays, for the node's own traffic.
    command.arg("--no-node");
    command.arg("--socket").arg(&socket);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--config").arg(mount);
    command.arg("--rules").arg(mount);
    let mut agent = Running::start(&mut command);
    agent.wait_for("the agent serves", |agent| agent.says("serving on unix:"));
    Wired {
        stage,
        agent,
        socket,
    }
}

#[test]
fn an_agent_is_ready_once_it_knows_the_cluster_makes_events_of_findings_and_follows_its_config_map()
{
    let stage = Stage::new(ProxyMode::Iptables);
    let api = Api::start_in(&stage.lab.node_netns(NODE).expect("a node"));
    for object in stage.lab.inventory().objects() {
        api.put_object(object);
    }
    api.hold("pods", true);
    api.hold("nodes", true);
    // A second way out that borrows the node's address: no pod's interface, as the Node object reports.
    let elsewhere = stage.lab.pod_netns(CLIENT).expect("a pod");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    for command in [
        &[
            "ip", "link", "add", BORROWS, "type", "veth", "peer", "name", "x0", "netns", elsewhere,
        ][..],
        &["ip", "addr", "add", "192.168.2.33/32", "dev", BORROWS],
        &["ip", "link", "set", BORROWS, "up"],
    ] {
        let done = stage.on_node(NODE, command).output().expect("ip");
        assert!(done.status.success(), "{done:?}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig("t")).expect("a kubeconfig");
    // The ConfigMap does not exist yet: kubelet mounts an empty directory.
    let mut mount = Mount::new(directory.path().join("mount"));
    let mut wired = start(&stage, directory.path(), &kubeconfig, &mount.directory);

    // It works, and reports what it waits for.
    assert_eq!(wired.get("/livez"), Some((200, "ok\n".to_owned())));
    wired.until("what is missing", || {
        let (code, body) = wired.get("/readyz").expect("it serves");
        assert_eq!(code, 503, "{body}");
        body.starts_with("names: ") && body.contains("pods")
    });
    assert_eq!(wired.metric("tracer_index_synced"), Some(0.0));
    wired.until("every interface that may be a pod's", || {
        wired.traces(BORROWS)
    });
    api.hold("pods", false);
    api.hold("nodes", false);
    wired.until("it is ready", || {
        wired.get("/readyz") == Some((200, "ok\n".to_owned()))
    });
    wired.until("the synced index", || {
        wired.metric("tracer_index_synced") == Some(1.0)
    });
    wired.until("the node's interface is let go", || !wired.traces(BORROWS));
    let client_interface = stage.lab.host_interface(CLIENT).expect("a pod of the lab");
    wired.until("the client's pod", || {
        let status = wired.status();
        let interfaces = status["interfaces"].as_array().expect("a list");
        interfaces.iter().any(|interface| {
            interface["name"] == client_interface.as_str()
                && interface["pod"]["name"] == "deb-ubuntu"
        })
    });

    // A finding is an Event on its pod, which `kubectl describe pod` shows.
    wired.look_up("clusterip-apache2-ds-myns");
    wired.until("the Event", || !api.events().is_empty());
    let event = &api.events()[0];
    assert_eq!(event["regarding"]["kind"], "Pod", "{event:#}");
    assert_eq!(event["regarding"]["namespace"], "default", "{event:#}");
    assert_eq!(event["regarding"]["name"], "deb-ubuntu", "{event:#}");
    assert_eq!(event["reportingInstance"], NODE, "{event:#}");
    let note = event["note"].as_str().expect("a text");
    assert!(note.contains("clusterip-apache2-ds-myns.myns"), "{note}");
    wired.until("the Event is counted", || {
        wired.metric("tracer_kube_events_total{result=\"created\"}") == Some(1.0)
    });

    // The ConfigMap is created, and no longer excludes the Service.
    mount.swap(&[(
        "rules.yaml",
        "silence:\n- rule: nxdomain-unknown-name\n  because: they are made up\n",
    )]);
    wired.agent.wait_for("the rules are read", |agent| {
        agent.says("rules.yaml changed")
    });
    wired.look_up("silenced-service");

    // A mistake in one of two files: neither takes effect, and the old settings stay.
    mount.swap(&[
        ("config.yaml", "exclude-namespace: [default]\n"),
        ("rules.yaml", "silence:\n- rule: nxdomain-unknown-nmae\n"),
    ]);
    wired.until_settings("the mistake", |settings| {
        let failure = settings["failure"].as_str().unwrap_or_default();
        failure.contains("rules.yaml: line 2: there is no rule 'nxdomain-unknown-nmae'")
            && failure.contains("nxdomain-unknown-name")
    });
    wired.until("the mistake is a metric", || {
        wired.metric("tracer_config_last_reload_successful") == Some(0.0)
    });
    // One of the files is new and becomes due a poll later: the mistake is still reported once.
    std::thread::sleep(Duration::from_secs(2));
    wired.look_up("silenced-all-the-same");

    // Corrected: one option takes effect, another one needs a restart.
    mount.swap(&[("config.yaml", "exclude-namespace: [myns]\nhistory: 64MiB\n")]);
    wired.until_settings("the correction", |settings| {
        settings["failure"].is_null() && settings["restart"][0] == "history"
    });
    wired.until("the correction is a metric", || {
        wired.metric("tracer_config_last_reload_successful") == Some(1.0)
    });
    wired.look_up("no-such-service");
    wired.until("its Event", || api.events().len() == 2);
    stage.run_in(EXCLUDED, &["nslookup", "of-an-excluded-pod"]);
    wired.until("what is left out is counted", || {
        wired.metric("tracer_excluded_events_total") > Some(0.0)
    });

    // The ConfigMap is deleted, and the defaults apply again.
    mount.swap(&[]);
    wired.agent.wait_for("the end of the ConfigMap", |agent| {
        agent.says("config.yaml was removed")
    });
    stage.run_in(EXCLUDED, &["nslookup", "of-a-pod-no-longer-excluded"]);
    wired.until("a pod of the namespace again", || {
        wired.asked("of-a-pod-no-longer-excluded")
    });

    // In total: silenced pods have no finding, and excluded ones do not appear.
    let past = wired.past();
    let of_unknown: Vec<&Value> = past
        .iter()
        .filter(|event| event["rule"] == "nxdomain-unknown-name")
        .collect();
    let about = |name: &str| {
        let id = format!("nxdomain-unknown-name:default/deb-ubuntu:{name}");
        of_unknown.iter().filter(|event| event["id"] == id).count()
    };
    assert_eq!(about("no-such-service"), 1, "{of_unknown:#?}");
    assert_eq!(about("silenced-service"), 0, "{of_unknown:#?}");
    assert_eq!(about("silenced-all-the-same"), 0, "{of_unknown:#?}");
    let everything: String = past.iter().map(Value::to_string).collect();
    assert!(!everything.contains("of-an-excluded-pod"), "{everything}");

    // kubelet ends it.
    assert_eq!(wired.agent.stop(Signal::TERM), Some(0));
    assert!(!wired.socket.exists());
    assert_eq!(wired.get("/livez"), None);
    let mistakes = wired.agent.said.iter();
    let mistakes = mistakes.filter(|line| line.contains("settings unchanged"));
    assert_eq!(
        mistakes.count(),
        1,
        "reported once: {:#?}",
        wired.agent.said
    );
    let verbs = api.asked();
    assert!(
        verbs.iter().all(|asked| asked.method == "GET"),
        "Events apart it only reads"
    );
}
