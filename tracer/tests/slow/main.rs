//! Tests that take up to a minute each: faults and findings in the lab, and the memory of a large cluster's index. They need root,
//! and the feature `privileged-tests` builds them.

#[allow(dead_code, reason = "until the API server is in a library")]
#[path = "../api/mod.rs"]
mod api;
mod faults;
mod filters;
mod findings;
mod identity_memory;
#[path = "../lab/mod.rs"]
mod lab;
mod lookups;
