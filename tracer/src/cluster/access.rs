//! The agent's requests to the API server, each with its reason. Pure data.
//!
//! `deploy/base/agent-role.yaml` grants exactly this; a test compares the two. Add a resource or verb here
//! before using it.

/// A resource and the agent's use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, in the plural, as roles name it.
    pub resource: &'static str,
    /// The verbs, as roles name them.
    pub verbs: &'static [&'static str],
    /// The reason.
    pub why: &'static str,
}

/// A watch starts with a list.
const WATCH: &[&str] = &["list", "watch"];

/// Everything an agent requests.
pub const ACCESS: &[Access] = &[
    Access {
        group: "",
        resource: "namespaces",
        verbs: WATCH,
        why: "whether the namespace in a DNS name exists",
    },
    Access {
        group: "",
        resource: "nodes",
        verbs: WATCH,
        why: "the nodes' own addresses, and the ranges that pod addresses come from",
    },
    Access {
        group: "",
        resource: "pods",
        verbs: WATCH,
        why: "the pods' names, addresses, search paths and owners",
    },
    Access {
        group: "",
        resource: "services",
        verbs: WATCH,
        why: "the Service behind a cluster address or a name, and its ports",
    },
    Access {
        group: "discovery.k8s.io",
        resource: "endpointslices",
        verbs: WATCH,
        why: "which endpoints of a Service are ready",
    },
    Access {
        group: "networking.k8s.io",
        resource: "networkpolicies",
        verbs: WATCH,
        why: "whether a policy may be why a connection gets no answer",
    },
    Access {
        group: "networking.k8s.io",
        resource: "servicecidrs",
        verbs: WATCH,
        why: "which addresses can only be those of Services",
    },
    Access {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create", "patch"],
        why: "findings as Events on the pod; a repeated finding increments the count of its Event",
    },
];
