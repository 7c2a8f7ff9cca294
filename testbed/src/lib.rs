//! What the tests and `cargo xtask` share: the lab, a real cluster, the scenario, ordinary traffic, an API
//! server, and what the tracer is compared with.
//!
//! It knows the tracer as a program only, and never depends on its crate. [`lab`] is the place to start.

pub mod api;
pub mod bench;
pub mod cluster;
pub mod debian;
pub mod flood;
pub mod image;
pub mod lab;
pub mod scenario;
pub mod soak;
pub mod stage;
pub mod tshark_diff;
pub mod turn;
pub mod watch;
