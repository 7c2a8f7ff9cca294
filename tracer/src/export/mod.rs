//! Edge: events leave the machine as metrics, health answers and Kubernetes Events.

pub mod http;
pub mod kube_events;
pub mod metrics;
