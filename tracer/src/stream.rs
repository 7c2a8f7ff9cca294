//! Edge: `tracer.v1`, what agents and clients say to each other.
//!
//! Owns the wire format (`proto/tracer/v1/tracer.proto`), the way from events to it and back ([`event`], [`filter`]), what an
//! agent holds of the past ([`history`]), and its server ([`hub`], [`service`], [`listen`]). It never waits for a client on
//! the agent's behalf: clients read from the history, each at its own pace, and who falls behind what it holds is told so.
//! Input: the pipeline's events, through [`hub::Hub`]. The other side is [`client`](crate::client).

pub mod event;
pub mod filter;
#[cfg(agent)]
pub mod history;
#[cfg(agent)]
pub mod hub;
#[cfg(agent)]
pub mod listen;
#[cfg(agent)]
pub mod service;

/// The messages and the service, as made from the protocol's file.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated; the protocol's file has the words"
)]
pub mod proto {
    tonic::include_proto!("tracer.v1");
}
