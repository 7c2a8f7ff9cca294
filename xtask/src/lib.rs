//! Project tasks: what a contributor runs, and what tests build on.
//!
//! One module per command. [`lab`] is also a library: the demo and the privileged tests raise a lab of their own with it.

pub mod build;
pub mod cluster;
pub mod demo;
pub mod e2e;
pub mod fuzz;
pub mod image;
pub mod kernels;
pub mod lab;
pub mod scenario;
pub mod setup;
pub mod soak;
pub mod test;
pub mod tshark_diff;
pub mod turn;
pub mod watch;
