//! The five steps of the scenario: what is done in pod default/deb-ubuntu, and what the tracer must report
//! about it. Then the remedies of the two findings that they lead to.
//!
//! Every figure that a tool reports itself (nslookup's address, ping's statistics, curl's connect time) is
//! taken from the tool, not from here: the tracer must agree with it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{Lab, shell};
use crate::watch::listed;

mod remedies;
mod tools;

pub use remedies::{REMEDIES, Remedy};
pub use tools::{Curl, Nslookup, Ping};

/// The client pod.
pub const CLIENT: &str = "default/deb-ubuntu";
/// The nodes that the tracer must run on to report both ends: the client's and the DNS server's.
pub const NODES: [&str; 2] = ["k8s-worker03", "k8s-master"];

/// The lab's DNS server.
const DNS_POD: &str = "kube-system/coredns-6f5f9b5d74-pf4ld";

/// One step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The title.
    pub title: &'static str,
    /// The commands, as they are typed.
    pub commands: &'static [&'static [&'static str]],
    check: fn(&[Output], &[Value]) -> Result<()>,
}

/// A command and what it printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// As it was typed.
    pub command: String,
    /// Standard output and standard error.
    pub text: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

/// curl's output format.
pub const CURL_FORMAT: &str = "HTTP %{http_code} from %{remote_ip}:%{remote_port}, connected in %{time_connect} s (name %{time_namelookup} s)\\n";

/// All steps, in order.
pub const STEPS: [Step; 5] = [
    Step {
        title: "a Service of the pod's own namespace, by its name",
        commands: &[
            &["nslookup", "clusterip-nginx-ds"],
            &[
                "curl",
                "-sS",
                "-o",
                "/dev/null",
                "-w",
                CURL_FORMAT,
                "http://clusterip-nginx-ds:80/",
            ],
        ],
        check: |outputs, events| {
            found(
                outputs,
                events,
                "clusterip-nginx-ds.default.svc.cluster.local.",
                &[DNS_POD.to_owned()],
            )?;
            connected(outputs, events, "default/clusterip-nginx-ds")
        },
    },
    Step {
        title: "a Service of another namespace, by its bare name: NXDOMAIN",
        commands: &[&["nslookup", "clusterip-apache2-ds-myns"]],
        check: not_found,
    },
    Step {
        title: "the same Service as name.namespace: found",
        commands: &[
            &["nslookup", "clusterip-apache2-ds-myns.myns"],
            &[
                "curl",
                "-sS",
                "-o",
                "/dev/null",
                "-w",
                CURL_FORMAT,
                "http://clusterip-apache2-ds-myns.myns:90/",
            ],
        ],
        check: |outputs, events| {
            found(
                outputs,
                events,
                "clusterip-apache2-ds-myns.myns.svc.cluster.local.",
                &[DNS_POD.to_owned()],
            )?;
            connected(outputs, events, "myns/clusterip-apache2-ds-myns")
        },
    },
    Step {
        title: "a ping to that Service's ClusterIP: no reply",
        commands: &[&[
            "ping",
            "-n",
            "-c",
            "8",
            "-i",
            "0.2",
            "-W",
            "1",
            "10.152.183.115",
        ]],
        check: |outputs, events| {
            let ping = Ping::parse(&outputs[0].text)?;
            ensure!(
                ping.received == 0 && ping.sent == 8,
                "the lab answered a ping to a ClusterIP: {ping:?}"
            );
            let echo = echo(events, "10.152.183.115")?;
            is(&echo["peer"]["service"], "myns/clusterip-apache2-ds-myns")?;
            same(echo, &ping)
        },
    },
    Step {
        title: "pings to pods of another namespace, on this and on another node: answered",
        commands: &[
            &["ping", "-n", "-c", "5", "-i", "0.2", "10.1.235.214"],
            &["ping", "-n", "-c", "5", "-i", "0.2", "10.1.79.66"],
        ],
        check: |outputs, events| {
            let pods = [
                ("10.1.235.214", "myns/apache-ds-myns-9785z"),
                ("10.1.79.66", "myns/apache-ds-myns-5tjrr"),
            ];
            for (output, (address, pod)) in outputs.iter().zip(pods) {
                let ping = Ping::parse(&output.text)?;
                ensure!(
                    ping.received == 5 && ping.sent == 5,
                    "the lab lost pings: {ping:?}"
                );
                let echo = echo(events, address)?;
                is(&echo["peer"]["pod"], pod)?;
                same(echo, &ping)?;
            }
            Ok(())
        },
    },
];

