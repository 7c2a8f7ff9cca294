//! What an agent asks of the API server: every kind of request that it makes, with the reason. Pure data.
//!
//! `deploy/base/agent-role.yaml` grants exactly this; a test compares the two. Code that calls the API server with a resource
//! or a verb that is not here belongs here first.

/// A resource, and what the agent does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, in the plural, as roles name it.
    pub resource: &'static str,
    /// The verbs, as roles name them.
    pub verbs: &'static [&'static str],
    /// What for.
    pub why: &'static str,
}

/// A watch begins with a list.
const WATCH: &[&str] = &["list", "watch"];

/// All that an agent asks.
pub const ACCESS: &[Access] = &[
    Access {
        group: "",
        resource: "namespaces",
        verbs: WATCH,
        why: "whether a namespace that a name mentions exists",
    },
    Access {
        group: "",
        resource: "nodes",
        verbs: WATCH,
        why: "whose an address is that no pod has, and which ranges pods get theirs from",
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
        why: "whether anybody is ready behind a Service, and who",
    },
    Access {
        group: "networking.k8s.io",
        resource: "networkpolicies",
        verbs: WATCH,
        why: "that a policy may be why a connection gets no answer",
    },
    Access {
        group: "networking.k8s.io",
        resource: "servicecidrs",
        verbs: WATCH,
        why: "which addresses can only be Services'",
    },
    Access {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create", "patch"],
        why: "findings as Events on the pod; a finding that comes again counts up the Event it has",
    },
];
