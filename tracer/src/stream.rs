//! Edge: `tracer.v1`, the protocol between agents and clients.
//!
//! Owns the wire format (`proto/tracer/v1/tracer.proto`), its conversion from and to events ([`event`],
//! [`filter`]), an agent's history (`history`) and its server (`hub`, `service`, `listen`). The pipeline
//! never waits for a client: clients read from the history, each at its own pace, and the stream of one that
//! falls behind reports how much it missed. Input: the pipeline's events, through `hub::Hub`. The other side
//! is `client`.

pub mod event;
pub mod filter;
#[cfg(agent)]
pub mod hello;
#[cfg(agent)]
pub mod history;
#[cfg(agent)]
pub mod hub;
#[cfg(agent)]
pub mod listen;
pub mod paths;
#[cfg(agent)]
pub mod relays;
#[cfg(agent)]
pub mod service;

/// The messages and the service, generated from the proto file.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the proto file has the documentation"
)]
pub mod proto {
    tonic::include_proto!("tracer.v1");
}