impl Step {
    /// Runs a command of this step in the client pod.
    pub fn run(lab: &Lab, argv: &[&str]) -> Result<Output> {
        let mut command: Command = lab.exec(CLIENT, argv)?;
        let output = command
            .output()
            .with_context(|| format!("cannot run {} in {CLIENT}", argv[0]))?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Output {
            command: typed(argv),
            text: String::from_utf8_lossy(&text).into_owned(),
            code: output.status.code(),
        })
    }

    /// Checks that the events of this step agree with the tools. The error says what is missing or differs.
    pub fn check(&self, outputs: &[Output], events: &[Value]) -> Result<()> {
        (self.check)(outputs, events).with_context(|| format!("reported:{}", listed(events)))
    }
}

/// As a person would type it.
pub fn typed(argv: &[&str]) -> String {
    let quoted = argv.iter().map(|word| shell::quoted(word));
    quoted.collect::<Vec<_>>().join(" ")
}

/// A name that nslookup found: the exchange from both ends, and the lookup.
/// `servers` are the pods behind the DNS Service, as far as they are watched themselves.
pub fn found(outputs: &[Output], events: &[Value], name: &str, servers: &[String]) -> Result<()> {
    let nslookup = Nslookup::parse(&outputs[0].text);
    let [address] = nslookup.addresses.as_slice() else {
        bail!("nslookup found {:?} for {name}", nslookup.addresses);
    };
    let answered = |direction: &'static str| {
        move |event: &&Value| {
            event["type"] == "dns"
                && event["direction"] == direction
                && event["name"] == name
                && event["qtype"] == "A"
                && event["outcome"] == "answered"
        }
    };
    let client = events
        .iter()
        .find(answered("client"))
        .context("no answered A query of the client")?;
    is(&client["pod"], CLIENT)?;
    is(&client["peer"]["service"], "kube-system/kube-dns")?;
    ensure!(client["rcode"] == "NOERROR", "rcode {}", client["rcode"]);
    ensure!(
        client["answers"][0]["data"] == address.as_str(),
        "the answer is not nslookup's {address}: {client}"
    );
    let latency = client["latency_ns"].as_u64().context("no latency")?;
    ensure!(latency > 0, "no latency");

    if !servers.is_empty() {
        // The same exchange at the server's veth: shorter, by the way between the nodes and back.
        let same = |event: &&Value| answered("server")(event) && event["id"] == client["id"];
        let server = events
            .iter()
            .find(same)
            .context("no such exchange at the DNS server's pod")?;
        ensure!(
            servers.iter().any(|pod| is(&server["pod"], pod).is_ok()),
            "the server is {}, not one of {servers:?}",
            server["pod"]
        );
        is(&server["peer"]["pod"], CLIENT)?;
        ensure!(
            server["latency_ns"].as_u64() <= Some(latency),
            "the server's latency is above the client's"
        );
    }

    let lookup = events.iter().find(|event| {
        event["type"] == "lookup"
            && by_client(event)
            && event["steps"]
                .as_array()
                .is_some_and(|steps| steps.iter().any(|s| s["name"] == name))
    });
    let lookup = lookup.context("no lookup of it")?;
    ensure!(
        lookup["outcome"] == "answered",
        "the lookup ended {}",
        lookup["outcome"]
    );
    Ok(())
}

/// A connection that curl made.
pub fn connected(outputs: &[Output], events: &[Value], service: &str) -> Result<()> {
    let curl = Curl::parse(&outputs[1].text)?;
    ensure!(curl.code == 200, "curl got HTTP {}", curl.code);
    let established = events.iter().find(|event| {
        event["type"] == "tcp"
            && event["state"] == "established"
            && event["peer"]["port"] == curl.port
    });
    let connection = established.context("no established connection")?;
    is(&connection["pod"], CLIENT)?;
    is(&connection["peer"]["service"], service)?;
    ensure!(
        connection["peer"]["ip"] == curl.address.as_str(),
        "curl connected to {}",
        curl.address
    );
    let handshake = Duration::from_nanos(
        connection["handshake_ns"]
            .as_u64()
            .context("no handshake time")?,
    );
    ensure!(
        !handshake.is_zero() && handshake <= curl.connect,
        "a handshake of {handshake:?}, but curl connected within {:?}",
        curl.connect
    );
    Ok(())
}

