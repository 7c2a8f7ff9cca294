//! The real probes on real packets, in the tests' own network namespaces.
//!
//! Expected values come from outside the capture: from sockets, from ping, from tc, from the frames that a
//! test sends.

mod agent;
mod child;
mod conntrack;
mod drops;
mod emission;
mod flood;
mod interfaces;
mod live;
mod local;
mod lock;
mod loss;
mod netns;
mod one_way;
mod only_processes;
mod packets;
mod pressure;
mod probe_log;
mod processes;
mod programs;
mod rare_answers;
mod retransmits;
mod stress;
mod task_cgroups;
mod totals;
mod uplink;
