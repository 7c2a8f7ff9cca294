//! Tests with real probes, in network namespaces and in the lab. They need root and the feature
//! `privileged-tests`.
//!
//! Tests of the capture run side by side, and a few tests with a lab do ([`testbed::turn`]).

mod agents;
mod capabilities;
mod capture;
mod conntrack;
mod containers;
mod dns;
mod drops;
mod exports;
mod flows;
mod identity;
mod interrupt;
mod node;
mod nodelocal;
mod processes;
mod record;
mod scenario;
mod tcp_dns;
mod tshark;
mod watch;
mod wired_agent;
