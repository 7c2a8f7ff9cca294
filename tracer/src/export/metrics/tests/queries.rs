//! The queries of the dashboard and of docs/metrics.md use only registered metrics and labels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

/// Labels that Prometheus adds to every scraped series; `node` by the PodMonitors of deploy/.
const TARGET_LABELS: [&str; 3] = ["instance", "job", "node"];

/// Every series that the program can have, with its labels.
fn registered() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = metrics(false);
    let mut losses = Losses::default();
    losses.add(Stage::Ring, "ring buffer full", 31);
    metrics.set_state(State {
        losses,
        index: IndexState {
            objects: vec![("pods", 4)],
            synced: true,
            stale: Some(Duration::ZERO),
        },
        kube_events: Some(KubeEventTotals::default()),
        relays: Some(2),
        conntrack: ConntrackState {
            following: Some(true),
            translations: 7,
            counters: Some(ConntrackCounters {
                max: 262_144,
                ..ConntrackCounters::default()
            }),
        },
        settings: Some(SettingsState {
            applied: true,
            read: jiff::Timestamp::UNIX_EPOCH,
        }),
        ..State::default()
    });
    for (_, event) in gallery::all() {
        metrics.observe(&event);
    }
    let agents = read(&metrics.encode().expect("text")).into_values();
    let relays = read(&relay::all().encode().expect("text")).into_values();
    let families = agents.chain(relays);
    let mut registered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in families.flat_map(|family| family.samples.into_keys()) {
        let name = series.split('{').next().expect("a name").to_owned();
        let known = registered.entry(name).or_default();
        known.extend(labels(&series).into_keys());
    }
    registered
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text,
    Sign(char),
}

/// A query's words, strings and signs: enough to find the names of metrics and labels.
fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
        if first == '"' {
            let end = rest[1..].find('"').expect("a closing quote");
            tokens.push(Token::Text);
            rest = &rest[end + 2..];
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// A query's mistakes: unknown metrics, and labels that its metric, or none of its metrics, has.
fn mistakes(query: &str, registered: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let tokens = tokens(query);
    let mut wrong = Vec::new();
    let mut asked: Vec<&str> = Vec::new();
    let mut grouped: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Token::Word(word) = &tokens[at] else {
            at += 1;
            continue;
        };
        at += 1;
        let lists_labels = matches!(word.as_str(), "by" | "without" | "on" | "ignoring");
        let (open, close) = match lists_labels {
            true => ('(', ')'),
            false => ('{', '}'),
        };
        let is_metric = word.starts_with("tracer_") || word.starts_with("process_");
        if is_metric {
            asked.push(word);
            if !registered.contains_key(word) {
                wrong.push(format!("there is no metric {word}"));
            }
        }
        if !(is_metric || lists_labels) || tokens.get(at) != Some(&Token::Sign(open)) {
            continue;
        }
        while at < tokens.len() && tokens[at] != Token::Sign(close) {
            if let Token::Word(label) = &tokens[at] {
                let has = |metric: &str| {
                    TARGET_LABELS.contains(&label.as_str())
                        || registered
                            .get(metric)
                            .is_some_and(|labels| labels.contains(label))
                };
                if lists_labels {
                    grouped.push(label);
                } else if !has(word) {
                    wrong.push(format!("{word} has no label {label}"));
                }
            }
            at += 1;
        }
    }
    if asked.is_empty() {
        wrong.push("it uses no metric of the program".to_owned());
    }
    for label in grouped {
        let has = |metric: &&str| {
            registered
                .get(*metric)
                .is_some_and(|labels| labels.contains(label))
        };
        if !TARGET_LABELS.contains(&label) && !asked.iter().any(has) {
            wrong.push(format!("none of its metrics has a label {label}"));
        }
    }
    wrong
}

#[test]
fn unknown_metrics_and_labels_are_mistakes() {
    let registered = registered();
    for (query, says) in [
        (
            "rate(tracer_lookups[5m])",
            Some("there is no metric tracer_lookups"),
        ),
        ("rate(tracer_lookups_total[5m])", None),
        (
            "tracer_lookups_total{outcom=\"nodata\"}",
            Some("tracer_lookups_total has no label outcom"),
        ),
        (
            "sum by (qtype) (tracer_lookups_total)",
            Some("none of its metrics has a label qtype"),
        ),
        ("sum by (le) (tracer_dns_latency_seconds_bucket)", None),
        ("up == 0", Some("it uses no metric of the program")),
    ] {
        let found = mistakes(query, &registered);
        assert_eq!(found.first().map(String::as_str), says, "{query}");
    }
}

