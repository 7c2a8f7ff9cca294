//! A session in the lab whose DNS packets are captured: the traffic of resolvers and tools, and their
//! failures.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;

/// The client pod.
const CLIENT: &str = "default/deb-ubuntu";
const SERVER: &str = "kube-system/coredns-6f5f9b5d74-pf4ld";

const NAME: &str = "clusterip-nginx-ds.default.svc.cluster.local";

/// Questions that are answered at once.
const QUESTIONS: &[&[&str]] = &[
    &["nslookup", "clusterip-nginx-ds"],
    &["nslookup", "clusterip-apache2-ds-myns"],
    &[
        "nslookup",
        "-type=srv",
        "_dns._udp.kube-dns.kube-system.svc.cluster.local",
    ],
    &["nslookup", "10.152.183.117"],
    &["getent", "ahosts", "clusterip-nginx-ds"],
    &["getent", "hosts", "www.example.com"],
    &["dig", "+search", "clusterip-nginx-ds"],
    &["dig", NAME, "AAAA"],
    &["dig", "no-such-service.default.svc.cluster.local"],
    &["dig", "ClusterIP-Nginx-DS.Default.svc.cluster.local"],
    &["dig", "servfail.example"],
    &["dig", "refused.example"],
    &["dig", "example.com", "MX"],
    &["dig", "example.com", "NS"],
    &["dig", "example.com", "SOA"],
    &["dig", "example.com", "TXT"],
    &["dig", "cluster.local", "SOA"],
    &["dig", "-x", "10.152.183.10"],
    &["dig", "+noedns", "www.example.com"],
    &["dig", "+dnssec", "www.example.com"],
    // Truncated over UDP, then over TCP.
    &["dig", "truncated.example"],
    &["dig", "big.example.com", "TXT"],
    &["dig", "+tcp", "huge.example.com", "TXT"],
    &["dig", "+tcp", NAME],
    // Two questions on one connection.
    &["dig", "+tcp", "+keepopen", NAME, "www.example.com", "AAAA"],
    // No server listens there: ICMP.
    &["dig", "+tries=1", "+time=1", "@10.1.235.214", NAME],
];

/// The captures that a session leaves in a directory.
#[derive(Clone, Debug)]
pub struct Captures {
    /// At the node's end of the pod's veth.
    pub pod: PathBuf,
    /// At all interfaces of the node: each packet several times, before and after the Service's address is
    /// translated.
    pub all: PathBuf,
}

/// Captures what a pod does, in files of this directory.
pub fn capture(lab: &Lab, directory: &Path) -> Result<Captures> {
    let pod = lab.inventory().pod(CLIENT)?;
    let server = lab.inventory().pod(SERVER)?;
    let captures = Captures {
        pod: directory.join("pod.pcap"),
        all: directory.join("all.pcap"),
    };
    let running = [
        Tcpdump::start(lab, &pod.node, &lab.host_interface(CLIENT)?, &captures.pod)?,
        Tcpdump::start(lab, &pod.node, "any", &captures.all)?,
    ];
    let ipv6 = server.ipv6.map(|ip| ip.to_string());
    let played = play(lab, ipv6.as_deref());
    // libpcap hands over its last batch within a second.
    thread::sleep(Duration::from_millis(1_200));
    for tcpdump in running {
        tcpdump.end()?;
    }
    played.map(|()| captures)
}

/// A running tcpdump; killed where its captures are given up.
struct Tcpdump {
    process: Child,
    log: PathBuf,
}

