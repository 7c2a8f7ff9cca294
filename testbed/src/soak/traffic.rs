//! The clients' actions. All of them succeed, so every failure that the tracer reports is a false alarm.
//!
//! Owns their order, which is the same in every run, and counts actions and failures. Takes
//! nothing from the tracer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::{Inventory, Lab, NewPod};

/// The pods that are clients, of two namespaces on the two nodes that are traced.
const CLIENTS: [&str; 5] = [
    "default/deb-ubuntu",
    "myns/apache-ds-myns-d4f2h",
    "default/nginx-ds-v2qf5",
    "default/nginx-ds-jfzxv",
    "myns/apache-ds-myns-9785z",
];

/// What a client does, by the name under which it is counted. A number of them that has no divisor in common
/// with the number of clients: so each client does each of them in turn.
const DEEDS: [(&str, &[&str]); 26] = [
    ("nslookup", &["nslookup", "clusterip-nginx-ds.default"]),
    (
        "nslookup",
        &[
            "nslookup",
            "clusterip-apache2-ds-myns.myns.svc.cluster.local.",
        ],
    ),
    (
        "getent",
        &["getent", "hosts", "clusterip-apache2-ds-myns.myns"],
    ),
    ("getent", &["getent", "ahosts", "headless-nginx.default"]),
    ("getent", &["getent", "ahosts", "www.example.com"]),
    ("getent", &["getent", "hosts", "example.org"]),
    (
        "dig",
        &[
            "dig",
            "+short",
            "clusterip-nginx-ds.default.svc.cluster.local",
        ],
    ),
    ("dig", &["dig", "+short", "-x", "10.152.183.117"]),
    (
        "dig over TCP",
        &[
            "dig",
            "+short",
            "+tcp",
            "kubernetes.default.svc.cluster.local",
        ],
    ),
    (
        "dig, truncated, TCP",
        &["dig", "+short", "TXT", "big.example.com"],
    ),
    (
        "dig AAAA, none",
        &[
            "dig",
            "+short",
            "AAAA",
            "clusterip-nginx-ds.default.svc.cluster.local",
        ],
    ),
    (
        "curl Service",
        &[
            "curl",
            "-sSf",
            "-m",
            "5",
            "http://clusterip-nginx-ds.default/",
        ],
    ),
    (
        "curl Service",
        &[
            "curl",
            "-sSf",
            "-m",
            "5",
            "http://clusterip-apache2-ds-myns.myns:90/",
        ],
    ),
    (
        "curl headless",
        &["curl", "-sSf", "-m", "5", "http://headless-nginx.default/"],
    ),
    (
        "curl pod",
        &["curl", "-sSf", "-m", "5", "http://10.1.79.65/"],
    ),
    (
        "curl, kept alive",
        &[
            "curl",
            "-sSf",
            "-m",
            "10",
            "--rate",
            "2/s",
            "http://clusterip-nginx-ds.default/[1-4]",
        ],
    ),
    (
        "curl outside",
        &["curl", "-sSf", "-m", "5", "http://www.example.com/"],
    ),
    (
        "connect, close",
        &[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/clusterip-nginx-ds.default/80",
        ],
    ),
    // Unread data makes the kernel reset the connection when the socket is closed.
    (
        "connect, reset at the end",
        &[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/clusterip-nginx-ds.default/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; sleep 0.3",
        ],
    ),
    (
        "request, server closes",
        &[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/10.1.69.197/90; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
        ],
    ),
    (
        "ping pod",
        &["ping", "-n", "-q", "-c", "3", "-i", "0.3", "10.1.235.214"],
    ),
    (
        "ping pod",
        &["ping", "-n", "-q", "-c", "3", "-i", "0.3", "10.1.39.194"],
    ),
    (
        "ping node",
        &["ping", "-n", "-q", "-c", "2", "-i", "0.3", "192.168.2.31"],
    ),
    (
        "ping outside",
        &["ping", "-n", "-q", "-c", "2", "-i", "0.3", "198.51.100.10"],
    ),
    (
        "ping by name",
        &[
            "ping",
            "-n",
            "-q",
            "-c",
            "2",
            "-i",
            "0.3",
            "www.example.com",
        ],
    ),
    (
        "curl by full name",
        &[
            "curl",
            "-sSf",
            "-m",
            "5",
            "http://clusterip-nginx-ds.default.svc.cluster.local./",
        ],
    ),
];

