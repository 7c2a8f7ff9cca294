//! The filters of `traces` as query parameters, with the names of the options of `tracer observe`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracer_core::model::dns::{RecordType, rcode_from_mnemonic, type_mnemonic};
use tracer_core::model::glob::Glob;
use tracer_core::view::filter::FilterConfig;
use tracer_core::view::words;

use super::native;
use super::request::Asked;
use super::selector::Selector;
use super::status::Failure;
use super::streams::Wanted;
use crate::stream::event::{role_to_wire, unix_ns};
use crate::stream::{filter, proto};

/// A field selector of traces: the option that it stands for.
fn field(name: &str) -> Option<&'static str> {
    Some(match name {
        "metadata.namespace" => "namespace",
        "event.pod.name" | "pod" => "pod",
        "event.node" | "node" => "node",
        "event.type" | "type" => "type",
        _ => return None,
    })
}

/// What a request for traces wants.
///
/// # Errors
/// If a parameter makes no sense.
pub fn wanted(asked: &Asked) -> Result<Wanted, Failure> {
    let mut request = match asked.query.get("request") {
        Some(text) => native::request(text)?,
        None => proto::ObserveRequest {
            filter: Some(filter_of(asked)?),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            since_unix_ns: asked.query.get("since").map(since).transpose()?,
            ..proto::ObserveRequest::default()
        },
    };
    request.follow = asked.verb == "watch";
    request.after = None;
    if let Some(namespace) = &asked.objects.namespace {
        let filter = request.filter.get_or_insert_default();
        filter.namespaces = vec![namespace.clone()];
    }
    let filter: FilterConfig = filter::from_wire(request.filter.clone().unwrap_or_default())
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    let nodes = asked
        .query
        .list("nodes")
        .into_iter()
        .chain(asked.query.list("node"))
        .chain(selected(asked)?.node)
        .map(|glob| glob.parse::<Glob>())
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::bad_request(format!("nodes: {error}")))?;
    let after = asked.query.all("after").map(after);
    let mut after: HashMap<Arc<str>, proto::Position> = after.collect::<Result<_, _>>()?;
    let positions = std::mem::take(&mut request.positions).into_iter();
    after.extend(positions.filter_map(|at| Some((at.node.into(), at.position?))));
    Ok(Wanted {
        resource: asked.objects.kind.plural,
        after,
        request,
        filter,
        namespace: asked.objects.namespace.clone(),
        nodes,
    })
}

/// What the field selector adds.
#[derive(Debug, Default)]
struct Selected {
    pod: Option<String>,
    node: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
}

fn selected(asked: &Asked) -> Result<Selected, Failure> {
    let Some(text) = asked.query.get("fieldSelector") else {
        return Ok(Selected::default());
    };
    // Reports what is malformed or unknown.
    Selector::fields(Some(text), field)?;
    let mut selected = Selected::default();
    for part in text.split(',') {
        let equal = part
            .split_once('=')
            .filter(|(name, _)| !name.ends_with('!'));
        let Some((name, value)) = equal else {
            return Err(Failure::bad_request(format!(
                "fieldSelector: traces can be selected by FIELD=VALUE only, not by {part:?}"
            )));
        };
        let value = Some(value.trim_start_matches('=').to_owned());
        match field(name.trim()) {
            Some("pod") => selected.pod = value,
            Some("node") => selected.node = value,
            Some("type") => selected.kind = value,
            _ => selected.namespace = value,
        }
    }
    Ok(selected)
}

