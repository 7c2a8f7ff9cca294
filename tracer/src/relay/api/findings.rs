//! `findings`: get, list and watch, from the store. No agent is asked.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::form::Form;
use super::kinds::{self, GROUP_VERSION};
use super::render::{ListHead, Rendered, Renderer, age, rfc3339};
use super::request::Asked;
use super::selector::Selector;
use super::status::Failure;
use super::version::Versions;
use crate::relay::findings::Findings;
use crate::relay::findings::names::is_label;
use crate::relay::findings::store::Kept;
use crate::stream::event::unix_clock;
use tracer_core::model::finding::{Finding, Severity, State};
use tracer_core::view::json::Json;
use tracer_core::view::{Encode as _, words};

mod watch;

pub use self::watch::watch;

/// Labels of a finding's object, and where their values come from.
const LABELS: [(&str, &str); 4] = [
    ("tracer.internal/rule", "spec.rule"),
    ("tracer.internal/severity", "spec.severity"),
    ("tracer.internal/state", "status.state"),
    ("tracer.internal/pod", "spec.pod.name"),
];

/// The full name of a field that findings can be selected by.
fn field(name: &str) -> Option<&'static str> {
    Some(match name {
        "metadata.name" => "metadata.name",
        "metadata.namespace" => "metadata.namespace",
        "rule" | "spec.rule" => "spec.rule",
        "severity" | "spec.severity" => "spec.severity",
        "node" | "spec.node" => "spec.node",
        "pod" | "spec.pod.name" => "spec.pod.name",
        "state" | "status.state" => "status.state",
        _ => return None,
    })
}

/// Which findings a request selects.
#[derive(Clone, Debug)]
struct Selection {
    namespace: Option<String>,
    fields: Selector,
    labels: Selector,
}

impl Selection {
    fn parse(asked: &Asked) -> Result<Selection, Failure> {
        Ok(Selection {
            // A watch of one name is a watch of the collection.
            fields: match (&asked.objects.name, asked.query.get("fieldSelector")) {
                (Some(name), None) => {
                    Selector::fields(Some(&format!("metadata.name={name}")), field)?
                }
                (_, text) => Selector::fields(text, field)?,
            },
            labels: Selector::labels(asked.query.get("labelSelector"))?,
            namespace: asked.objects.namespace.clone(),
        })
    }

    fn fits(&self, kept: &Kept) -> bool {
        kept.finding()
            .is_some_and(|finding| self.fits_with(kept, finding, finding.severity, finding.state))
    }

    /// Whether it selected the finding at `version`, if that can be known.
    fn fitted(&self, kept: &Kept, version: u64) -> bool {
        let Some(finding) = kept.finding() else {
            return false;
        };
        match kept.before {
            Some((since, severity, state)) if since > version => {
                self.fits_with(kept, finding, severity, state)
            }
            _ => self.fits(kept),
        }
    }

    fn fits_with(&self, kept: &Kept, finding: &Finding, severity: Severity, state: State) -> bool {
        let value = |field: &str| {
            Some(match field {
                "metadata.name" => kept.object.name.as_str(),
                "metadata.namespace" => &*kept.namespace,
                "spec.rule" => finding.rule,
                "spec.severity" => words::severity(severity),
                "spec.node" => &*kept.node,
                "spec.pod.name" => &*kept.pod,
                "status.state" => words::finding_state(state),
                _ => return None,
            })
        };
        let label = |label: &str| {
            let known = LABELS.iter().find(|(name, _)| *name == label);
            known
                .and_then(|(_, field)| value(field))
                .filter(|value| is_label(value))
        };
        self.namespace
            .as_deref()
            .is_none_or(|namespace| *kept.namespace == *namespace)
            && self.fields.matches(value)
            && self.labels.matches(label)
    }
}

/// The object of a finding, and its row.
fn render(kept: &Kept, versions: Versions, now: jiff::Timestamp) -> Option<Rendered> {
    let finding = kept.finding()?;
    let mut line = String::new();
    let mut encoder = Json::new(Arc::clone(&kept.node));
    encoder.encode(&kept.event, &unix_clock, &mut line).ok()?;
    let mut event: Value = serde_json::from_str(&line).ok()?;
    let mut take = |name: &str| event.get_mut(name).map_or(Value::Null, Value::take);
    let first = unix_clock(finding.first);
    let last = unix_clock(finding.last);
    let severity = words::severity(finding.severity);
    let state = words::finding_state(finding.state);
    let mut labels = serde_json::Map::new();
    for ((name, _), value) in LABELS
        .iter()
        .zip([finding.rule, severity, state, &*kept.pod])
    {
        if is_label(value) {
            labels.insert((*name).to_owned(), value.into());
        }
    }
    let mut object = json!({
        "kind": kinds::FINDINGS.kind,
        "apiVersion": GROUP_VERSION,
        "metadata": {
            "name": kept.object.name,
            "namespace": &*kept.namespace,
            "uid": kept.object.uid,
            "resourceVersion": versions.text(kept.version),
            "creationTimestamp": rfc3339(first),
            "labels": labels,
        },
        "spec": {
            "rule": finding.rule,
            "severity": severity,
            "cause": finding.cause,
            "node": &*kept.node,
            "pod": take("pod"),
            "peer": take("peer"),
            "direction": take("direction"),
        },
        "status": {
            "state": state,
            "count": finding.count,
            "of": finding.of,
            "first": take("first"),
            "last": take("last"),
            "headline": take("headline"),
            "summary": take("summary"),
            "why": take("why"),
            "try": take("try"),
            "evidence": take("evidence"),
            "names": finding.names.iter().map(|name| &**name).collect::<Vec<&str>>(),
            "conditions": conditions(kept, finding),
        },
    });
    for optional in ["fix", "was", "incomplete", "path"] {
        let value = take(optional);
        if !value.is_null() {
            object["status"][optional] = value;
        }
    }
    let headline = object["status"]["headline"].clone();
    let cells = vec![
        kept.object.name.as_str().into(),
        severity.into(),
        state.into(),
        finding.count.into(),
        (&*kept.pod).into(),
        age(last, now).into(),
        headline,
        finding.rule.into(),
        finding.of.into(),
        (&*kept.node).into(),
    ];
    Some(Rendered { object, cells })
}

