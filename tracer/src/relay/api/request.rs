//! A request: what its path, query and headers ask for.

use http::{HeaderMap, Method, Uri};

use super::kinds::{ALL, GROUP, Kind, VERSION};
use super::status::Failure;
use crate::relay::access::review::Access;

/// What a path leads to.
#[derive(Clone, Debug)]
pub enum Route {
    /// `/healthz`, `/livez`: this process answers.
    Alive,
    /// `/readyz`.
    Ready,
    /// `/apis`.
    Groups,
    /// `/apis/tracer.internal`.
    Group,
    /// `/apis/tracer.internal/v1alpha1`.
    Resources,
    /// `/openapi/v2`.
    OpenApi2,
    /// `/openapi/v3`.
    OpenApi3,
    /// `/openapi/v3/apis/tracer.internal/v1alpha1`.
    OpenApi3Group,
    /// Objects.
    Objects(Objects),
}

/// The objects that a path names.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Their kind.
    pub kind: &'static Kind,
    /// `None` for all namespaces, and for kinds without.
    pub namespace: Option<String>,
    /// `None` for all names.
    pub name: Option<String>,
}

impl Route {
    /// The route of a path; `None` if there is none.
    pub fn parse(path: &str) -> Option<Route> {
        let parts: Vec<&str> = path
            .trim_start_matches('/')
            .trim_end_matches('/')
            .split('/')
            .collect();
        let (group, objects) = match parts.as_slice() {
            ["healthz" | "livez"] => return Some(Route::Alive),
            ["readyz"] => return Some(Route::Ready),
            ["apis"] => return Some(Route::Groups),
            ["apis", GROUP] => return Some(Route::Group),
            ["apis", GROUP, VERSION] => return Some(Route::Resources),
            ["openapi", "v2"] => return Some(Route::OpenApi2),
            ["openapi", "v3"] => return Some(Route::OpenApi3),
            ["openapi", "v3", "apis", GROUP, VERSION] => return Some(Route::OpenApi3Group),
            ["apis", group, VERSION, objects @ ..] => (*group, objects),
            _ => return None,
        };
        if group != GROUP || objects.iter().any(|part| !is_name(part)) {
            return None;
        }
        let (namespace, objects) = match objects {
            ["namespaces", namespace, objects @ ..] if !objects.is_empty() => {
                (Some((*namespace).to_owned()), objects)
            }
            objects => (None, objects),
        };
        let (plural, name) = match objects {
            [plural] => (*plural, None),
            [plural, name] => (*plural, Some((*name).to_owned())),
            _ => return None,
        };
        let kind = ALL.into_iter().find(|kind| kind.plural == plural)?;
        // Objects of a namespace have a name only in it.
        let consistent = match &namespace {
            Some(_) => kind.namespaced,
            None => !kind.namespaced || name.is_none(),
        };
        consistent.then_some(Route::Objects(Objects {
            kind,
            namespace,
            name,
        }))
    }
}

/// Names of objects and namespaces need no escapes in a path.
fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-.".contains(&octet))
}

/// The query's parameters.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters of a URI.
    pub fn parse(uri: &Uri) -> Query {
        let query = uri.query().unwrap_or_default();
        Query(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// A parameter that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut parameters = self.0.iter();
        let (_, value) = parameters.find(|(own, value)| own == name && !value.is_empty())?;
        Some(value)
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .iter()
            .filter(move |(own, value)| own == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter, each of which may be a list with commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A parameter that is true or false; false if it is missing.
    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        // As Go's strconv.ParseBool, in which the API is written.
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(other) => Err(Failure::bad_request(format!(
                "{name}: {other:?} is neither true nor false"
            ))),
        }
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        self.get(name)
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| Failure::bad_request(format!("{name}: {value:?} is not a number")))
            })
            .transpose()
    }
}

/// A request for objects.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What the path names.
    pub objects: Objects,
    /// get, list or watch.
    pub verb: &'static str,
    /// The parameters.
    pub query: Query,
    /// The form of the answer.
    pub form: super::form::Form,
}

impl Asked {
    /// What a request for objects wants.
    ///
    /// # Errors
    /// If it wants what no resource does.
    pub fn parse(
        objects: Objects,
        method: &Method,
        query: Query,
        headers: &HeaderMap,
    ) -> Result<Asked, Failure> {
        if method != Method::GET {
            return Err(Failure::method(format!(
                "{} are read-only: the server does not allow {method}",
                objects.kind.plural
            )));
        }
        let verb = match (query.flag("watch")?, &objects.name) {
            (true, _) => "watch",
            (false, None) => "list",
            (false, Some(_)) => "get",
        };
        if !objects.kind.verbs.contains(&verb) {
            return Err(Failure::method(format!(
                "{} can be listed and watched, not read by name",
                objects.kind.plural
            )));
        }
        Ok(Asked {
            form: super::form::Form::negotiate(headers, &query)?,
            objects,
            verb,
            query,
        })
    }

