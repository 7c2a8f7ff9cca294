//! The shared vocabulary as plain types: record, observation, exchange, connection, echo, event, lookup,
//! finding.
//!
//! No behaviour beyond these types: no sockets, no clock, no tokio. All stages exchange them; each file
//! defines one term. [`printable`] and [`error_chain`] hold the text functions that every layer needs.

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
pub mod evidence;
pub mod exchange;
pub mod finding;
pub mod flow;
pub mod glob;
pub(crate) mod heap_bytes;
pub mod identity;
pub mod intern;
pub mod lookup;
pub mod loss;
pub mod observation;
pub mod path;
pub mod printable;
pub mod record;
pub mod sentence;
pub mod settings;
pub mod signal;
pub mod stretch;
pub mod time;
pub mod units;
