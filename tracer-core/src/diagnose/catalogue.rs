//! The list of all rules, in order of precedence.

use super::rule::Rule;
use super::rules;

/// All rules. If several apply to one case, the first in this list wins.
pub static RULES: &[&Rule] = &[
    &rules::search_domain_answers::RULE,
    &rules::nxdomain_other_namespace::RULE,
    &rules::nxdomain_no_endpoints::RULE,
    &rules::externalname_target::RULE,
    &rules::nxdomain_wrong_form::RULE,
    &rules::nxdomain_negative_cache::RULE,
    &rules::nxdomain_unknown_name::RULE,
    &rules::dns_loop::RULE,
    &rules::dns_reply_from_other_address::RULE,
    &rules::dns_fragment_lost::RULE,
    &rules::dns_server_unreachable::RULE,
    &rules::dns_race::RULE,
    &rules::dns_timeout::RULE,
    &rules::dns_servfail::RULE,
    &rules::dns_refused::RULE,
    &rules::dns_formerr::RULE,
    &rules::dns_truncated_no_tcp::RULE,
    &rules::dns_retried::RULE,
    &rules::dns_slow::RULE,
    &rules::search_path_waste::RULE,
    &rules::cluster_domain::RULE,
    &rules::aaaa_fails::RULE,
    &rules::nodata_not_found::RULE,
    &rules::ping_clusterip::RULE,
    &rules::ping_service_range::RULE,
    &rules::clusterip_port_not_served::RULE,
    &rules::service_no_endpoints::RULE,
    &rules::service_port_without_endpoint::RULE,
    &rules::service_local_only::RULE,
    &rules::service_source_ranges::RULE,
    &rules::hairpin::RULE,
    &rules::reply_not_translated::RULE,
    &rules::stale_pod_address::RULE,
    &rules::denied_by_policy::RULE,
    &rules::conntrack_full::RULE,
    &rules::dropped_on_node::RULE,
    &rules::connection_refused::RULE,
    &rules::mtu_black_hole::RULE,
    &rules::connect_timeout::RULE,
    &rules::connect_slow::RULE,
    &rules::connection_reset::RULE,
    &rules::connection_stalled::RULE,
    &rules::udp_unanswered::RULE,
];

/// The rule with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}
