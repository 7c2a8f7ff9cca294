//! The resources that the relay serves, and their columns.

/// The API group.
pub const GROUP: &str = "tracer.internal";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// Both, as `apiVersion` has them.
pub const GROUP_VERSION: &str = "tracer.internal/v1alpha1";

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The head.
    pub name: &'static str,
    /// string or integer.
    pub kind: &'static str,
    /// `name` for the object's name.
    pub format: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: u8,
    /// For people.
    pub description: &'static str,
}

const fn text(name: &'static str, priority: u8, description: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        format: "",
        priority,
        description,
    }
}

const fn number(name: &'static str, priority: u8, description: &'static str) -> Column {
    Column {
        kind: "integer",
        ..text(name, priority, description)
    }
}

const NAME: Column = Column {
    format: "name",
    ..text("Name", 0, "The object's name.")
};

/// A resource.
#[derive(Debug)]
pub struct Kind {
    /// The kind of an object.
    pub kind: &'static str,
    /// The kind of a list.
    pub list: &'static str,
    /// The resource's name in paths and roles.
    pub plural: &'static str,
    /// Its other name for people.
    pub singular: &'static str,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// The verbs, as roles name them.
    pub verbs: &'static [&'static str],
    /// What `kubectl get tracer` lists.
    pub categories: &'static [&'static str],
    /// The columns of its table.
    pub columns: &'static [Column],
}

/// Findings.
pub static FINDINGS: Kind = Kind {
    kind: "Finding",
    list: "FindingList",
    plural: "findings",
    singular: "finding",
    namespaced: true,
    verbs: &["get", "list", "watch"],
    categories: &["tracer"],
    columns: &[
        NAME,
        text("Severity", 0, "info, warning or error."),
        text("State", 0, "active, intermittent or resolved."),
        number("Count", 0, "How many attempts failed."),
        text("Pod", 0, "The pod that is affected."),
        text("Last", 0, "Time since the last failure."),
        text("Headline", 0, "Symptom, cause and fix."),
        text("Rule", 1, "The rule that concluded it."),
        number("Of", 1, "How many attempts there were."),
        text("Node", 1, "The pod's node."),
    ],
};

/// Events.
pub static TRACES: Kind = Kind {
    kind: "Trace",
    list: "TraceList",
    plural: "traces",
    singular: "trace",
    namespaced: true,
    verbs: &["list", "watch"],
    categories: &[],
    columns: &[
        Column {
            format: "name",
            ..text("Name", 1, "The object's name.")
        },
        text("Time", 0, "When the event was decided (UTC)."),
        text("Pod", 0, "The pod."),
        text("Type", 0, "dns, lookup, tcp, udp, icmp, finding or lost."),
        text("Event", 0, "The event in one line."),
        text("Node", 1, "The pod's node."),
    ],
};

/// Agents.
pub static NODES: Kind = Kind {
    kind: "TracerNode",
    list: "TracerNodeList",
    plural: "tracernodes",
    singular: "tracernode",
    namespaced: false,
    verbs: &["get", "list", "watch"],
    categories: &["tracer"],
    columns: &[
        NAME,
        text("State", 0, "tracing, or not connected."),
        text("Version", 0, "The agent's version."),
        number("Pods", 0, "Traced pod interfaces."),
        number("Lost", 0, "Records and events that were lost."),
        text("Age", 0, "Time since the agent's start."),
        text("Kernel", 1, "The node's kernel."),
        text(
            "Message",
            1,
            "What the agent cannot see, or why it does not answer.",
        ),
    ],
};

/// All resources.
pub static ALL: [&Kind; 3] = [&FINDINGS, &TRACES, &NODES];
