//! One file per rule. A rule looks at a case and makes a claim of it or not; it keeps nothing.

pub(super) mod nxdomain_negative_cache;
pub(super) mod nxdomain_no_endpoints;
pub(super) mod nxdomain_other_namespace;
pub(super) mod nxdomain_unknown_name;
pub(super) mod nxdomain_wrong_form;
pub(super) mod ping_clusterip;