/// As `kubectl wait --for=condition=Resolved` reads them.
fn conditions(kept: &Kept, finding: &Finding) -> Value {
    let since_us = kept.before.map_or(kept.created, |(since, ..)| since);
    let since = i64::try_from(since_us).unwrap_or(i64::MAX);
    let since = jiff::Timestamp::from_microsecond(since).unwrap_or_default();
    let reason = match finding.state {
        State::Active => "Failing",
        State::Intermittent => "Intermittent",
        State::Resolved => "Succeeding",
    };
    let condition = |name: &str, holds: bool| {
        json!({
            "type": name,
            "status": if holds { "True" } else { "False" },
            "reason": reason,
            "message": format!("{} of {} attempts failed", finding.count, finding.of),
            "lastTransitionTime": rfc3339(since),
        })
    };
    let resolved = finding.is_resolved();
    json!([
        condition("Active", !resolved),
        condition("Resolved", resolved)
    ])
}

/// Answers a get.
pub fn get(findings: &Findings, versions: Versions, asked: &Asked) -> Result<Value, Failure> {
    let renderer = renderer(asked)?;
    let name = asked.objects.name.as_deref().unwrap_or_default();
    let namespace = asked.objects.namespace.as_deref().unwrap_or_default();
    findings
        .get(namespace, name)
        .and_then(|kept| render(&kept, versions, jiff::Timestamp::now()))
        .map(|rendered| renderer.object(rendered, true))
        .ok_or_else(|| Failure::no_object(&kinds::FINDINGS, name))
}

/// Answers a list.
pub fn list(findings: &Findings, versions: Versions, asked: &Asked) -> Result<Body, Failure> {
    let renderer = renderer(asked)?;
    let selection = Selection::parse(asked)?;
    if asked.query.get("resourceVersionMatch") == Some("Exact") {
        return Err(Failure::expired(
            "the relay keeps only the current state: list without resourceVersionMatch=Exact",
        ));
    }
    versions.parse(asked.query.get("resourceVersion"))?;
    let limit = match asked.query.number("limit")? {
        None | Some(0) => usize::MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let start = asked
        .query
        .get("continue")
        .map(Continue::parse)
        .transpose()?;
    let after = start.as_ref().map(Continue::place);
    let namespace = asked.objects.namespace.as_deref();
    let page = findings.page(namespace, after, limit, |kept| selection.fits(kept));
    // All pages have the version of the first, from which a watch misses nothing of the later ones.
    let version = start.as_ref().map_or_else(
        || versions.text(page.version),
        |start| start.version.clone(),
    );
    let next = page
        .items
        .last()
        .filter(|_| page.remaining > 0)
        .map(|last| {
            Continue {
                version: version.clone(),
                namespace: last.namespace.to_string(),
                name: last.object.name.clone(),
            }
            .text()
        });
    let now = jiff::Timestamp::now();
    let items = page
        .items
        .into_iter()
        .filter_map(move |kept| render(&kept, versions, now));
    let head = ListHead {
        version,
        next,
        remaining: Some(page.remaining),
    };
    Ok(renderer.list(&head, items))
}

fn renderer(asked: &Asked) -> Result<Renderer, Failure> {
    if asked.form == Form::Native {
        return Err(Failure::new(
            406,
            "NotAcceptable",
            "findings are served as JSON only",
        ));
    }
    Ok(Renderer {
        kind: &kinds::FINDINGS,
        form: asked.form,
    })
}

/// Where the next page of a list starts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Continue {
    version: String,
    namespace: String,
    name: String,
}

impl Continue {
    fn text(&self) -> String {
        let Continue {
            version,
            namespace,
            name,
        } = self;
        URL_SAFE_NO_PAD.encode(format!("{version}/{namespace}/{name}"))
    }

    fn parse(text: &str) -> Result<Continue, Failure> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok();
        let decoded = decoded.and_then(|decoded| String::from_utf8(decoded).ok());
        let mut parts = decoded.as_deref().unwrap_or_default().splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(version), Some(namespace), Some(name)) => Ok(Continue {
                version: version.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(Failure::bad_request(
                "continue: this token is not from a list of this server",
            )),
        }
    }

    fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}