/// Kept idle until nginx closes it after 60 s.
const IDLE: &[&str] = &[
    "bash",
    "-c",
    "exec 3<>/dev/tcp/clusterip-nginx-ds.default/80; cat <&3",
];

/// Rounds between two actions of a kind. They are coprime, so they coincide in every combination.
const HEALTH_EVERY: u64 = 3;
const HAIRPIN_EVERY: u64 = 31;
const POD_EVERY: u64 = 17;
const ENDPOINT_EVERY: u64 = 23;
const DNS_EVERY: u64 = 101;
const IDLE_EVERY: u64 = 59;

/// A Service's endpoints, one of which is removed for a while.
const RESTARTED: [(&str, &str); 4] = [
    ("clusterip-nginx-ds", "10.1.235.213"),
    ("clusterip-apache2-ds-myns", "10.1.79.66"),
    ("clusterip-nginx-ds", "10.1.39.194"),
    ("headless-nginx", "10.1.69.196"),
];

/// How long the DNS server is paused: shorter than any resolver's timeout.
const DNS_PAUSE: Duration = Duration::from_millis(900);

/// The traffic so far.
#[derive(Debug, Default)]
pub struct Traffic {
    rounds: u64,
    /// How often each thing was done.
    pub done: BTreeMap<&'static str, u64>,
    /// The output of the first clients that failed.
    pub failures: Vec<String>,
    /// How many failed.
    pub failed: u64,
    idle: Vec<Child>,
    /// All endpoints, while one is removed.
    whole: Option<Inventory>,
    restarts: usize,
    pods: u32,
}

/// How many failures are shown.
const SHOWN: usize = 20;

impl Traffic {
    /// The next round.
    pub fn step(&mut self, lab: &mut Lab) -> Result<()> {
        let round = self.rounds;
        self.rounds += 1;
        let turn = usize::try_from(round).unwrap_or_default();
        let client = CLIENTS[turn % CLIENTS.len()];
        let (name, argv) = DEEDS[turn * 7 % DEEDS.len()];
        self.run(name, lab.exec(client, argv)?)?;
        let due = |every: u64| round % every == every - 1;
        if due(HEALTH_EVERY) {
            // As kubelet probes: from the node, to the pod itself.
            let argv = ["curl", "-sSf", "-m", "5", "http://10.1.39.194/"];
            self.run("health check", lab.exec_node("k8s-worker03", &argv)?)?;
            let argv = ["bash", "-c", "exec 3<>/dev/tcp/10.1.235.214/90"];
            self.run("health check, TCP", lab.exec_node("k8s-master", &argv)?)?;
        }
        if due(HAIRPIN_EVERY) {
            let argv = ["curl", "-sSf", "-m", "5", "http://hairpin.default/"];
            self.run(
                "curl itself through its Service",
                lab.exec("nginx-ds-v2qf5", &argv)?,
            )?;
        }
        if due(POD_EVERY) {
            self.pod(lab)?;
        }
        if due(ENDPOINT_EVERY) {
            self.restart(lab)?;
        }
        if due(DNS_EVERY) {
            self.dns(lab)?;
        }
        if due(IDLE_EVERY) {
            self.stay(lab)?;
        }
        Ok(())
    }

    /// Waits for open connections and clients.
    pub fn finish(&mut self, lab: &mut Lab) -> Result<()> {
        if let Some(whole) = self.whole.take() {
            lab.apply(whole)?;
        }
        for child in std::mem::take(&mut self.idle) {
            self.take("stay connected, idle", child)?;
        }
        Ok(())
    }

    fn run(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let child = piped(&mut command).with_context(|| format!("cannot start: {name}"))?;
        self.take(name, child)
    }

    fn take(&mut self, name: &'static str, child: Child) -> Result<()> {
        let output = child
            .wait_with_output()
            .with_context(|| format!("cannot wait for: {name}"))?;
        *self.done.entry(name).or_default() += 1;
        if !output.status.success() {
            self.failed += 1;
            if self.failures.len() < SHOWN {
                let said = [output.stdout, output.stderr].concat();
                self.failures.push(format!(
                    "{name}: {}: {}",
                    output.status,
                    String::from_utf8_lossy(&said).trim()
                ));
            }
        }
        Ok(())
    }