/// A name that no candidate of the search path has.
pub fn not_found(outputs: &[Output], events: &[Value]) -> Result<()> {
    const ASKED: &str = "clusterip-apache2-ds-myns";
    let nslookup = Nslookup::parse(&outputs[0].text);
    ensure!(
        nslookup.nxdomain && nslookup.addresses.is_empty(),
        "nslookup found it: {}",
        outputs[0].text
    );
    let names = [
        "default.svc.cluster.local.",
        "svc.cluster.local.",
        "cluster.local.",
        "",
    ];
    for suffix in names {
        let name = format!("{ASKED}.{suffix}");
        let miss = events.iter().find(|event| {
            event["type"] == "dns" && by_client(event) && event["name"] == name.as_str()
        });
        let miss = miss.with_context(|| format!("no query for {name}"))?;
        is(&miss["pod"], CLIENT)?;
        ensure!(
            miss["outcome"] == "nxdomain" && miss["rcode"] == "NXDOMAIN",
            "{name} ended {}",
            miss["outcome"]
        );
    }
    let lookup = events
        .iter()
        .find(|event| event["type"] == "lookup" && by_client(event))
        .context("no lookup")?;
    is(&lookup["pod"], CLIENT)?;
    ensure!(lookup["asked"] == ASKED, "asked for {}", lookup["asked"]);
    ensure!(
        lookup["outcome"] == "nxdomain",
        "the lookup ended {}",
        lookup["outcome"]
    );
    ensure!(lookup["queries"] == 4, "{} queries", lookup["queries"]);
    ensure!(
        lookup["steps"]
            .as_array()
            .is_some_and(|steps| steps.len() == names.len()),
        "steps {}",
        lookup["steps"]
    );
    Ok(())
}

/// Whether the client pod did it. The DNS server is a client, too: it forwards names that it does not know.
fn by_client(event: &Value) -> bool {
    event["direction"] == "client" && is(&event["pod"], CLIENT).is_ok()
}

/// The client's finished echo run to an address.
pub fn echo<'a>(events: &'a [Value], address: &str) -> Result<&'a Value> {
    let run = events.iter().find(|event| {
        event["type"] == "icmp"
            && event["kind"] == "echo"
            && event["state"] == "done"
            && event["direction"] == "client"
            && event["peer"]["ip"] == address
    });
    let run = run.with_context(|| format!("no finished echo run to {address}"))?;
    is(&run["pod"], CLIENT)?;
    Ok(run)
}

/// Whether an echo run agrees with ping's own statistics.
pub fn same(echo: &Value, ping: &Ping) -> Result<()> {
    let count = |key: &str| echo[key].as_u64().with_context(|| format!("no {key}"));
    ensure!(
        count("sent")? == ping.sent,
        "sent {}, ping says {}",
        echo["sent"],
        ping.sent
    );
    ensure!(
        count("received")? == ping.received,
        "received {}, ping says {}",
        echo["received"],
        ping.received
    );
    let loss = (ping.sent - ping.received) as f64 / ping.sent as f64;
    ensure!(
        echo["loss"].as_f64() == Some(loss),
        "loss {}, ping says {loss}",
        echo["loss"]
    );
    let Some(rtt) = ping.rtt else {
        ensure!(
            echo["rtt_ns"].is_null(),
            "a round-trip time without a reply"
        );
        return Ok(());
    };
    // The probes sit between the pod and the wire, so what they see is shorter than what ping sees: by the
    // pod's own way through the stack and ping's wake-up.
    for (key, theirs) in [("min", rtt.min), ("avg", rtt.avg), ("max", rtt.max)] {
        let ours = Duration::from_nanos(
            echo["rtt_ns"][key]
                .as_u64()
                .with_context(|| format!("no rtt {key}"))?,
        );
        // ping prints microseconds.
        let rounding = Duration::from_micros(1);
        ensure!(
            ours <= theirs + rounding,
            "rtt {key} {ours:?} is above ping's {theirs:?}"
        );
        // The shortest: in the others ping may have waited for a processor.
        let gap = theirs.saturating_sub(ours);
        ensure!(
            key != "min" || gap <= Duration::from_micros(300).max(theirs / 5),
            "rtt {key} {ours:?} is too far below ping's {theirs:?}"
        );
    }
    Ok(())
}

/// Whether an object is named so.
pub fn is(object: &Value, name: &str) -> Result<()> {
    let found = format!(
        "{}/{}",
        object["namespace"].as_str().unwrap_or("?"),
        object["name"].as_str().unwrap_or("?")
    );
    ensure!(found == name, "expected {name}, reported was {object}");
    Ok(())
}
