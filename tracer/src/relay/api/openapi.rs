//! What the kinds' fields mean, for `kubectl explain`: OpenAPI 2 and 3, written by hand.
//!
//! Both documents come from the same schemas. They describe the fields that people read; an event's are those
//! of `tracer observe -o json` (docs/using.md).

use serde_json::{Map, Value, json};

use super::kinds::{ALL, GROUP, GROUP_VERSION, Kind, VERSION};

/// Prefix of the schemas' names: the group, backwards.
const PREFIX: &str = "internal.tracer.v1alpha1";
/// The path of the resources.
const BASE: &str = "/apis/tracer.internal/v1alpha1";

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn time(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

fn number(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn texts(description: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": description})
}

fn object(description: &str, fields: &[(&str, Value)]) -> Value {
    let fields: Map<String, Value> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({"type": "object", "description": description, "properties": fields})
}

fn objects(description: &str, fields: &[(&str, Value)]) -> Value {
    json!({"type": "array", "description": description, "items": object("", fields)})
}

fn pod(description: &str) -> Value {
    object(
        description,
        &[
            ("namespace", text("Namespace.")),
            ("name", text("Name.")),
            ("uid", text("UID.")),
            ("ip", text("The address that was seen.")),
            (
                "port",
                number("The port that was seen, if the protocol has ports."),
            ),
            (
                "workload",
                object(
                    "The controller that the pod belongs to.",
                    &[("kind", text("Kind.")), ("name", text("Name."))],
                ),
            ),
        ],
    )
}

fn finding() -> Value {
    let spec = object(
        "What the finding is about. Does not change, except the severity.",
        &[
            (
                "rule",
                text("The rule that concluded it; docs/findings.md describes each."),
            ),
            ("severity", text("info, warning or error.")),
            (
                "cause",
                text("What distinguishes the cause from others of the same rule."),
            ),
            ("node", text("The pod's node.")),
            ("pod", pod("The pod that is affected.")),
            (
                "peer",
                json!({"type": "object", "description": "The other end: its address, pod, Service and names."}),
            ),
            ("direction", text("The pod's role: client or server.")),
        ],
    );
    let condition = [
        ("type", text("Active or Resolved.")),
        ("status", text("True or False.")),
        ("reason", text("Failing, Intermittent or Succeeding.")),
        ("message", text("How many attempts failed.")),
        (
            "lastTransitionTime",
            time("When the relay saw the state change."),
        ),
    ];
    let hop = [
        ("place", text("pod, node or network.")),
        ("name", text("Its name.")),
        ("node", text("Its node, if known.")),
        (
            "seen",
            flag("The packet was seen to come this far and further; null if unknown."),
        ),
        ("what", text("What happened there.")),
    ];
    let status = object(
        "What was seen.",
        &[
            (
                "state",
                text("active, intermittent (some attempts succeed) or resolved."),
            ),
            ("headline", text("Symptom, cause and fix in one line.")),
            (
                "summary",
                text("What failed; for a resolved finding, what shows that it no longer does."),
            ),
            ("was", text("For a resolved finding, what had failed.")),
            ("why", text("Why it failed.")),
            ("fix", text("The fix, if it is known.")),
            ("try", texts("Commands to confirm or fix it.")),
            (
                "evidence",
                objects("What the finding rests on.", &[("text", text("A fact."))]),
            ),
            (
                "path",
                object(
                    "The path of the latest attempt, joined from the events of both nodes.",
                    &[
                        ("time", time("When the client began the attempt.")),
                        ("line", text("The path in one line.")),
                        ("verdict", text("What both nodes show.")),
                        ("hops", objects("Its places, to the server and back.", &hop)),
                        (
                            "probable",
                            flag("It rests on a match that is probable only."),
                        ),
                    ],
                ),
            ),
            (
                "names",
                texts("The DNS names or Services that it concerns."),
            ),
            ("count", number("How many attempts failed.")),
            ("of", number("How many attempts there were.")),
            ("first", time("The first failure.")),
            ("last", time("The last failure.")),
            (
                "incomplete",
                flag("Records may have been lost, so counts can be too low."),
            ),
            ("conditions", objects("Active and Resolved.", &condition)),
        ],
    );
    object(
        "Finding is a conclusion about a pod's network traffic, with the evidence it rests on. Read-only.",
        &[("spec", spec), ("status", status)],
    )
}

fn trace() -> Value {
    let event = object(
        "The event, as `tracer observe -o json` prints it. Its further fields depend on the type.",
        &[
            (
                "type",
                text("dns, lookup, tcp, udp, icmp, drop, finding or lost."),
            ),
            ("time", time("When it happened.")),
            ("node", text("The node.")),
            ("pod", pod("The pod.")),
            (
                "peer",
                json!({"type": "object", "description": "The other end."}),
            ),
            ("direction", text("The pod's role: client or server.")),
            ("outcome", text("For dns and lookup: the outcome.")),
            ("state", text("For tcp, udp, icmp and finding: the state.")),
        ],
    );
    object(
        "Trace is a DNS lookup, connection or ping of a pod. Listed and watched, never stored.",
        &[("event", event)],
    )
}

fn tracer_node() -> Value {
    let status = object(
        "What the agent sees, and what it has lost.",
        &[
            ("state", text("tracing, or not connected.")),
            ("message", text("Why there is no status.")),
            ("version", text("The agent's version.")),
            ("commit", text("The commit that it was built from.")),
            ("kernel", text("The node's kernel.")),
            ("started", time("When the agent started.")),
            ("pods", number("Traced pod interfaces.")),
            ("packets", number("Packets that the probes saw.")),
            ("records", number("Records that the probes emitted.")),
            ("events", number("Events.")),
            (
                "lost",
                objects(
                    "Losses since the start.",
                    &[
                        ("reason", text("Where and why.")),
                        ("count", number("How many.")),
                    ],
                ),
            ),
            ("blindSpots", texts("What the agent cannot see.")),
            ("clients", number("Open streams.")),
            (
                "index",
                json!({"type": "object", "description": "The index that identifies pods and Services."}),
            ),
            (
                "history",
                json!({"type": "object", "description": "The events that the agent keeps."}),
            ),
        ],
    );
    object(
        "TracerNode is the agent of a node. Read-only.",
        &[("status", status)],
    )
}

fn schema_name(kind: &str) -> String {
    format!("{PREFIX}.{kind}")
}

fn group_version_kind(kind: &str) -> Value {
    json!({"group": GROUP, "version": VERSION, "kind": kind})
}

/// The schemas by name. `reference` is where others are.
fn schemas(reference: &str) -> Map<String, Value> {
    let mut all = Map::new();
    for kind in ALL {
        let mut schema = match kind.kind {
            "Finding" => finding(),
            "Trace" => trace(),
            _ => tracer_node(),
        };
        for (name, description) in [("apiVersion", GROUP_VERSION), ("kind", kind.kind)] {
            schema["properties"][name] = text(description);
        }
        schema["properties"]["metadata"] =
            json!({"type": "object", "description": "Standard object's metadata."});
        schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(kind.kind)]);
        all.insert(schema_name(kind.kind), schema);
        let item = json!({"$ref": format!("{reference}{}", schema_name(kind.kind))});
        let mut list = object(
            &format!("{} is a list of {}.", kind.list, kind.plural),
            &[
                ("apiVersion", text(GROUP_VERSION)),
                ("kind", text(kind.list)),
                (
                    "metadata",
                    json!({"type": "object", "description": "Standard list's metadata."}),
                ),
                (
                    "items",
                    json!({"type": "array", "description": "The objects.", "items": item}),
                ),
            ],
        );
        list["required"] = json!(["items"]);
        list["x-kubernetes-group-version-kind"] = json!([group_version_kind(kind.list)]);
        all.insert(schema_name(kind.list), list);
    }
    all
}