    /// A pod starts, sends at once, receives, and stops. The next one on that node has its
    /// address.
    fn pod(&mut self, lab: &mut Lab) -> Result<()> {
        self.pods += 1;
        let number = self.pods;
        let (node, ipv4) = match number % 2 {
            0 => ("k8s-master", Ipv4Addr::new(10, 1, 235, 220)),
            _ => ("k8s-worker03", Ipv4Addr::new(10, 1, 39, 220)),
        };
        let pod = NewPod {
            namespace: "default".into(),
            name: format!("job-{number}"),
            uid: format!("0b5e55ed-0000-4000-8000-{number:012x}"),
            node: node.into(),
            ipv4,
            ipv6: None,
        };
        let name = format!("default/{}", pod.name);
        // Every third pod reaches the API late, as in real clusters.
        let late = number.is_multiple_of(3);
        lab.add_pod(&pod, !late)?;
        self.run(
            "lookup of a new pod",
            lab.exec(&name, &["getent", "hosts", "clusterip-nginx-ds"])?,
        )?;
        if late {
            lab.publish(lab.inventory())?;
        }
        let argv = ["curl", "-sSf", "-m", "5", "http://clusterip-nginx-ds/"];
        self.run("connection of a new pod", lab.exec(&name, &argv)?)?;
        let ip = ipv4.to_string();
        let argv = ["ping", "-n", "-q", "-c", "2", "-i", "0.3", &ip];
        self.run("ping of a new pod", lab.exec("deb-ubuntu", &argv)?)?;
        lab.remove_pod(&name)?;
        *self.done.entry("pod came and went").or_default() += 1;
        Ok(())
    }

    /// Removes one endpoint of a Service, or restores it.
    fn restart(&mut self, lab: &mut Lab) -> Result<()> {
        let next = match self.whole.take() {
            Some(whole) => whole,
            None => {
                let whole = lab.inventory().clone();
                let (service, ip) = RESTARTED[self.restarts % RESTARTED.len()];
                self.restarts += 1;
                let fewer = without(&whole, service, ip)?;
                self.whole = Some(whole);
                fewer
            }
        };
        lab.apply(next)?;
        *self.done.entry("endpoint went or came").or_default() += 1;
        Ok(())
    }

    /// Pauses the DNS server for a moment, as during a rollout; clients wait meanwhile.
    fn dns(&mut self, lab: &Lab) -> Result<()> {
        lab.silence_dns(true)?;
        let children: Result<Vec<Child>> = CLIENTS[..3]
            .iter()
            .map(|client| {
                let argv = ["getent", "hosts", "clusterip-nginx-ds.default"];
                Ok(piped(&mut lab.exec(client, &argv)?)?)
            })
            .collect();
        sleep(DNS_PAUSE);
        lab.silence_dns(false)?;
        for child in children? {
            self.take("lookup while DNS stands still", child)?;
        }
        Ok(())
    }

    /// A connection without data.
    fn stay(&mut self, lab: &Lab) -> Result<()> {
        let mut open = Vec::new();
        for mut child in std::mem::take(&mut self.idle) {
            if child.try_wait()?.is_some() {
                self.take("stay connected, idle", child)?;
            } else {
                open.push(child);
            }
        }
        self.idle = open;
        self.idle.push(piped(&mut lab.exec("deb-ubuntu", IDLE)?)?);
        Ok(())
    }
}

fn piped(command: &mut Command) -> std::io::Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// The inventory with one endpoint of a Service fewer.
fn without(inventory: &Inventory, service: &str, ip: &str) -> Result<Inventory> {
    let mut objects = inventory.objects().to_vec();
    for slice in &mut objects {
        let of_service = slice["kind"] == "EndpointSlice"
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == service;
        if let Some(endpoints) = slice["endpoints"].as_array_mut().filter(|_| of_service) {
            endpoints.retain(|endpoint| endpoint["addresses"][0] != ip);
        }
    }
    Inventory::from_objects(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_does_each_deed_in_turn() {
        let pairs: std::collections::BTreeSet<_> = (0..CLIENTS.len() * DEEDS.len())
            .map(|turn| (turn % CLIENTS.len(), turn * 7 % DEEDS.len()))
            .collect();
        assert_eq!(pairs.len(), CLIENTS.len() * DEEDS.len());
    }

    #[test]
    fn one_endpoint_is_away_and_the_others_stay() {
        let whole = Inventory::scenario_with_near_misses().expect("it parses");
        for (service, ip) in RESTARTED {
            let fewer = without(&whole, service, ip).expect("an inventory");
            let backends = |inventory: &Inventory| {
                let mut services = inventory.services.iter();
                let service = services.find(|candidate| candidate.name == service);
                service.expect("a Service").ports[0].backends.len()
            };
            assert_eq!(backends(&fewer) + 1, backends(&whole), "{service}");
        }
    }
}
