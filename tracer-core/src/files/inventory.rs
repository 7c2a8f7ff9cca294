//! The inventory file: Kubernetes objects as printed by `kubectl get
//! nodes,ns,pods,svc,endpointslices,networkpolicies -A -o yaml` (or `-o json`). Kubernetes 1.33 and later
//! also have servicecidrs.
//!
//! Owns reading it and reporting what is wrong with which object. Any kind may be missing; kinds that the
//! tracer does not use are skipped and counted. Never decides what the objects mean: that is `identity`.

mod document;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{DeserializeOwned, DeserializeSeed as _};
use serde_json::Value;
use serde_saphyr::Spanned;

use self::document::{Document, Rest};
use super::objects::{ObjectError, Trimmer};
use crate::model::cluster::Inventory;
use crate::model::printable::{safe_prefix, without_long_words};

/// The largest file that is read: four times the size of 10,000 pods with all their fields.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// Problems that are listed; the rest are counted.
const MAX_PROBLEMS: usize = 10;

/// The contents of an inventory file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The objects.
    pub inventory: Inventory,
    /// Skipped objects, by kind.
    pub skipped: BTreeMap<String, usize>,
    /// Objects that were listed again; the last occurrence is kept.
    pub duplicates: usize,
}

/// The error of an unusable inventory file, with the file's name.
#[derive(Debug, thiserror::Error)]
#[error("inventory {}: {why}", path.display())]
pub struct InventoryFileError {
    /// The path of the file.
    pub path: PathBuf,
    /// The reason.
    pub why: InventoryError,
}

/// The reason why an inventory file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Read(std::io::Error),
    /// It exceeds the size limit.
    #[error("larger than {limit} MiB", limit = MAX_FILE_BYTES >> 20)]
    TooLarge,
    /// It is neither YAML nor JSON.
    #[error("not what `kubectl get -o yaml` or `-o json` prints: {}{message}", position(.line, .column))]
    Syntax {
        /// The line, if the parser reports it.
        line: Option<u64>,
        /// The column in that line.
        column: Option<u64>,
        /// The parser's message.
        message: String,
    },
    /// It holds no object, not even an empty List: most likely it is being written at this moment.
    #[error("no Kubernetes object in it")]
    Empty,
    /// Some of its objects are invalid.
    #[error("{}", listed(.problems, .more))]
    Objects {
        /// The first problems.
        problems: Vec<Problem>,
        /// How many problems follow them.
        more: usize,
    },
}

/// A problem of one object in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object's number in the file, counted from 1 across all documents and lists.
    pub item: usize,
    /// The line where it starts, if the parser reports it.
    pub line: Option<u64>,
    /// Kind, namespace and name, as far as it has them.
    pub object: String,
    /// The problem.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {} ({}", self.item, self.object)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, "): {}", self.what)
    }
}

fn position(line: &Option<u64>, column: &Option<u64>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        _ => String::new(),
    }
}

fn listed(problems: &[Problem], more: &usize) -> String {
    let mut lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    if *more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// Reads and parses a file.
pub fn load(path: &Path) -> Result<Loaded, InventoryFileError> {
    read(path)
        .and_then(|text| parse(&text))
        .map_err(|why| InventoryFileError {
            path: path.to_owned(),
            why,
        })
}

fn read(path: &Path) -> Result<String, InventoryError> {
    let file = std::fs::File::open(path).map_err(InventoryError::Read)?;
    let mut text = String::new();
    // Limited while reading, too: the size from stat is unreliable (a pipe, a growing file).
    let read = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(InventoryError::Read)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(InventoryError::TooLarge);
    }
    Ok(text)
}

/// Parses a file's text.
pub fn parse(text: &str) -> Result<Loaded, InventoryError> {
    // JSON is YAML but does not need a YAML parser. Invalid JSON is left to the YAML parser, which reports
    // line numbers.
    if text.trim_start().starts_with('{')
        && let Some(loaded) = parse_json(text)
    {
        return Ok(loaded);
    }
    parse_yaml(text)
}

/// Reads JSON documents; `None` if anything is wrong with them.
fn parse_json(text: &str) -> Option<Loaded> {
    let mut reading = Reading::default();
    let mut json = serde_json::Deserializer::from_str(text);
    // Succeeds at the end of the text only.
    while json.end().is_err() {
        let before = reading.items;
        let rest = Document {
            take: &mut |index, item, list_kind| {
                reading.object(before + index + 1, None, list_kind, item);
            },
            has_kind,
        }
        .deserialize(&mut json)
        .ok()?;
        reading.rest(None, rest);
    }
    reading.finish().ok()
}

