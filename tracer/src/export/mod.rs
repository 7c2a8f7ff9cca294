//! Edge: metrics, health checks and Kubernetes Events.

pub mod http;
pub mod kube_events;
pub mod metrics;