/// The paths. `operation` completes an operation by its answer's schema, `parameter` by its name.
fn paths(
    operation: impl Fn(&str) -> Value,
    parameter: impl Fn(&str) -> Value,
) -> Map<String, Value> {
    let mut all = Map::new();
    for kind in ALL {
        let mut add = |path: String, name: &str, action: &str, scope: &str, parameters: &[&str]| {
            let mut get = operation(&schema_name(name));
            get["operationId"] =
                format!("{action}TracerInternalV1alpha1{scope}{}", kind.kind).into();
            get["description"] = format!("{action} {}", kind.plural).into();
            get["tags"] = json!(["tracerInternal_v1alpha1"]);
            get["x-kubernetes-action"] = action.into();
            get["x-kubernetes-group-version-kind"] = group_version_kind(kind.kind);
            let parameters: Vec<Value> = parameters.iter().map(|name| parameter(name)).collect();
            all.insert(path, json!({"get": get, "parameters": parameters}));
        };
        let Kind { plural, list, .. } = kind;
        if !kind.namespaced {
            add(format!("{BASE}/{plural}"), list, "list", "", &[]);
            add(
                format!("{BASE}/{plural}/{{name}}"),
                kind.kind,
                "get",
                "",
                &["name"],
            );
            continue;
        }
        add(
            format!("{BASE}/{plural}"),
            list,
            "list",
            "AllNamespaces",
            &[],
        );
        let namespaced = format!("{BASE}/namespaces/{{namespace}}/{plural}");
        if kind.verbs.contains(&"get") {
            let one = format!("{namespaced}/{{name}}");
            add(one, kind.kind, "get", "Namespaced", &["name", "namespace"]);
        }
        add(namespaced, list, "list", "Namespaced", &["namespace"]);
    }
    all
}

fn info() -> Value {
    json!({"title": "Tracer", "version": VERSION})
}

/// `/openapi/v2`.
pub fn version_2() -> Value {
    let operation = |schema: &str| {
        json!({
            "produces": ["application/json"],
            "schemes": ["https"],
            "responses": {"200": {
                "description": "OK",
                "schema": {"$ref": format!("#/definitions/{schema}")},
            }},
        })
    };
    let parameter = |name: &str| json!({"name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true});
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths(operation, parameter),
        "definitions": schemas("#/definitions/"),
    })
}

/// `/openapi/v3/apis/tracer.internal/v1alpha1`.
pub fn version_3() -> Value {
    let operation = |schema: &str| {
        let content = json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}});
        json!({"responses": {"200": {
            "description": "OK",
            "content": {"application/json": content},
        }}})
    };
    let parameter = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths(operation, parameter),
        "components": {"schemas": schemas("#/components/schemas/")},
    })
}

/// `/openapi/v3`.
pub fn index(hash: &str) -> Value {
    let group = format!("apis/{GROUP_VERSION}");
    json!({"paths": {group: {
        "serverRelativeURL": format!("/openapi/v3/apis/{GROUP_VERSION}?hash={hash}"),
    }}})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference of a document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field.as_str() {
                        Some(text) if name == "$ref" => found.push(text.to_owned()),
                        _ => references(field, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_kind_has_a_schema() {
        for (document, schemas) in [
            (version_2(), "/definitions"),
            (version_3(), "/components/schemas"),
        ] {
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let pointer = reference.strip_prefix('#').expect("local");
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            let schemas = document.pointer(schemas).expect("schemas");
            assert_eq!(schemas.as_object().expect("schemas").len(), 2 * ALL.len());
        }
    }
}
