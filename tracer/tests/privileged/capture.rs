//! The real probes on real packets, in network namespaces of the tests' own. Needs root.
//!
//! What is asserted comes from elsewhere: from sockets, from ping, from tc, from the frames that a test put on the wire.

mod agent;
mod child;
mod emission;
mod flood;
mod interfaces;
mod live;
mod loss;
mod netns;
mod one_way;
mod packets;
mod probe_log;
mod programs;
mod rare_answers;
mod stress;
mod totals;
