//! A pod that is told again and again that its packets are too big, and goes on.

use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::Claim;
use crate::diagnose::rule::Rule;
use crate::diagnose::words;
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "mtu-black-hole",
    severity: Severity::Warning,
    finds: "packets that are too big for their path, again and again",
    means: "A pod sends packets that are too big for a link on their path and does not heed the ICMP errors that say so: small \
            packets pass, big ones never arrive, so connections open and then hang.",
    looks_at: "ICMP \"fragmentation needed\" and \"packet too big\" that reach the pod for the same destination: three within a \
               minute, more than a second apart. One alone is ordinary: it is how a path's MTU is found.",
    cannot_know: "A link that drops big packets without an ICMP error, and errors that do not reach the node. It is not resolved by \
                  itself: it is forgotten when the errors stop.",
    check,
};

/// With several connections at once there are more errors than one or two, all at once.
const APART: Duration = Duration::from_secs(1);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::TooBig(error, told) = case.symptom else {
        return None;
    };
    if told.times < case.thresholds.too_big_errors || told.last.since(told.first) < APART {
        return None;
    }
    let to = error.about.dst.ip();
    let mtu = match error.mtu {
        Some(mtu) => format!("The path takes packets of {mtu} bytes at most"),
        None => "The path does not take packets of that size".to_owned(),
    };
    let claim = Claim::new(
        to.to_string(),
        format!(
            "{} sends packets to {to} that are too big for the path, though it was told {} times in {}.",
            case.who(),
            told.times,
            duration(told.last.since(told.first))
        ),
    )
    .why(format!("{mtu}: {}.", words::icmp(&error)))
    .why("Possible causes: the pod ignores or never gets these errors inside (a firewall in it), or its interface's MTU is larger than the network's between the nodes, as with a tunnel whose header was not counted.")
    .remedy(case.in_pod("ip link show eth0   # its MTU"));
    let size = error.mtu.and_then(|mtu| mtu.checked_sub(headers(to)));
    let claim = match size {
        Some(size) => claim.remedy(case.in_pod(&format!(
            "ping -c 3 -M do -s {size} {to}   # passes, and one byte more does not"
        ))),
        None => claim,
    };
    Some(claim.evidence([format!(
        "{} about {} to {to}",
        words::icmp(&error),
        error.about.src.ip()
    )]))
}

/// Of a ping's packet: the IP header without options, and ICMP's.
fn headers(to: IpAddr) -> u32 {
    match to {
        IpAddr::V4(_) => 20 + 8,
        IpAddr::V6(_) => 40 + 8,
    }
}

#[cfg(test)]
mod tests {
    use super::headers;

    #[test]
    fn a_ping_of_an_mtu_leaves_room_for_its_headers() {
        assert_eq!(headers([10, 1, 39, 193].into()), 28);
        assert_eq!(headers([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()), 48);
    }
}