fn filter_of(asked: &Asked) -> Result<proto::Filter, Failure> {
    if asked.query.get("labelSelector").is_some() {
        return Err(Failure::bad_request(
            "labelSelector: traces have no labels; select by field, or by the parameters of docs/api.md",
        ));
    }
    let query = &asked.query;
    let selected = selected(asked)?;
    let outcomes = query.list("outcome");
    for outcome in &outcomes {
        if !words::outcomes().contains(&outcome.as_str()) {
            return Err(Failure::bad_request(format!(
                "outcome: no event has the outcome {outcome:?}; there are {}",
                words::outcomes().join(", ")
            )));
        }
    }
    let list = |name: &str, more: Option<String>| {
        let mut values = query.list(name);
        values.extend(more);
        values
    };
    Ok(proto::Filter {
        namespaces: list("namespace", selected.namespace),
        pods: list("pod", selected.pod),
        containers: query.list("container"),
        comms: query.list("comm"),
        types: list("type", selected.kind),
        direction: direction(query.get("direction"))?,
        peers: query.list("peer"),
        ports: numbers("port", &query.list("port"), |text| text.parse().ok())?,
        names: query.list("name"),
        qtypes: numbers("qtype", &query.list("qtype"), qtype)?,
        rcodes: numbers("rcode", &query.list("rcode"), |text| {
            rcode_from_mnemonic(text).map(|code| u32::from(u16::from(code)))
        })?,
        outcomes,
        slow_ns: query.get("slow").map(slow).transpose()?,
        failed: query.flag("failed")?,
        digest: query.flag("digest")?,
        both_sides: false,
    })
}

fn numbers(
    name: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Option<u32>,
) -> Result<Vec<u32>, Failure> {
    let parsed = texts.iter().map(|text| {
        parse(text).ok_or_else(|| {
            Failure::bad_request(format!("{name}: {text:?} is not known: use a number"))
        })
    });
    parsed.collect()
}

/// A mnemonic or a number.
fn qtype(text: &str) -> Option<u32> {
    let upper = text.to_ascii_uppercase();
    let number = upper.strip_prefix("TYPE").unwrap_or(&upper);
    number.parse::<u16>().map(u32::from).ok().or_else(|| {
        (0..=u16::MAX)
            .find(|number| type_mnemonic(RecordType::from(*number)) == upper)
            .map(u32::from)
    })
}

fn direction(text: Option<&str>) -> Result<i32, Failure> {
    let Some(text) = text else { return Ok(0) };
    let mut roles = words::DIRECTIONS.into_iter();
    let role = roles.find(|role| words::direction(*role) == text);
    match role {
        Some(role) => Ok(role_to_wire(Some(role))),
        None => Err(Failure::bad_request(format!(
            "direction: {text:?} is not client or server"
        ))),
    }
}

fn slow(text: &str) -> Result<u64, Failure> {
    duration("slow", text).map(|slow| u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX))
}

fn duration(name: &str, text: &str) -> Result<SignedDuration, Failure> {
    let duration = text.parse::<SignedDuration>().ok();
    duration
        .filter(|duration| !duration.is_negative())
        .ok_or_else(|| {
            Failure::bad_request(format!(
                "{name}: {text:?} is not a duration such as 50ms or 5m"
            ))
        })
}

/// A duration ago, or a time.
fn since(text: &str) -> Result<i64, Failure> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(unix_ns(time));
    }
    let ago = duration("since", text)?;
    let time = Timestamp::now().checked_sub(ago);
    Ok(time.map_or(0, unix_ns))
}

