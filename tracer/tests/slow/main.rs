//! Tests that take up to a minute each: faults, findings, lookups and filters in the lab, and the memory of a
//! large cluster's index. They need root and the feature `privileged-tests`.

mod faults;
mod filters;
mod findings;
mod identity_memory;
mod lookups;
