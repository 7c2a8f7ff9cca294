//! A filter's answer: an ICMP error that says "administratively prohibited" (ICMP type 3 code 9, 10 or 13, ICMPv6 type 1
//! code 1, 5 or 6).
//!
//! No closed port and no missing endpoint sends it, so the server's pod is not to be checked, but what rejects.

use super::case::Case;
use super::claim::Claim;
use super::command::Command;
use super::fact::{AddressHolder, IcmpMeaning};
use super::headline::{Fix, Reason};
use super::holder;
use crate::model::observation::IcmpError;

/// Whether a filter sent the error.
pub(super) fn sent(error: &IcmpError) -> bool {
    IcmpMeaning::from(error) == IcmpMeaning::Prohibited
}

/// Adds that a filter rejects it, and where to look for its rule.
pub(super) fn explain(case: &Case<'_>, claim: Claim, error: &IcmpError) -> Claim {
    let holder = holder::of(case, error.from.ip());
    let node = match &holder {
        AddressHolder::OwnNode(node) | AddressHolder::OtherNode(node) => Some(node.clone()),
        _ => None,
    };
    claim
        .because(Reason::FilterRejects)
        .fix(Fix::CheckFilter(holder))
        .command(Command::RejectRules(node))
}
