//! Warnings about namespaces, pods and Services in a filter that do not exist.
//!
//! Owns the sentences; a [`Directory`] knows which objects exist. An object with the name can still be
//! created, so these are warnings and never errors.

use std::cell::RefCell;

use super::Filter;
use super::pattern::{ObjectPattern, PeerPattern, PodPattern};
use crate::identity::Index;
use crate::model::glob::Glob;

/// Names at least this similar (Jaro-Winkler, 0 to 1) may be meant.
const MIN_SIMILARITY: f64 = 0.85;
/// Names in a suggestion.
const MAX_MEANT: usize = 3;

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
    /// A sentence for each namespace, pod and Service in this filter that matches no known object, with the
    /// names that may be meant.
    pub fn warnings(&self, directory: &dyn Directory) -> Vec<String> {
        let mut warnings = Vec::new();
        for namespace in &self.config.namespaces {
            if directory.any_namespace(&|name| namespace.matches(name)) {
                continue;
            }
            let known = RefCell::new(Vec::new());
            directory.any_namespace(&|name| {
                known.borrow_mut().push(name.to_owned());
                false
            });
            let meant = match namespace.is_wild() {
                true => Vec::new(),
                false => similar(namespace.as_str(), known.into_inner()),
            };
            warnings.push(format!(
                "no namespace {} is known, so nothing matches -n{}",
                quoted(namespace, &namespace.to_string()),
                did_you_mean(&meant)
            ));
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

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Target::Pod => ("pod", "-p"),
            Target::Peer => ("Service or pod", "--peer"),
        }
    }
}

fn missing(object: &ObjectPattern, directory: &dyn Directory, target: Target) -> Option<String> {
    if target.any(directory, &|namespace, name| object.names(namespace, name)) {
        return None;
    }
    let (what, option) = target.words();
    let meant = match object.name.is_wild() {
        true => Vec::new(),
        false => meant(object, directory, target),
    };
    Some(format!(
        "no {what} {} is known, so nothing matches {option}{}",
        quoted(&object.name, &object.to_string()),
        did_you_mean(&meant)
    ))
}

/// What may be meant: the same name in another namespace, else longer names, else similar ones.
fn meant(object: &ObjectPattern, directory: &dyn Directory, target: Target) -> Vec<String> {
    let name = object.name.as_str();
    let known = RefCell::new(Vec::new());
    target.any(directory, &|namespace, other| {
        known
            .borrow_mut()
            .push((namespace.to_owned(), other.to_owned()));
        false
    });
    let known = known.into_inner();
    let pick = |fits: &dyn Fn(&str, &str) -> bool| -> Vec<String> {
        let mut found: Vec<String> = known
            .iter()
            .filter(|(namespace, other)| fits(namespace, other))
            .map(|(namespace, other)| format!("{namespace}/{other}"))
            .collect();
        found.sort();
        found.dedup();
        found
    };
    let elsewhere = pick(&|_, other| other == name);
    if !elsewhere.is_empty() {
        return elsewhere;
    }
    let wanted = object.namespace.as_ref();
    let mut longer = pick(&|namespace, other| {
        other.starts_with(name) && wanted.is_none_or(|wanted| wanted.matches(namespace))
    });
    if longer.len() > 1 {
        longer.insert(0, format!("'{object}*'"));
    }
    if !longer.is_empty() {
        return longer;
    }
    let names = known.iter().map(|(_, other)| other.clone()).collect();
    let close = similar(name, names);
    pick(&|_, other| close.iter().any(|name| name == other))
}

/// The known names that are spelled much like this one, the most similar first.
fn similar(written: &str, mut known: Vec<String>) -> Vec<String> {
    known.sort();
    known.dedup();
    let mut scored: Vec<(f64, String)> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(written, &name), name))
        .filter(|(score, _)| *score >= MIN_SIMILARITY)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, name)| name).collect()
}

/// `: did you mean shop/web or shop/web-2?`
fn did_you_mean(names: &[String]) -> String {
    match &names[..names.len().min(MAX_MEANT)] {
        [] => String::new(),
        names => format!(": did you mean {}?", names.join(" or ")),
    }
}

fn quoted(glob: &Glob, pattern: &str) -> String {
    let like = if glob.is_wild() { "like " } else { "" };
    format!("{like}\"{pattern}\"")
}
