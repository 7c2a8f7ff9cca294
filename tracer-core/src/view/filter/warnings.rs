//! Says when a filter names somebody whom nobody knows.
//!
//! Owns the sentences and nothing else; who exists is asked of a [`Directory`]. A pattern may fit somebody later, as may a
//! name: so these are warnings, never errors.

use super::Filter;
use super::pattern::{ObjectPattern, PeerPattern, PodPattern};
use crate::identity::Index;
use crate::model::glob::Glob;

/// Who is there, to tell a filter that can never match. Where nothing of a kind is known nothing can be said to be missing,
/// and everything fits.
pub trait Directory {
    /// Whether some namespace fits.
    fn any_namespace(&self, fits: &dyn Fn(&str) -> bool) -> bool;
    /// Whether some pod, given as namespace and name, fits.
    fn any_pod(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool;
    /// Whether some Service, given as namespace and name, fits.
    fn any_service(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool;
}

impl Directory for Index {
    fn any_namespace(&self, fits: &dyn Fn(&str) -> bool) -> bool {
        let mut namespaces = self.namespaces().peekable();
        // Where nothing is known nothing can be said to be missing.
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
    /// Sentences about namespaces, pods and Services that this filter names and nobody knows.
    pub fn warnings(&self, directory: &dyn Directory) -> Vec<String> {
        let mut warnings = Vec::new();
        for namespace in &self.asked.namespaces {
            if !directory.any_namespace(&|name| namespace.matches(name)) {
                warnings.push(format!(
                    "no namespace {}{namespace} is known: nothing matches -n until there is one",
                    like(namespace)
                ));
            }
        }
        for pod in &self.asked.pods {
            if let PodPattern::Named(object) = pod {
                warnings.extend(missing(object, directory, Meant::Pod));
            }
        }
        for peer in &self.asked.peers {
            if let PeerPattern::Named(object) = peer {
                warnings.extend(missing(object, directory, Meant::Peer));
            }
        }
        warnings
    }
}

#[derive(Clone, Copy)]
enum Meant {
    Pod,
    Peer,
}

impl Meant {
    fn any(self, directory: &dyn Directory, fits: &dyn Fn(&str, &str) -> bool) -> bool {
        match self {
            Meant::Pod => directory.any_pod(fits),
            Meant::Peer => directory.any_service(fits) || directory.any_pod(fits),
        }
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Meant::Pod => ("pod", "pods", "-p"),
            Meant::Peer => ("Service or pod", "Services or pods", "--peer"),
        }
    }
}

fn missing(object: &ObjectPattern, directory: &dyn Directory, meant: Meant) -> Option<String> {
    if meant.any(directory, &|namespace, name| object.names(namespace, name)) {
        return None;
    }
    let (one, several, option) = meant.words();
    let name = &object.name;
    let mut warning = format!(
        "no {one} {}{object} is known: nothing matches {option} until there is one",
        like(name)
    );
    if name.is_wild() {
        return Some(warning);
    }
    let longer =
        |of_name: &str| of_name.len() > name.as_str().len() && of_name.starts_with(name.as_str());
    if meant.any(directory, &|_, of_name| name.matches(of_name)) {
        warning.push_str(&format!("; a {one} of that name is in another namespace"));
    } else if meant.any(directory, &|_, of_name| longer(of_name)) {
        warning.push_str(&format!(
            "; {several} whose names start so are: try '{object}*'"
        ));
    }
    Some(warning)
}

fn like(glob: &Glob) -> &'static str {
    if glob.is_wild() { "like " } else { "" }
}
