//! The rules, one file each. A rule examines a case and makes a claim or not. It has no state.

pub(super) mod aaaa_fails;
pub(super) mod clusterip_port_not_served;
pub(super) mod connect_timeout;
pub(super) mod connection_refused;
pub(super) mod dns_race;
pub(super) mod dns_refused;
pub(super) mod dns_server_unreachable;
pub(super) mod dns_servfail;
pub(super) mod dns_slow;
pub(super) mod dns_timeout;
pub(super) mod dns_truncated_no_tcp;
pub(super) mod mtu_black_hole;
pub(super) mod nodata_not_found;
pub(super) mod nxdomain_negative_cache;
pub(super) mod nxdomain_no_endpoints;
pub(super) mod nxdomain_other_namespace;
pub(super) mod nxdomain_unknown_name;
pub(super) mod nxdomain_wrong_form;
pub(super) mod ping_clusterip;
pub(super) mod ping_service_range;
pub(super) mod search_path_waste;
pub(super) mod service_no_endpoints;
pub(super) mod stale_pod_address;
