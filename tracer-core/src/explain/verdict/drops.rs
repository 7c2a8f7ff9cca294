//! The answer where a kernel was seen to drop the packets of the latest attempt.

use super::configuration::{Denial, denial};
use super::{Next, Parts, Verdict, VerdictKind};
use crate::diagnose::{drop_means, is_deliberate_drop};
use crate::explain::command::describe;
use crate::explain::drops::DropFacts;
use crate::explain::policies::Ruling;

/// The rules that conclude from silence. A drop is what made it silent.
const SILENCE: [&str; 6] = [
    "connect-timeout",
    "connect-slow",
    "connection-stalled",
    "udp-unanswered",
    "dns-timeout",
    "dns-retried",
];

/// Whether a drop says more than a finding of this rule.
pub(super) fn outranks(rule: &str) -> bool {
    SILENCE.contains(&rule)
}

/// The latest drop that explains a failure, with the policy that denies it or without.
pub(super) fn answer(parts: &Parts<'_, '_>) -> Option<(Verdict, Next)> {
    let mut drops = parts.attempts.drops.iter();
    let drop = drops.find(|one| one.explains)?;
    let dns = drop.kind == "lookup";
    let policies = || parts.policies.iter().filter(|one| one.dns == dns);
    let denial = denial(parts, dns).filter(|_| is_deliberate_drop(drop.reason));
    let says = format!(
        "{}{}",
        sentence(parts, drop, dns),
        match &denial {
            Some(denial) => format!("; {} denies it", denial.policy),
            None => String::new(),
        }
    );
    let next = match denial {
        Some(Denial { policy, .. }) => {
            let (namespace, name) = policy.split_once('/')?;
            Next::run(
                format!("allow it in {policy}, if it should be"),
                describe("networkpolicy", namespace, name),
            )
        }
        None => {
            // Only denials of the DNS server are listed.
            let judged = dns || policies().next().is_some();
            let allowed = judged
                && policies().all(|one| !matches!(one.ruling, Ruling::Denied | Ruling::Undecided));
            without_policy(drop, allowed)
        }
    };
    let verdict = Verdict {
        kind: VerdictKind::Fails,
        says,
    };
    Some((verdict, next))
}

fn sentence(parts: &Parts<'_, '_>, drop: &DropFacts, dns: bool) -> String {
    let own = parts.input.subject.full_name();
    let to = match parts.input.target {
        Some(target) if dns => format!("{own} can't resolve the name of {target}"),
        Some(target) => format!("{own} can't reach {target}"),
        None => format!("{own} can't reach {}", drop.peer()),
    };
    let packets = match (dns, drop.sent) {
        (true, true) => "its queries",
        (false, true) => "its packets",
        (_, false) => "the answers",
    };
    format!("{to}: {} drops {packets} ({})", drop.node(), drop.reason)
}

/// What to do about a drop that no policy explains.
fn without_policy(drop: &DropFacts, allowed: bool) -> Next {
    let node = drop.node();
    let by_policy = match allowed {
        true => "; no NetworkPolicy denies it",
        false => "",
    };
    match (drop.reason, drop.place) {
        ("NETFILTER_DROP", Some("pod")) => Next::new(format!(
            "find the nftables or iptables rule in the pod's own network namespace on {node} that drops it, such as \
             that of a service mesh{by_policy}"
        )),
        ("NETFILTER_DROP", _) => Next::run(
            format!("find the nftables or iptables rule of {node} that drops it{by_policy}"),
            format!(
                "nft list ruleset | grep -B3 drop; iptables-save -c | grep -E 'DROP|REJECT'   # on {node}: the rule \
                 whose counter rises"
            ),
        ),
        ("IP_RPFILTER", _) => Next::run(
            format!("check the routes of {node}: {}", in_sentence(drop.reason)),
            format!("ip route; sysctl -a --pattern rp_filter   # on {node}"),
        ),
        ("TC_INGRESS" | "TC_EGRESS" | "XDP" | "BPF_CGROUP_EGRESS", _) => Next::new(format!(
            "look for a policy of the network plugin on {node}: an eBPF program or a tc rule drops it{by_policy}"
        )),
        (reason, _) => Next::new(format!("check {node}: {}", in_sentence(reason))),
    }
}

/// The kernel's reason in words, to continue a sentence.
fn in_sentence(reason: &str) -> String {
    let means = drop_means(reason);
    let mut letters = means.chars();
    let lower = letters.next().map(|first| first.to_lowercase().to_string());
    let rest = letters.as_str();
    format!(
        "{}{}",
        lower.unwrap_or_default(),
        rest.trim_end_matches('.')
    )
}
