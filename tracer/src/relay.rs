//! Edge: `tracer relay`, the agents of a cluster as a Kubernetes API.
//!
//! Agents connect to a relay and serve `tracer.v1` on that connection ([`uplinks`], [`agents`]), so that no port of a
//! node is open; the API server says whose agent it is ([`tokens`]). The relay makes its own certificate
//! ([`certificate`]), keeps the findings of all agents ([`findings`]) with their paths ([`paths`]), knows which node a pod is on ([`pods`]), and
//! serves both to users through the API server ([`api`]), which it trusts to name the user and asks for the user's
//! permissions ([`access`]).

pub mod access;
pub mod agents;
pub mod api;
pub mod certificate;
pub mod findings;
pub mod paths;
pub mod pods;
pub mod tokens;
pub mod uplinks;
