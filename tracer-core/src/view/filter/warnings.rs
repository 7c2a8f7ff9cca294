//! Warnings about namespaces, pods and Services in a filter that do not exist.
//!
//! Owns the sentences; a [`Directory`] knows which objects exist. An object with the name can still be
//! created, so these are warnings and never errors.

use super::Filter;
use super::pattern::{ObjectPattern, PeerPattern, PodPattern};
use crate::identity::Index;
use crate::model::glob::Glob;

/// The known objects, to find names that match none. If no object of a kind is known, every pattern matches:
/// nothing can be called missing.
pub trait Directory {
    /// Whether a namespace fits.
    fn any_namespace(&self, fits: &dyn Fn(&str) -> bool) -> bool;
    /// Whether a pod, given as namespace and name, fits.
    fn any_pod(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool;
    /// Whether a Service, given as namespace and name, fits.
    fn any_service(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool;
}

impl Directory for Index {
    fn any_namespace(&self, fits: &dyn Fn(&str) -> bool) -> bool {
        let mut namespaces = self.namespaces().peekable();
        namespaces.peek().is_none() || namespaces.any(|namespace| fits(namespace))
    }

    fn any_pod(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool {
        let mut pods = self.pods().peekable();
        pods.peek().is_none()
            || !self.knows_all_pods()
            || pods.any(|pod| fits(&pod.namespace, &pod.name))
    }

    fn any_service(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool {
        let mut services = self.services().peekable();
        services.peek().is_none() || services.any(|service| fits(&service.namespace, &service.name))
    }
}

impl Filter {
    /// A sentence for each namespace, pod and Service in this filter that matches no known object.
    pub fn warnings(&self, directory: &dyn Directory) -> Vec<String> {
        let mut warnings = Vec::new();
        for namespace in &self.config.namespaces {
            if !directory.any_namespace(&|name| namespace.matches(name)) {
                warnings.push(format!(
                    "no namespace {}{namespace} is known: nothing matches -n until it exists",
                    like(namespace)
                ));
            }
        }
        for pod in &self.config.pods {
            if let PodPattern::Named(object) = pod {
                warnings.extend(missing(object, directory, Target::Pod));
            }
        }
        for peer in &self.config.peers {
            if let PeerPattern::Named(object) = peer {
                warnings.extend(missing(object, directory, Target::Peer));
            }
        }
        warnings
    }
}

#[derive(Clone, Copy)]
enum Target {
    Pod,
    Peer,
}

impl Target {
    fn any(self, directory: &dyn Directory, fits: &dyn Fn(&str, &str) -> bool) -> bool {
        match self {
            Target::Pod => directory.any_pod(fits),
            Target::Peer => directory.any_service(fits) || directory.any_pod(fits),
        }
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Target::Pod => ("pod", "pods", "-p"),
            Target::Peer => ("Service or pod", "Services or pods", "--peer"),
        }
    }
}

fn missing(object: &ObjectPattern, directory: &dyn Directory, target: Target) -> Option<String> {
    if target.any(directory, &|namespace, name| object.names(namespace, name)) {
        return None;
    }
    let (one, several, option) = target.words();
    let name = &object.name;
    let mut warning = format!(
        "no {one} {}{object} is known: nothing matches {option} until it exists",
        like(name)
    );
    if name.is_wild() {
        return Some(warning);
    }
    let longer =
        |known: &str| known.len() > name.as_str().len() && known.starts_with(name.as_str());
    if target.any(directory, &|_, known| name.matches(known)) {
        warning.push_str(&format!("; another namespace has a {one} of that name"));
    } else if target.any(directory, &|_, known| longer(known)) {
        warning.push_str(&format!(
            "; names of {several} start like this: try '{object}*'"
        ));
    }
    Some(warning)
}

fn like(glob: &Glob) -> &'static str {
    if glob.is_wild() { "like " } else { "" }
}