/// `NODE/INSTANCE/NEXT`: the position of a mark that another replica sent.
fn after(text: &str) -> Result<(Arc<str>, proto::Position), Failure> {
    let mut parts = text.splitn(3, '/');
    let position = (|| {
        let node = parts.next()?.into();
        let instance = parts.next()?.to_owned();
        let next = parts.next()?.parse().ok()?;
        Some((node, proto::Position { instance, next }))
    })();
    position
        .ok_or_else(|| Failure::bad_request(format!("after: {text:?} is not NODE/INSTANCE/NEXT")))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::super::request::{Query, Route};
    use super::*;

    fn parse(target: &str) -> Result<Wanted, Failure> {
        let base = "/apis/tracer.internal/v1alpha1";
        let uri: Uri = format!("{base}/{target}").parse().expect("a URI");
        let Some(Route::Objects(objects)) = Route::parse(uri.path()) else {
            panic!("no route");
        };
        let query = Query::parse(&uri);
        let asked = Asked::parse(objects, &Method::GET, query, &HeaderMap::new());
        wanted(&asked.expect("understood"))
    }

    #[test]
    fn parameters_are_the_options_of_tracer_observe() {
        let wanted = parse(
            "namespaces/shop/traces?watch=true&pod=web-*,api&container=app&comm=curl&type=dns&type=tcp&direction=client&peer=10.0.0.0/8\
             &port=80,443&name=*.example.com&qtype=AAAA,TYPE65&rcode=nxdomain&outcome=timeout&slow=50ms&failed=true\
             &namespace=bank&nodes=a*,b&after=a/7/12",
        )
        .expect("understood");
        let filter = proto::Filter {
            // Not the namespace that the parameter names.
            namespaces: vec!["shop".to_owned()],
            pods: vec!["web-*".to_owned(), "api".to_owned()],
            containers: vec!["app".to_owned()],
            comms: vec!["curl".to_owned()],
            types: vec!["dns".to_owned(), "tcp".to_owned()],
            direction: 1,
            peers: vec!["10.0.0.0/8".to_owned()],
            ports: vec![80, 443],
            names: vec!["*.example.com".to_owned()],
            qtypes: vec![28, 65],
            rcodes: vec![3],
            outcomes: vec!["timeout".to_owned()],
            slow_ns: Some(50_000_000),
            failed: true,
            digest: false,
            both_sides: false,
        };
        assert_eq!(wanted.request.filter, Some(filter));
        assert!(wanted.request.follow);
        assert_eq!(wanted.nodes.len(), 2);
        let position = wanted.after.get("a").expect("a position");
        assert_eq!((position.instance.as_str(), position.next), ("7", 12));
    }

    #[test]
    fn a_native_request_cannot_leave_its_namespace() {
        use base64::Engine as _;
        use prost::Message as _;
        let request = proto::ObserveRequest {
            filter: Some(proto::Filter {
                namespaces: vec!["bank".to_owned()],
                ..proto::Filter::default()
            }),
            follow: true,
            last: Some(5),
            ..proto::ObserveRequest::default()
        };
        let text = base64::engine::general_purpose::URL_SAFE.encode(request.encode_to_vec());
        let wanted = parse(&format!("namespaces/shop/traces?request={text}")).expect("understood");
        let namespaces = wanted.request.filter.expect("a filter").namespaces;
        assert_eq!(namespaces, ["shop"]);
        assert_eq!(wanted.request.last, Some(5));
        // A list ends, whatever the request says.
        assert!(!wanted.request.follow);
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_names_it() {
        for (query, part) in [
            ("type=quic", "quic"),
            ("port=x", "port"),
            ("qtype=NOPE", "NOPE"),
            ("slow=fast", "slow"),
            ("outcome=lost", "outcome"),
            ("direction=up", "direction"),
            ("labelSelector=a=b", "labels"),
            ("fieldSelector=colour=red", "colour"),
            ("fieldSelector=pod!=a", "FIELD=VALUE"),
            ("request=!", "base64url"),
            ("after=x", "NODE/INSTANCE/NEXT"),
            ("since=never", "since"),
        ] {
            let failure = parse(&format!("traces?{query}")).expect_err(query);
            assert_eq!(failure.code, 400, "{query}");
            assert!(
                failure.message.contains(part),
                "{query}: {}",
                failure.message
            );
        }
    }

    #[test]
    fn fields_select_as_parameters_do() {
        let wanted =
            parse("traces?fieldSelector=event.pod.name=web,type=dns,node=a").expect("understood");
        let filter = wanted.request.filter.expect("a filter");
        assert_eq!(
            (filter.pods, filter.types),
            (vec!["web".to_owned()], vec!["dns".to_owned()])
        );
        assert!(wanted.nodes[0].matches("a") && !wanted.nodes[0].matches("b"));
    }
}
