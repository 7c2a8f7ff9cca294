//! What is counted of a request.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request};

use super::request::{Query, Route};
use crate::export::metrics::RelayMetrics;

/// A request's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Labels {
    resource: &'static str,
    verb: &'static str,
}

/// The labels of a request; `None` for health, which the kubelet asks for all the time.
fn labels<B>(request: &Request<B>) -> Option<Labels> {
    let route = Route::parse(request.uri().path());
    let read = request.method() == Method::GET;
    Some(match route {
        Some(Route::Alive | Route::Ready) => return None,
        Some(Route::Objects(objects)) => {
            let watches = Query::parse(request.uri()).flag("watch") == Ok(true);
            Labels {
                resource: objects.kind.plural,
                verb: match (read, watches, objects.name) {
                    (false, ..) => "other",
                    (true, true, _) => "watch",
                    (true, false, None) => "list",
                    (true, false, Some(_)) => "get",
                },
            }
        }
        _ => Labels {
            resource: "other",
            verb: if read { "get" } else { "other" },
        },
    })
}

/// A request that is being answered. Dropped when the last byte has been sent, or the client has left.
pub struct Counted {
    labels: Option<Labels>,
    metrics: Arc<RelayMetrics>,
    since: Instant,
}

impl Counted {
    /// Begins to measure.
    pub fn new<B>(request: &Request<B>, metrics: &Arc<RelayMetrics>) -> Counted {
        Counted {
            labels: labels(request),
            metrics: Arc::clone(metrics),
            since: Instant::now(),
        }
    }

    /// Counts the answer.
    pub fn answered(&self, code: u16) {
        if let Some(Labels { resource, verb }) = self.labels {
            self.metrics.answered(resource, verb, code);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // A watch is as long as its client likes.
        if let Some(Labels {
            resource,
            verb: verb @ ("get" | "list"),
        }) = self.labels
        {
            self.metrics.took(resource, verb, self.since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_under_its_resource_and_verb() {
        let base = "/apis/tracer.internal/v1alpha1";
        for (method, path, expected) in [
            ("GET", "/readyz", None),
            ("GET", "/apis", Some(("other", "get"))),
            ("GET", "/x", Some(("other", "get"))),
            ("POST", "/x", Some(("other", "other"))),
            ("GET", "BASE/findings", Some(("findings", "list"))),
            ("GET", "BASE/findings?watch=1", Some(("findings", "watch"))),
            ("GET", "BASE/tracernodes/a", Some(("tracernodes", "get"))),
            ("GET", "BASE/namespaces/x/traces", Some(("traces", "list"))),
            ("DELETE", "BASE/findings", Some(("findings", "other"))),
        ] {
            let path = path.replace("BASE", base);
            let request = Request::builder().method(method).uri(&path).body(());
            let labels = labels(&request.expect("a request"));
            let labels = labels.map(|labels| (labels.resource, labels.verb));
            assert_eq!(labels, expected, "{method} {path}");
        }
    }
}
