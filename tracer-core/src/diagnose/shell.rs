//! How a command runs in a pod: by exec in a container, or in a debug container where no image has a shell.
//!
//! Only images that are known to have none count: a wrong "no" would make people add containers for nothing.

use std::sync::Arc;

use super::fact::ObjectName;
use crate::identity::Index;
use crate::model::cluster::Pod;

/// How a command runs in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    /// In its first container, or in this one.
    Exec(Option<Arc<str>>),
    /// In a debug container beside this container.
    Debug(Arc<str>),
}

/// How a command runs in this pod.
pub(super) fn in_pod(index: &Index, pod: &ObjectName) -> Shell {
    match index.pod_named(&pod.namespace, &pod.name) {
        Some(pod) => of_object(pod),
        None => Shell::Exec(None),
    }
}

fn of_object(pod: &Pod) -> Shell {
    let mut containers = pod.containers.iter().enumerate();
    match containers.find(|(_, container)| !lacks_shell(&container.image)) {
        Some((0, _)) => Shell::Exec(None),
        Some((_, container)) => Shell::Exec(Some(container.name.clone())),
        None => match pod.containers.first() {
            Some(container) => Shell::Debug(container.name.clone()),
            None => Shell::Exec(None),
        },
    }
}

/// Registries and repositories whose images have no shell.
const WITHOUT_SHELL: [&str; 6] = [
    "registry.k8s.io/",
    "k8s.gcr.io/",
    "gcr.io/distroless/",
    "quay.io/jetstack/cert-manager-",
    "cgr.dev/chainguard/",
    "ghcr.io/linkerd/",
];
/// The last parts of the names of such images, in whatever registry.
const NAMES_WITHOUT_SHELL: [&str; 6] = [
    "coredns",
    "pause",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

fn lacks_shell(image: &str) -> bool {
    let (path, tag) = split(image);
    let name = path.rsplit('/').next().unwrap_or(path);
    // Chainguard's images for development have one.
    let for_development = tag.ends_with("-dev") || tag.contains("debug");
    !for_development
        && (path.contains("distroless")
            || tag.contains("distroless")
            || NAMES_WITHOUT_SHELL.contains(&name)
            || WITHOUT_SHELL.iter().any(|start| path.starts_with(start)))
}

/// The repository and the tag of an image.
fn split(image: &str) -> (&str, &str) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    match image.rsplit_once(':') {
        // A colon before the last slash is that of the registry's port.
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (image, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::Container;

    #[test]
    fn only_images_known_to_lack_a_shell_count() {
        for image in [
            "registry.k8s.io/coredns/coredns:v1.12.0",
            "mirror.example:5000/coredns:v1.12.0",
            "rancher/mirrored-coredns-coredns-distroless:1",
            "gcr.io/distroless/static@sha256:0123",
            "docker.io/istio/proxyv2:1.24.0-distroless",
            "rancher/pause:3.6",
        ] {
            assert!(lacks_shell(image), "{image}");
        }
        for image in [
            "",
            "nginx:1.27",
            "mirror.example:5000/debian",
            "gcr.io/distroless/base:debug",
            "cgr.dev/chainguard/curl:latest-dev",
            "registry.example/my-coredns-admin:1",
        ] {
            assert!(!lacks_shell(image), "{image}");
        }
    }

    #[test]
    fn a_container_with_a_shell_is_preferred_to_a_debug_container() {
        let pod = |images: &[&str]| Pod {
            containers: images
                .iter()
                .enumerate()
                .map(|(number, image)| Container {
                    name: format!("c{number}").into(),
                    image: (*image).into(),
                    ..Container::default()
                })
                .collect(),
            ..Pod::default()
        };
        assert_eq!(of_object(&pod(&["nginx", "x/pause"])), Shell::Exec(None));
        assert_eq!(
            of_object(&pod(&["x/coredns", "busybox"])),
            Shell::Exec(Some("c1".into()))
        );
        assert_eq!(
            of_object(&pod(&["x/coredns", "x/pause"])),
            Shell::Debug("c0".into())
        );
        assert_eq!(of_object(&pod(&[])), Shell::Exec(None));
    }
}
