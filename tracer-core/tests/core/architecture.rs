//! Dependency runs one way, and the middle is pure: both asserted by reading the sources.
//!
//! The sources are read as tokens, so comments and strings do not count, and paths inside macros do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// Modules of `tracer-core`, then those of `tracer`, from the bottom up. A module may use those above it in
/// this list; modules of one row do not use each other.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["fair_table", "policy"],
    &["decode"],
    &["correlate"],
    &["identity"],
    &["lookup"],
    &["diagnose", "blind_spots"],
    &["pipeline"],
    &["view", "files", "path"],
    &["explain"],
    &["connections", "heap", "intern"],
    &["capture", "cluster", "conntrack", "export"],
    &["stream"],
    &["client", "relay"],
    &["config"],
    &["run"],
    &["cli"],
];

/// Modules without sockets, files, clocks and tokio.
const PURE: &[&str] = &[
    "model",
    "fair_table",
    "decode",
    "correlate",
    "identity",
    "lookup",
    "policy",
    "diagnose",
    "blind_spots",
    "pipeline",
    "path",
    "explain",
];

/// Paths that they must not name, as the beginning or a part of a path.
const IMPURE_PATHS: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "env"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "io"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["tokio"],
    &["rustix"],
    &["libc"],
    &["aya"],
    &["rtnetlink"],
];

/// Names that mean a clock or a socket however they were imported.
const IMPURE_NAMES: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant",
    "SystemTime",
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// One module file: its path in the crate, and its text.
struct Source {
    /// `["view", "json", "body"]`.
    module: Vec<String>,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let mut module: Vec<String> = path
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        Source {
            module,
            text: text.to_owned(),
        }
    }

    /// All violations in this file.
    fn offences(&self) -> Vec<String> {
        let here = self.module[0].as_str();
        let place = self.module.join("::");
        let Some(own_layer) = layer(here) else {
            return vec![format!("{place}: module {here} stands in no layer")];
        };
        let tokens: TokenStream = match self.text.parse() {
            Ok(tokens) => tokens,
            Err(error) => return vec![format!("{place}: not Rust: {error}")],
        };
        let mut offences = Vec::new();
        for path in paths(tokens) {
            if let Some(used) = self.in_crate(&path)
                && used != here
            {
                match layer(&used) {
                    Some(used_layer) if used_layer < own_layer => {}
                    Some(_) => offences.push(format!("{place} uses {used}: {}", path.join("::"))),
                    // A macro or a type of the crate's root.
                    None => offences.push(format!(
                        "{place} uses crate::{used}, which stands in no layer"
                    )),
                }
            }
            if PURE.contains(&here) {
                let by_path = IMPURE_PATHS
                    .iter()
                    .any(|impure| path.starts_with(&strings(impure)));
                let by_name = path
                    .iter()
                    .any(|part| IMPURE_NAMES.contains(&part.as_str()));
                if by_path || by_name {
                    offences.push(format!("{place} is pure and names {}", path.join("::")));
                }
            }
        }
        offences
    }

    /// The module of this crate that a path leads to: `crate::x`, `tracer_core::x`, or as many `super` as
    /// lead to the root.
    fn in_crate(&self, path: &[String]) -> Option<String> {
        match path.first()?.as_str() {
            "crate" | "tracer" | "tracer_core" => path.get(1).cloned(),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                // An inline module is one level below its file, so one more `super` leads to the root.
                (ups >= self.module.len())
                    .then(|| path.get(ups).cloned())
                    .flatten()
                    .filter(|module| layer(module).is_some())
            }
            _ => None,
        }
    }
}