impl Tcpdump {
    /// Returns when it listens.
    fn start(lab: &Lab, node: &str, interface: &str, file: &Path) -> Result<Tcpdump> {
        let target = file.to_str().context("a path that is UTF-8")?;
        let log = file.with_extension("tcpdump");
        let precision = "--time-stamp-precision=nano";
        let process = lab
            .exec_node(
                node,
                &[
                    "tcpdump", "-U", "-n", "-i", interface, precision, "-w", target,
                ],
            )?
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).context("cannot write tcpdump's log")?)
            .spawn()
            .context("tcpdump is needed (Debian: tcpdump)")?;
        let tcpdump = Tcpdump { process, log };
        wait_listening(&tcpdump.log)?;
        Ok(tcpdump)
    }

    /// Writes the rest of its file.
    fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::INT)
            .context("tcpdump ended by itself")?;
        self.process.wait().context("tcpdump does not end")?;
        Ok(())
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        self.process.kill().ok();
        self.process.wait().ok();
        std::fs::remove_file(&self.log).ok();
    }
}

fn play(lab: &Lab, ipv6: Option<&str>) -> Result<()> {
    for argv in QUESTIONS {
        run(lab, argv)?;
    }
    if let Some(server) = ipv6 {
        let server = format!("@{server}");
        run(lab, &["dig", &server, NAME])?;
        run(lab, &["dig", "+tcp", &server, NAME, "AAAA"])?;
    }

    // Silence: attempts that are never answered in time.
    lab.silence_dns(true)?;
    let silent = run(lab, &["dig", "+tries=2", "+time=1", "never.example.com"]);
    // An attempt that is answered late, to the next one.
    let asking = lab
        .exec(CLIENT, &["dig", "+tries=3", "+time=2", NAME])?
        .stdout(Stdio::null())
        .spawn();
    thread::sleep(Duration::from_millis(2_500));
    lab.silence_dns(false)?;
    silent?;
    asking
        .context("dig does not start")?
        .wait()
        .context("dig does not end")?;
    // glibc asks again from the same socket.
    lab.silence_dns(true)?;
    let asking = shell(
        lab,
        "RES_OPTIONS='timeout:1 attempts:3 ndots:1' getent ahosts www.example.com",
    )
    .spawn();
    thread::sleep(Duration::from_millis(1_500));
    lab.silence_dns(false)?;
    asking
        .context("getent does not start")?
        .wait()
        .context("getent does not end")?;
    // Queries that are lost on the way, and an attempt that is answered.
    lose_queries(lab, true)?;
    let asking = shell(
        lab,
        "dig +tries=3 +time=1 www.example.com AAAA & \
         RES_OPTIONS='timeout:1 attempts:3' getent ahostsv4 clusterip-nginx-ds; wait",
    )
    .spawn();
    thread::sleep(Duration::from_millis(1_500));
    lose_queries(lab, false)?;
    asking
        .context("sh does not start")?
        .wait()
        .context("sh does not end")?;
    // What stays unanswered to the end of the file is undecided; everything before is 6 s old by then.
    thread::sleep(Duration::from_millis(6_500));
    run(lab, &["dig", "+tries=1", "+time=1", "silent.example"])?;
    Ok(())
}

/// Drops the pod's queries behind the place where they are captured.
fn lose_queries(lab: &Lab, lose: bool) -> Result<()> {
    let node = &lab.inventory().pod(CLIENT)?.node;
    let script = if lose {
        "table inet losing { chain queries { type filter hook prerouting priority -400; udp dport 53 drop; }; }"
    } else {
        "delete table inet losing"
    };
    let status = lab
        .exec_node(node, &["nft", script])?
        .status()
        .context("nft does not run")?;
    ensure!(status.success(), "nft refuses {script:?}");
    Ok(())
}

fn shell(lab: &Lab, script: &str) -> Command {
    let mut command = lab
        .exec(CLIENT, &["sh", "-c", script])
        .unwrap_or_else(|_| Command::new("false"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(lab: &Lab, argv: &[&str]) -> Result<()> {
    // A name without an answer is as useful as one with.
    lab.exec(CLIENT, argv)?
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("{argv:?} does not run"))?;
    Ok(())
}

fn wait_listening(log: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        if said.contains("listening on") {
            return Ok(());
        }
        ensure!(!said.contains("You don't have permission"), "{said}");
        if Instant::now() > deadline {
            bail!("tcpdump does not listen: {said}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}