fn parse_yaml(text: &str) -> Result<Loaded, InventoryError> {
    let mut reading = Reading::default();
    let mut is_empty = true;
    for (before, document) in yaml_documents(text) {
        // Only comments.
        let Some(first) = content_line(document) else {
            continue;
        };
        is_empty = false;
        // The default budgets guard against hostile files but are too small for a large cluster's inventory. The
        // file's size is limited, and aliases, which could multiply it, keep the parser's limits.
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: usize::MAX,
                max_nodes: usize::MAX,
                max_documents: usize::MAX,
                max_total_scalar_bytes: usize::MAX,
            },
            with_snippet: false,
        };
        let items_before = reading.items;
        let mut take = |index: usize, item: Spanned<Value>, list_kind: Option<&str>| {
            let line = line_of(&item).map(|line| before + line);
            reading.object(items_before + index + 1, line, list_kind, item.value);
        };
        let seed = Document {
            take: &mut take,
            has_kind: |item: &Spanned<Value>| has_kind(&item.value),
        };
        let read =
            serde_saphyr::with_deserializer_from_str_with_options(document, options, |yaml| {
                seed.deserialize(yaml)
            });
        let rest = read.map_err(|error| {
            let location = error.location();
            InventoryError::Syntax {
                line: location.map(|location| before + location.line()),
                column: location.map(|location| location.column()),
                message: bare_message(&error),
            }
        })?;
        reading.rest(Some(before + first), rest);
    }
    if is_empty {
        return Err(InventoryError::Empty);
    }
    reading.finish()
}

/// The documents of a YAML stream, each with the number of lines before it. A line `---` separates documents wherever it
/// stands (YAML 1.2, section 9.1.2).
fn yaml_documents(text: &str) -> impl Iterator<Item = (u64, &str)> {
    let mut rest = Some(text);
    let mut before = 0;
    std::iter::from_fn(move || {
        let text = rest?;
        // The first line may be the marker that begins this document.
        let mut end = text.find('\n').map_or(text.len(), |at| at + 1);
        while end < text.len() && !is_marker(&text[end..]) {
            end += text[end..].find('\n').map_or(text.len() - end, |at| at + 1);
        }
        let (document, others) = text.split_at(end);
        rest = (!others.is_empty()).then_some(others);
        let lines_before = before;
        before += document.matches('\n').count() as u64;
        Some((lines_before, document))
    })
}