#[test]
fn the_dashboard_uses_only_registered_metrics_and_labels() {
    let registered = registered();
    let file = include_str!("../../../../../deploy/dashboards/tracer.json");
    let dashboard: Value = serde_json::from_str(file).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() >= 10);
    let mut ids = BTreeSet::new();
    let mut queries: Vec<&str> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(
            ids.insert(panel["id"].as_u64().expect("an id")),
            "{title}: another panel has its id"
        );
        if panel["type"] == "row" {
            continue;
        }
        let description = panel["description"].as_str();
        assert!(description.is_some_and(|text| !text.is_empty()), "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let query = target["expr"].as_str().expect("a query");
            assert_eq!(mistakes(query, &registered), [""; 0], "{title}: {query}");
            queries.push(query);
            let used = words(query);
            // A legend shows only labels of the query's result.
            let legend = target["legendFormat"].as_str().expect("a legend");
            for label in legend.split("{{").skip(1) {
                let label = label.split("}}").next().expect("closed").trim();
                assert!(
                    used.contains(label) || TARGET_LABELS.contains(&label),
                    "{title}: {{{{{label}}}}} of {query}"
                );
            }
        }
        // So do the columns of a table.
        for transformation in panel["transformations"].as_array().into_iter().flatten() {
            let columns = transformation["options"]["renameByName"].as_object();
            for label in columns.into_iter().flat_map(|columns| columns.keys()) {
                let used = words(queries.last().expect("a query"));
                assert!(used.contains(label) || label == "Value", "{title}: {label}");
            }
        }
    }
    let variables = dashboard["templating"]["list"].as_array().expect("a list");
    let names: Vec<&str> = variables
        .iter()
        .map(|variable| variable["name"].as_str().expect("a name"))
        .collect();
    let expected = [
        "datasource",
        "node",
        "namespace",
        "workload",
        "server",
        "rule",
    ];
    assert_eq!(names, expected);
    for variable in variables.iter().skip(1) {
        let query = variable["query"]["query"].as_str().expect("a query");
        let inner = query.strip_prefix("label_values(").expect("label_values");
        let inner = inner.strip_suffix(')').expect("a closing one");
        let (selected, label) = inner.rsplit_once(", ").expect("a metric and a label");
        assert_eq!(mistakes(selected, &registered), [""; 0], "{query}");
        let metric = selected.split('{').next().expect("a metric");
        assert!(
            registered[metric].contains(label) || TARGET_LABELS.contains(&label),
            "{query}"
        );
        let name = variable["name"].as_str().expect("a name");
        let selects = format!("{name}=~\"${name}\"");
        assert!(
            queries.iter().any(|query| query.contains(&selects)),
            "{name}"
        );
    }
    // Every variable of a query is one of these, or Grafana's own.
    for query in queries {
        for rest in query.split('$').skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = &rest[..end.unwrap_or(rest.len())];
            assert!(
                names.contains(&name) || name.starts_with("__"),
                "${name} in {query}"
            );
        }
    }
}

/// The words of a query outside of its strings.
fn words(query: &str) -> BTreeSet<String> {
    let words = tokens(query).into_iter().filter_map(|token| match token {
        Token::Word(word) => Some(word),
        _ => None,
    });
    words.collect()
}

#[test]
fn the_documented_queries_use_only_registered_metrics_and_labels() {
    let registered = registered();
    let page = include_str!("../../../../../docs/metrics.md");
    let (_, questions) = page
        .split_once("## Questions they answer")
        .expect("the section");
    // A query is a block of indented lines after a comment.
    let queries = questions.split("\n\n").map(|block| {
        let lines = block.lines().filter_map(|line| line.strip_prefix("    "));
        let lines = lines.filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().join(" ")
    });
    let queries: Vec<String> = queries.filter(|query| !query.is_empty()).collect();
    assert!(queries.len() >= 5, "{queries:?}");
    for query in queries {
        assert_eq!(mistakes(&query, &registered), [""; 0], "{query}");
    }
}
