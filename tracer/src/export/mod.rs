//! Edge: metrics, health checks, Kubernetes Events, OTLP and files of events.

pub mod event_log;
mod fair_queue;
pub mod http;
pub mod kube_events;
pub mod metrics;
pub mod otlp;
pub mod selection;
mod waiting;
