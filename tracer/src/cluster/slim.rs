//! Deserialises an object: drops the fields that are not kept first, and confines a malformed object to
//! itself.
//!
//! A page of a list is in memory as a whole, and the kept fields of a pod are a tenth of what the API sends.

use std::borrow::Cow;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::{Map, Value};

use tracer_core::files::objects::{MIRROR_ANNOTATION, ObjectError, Trimmer};
use tracer_core::model::cluster::{Kind, Object, ObjectKey};

/// A kind to watch.
pub(super) trait Watched: Resource<DynamicType = ()> + DeserializeOwned {
    const KIND: Kind;

    /// Drops fields that are not kept.
    fn thin(_: &mut Map<String, Value>) {}

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError>;
}

/// An object that may be malformed.
#[derive(Clone, Debug)]
pub(super) struct Slim<K> {
    /// Its names and version only.
    metadata: ObjectMeta,
    pub object: Result<K, String>,
}

impl<K: Watched> Slim<K> {
    pub fn key(&self) -> ObjectKey {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        ObjectKey {
            kind: K::KIND,
            namespace: text(&self.metadata.namespace),
            name: text(&self.metadata.name),
            uid: text(&self.metadata.uid),
        }
    }
}

impl<'de, K: Watched> Deserialize<'de> for Slim<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Slim<K>, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("managedFields");
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.retain(|key, _| key == MIRROR_ANNOTATION);
            }
        }
        K::thin(&mut fields);
        let text = |field: &str| {
            let metadata = fields.get("metadata")?;
            metadata.get(field)?.as_str().map(str::to_owned)
        };
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        let object = serde_path_to_error::deserialize(Value::Object(fields));
        Ok(Slim {
            metadata,
            object: object.map_err(|error| error.to_string()),
        })
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Slim<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn keep(fields: &mut Map<String, Value>, part: &str, kept: &[&str]) {
    if let Some(Value::Object(part)) = fields.get_mut(part) {
        part.retain(|field, _| kept.contains(&field.as_str()));
    }
}

/// The same in each object of a list.
fn keep_in_each(fields: &mut Map<String, Value>, part: &str, list: &str, kept: &[&str]) {
    let list = fields
        .get_mut(part)
        .and_then(|part| part.get_mut(list))
        .and_then(Value::as_array_mut);
    for one in list.into_iter().flatten() {
        if let Value::Object(one) = one {
            one.retain(|field, _| kept.contains(&field.as_str()));
        }
    }
}

impl Watched for core::Pod {
    const KIND: Kind = Kind::Pod;

    fn thin(fields: &mut Map<String, Value>) {
        let kept = [
            "containers",
            "dnsConfig",
            "dnsPolicy",
            "ephemeralContainers",
            "hostNetwork",
            "initContainers",
            "nodeName",
        ];
        keep(fields, "spec", &kept);
        let kept = [
            "conditions",
            "containerStatuses",
            "initContainerStatuses",
            "phase",
            "podIP",
            "podIPs",
        ];
        keep(fields, "status", &kept);
        let kept = ["image", "name", "ports", "restartPolicy"];
        keep_in_each(fields, "spec", "containers", &kept);
        keep_in_each(fields, "spec", "initContainers", &kept);
        keep_in_each(fields, "spec", "ephemeralContainers", &["name"]);
        keep_in_each(fields, "status", "conditions", &["status", "type"]);
        // The others are required by the type.
        let kept = [
            "containerID",
            "image",
            "imageID",
            "name",
            "ready",
            "restartCount",
            "state",
        ];
        keep_in_each(fields, "status", "containerStatuses", &kept);
        keep_in_each(fields, "status", "initContainerStatuses", &kept);
    }

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError> {
        trimmer.pod(self).map(Object::Pod)
    }
}

impl Watched for core::Service {
    const KIND: Kind = Kind::Service;

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError> {
        trimmer.service(self).map(Object::Service)
    }
}

impl Watched for discovery::EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError> {
        trimmer.slice(self).map(Object::Slice)
    }
}

impl Watched for core::Node {
    const KIND: Kind = Kind::Node;

    fn thin(fields: &mut Map<String, Value>) {
        keep(fields, "spec", &["podCIDRs"]);
        keep(fields, "status", &["addresses"]);
    }

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError> {
        trimmer.node(self).map(Object::Node)
    }
}

impl Watched for core::Namespace {
    const KIND: Kind = Kind::Namespace;

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError> {
        trimmer.namespace(self).map(Object::Namespace)
    }
}

impl Watched for networking::NetworkPolicy {
    const KIND: Kind = Kind::NetworkPolicy;

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError> {
        trimmer.policy(self).map(Object::Policy)
    }
}

impl Watched for networking::ServiceCIDR {
    const KIND: Kind = Kind::ServiceCidr;

    fn trim(self, trimmer: &mut Trimmer) -> Result<Object, ObjectError> {
        trimmer.service_cidr(self).map(Object::ServiceCidr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_object_keeps_its_name_and_has_an_error() {
        let text = r#"{"metadata": {"name": "a", "namespace": "x", "resourceVersion": "7"}, "spec": {"hostNetwork": "maybe"}}"#;
        let slim: Slim<core::Pod> = serde_json::from_str(text).unwrap();
        assert_eq!((&*slim.key().namespace, &*slim.key().name), ("x", "a"));
        assert_eq!(slim.meta().resource_version.as_deref(), Some("7"));
        let error = slim.object.unwrap_err();
        assert!(
            error.starts_with("spec.hostNetwork: invalid type"),
            "{error}"
        );
    }

    #[test]
    fn dropped_fields_do_not_change_the_kept_ones() {
        let text = include_str!("watch/testdata/pod.json");
        let slim: Slim<core::Pod> = serde_json::from_str(text).unwrap();
        let whole: core::Pod = serde_json::from_str(text).unwrap();
        let mut trimmer = Trimmer::new();
        let kept = slim.object.unwrap();
        assert_eq!(kept.metadata.managed_fields, None);
        assert_eq!(kept.trim(&mut trimmer), whole.trim(&mut trimmer));
    }
}
