//! Edge: inventory file, the watches of a cluster, pod processes and network namespaces, turned into identity changes.

pub mod access;
pub mod file_watch;
pub mod interface_watch;
pub mod netns_id;
pub mod pod_cgroup;
pub mod pod_interfaces;
pub mod pod_processes;
pub mod reload;
pub mod watch;
