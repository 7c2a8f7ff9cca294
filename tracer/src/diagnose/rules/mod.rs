//! One file per rule. A rule looks at a case and makes a claim of it or not; it keeps nothing.

pub(super) mod nxdomain_other_namespace;
pub(super) mod ping_clusterip;
