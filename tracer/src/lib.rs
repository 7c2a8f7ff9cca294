//! Tracer: per-pod DNS and traffic traces for Kubernetes nodes.
//!
//! This crate is the program: the edges around `tracer-core`, which decodes, correlates and explains what
//! they capture. Data flows one way:
//!
//! ```text
//! capture -> tracer_core::pipeline -> view, stream, export
//!               cluster ---^
//! ```
//!
//! - [`capture`] attaches the probes and reads their records.
//! - `conntrack` reads which endpoint a Service's address was translated to.
//! - [`cluster`] finds out which pods, Services and nodes there are.
//! - [`stream`] is the protocol between agents and clients; [`client`] is its other end.
//! - `relay` is a Kubernetes API in front of all agents, which connect to it.
//! - [`export`] serves metrics and health, and writes Kubernetes Events.
//! - [`run`] connects these to the pipeline; [`cli`] is what a user types.
//!
//! Feature `agent` has everything that traces a node (Linux only); feature `client` asks agents. Reading a
//! capture file needs neither. Start reading at [`run`], and at `tracer_core::pipeline` for what happens to a
//! record.

pub mod capture;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod cluster;
pub mod config;
#[cfg(agent)]
pub mod connections;
#[cfg(agent)]
pub mod conntrack;
#[cfg(agent)]
pub mod export;
#[cfg(agent)]
mod heap;
mod intern;
#[cfg(agent)]
pub mod relay;
pub mod run;
pub mod stream;