fn is_marker(text: &str) -> bool {
    text.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// The number of the first line of a document that is more than a marker or a comment; `None` for a document without
/// content.
fn content_line(document: &str) -> Option<u64> {
    let content = |line: &str| {
        let line = line.trim_start_matches('\u{feff}');
        let line = if is_marker(line) { &line[3..] } else { line };
        let line = line.trim();
        !(line.is_empty() || line.starts_with('#') || matches!(line, "..." | "null" | "~"))
    };
    (1..)
        .zip(document.lines())
        .find(|(_, line)| content(line))
        .map(|(number, _)| number)
}

fn has_kind(item: &Value) -> bool {
    item.get("kind").is_some()
}

/// The parser's message, safe to print, without the position that it appends: our own message starts with it.
fn bare_message(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().to_string();
    let bare = match error.location() {
        Some(at) => {
            let position = format!(" at line {}, column {}", at.line(), at.column());
            message.replace(&position, "")
        }
        None => message,
    };
    safe_prefix(&without_long_words(&bare), 512)
}

fn line_of<T>(spanned: &Spanned<T>) -> Option<u64> {
    Some(spanned.referenced.line()).filter(|line| *line > 0)
}

/// Kind, namespace and name of an object.
type Key = (&'static str, Arc<str>, Arc<str>);

#[derive(Default)]
struct Reading {
    trimmer: Trimmer,
    loaded: Loaded,
    /// The position of each object in its list of the inventory.
    places: HashMap<Key, usize>,
    problems: Vec<Problem>,
    more: usize,
    items: usize,
}

impl Reading {
    /// Adds a document that is an object itself.
    fn rest(&mut self, line: Option<u64>, rest: Rest) {
        // An empty List may come without items.
        let is_list = rest.is_list || rest.kind.is_some_and(|kind| kind.ends_with("List"));
        if !is_list {
            self.object(self.items + 1, line, None, Value::Object(rest.fields));
        }
    }

    /// Adds the object with this number in the file.
    fn object(
        &mut self,
        number: usize,
        line: Option<u64>,
        list_kind: Option<&str>,
        mut value: Value,
    ) {
        self.items = self.items.max(number);
        let title = title(&value, list_kind);
        let Some(fields) = value.as_object_mut() else {
            return self.problem(number, line, title, "not an object".to_owned());
        };
        let kind = match fields.remove("kind") {
            Some(Value::String(kind)) => kind,
            _ => match list_kind {
                Some(kind) => kind.to_owned(),
                None => return self.problem(number, line, title, "kind is missing".to_owned()),
            },
        };
        // Other API groups have kinds with these names (Knative's Service, Calico's NetworkPolicy). Other
        // versions of a group agree on the fields that are kept.
        let group = match fields.remove("apiVersion") {
            Some(Value::String(version)) => version
                .split_once('/')
                .map(|(group, _)| group.to_owned())
                .or(Some("".to_owned())),
            _ => None,
        };
        let in_group = |expected: &str| group.as_deref().is_none_or(|group| group == expected);
        let result = match kind.as_str() {
            "Pod" if in_group("") => self.keep(
                value,
                |trimmer, pod| trimmer.pod(pod),
                |pod| ("Pod", pod.namespace.clone(), pod.name.clone()),
                |all| &mut all.pods,
            ),
            "Service" if in_group("") => self.keep(
                value,
                |trimmer, service| trimmer.service(service),
                |service| ("Service", service.namespace.clone(), service.name.clone()),
                |all| &mut all.services,
            ),
            "EndpointSlice" if in_group("discovery.k8s.io") => self.keep(
                value,
                |trimmer, slice| trimmer.slice(slice),
                |slice| ("EndpointSlice", slice.namespace.clone(), slice.name.clone()),
                |all| &mut all.slices,
            ),
            "Node" if in_group("") => self.keep(
                value,
                |trimmer, node| trimmer.node(node),
                |node| ("Node", "".into(), node.name.clone()),
                |all| &mut all.nodes,
            ),
            "Namespace" if in_group("") => self.keep(
                value,
                |trimmer, namespace| trimmer.namespace(namespace),
                |namespace| ("Namespace", "".into(), namespace.name.clone()),
                |all| &mut all.namespaces,
            ),
            "NetworkPolicy" if in_group("networking.k8s.io") => self.keep(
                value,
                |trimmer, policy| trimmer.policy(policy),
                |policy| {
                    (
                        "NetworkPolicy",
                        policy.namespace.clone(),
                        policy.name.clone(),
                    )
                },
                |all| &mut all.policies,
            ),
            "ServiceCIDR" if in_group("networking.k8s.io") => self.keep(
                value,
                |trimmer, range| trimmer.service_cidr(range),
                |range| ("ServiceCIDR", "".into(), range.name.clone()),
                |all| &mut all.service_cidrs,
            ),
            _ => {
                *self.loaded.skipped.entry(kind).or_default() += 1;
                Ok(())
            }
        };
        if let Err(what) = result {
            self.problem(number, line, title, what);
        }
    }

    fn keep<O: DeserializeOwned, M>(
        &mut self,
        value: Value,
        trim: impl Fn(&mut Trimmer, O) -> Result<M, ObjectError>,
        key: impl Fn(&M) -> Key,
        list: impl Fn(&mut Inventory) -> &mut Vec<M>,
    ) -> Result<(), String> {
        let object: O =
            serde_path_to_error::deserialize(value).map_err(|error| error.to_string())?;
        let trimmed = trim(&mut self.trimmer, object).map_err(|error| error.to_string())?;
        let list = list(&mut self.loaded.inventory);
        match self.places.entry(key(&trimmed)) {
            Entry::Occupied(place) => {
                self.loaded.duplicates += 1;
                list[*place.get()] = trimmed;
            }
            Entry::Vacant(place) => {
                place.insert(list.len());
                list.push(trimmed);
            }
        }
        Ok(())
    }

    fn problem(&mut self, item: usize, line: Option<u64>, object: String, what: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                item,
                line,
                object: safe_prefix(&object, 128),
                what: safe_prefix(&what, 512),
            });
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Result<Loaded, InventoryError> {
        if self.problems.is_empty() {
            Ok(self.loaded)
        } else {
            // A list whose kind follows its objects has some of them later.
            self.problems.sort_by_key(|problem| problem.item);
            Err(InventoryError::Objects {
                problems: self.problems,
                more: self.more,
            })
        }
    }
}

/// Kind, namespace and name of an object that may have none of them.
fn title(value: &Value, list_kind: Option<&str>) -> String {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    let mut title = text("/kind").or(list_kind).unwrap_or("no kind").to_owned();
    if let Some(name) = text("/metadata/name") {
        title.push(' ');
        if let Some(namespace) = text("/metadata/namespace") {
            title.push_str(namespace);
            title.push('/');
        }
        title.push_str(name);
    }
    title
}
