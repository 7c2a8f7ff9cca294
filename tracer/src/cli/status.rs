//! `tracer status`: the state of each agent, as text and as JSON.

use std::io::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::agents::AgentsArgs;
use super::cluster::KubeArgs;
use super::{Exit, Host};
use crate::client::skew;
use crate::client::status::{Answer, Statuses};
use crate::run;
use crate::stream::event::{loss_from_wire, timestamp, unix_clock};
use crate::stream::proto::{Interface, StatusResponse};
use tracer_core::model::printable::safe;
use tracer_core::model::units;

mod conntrack;

/// Arguments of `tracer status`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  \
        tracer status\n  \
        tracer status --server unix:/run/tracer/agent.sock -o json | jq .lost",
    after_long_help = HELP
)]
pub struct StatusArgs {
    /// Output format: text, or json (one object per agent)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = StatusFormat::Text)]
    output: StatusFormat,

    #[command(flatten)]
    agents: AgentsArgs,

    #[command(flatten)]
    kube: KubeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    Text,
    Json,
}

const HELP: &str = "\
Output for each agent:
  traces     the pod interfaces that have probes
  names      the source of pod and Service names, and how current it is
  settings   the files of --config and --rules: when the current settings were
             read, and why a later change is not in effect
  events     events, and the packets that they are based on
  conntrack  whether endpoints behind Services are read, and the table's counters
  history    events kept in memory, and the time of the oldest
  clients    current streams
  lost       losses by stage since the agent started
  blind spots  traffic on the node that the agent cannot see
  version    shown if it differs from this program's
  clock      shown if it differs from this machine's by more than 2 s

Exit codes:
  0  at least one agent answered; unreachable agents are listed
  2  no agent answered";

impl StatusArgs {
    pub(super) fn run(&self, host: &Host, out: &mut impl Write) -> anyhow::Result<Exit> {
        let Statuses { agents } = run::statuses(&self.agents.resolve(&self.kube)?)?;
        for answer in &agents {
            match self.output {
                StatusFormat::Json => writeln!(out, "{}", as_json(answer))?,
                StatusFormat::Text => out.write_all(as_text(answer, host).as_bytes())?,
            }
        }
        let answered = agents.iter().any(|answer| answer.status.is_ok());
        Ok(if answered { Exit::Fine } else { Exit::Failed })
    }
}

fn as_text(answer: &Answer, host: &Host) -> String {
    let name = answer.node.as_deref().unwrap_or(&answer.target);
    let status = match &answer.status {
        Ok(status) => status,
        Err(why) => return format!("{}  unreachable: {}\n", safe(name), safe(why)),
    };
    let node = status.node.clone().unwrap_or_default();
    let mut text = format!(
        "{}  tracer {}, up {}, Linux {}  ({})\n",
        safe(name),
        safe(&node.version),
        units::duration(age(node.now_unix_ns, node.started_unix_ns)),
        safe(&status.kernel),
        safe(&answer.target),
    );
    let clock = |unix_ns: i64| {
        unix_clock(timestamp(unix_ns))
            .to_zoned(host.now.time_zone().clone())
            .strftime("%F %T")
            .to_string()
    };
    let mut line = |what: &str, value: &str| {
        text.push_str(&format!("  {what:<11} {}\n", safe(value)));
    };
    let interfaces = units::count(status.interfaces.len() as u64, "interface");
    line("traces", &interfaces);
    for interface in &status.interfaces {
        line("", &one_interface(interface));
    }
    let index = status.index.clone().unwrap_or_default();
    let mut names = index.state;
    if index.pods + index.services > 0 {
        names.push_str(&format!(
            "; {}, {}",
            units::count(index.pods, "pod"),
            units::count(index.services, "Service")
        ));
    }
    if let Some(as_of) = index.as_of_unix_ns {
        names.push_str(&format!("; as of {}", clock(as_of)));
    }
    line("names", &names);
    for (index, settings) in settings(status, &clock).iter().enumerate() {
        line(if index == 0 { "settings" } else { "" }, settings);
    }
    line(
        "events",
        &format!(
            "{} from {}",
            units::count(status.events, "event"),
            units::count(status.packets, "packet")
        ),
    );
    if let Some(conntrack) = &status.conntrack {
        for (index, text) in conntrack::lines(conntrack).iter().enumerate() {
            line(if index == 0 { "conntrack" } else { "" }, text);
        }
    }
    let history = status.history.unwrap_or_default();
    let since = history
        .oldest_unix_ns
        .map(|oldest| format!(" since {}", clock(oldest)))
        .unwrap_or_default();
    line(
        "history",
        &format!(
            "{}{since}; {} of {} KiB; {} evicted",
            units::count(history.events, "event"),
            history.bytes / 1024,
            history.max_bytes / 1024,
            history.dropped
        ),
    );
    line(
        "clients",
        &format!("{} of {}", status.clients, status.max_clients),
    );
    let lost: Vec<_> = status
        .lost
        .iter()
        .filter_map(|lost| loss_from_wire(lost).ok())
        .filter(|loss| loss.count > 0)
        .collect();
    if lost.is_empty() {
        line("lost", "nothing");
    }
    for (index, loss) in lost.iter().enumerate() {
        let what = if index == 0 { "lost" } else { "" };
        line(
            what,
            &format!("{} {}: {}", loss.stage.as_str(), loss.count, loss.reason),
        );
    }
    for (index, blind) in blind_spots(status).iter().enumerate() {
        line(if index == 0 { "blind spots" } else { "" }, blind);
    }
    for (what, sentence) in [
        ("version", skew::version_sentence(&node.version)),
        ("clock", skew::clock_sentence(answer.clock_offset_ns)),
    ] {
        if let Some(sentence) = sentence {
            line(what, &sentence);
        }
    }
    text
}

