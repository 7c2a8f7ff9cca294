//! Tracer: per-pod DNS and traffic traces for Kubernetes nodes.
//!
//! Data flows one way:
//!
//! ```text
//! probe -> record -> observation -> exchange / connection / echo -> identified -> lookup -> finding -> sinks
//! ```
//!
//! The middle ([`decode`] to [`pipeline`]) is pure: no sockets, no clock, no tokio. Start reading at [`pipeline`].

pub mod capture;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod export;
pub mod run;
pub mod stream;