    /// What the user needs a permission for.
    pub fn access(&self) -> Access {
        let selected = || {
            // A role can permit a list of one named object.
            let fields = self.query.get("fieldSelector")?;
            let mut parts = fields.split(',');
            let name = parts.find_map(|part| part.strip_prefix("metadata.name="))?;
            Some(name.trim_start_matches('=').trim().to_owned())
        };
        Access {
            verb: self.verb,
            group: GROUP,
            version: VERSION,
            resource: self.objects.kind.plural,
            namespace: self.objects.namespace.clone(),
            name: self.objects.name.clone().or_else(selected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> String {
        match Route::parse(path) {
            None => "none".to_owned(),
            Some(Route::Objects(objects)) => format!(
                "{} {} {}",
                objects.kind.plural,
                objects.namespace.as_deref().unwrap_or("*"),
                objects.name.as_deref().unwrap_or("*")
            ),
            Some(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_lead_where_kubectl_expects() {
        let base = "/apis/tracer.internal/v1alpha1";
        for (path, expected) in [
            ("/apis".to_owned(), "Groups"),
            ("/apis/tracer.internal".to_owned(), "Group"),
            (base.to_owned(), "Resources"),
            (format!("{base}/"), "Resources"),
            (format!("{base}/findings"), "findings * *"),
            (
                format!("{base}/namespaces/shop/findings"),
                "findings shop *",
            ),
            (
                format!("{base}/namespaces/shop/findings/x-1"),
                "findings shop x-1",
            ),
            (format!("{base}/tracernodes/a.b"), "tracernodes * a.b"),
            (format!("{base}/findings/x"), "none"),
            (format!("{base}/namespaces/shop/tracernodes"), "none"),
            (format!("{base}/namespaces/shop"), "none"),
            (format!("{base}/namespaces/shop/findings/x/status"), "none"),
            (format!("{base}/namespaces/a%2Fb/findings"), "none"),
            (format!("{base}/namespaces//findings"), "none"),
            (format!("{base}/pods"), "none"),
            ("/apis/other/v1alpha1/findings".to_owned(), "none"),
            ("/healthz".to_owned(), "Alive"),
            ("/metrics".to_owned(), "none"),
        ] {
            assert_eq!(route(&path), expected, "{path}");
        }
    }

    fn asked(method: &str, target: &str) -> Result<Asked, Failure> {
        let uri: Uri = target.parse().expect("a URI");
        let Some(Route::Objects(objects)) = Route::parse(uri.path()) else {
            panic!("{target} has no route");
        };
        let method = method.parse().expect("a method");
        Asked::parse(objects, &method, Query::parse(&uri), &HeaderMap::new())
    }

    #[test]
    fn the_permission_is_for_the_verb_the_namespace_and_the_name() {
        let base = "/apis/tracer.internal/v1alpha1";
        for (target, verb, namespace, name) in [
            (format!("{base}/findings"), "list", None, None),
            (
                format!("{base}/namespaces/shop/findings?watch=1"),
                "watch",
                Some("shop"),
                None,
            ),
            (
                format!("{base}/namespaces/shop/findings/x"),
                "get",
                Some("shop"),
                Some("x"),
            ),
            (
                format!("{base}/namespaces/shop/findings?fieldSelector=metadata.name%3Dx"),
                "list",
                Some("shop"),
                Some("x"),
            ),
        ] {
            let access = asked("GET", &target).expect("understood").access();
            assert_eq!(access.verb, verb, "{target}");
            assert_eq!(access.namespace.as_deref(), namespace, "{target}");
            assert_eq!(access.name.as_deref(), name, "{target}");
        }
    }

    #[test]
    fn nothing_can_be_written() {
        let findings = "/apis/tracer.internal/v1alpha1/namespaces/shop/findings";
        for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD"] {
            let failure = asked(method, findings).expect_err("refused");
            assert_eq!((failure.code, failure.reason), (405, "MethodNotAllowed"));
        }
        let trace = "/apis/tracer.internal/v1alpha1/namespaces/shop/traces/x";
        assert_eq!(asked("GET", trace).expect_err("refused").code, 405);
    }
}