/// The files of settings, and whether their latest change is in effect.
fn settings(status: &StatusResponse, clock: &dyn Fn(i64) -> String) -> Vec<String> {
    let Some(settings) = &status.settings else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "{}; as of {}",
        settings.files.join(", "),
        clock(settings.read_unix_ns)
    )];
    if !settings.failure.is_empty() {
        lines.push(format!(
            "the latest change is not in effect: {}",
            settings.failure
        ));
    }
    if !settings.restart.is_empty() {
        lines.push(format!(
            "restart the agent to apply {}",
            settings.restart.join(", ")
        ));
    }
    lines
}

fn one_interface(interface: &Interface) -> String {
    let mut text = interface.name.clone();
    match &interface.pod {
        Some(pod) => text.push_str(&format!("  {}/{}", pod.namespace, pod.name)),
        None if interface.of_node => text.push_str("  the node's own traffic"),
        None => text.push_str("  pod unknown"),
    }
    text.push_str(&format!("  {}", interface.hook));
    if interface.suppressed > 0 {
        text.push_str(&format!("  {} records thinned", interface.suppressed));
    }
    text
}

/// The blind spots that the agent reports, and unseen directions of single interfaces.
fn blind_spots(status: &StatusResponse) -> Vec<String> {
    let mut all = Vec::new();
    for interface in &status.interfaces {
        for (unseen, direction) in [
            (interface.to_pod_unseen, "to"),
            (interface.from_pod_unseen, "from"),
        ] {
            if unseen {
                let whom = match interface.of_node {
                    true => "the node's own sockets",
                    false => "the pod",
                };
                all.push(format!(
                    "{}: packets {direction} {whom}; Tracer draws no conclusion from silence there",
                    interface.name
                ));
            }
        }
    }
    all.extend(status.blind_spots.iter().cloned());
    all
}

fn age(now_ns: i64, since_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns.saturating_sub(since_ns)).unwrap_or(0))
}

fn as_json(answer: &Answer) -> Value {
    let status = match &answer.status {
        Ok(status) => status,
        Err(why) => {
            return json!({"node": answer.node, "target": answer.target, "error": why});
        }
    };
    let time = |unix_ns: i64| format!("{:.9}", unix_clock(timestamp(unix_ns)));
    let node = status.node.clone().unwrap_or_default();
    let index = status.index.clone().unwrap_or_default();
    let history = status.history.unwrap_or_default();
    let interfaces: Vec<Value> = status
        .interfaces
        .iter()
        .map(|interface| {
            let totals = interface.totals.unwrap_or_default();
            let (tx, rx) = (totals.tx.unwrap_or_default(), totals.rx.unwrap_or_default());
            let mut unseen = Vec::new();
            if interface.to_pod_unseen {
                unseen.push("to-pod");
            }
            if interface.from_pod_unseen {
                unseen.push("from-pod");
            }
            json!({
                "name": interface.name,
                "ifindex": interface.ifindex,
                "hook": interface.hook,
                "pod": interface.pod.as_ref().map(|pod| json!({
                    "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
                })),
                "tx": {"packets": tx.packets, "bytes": tx.bytes},
                "rx": {"packets": rx.packets, "bytes": rx.bytes},
                "suppressed": interface.suppressed,
                "unseen": unseen,
            })
        })
        .collect();
    let lost: Vec<Value> = status
        .lost
        .iter()
        .filter_map(|lost| loss_from_wire(lost).ok())
        .map(|loss| json!({"stage": loss.stage.as_str(), "reason": loss.reason, "count": loss.count}))
        .collect();
    json!({
        "node": node.node,
        "target": answer.target,
        "version": node.version,
        "commit": (!status.commit.is_empty()).then_some(&status.commit),
        "kernel": status.kernel,
        "started": time(node.started_unix_ns),
        "now": time(node.now_unix_ns),
        "clock_off_ns": answer.clock_offset_ns,
        "interfaces": interfaces,
        "index": {
            "state": index.state, "synced": index.synced, "as_of": index.as_of_unix_ns.map(time),
            "pods": index.pods, "services": index.services,
        },
        "settings": status.settings.as_ref().map(|settings| json!({
            "files": settings.files, "as_of": time(settings.read_unix_ns),
            "failure": (!settings.failure.is_empty()).then_some(&settings.failure),
            "restart": settings.restart,
        })),
        "conntrack": status.conntrack.as_ref().map(conntrack::json),
        "packets": status.packets,
        "records": status.records,
        "events": status.events,
        "history": {
            "events": history.events, "bytes": history.bytes, "max_bytes": history.max_bytes,
            "oldest": history.oldest_unix_ns.map(time), "dropped": history.dropped,
        },
        "clients": status.clients,
        "max_clients": status.max_clients,
        "lost": lost,
        "cannot_see": blind_spots(status),
    })
}
