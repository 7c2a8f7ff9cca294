//! A real Kubernetes cluster of one or two nodes on this machine, for the end-to-end test.
//!
//! Kubernetes' own programs, built as Go modules at a fixed release; etcd, containerd, runc and CNI plugins
//! from Debian. Each node is a network namespace with a mount namespace. The nodes share a switch that has no
//! link to the machine's network. As in the lab, whose network code it uses, a router drops packets without a
//! route.
//!
//! Where to start: [`Cluster::up`].

mod certificates;
pub mod components;
mod control_plane;
pub mod images;
mod lifecycle;
mod node;

pub use lifecycle::{Cluster, Options, STREAMER, describe};

/// The default name of a cluster.
pub const DEFAULT_NAME: &str = "tracer-cluster";
