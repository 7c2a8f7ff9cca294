//! Edge: the cluster's API, the inventory file, pod processes and network namespaces become identity changes.
//!
//! [`watch`] follows the API server, [`reload`] the inventory file, [`interface_watch`] finds the pod behind
//! an interface. Settings are plain values ([`ClusterSource`], [`RemoteIdentity`]), so the command line is
//! the same without an agent.

#[cfg(agent)]
pub mod access;
#[cfg(agent)]
pub mod container_cgroups;
#[cfg(agent)]
pub mod file_watch;
#[cfg(agent)]
pub mod interface_watch;
pub mod kubeconfig;
pub mod list;
#[cfg(agent)]
pub mod netns_id;
#[cfg(agent)]
pub mod pod_cgroup;
#[cfg(agent)]
pub mod pod_interfaces;
#[cfg(agent)]
pub mod pod_processes;
#[cfg(agent)]
pub mod reload;
mod slim;
mod source;
#[cfg(agent)]
pub mod watch;

pub use source::{ClusterSource, RemoteIdentity};
