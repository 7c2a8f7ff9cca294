//! The vocabulary, as plain types: record, observation, exchange, connection, echo, identified event, lookup, finding.
//!
//! Owns nothing that runs: no sockets, no clock, no tokio. Every stage speaks in these types, and each file is one word of it.

pub mod alias;
pub mod cluster;
pub mod connection;
pub mod correlated;
pub mod dns;
pub mod echo;
pub mod edns;
pub mod emission;
pub mod error_chain;
pub mod event;
pub mod exchange;
pub mod finding;
pub mod flow;
pub mod glob;
pub mod identity;
pub mod lookup;
pub mod loss;
pub mod observation;
pub mod printable;
pub mod record;
pub mod settings;
pub mod time;
pub mod units;
