//! Which resources there are, for clients that ask before they use them.

use serde_json::{Value, json};

use super::kinds::{ALL, GROUP, GROUP_VERSION, Kind, VERSION};

/// The media type of the aggregated form, which has everything in one document.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Whether the header Accept prefers the aggregated form.
pub fn wants_aggregated(accept: &str) -> bool {
    // Others accept it only beside the old form, and after it.
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next() == Some("application/json")
            && range.contains("as=APIGroupDiscoveryList")
            && parts.any(|part| part == "v=v2")
    })
}

/// `/apis/tracer.internal`.
pub fn group() -> Value {
    let mut group = entry();
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

fn entry() -> Value {
    let version = json!({"groupVersion": GROUP_VERSION, "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// `/apis`.
pub fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [entry()]})
}

/// `/apis/tracer.internal/v1alpha1`.
pub fn resources() -> Value {
    let resources: Value = ALL
        .into_iter()
        .map(|kind: &Kind| {
            json!({
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": kind.verbs,
                "categories": kind.categories,
            })
        })
        .collect();
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP_VERSION,
        "resources": resources,
    })
}

/// `/apis` in the aggregated form.
pub fn aggregated() -> Value {
    let resources: Value = ALL
        .into_iter()
        .map(|kind: &Kind| {
            json!({
                "resource": kind.plural,
                "responseKind": {"group": GROUP, "version": VERSION, "kind": kind.kind},
                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": kind.singular,
                "verbs": kind.verbs,
                "categories": kind.categories,
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [{
            "metadata": {"name": GROUP, "creationTimestamp": null},
            "versions": [{"version": VERSION, "resources": resources, "freshness": "Current"}],
        }],
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIGroupList, APIResourceList};

    use super::*;

    #[test]
    fn kubernetes_types_read_the_documents() {
        let group: APIGroup = serde_json::from_value(group()).expect("a group");
        assert_eq!(group.name, GROUP);
        let groups: APIGroupList = serde_json::from_value(groups()).expect("groups");
        assert_eq!(groups.groups.len(), 1);
        let list: APIResourceList = serde_json::from_value(resources()).expect("resources");
        for resource in list.resources {
            let writes = ["create", "update", "patch", "delete", "deletecollection"];
            assert!(
                !resource
                    .verbs
                    .iter()
                    .any(|verb| writes.contains(&verb.as_str())),
                "{}",
                resource.name
            );
        }
    }

    #[test]
    fn the_aggregated_form_is_chosen_as_kube_apiserver_asks_for_it() {
        for (accept, expected) in [
            // kube-aggregator 1.36.
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
                true,
            ),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
                false,
            ),
            ("application/json", false),
        ] {
            assert_eq!(wants_aggregated(accept), expected, "{accept}");
        }
    }
}