fn strings(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// All paths of two parts or more, with the braces of `use` multiplied out; also single names, for
/// [`IMPURE_NAMES`].
fn paths(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    walk(&tokens.into_iter().collect::<Vec<_>>(), &mut found);
    found
}

fn walk(tokens: &[TokenTree], found: &mut Vec<Vec<String>>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) => at = path(tokens, at, &[], found),
            TokenTree::Group(group) => {
                walk(&group.stream().into_iter().collect::<Vec<_>>(), found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Reads the path that starts at an identifier, behind `prefix`; gives where it ends.
fn path(
    tokens: &[TokenTree],
    start: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut parts = prefix.to_vec();
    let mut at = start;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => {
                let name = ident.to_string();
                parts.push(name.strip_prefix("r#").unwrap_or(&name).to_owned());
                at += 1;
            }
            // `a::{b, c::d}`: each branch behind what came so far.
            Some(TokenTree::Group(group)) if at > start => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let mut next = 0;
                while next < inner.len() {
                    next = match &inner[next] {
                        TokenTree::Ident(_) => path(&inner, next, &parts, found),
                        _ => next + 1,
                    };
                }
                return at + 1;
            }
            _ => break,
        }
        let colon = |index: usize| matches!(tokens.get(index), Some(TokenTree::Punct(p)) if p.as_char() == ':');
        if !(colon(at) && colon(at + 1)) {
            break;
        }
        let goes_on = match tokens.get(at + 2) {
            Some(TokenTree::Ident(_)) => true,
            Some(TokenTree::Group(group)) => group.delimiter() == proc_macro2::Delimiter::Brace,
            _ => false,
        };
        if !goes_on {
            break;
        }
        at += 2;
    }
    found.push(parts);
    at.max(start + 1)
}

fn sources() -> BTreeMap<PathBuf, Source> {
    fn collect(root: &Path, directory: &Path, into: &mut BTreeMap<PathBuf, Source>) {
        for entry in std::fs::read_dir(directory).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(root, &path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).expect("below the root");
                let name = relative.to_string_lossy().replace('\\', "/");
                if name == "lib.rs" || name == "main.rs" {
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("a readable source");
                into.insert(path.clone(), Source::new(&name, &text));
            }
        }
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut into = BTreeMap::new();
    for root in [here.join("src"), here.join("../tracer/src")] {
        collect(&root, &root, &mut into);
    }
    into
}

#[test]
fn dependency_runs_one_way_and_the_middle_is_pure() {
    let sources = sources();
    assert!(sources.len() > 30, "only {} sources found", sources.len());
    let offences: Vec<String> = sources.values().flat_map(Source::offences).collect();
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn the_common_crate_uses_nothing_of_ours() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer-common/src/lib.rs");
    let tokens: TokenStream = std::fs::read_to_string(path)
        .expect("the source")
        .parse()
        .expect("Rust");
    assert!(paths(tokens).iter().all(|path| path[0] != "tracer"));
}

#[test]
fn a_made_up_offender_is_found_out() {
    let offences = |path: &str, text: &str| Source::new(path, text).offences();
    for (path, text) in [
        ("model/dns.rs", "use crate::decode::Decoder;"),
        (
            "decode/mod.rs",
            "use crate::{model::record::Record, view::json};",
        ),
        ("decode/mod.rs", "fn f() { crate::pipeline::go(); }"),
        ("decode/mod.rs", "fn f() { assert!(crate::view::x() > 1); }"),
        ("decode/ip.rs", "use super::super::lookup::Folder;"),
        (
            "decode/mod.rs",
            "mod tests { use super::super::view::json; }",
        ),
        ("capture/mod.rs", "use crate::cluster::Watch;"),
        ("view/mod.rs", "use crate::cli::Host;"),
        ("correlate/mod.rs", "use std::time::{Duration, Instant};"),
        (
            "correlate/mod.rs",
            "fn f() -> std::time::SystemTime { todo() }",
        ),
        (
            "correlate/mod.rs",
            "use std::{net::{IpAddr, UdpSocket}, sync::Arc};",
        ),
        ("identity/mod.rs", "use std::fs;"),
        ("lookup/mod.rs", "fn f() { tokio::spawn(async {}); }"),
        (
            "pipeline.rs",
            "use std::time; fn f() { time::Instant::now(); }",
        ),
        ("nowhere/mod.rs", "fn f() {}"),
    ] {
        assert_eq!(
            offences(path, text).len(),
            1,
            "{path}: {text}: {:?}",
            offences(path, text)
        );
    }
    for (path, text) in [
        (
            "files/mod.rs",
            "use crate::{model::dns, pipeline::Pipeline}; use std::fs;",
        ),
        (
            "decode/mod.rs",
            "// use crate::view;\nfn f() { let s = \"tokio::spawn\"; }",
        ),
        (
            "decode/mod.rs",
            "use std::net::{IpAddr, SocketAddr}; use std::time::Duration; use super::model::record;",
        ),
        (
            "decode/dns/header.rs",
            "use super::name; mod tests { use super::super::name; }",
        ),
        ("model/x.rs", "/// [`crate::view`] shows it.\npub struct X;"),
    ] {
        assert_eq!(offences(path, text), [""; 0], "{path}: {text}");
    }
}
