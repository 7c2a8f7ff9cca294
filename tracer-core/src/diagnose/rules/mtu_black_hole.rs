//! A pod that receives ICMP errors about packets that are too big, and keeps sending them.

use std::net::IpAddr;
use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Evidence, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::fact::PathFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "mtu-black-hole",
    severity: Severity::Warning,
    finds: "packets that are too big for their path, repeatedly",
    means: "A pod sends packets that are too big for a link on their path and ignores the ICMP errors that report it. Small \
            packets pass, large ones never arrive, so connections open and then hang.",
    looks_at: "ICMP \"fragmentation needed\" and \"packet too big\" errors that reach the pod about one destination: three within \
               a minute, more than a second apart. A single error is ordinary: this is how a host discovers a path's MTU.",
    cannot_know: "Links that drop large packets without an ICMP error, and errors that do not reach the node. Nothing shows that \
                  the cause is gone: the finding is dropped when the errors stop.",
    check,
};

/// Several connections at once can cause more than one or two errors, but all of them within this time.
const MIN_SPAN: Duration = Duration::from_secs(1);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::TooBig(error, errors) = case.symptom else {
        return None;
    };
    let within = errors.last.since(errors.first);
    if errors.times < case.thresholds.too_big_errors || within < MIN_SPAN {
        return None;
    }
    let to = error.about.dst.ip();
    let summary = Summary::PacketsTooBig {
        to,
        times: errors.times,
        within,
    };
    let claim = Claim::new(Cause::Address(to), summary)
        .why(PathFact::Mtu(error))
        .why(PathFact::MtuCauses)
        .command(PodCommand::ShowMtu);
    let size = error.mtu.and_then(|mtu| mtu.checked_sub(ping_headers(to)));
    let claim = match size {
        Some(size) => claim.command(PodCommand::PingSize { to, size }),
        None => claim,
    };
    let claim = match error.mtu {
        Some(mtu) => claim
            .because(Reason::PathMtu(mtu, error.from.ip()))
            .fix(Fix::LowerMtu(mtu)),
        None => claim,
    };
    Some(claim.evidence([Evidence::TooBig { error, to }]))
}

/// The headers of a ping in bytes: IP without options, and ICMP.
fn ping_headers(to: IpAddr) -> u32 {
    match to {
        IpAddr::V4(_) => 20 + 8,
        IpAddr::V6(_) => 40 + 8,
    }
}

#[cfg(test)]
mod tests {
    use super::ping_headers;

    #[test]
    fn a_ping_of_the_mtu_leaves_room_for_its_headers() {
        assert_eq!(ping_headers([10, 1, 39, 193].into()), 28);
        assert_eq!(ping_headers([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()), 48);
    }
}
