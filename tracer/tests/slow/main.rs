//! Tests that take up to a minute each: faults, findings, lookups, paths, filters and a flood in the lab, and
//! the memory of a large cluster's index. They need root and the feature `privileged-tests`.

mod explain;
mod faults;
mod filters;
mod findings;
mod flood;
mod identity_memory;
mod lookups;
mod paths;
