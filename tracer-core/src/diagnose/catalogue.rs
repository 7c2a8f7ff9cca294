//! The list of the rules in their order of precedence, and what each says of itself.

use super::case::Case;
use super::claim::Claim;
use super::rules;
use crate::model::finding::Severity;

/// A rule and what it says of itself.
#[derive(Debug)]
pub struct Rule {
    /// Its stable name.
    pub id: &'static str,
    /// How bad what it finds is, as a rule.
    pub severity: Severity,
    /// What it finds, in a line.
    pub finds: &'static str,
    /// What a finding of it means.
    pub means: &'static str,
    /// What it looks at.
    pub looks_at: &'static str,
    /// What it cannot know.
    pub cannot_know: &'static str,
    /// The scenarios in which it says something: files of tests/scenarios, without `.txt`.
    pub fired_by: &'static [&'static str],
    /// Those in which it must not: what looks alike.
    pub not_fired_by: &'static [&'static str],
    /// Whether it has something to say about a case.
    pub(super) check: fn(&Case<'_>) -> Option<Claim>,
}

/// All rules; of those that have something to say about the same case the first has the say.
pub static RULES: &[&Rule] = &[
    &rules::nxdomain_other_namespace::RULE,
    &rules::nxdomain_no_endpoints::RULE,
    &rules::nxdomain_wrong_form::RULE,
    &rules::nxdomain_negative_cache::RULE,
    &rules::nxdomain_unknown_name::RULE,
    &rules::dns_server_unreachable::RULE,
    &rules::dns_race::RULE,
    &rules::dns_timeout::RULE,
    &rules::dns_servfail::RULE,
    &rules::dns_refused::RULE,
    &rules::dns_truncated_no_tcp::RULE,
    &rules::dns_slow::RULE,
    &rules::search_path_waste::RULE,
    &rules::aaaa_fails::RULE,
    &rules::nodata_not_found::RULE,
    &rules::ping_clusterip::RULE,
    &rules::ping_service_range::RULE,
    &rules::clusterip_port_not_served::RULE,
    &rules::service_no_endpoints::RULE,
    &rules::connection_refused::RULE,
    &rules::stale_pod_address::RULE,
    &rules::mtu_black_hole::RULE,
    &rules::connect_timeout::RULE,
];

/// The rule of this name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}
