//! The lab: the cluster of an inventory file, rebuilt on one machine from network namespaces.
//!
//! A namespace per node and per pod, routed veth pairs as Calico lays them, a switch between the nodes, a
//! router that drops packets without a route, Services translated by nftables in each node as kube-proxy does
//! it, a DNS server in the coredns pod that answers as CoreDNS does, web servers behind the Services. Pod
//! processes run in kubelet-shaped cgroups with the inventory's UIDs. It has no link to the
//! machine's own network.
//!
//! Everything a lab owns carries its name: `/run/NAME` holds its files and its state, `NAME-*` are its
//! namespaces, and every process of it lives in the cgroup `/NAME`. So two labs with different names do not
//! meet, and taking one down needs no guessing.
//!
//! Where to start: [`Lab::up`], [`Lab::exec`], [`Lab::down`]; [`inventory`] is the only input.

pub(crate) mod cgroup;
mod change;
pub mod check;
mod dns;
pub mod inventory;
pub(crate) mod lifecycle;
pub(crate) mod network;
mod node_cache;
pub(crate) mod paths;
mod pod;
pub(crate) mod process;
mod proxy;
pub mod shell;
pub(crate) mod state;
pub mod status;
pub(crate) mod upstream;
mod web;

pub use change::NewPod;
pub use inventory::Inventory;
pub use lifecycle::{Lab, Options, TemporaryLab};
pub use node_cache::{ADDRESS as NODE_CACHE, ADDRESS_V6 as NODE_CACHE_V6, NodeCache};
pub use proxy::ProxyMode;

/// The default name of a lab.
pub const DEFAULT_NAME: &str = "tracer-lab";
