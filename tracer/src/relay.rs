//! Edge: `tracer relay`, the agents of a cluster as a Kubernetes API.
//!
//! Agents connect to a relay and serve `tracer.v1` on that connection ([`agents`]), so that no port of a node is open.

pub mod agents;
