//! What clients of the Kubernetes API rely on: pages, selectors, tables, watches that continue at another replica, and
//! refusals that they understand. By `kubectl get --raw`, so that no client library hides anything.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use testbed::lab::shell;
use testbed::watch::Watch;

use super::exports::forwarded;
use super::relays::{VIEWER, names, until};
use super::scene;
use super::target::Target;

const FINDINGS: &str = "/apis/tracer.internal/v1alpha1/namespaces/default/findings";
/// How long an event may take, from the packet to the client.
const PATIENCE: Duration = Duration::from_secs(60);
/// What docs/api.md says: how long a watch can outlive its user's permission.
const WITHDRAWN: Duration = Duration::from_secs(120);
/// What docs/api.md says: how much a watch that continues at another replica can repeat, in microseconds.
const REPEATED_US: u64 = 10_000_000;

fn raw(target: &Target, query: &str) -> Result<String> {
    target.kubectl(&["get", "--raw", &format!("{FINDINGS}{query}")])
}

fn json(target: &Target, query: &str) -> Result<Value> {
    let text = raw(target, query)?;
    serde_json::from_str(&text).with_context(|| format!("{query}: no JSON"))
}

fn watch(target: &Target, query: &str, more: &[&str]) -> Result<Watch> {
    let path = format!("{FINDINGS}?watch=true&{query}");
    let kubectl = ["kubectl", "get", "--raw", &path];
    Watch::spawn(target.command(&[&kubectl, more].concat())?)
}

/// Object names of a list.
fn listed(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    let names = items.filter_map(|item| item["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Pages, selectors and what is refused.
pub(super) fn lists(target: &Target) -> Result<String> {
    let all = json(target, "")?;
    let all: BTreeSet<String> = listed(&all).into_iter().collect();
    ensure!(all.len() >= 2, "the scenario has two findings: {all:?}");

    let mut paged = Vec::new();
    let mut page = json(target, "?limit=1")?;
    let version = page["metadata"]["resourceVersion"].clone();
    loop {
        let names = listed(&page);
        ensure!(names.len() == 1, "limit=1 gives {names:?}");
        paged.extend(names);
        let metadata = &page["metadata"];
        ensure!(
            metadata["resourceVersion"] == version,
            "a later page has another version than the first: {metadata}"
        );
        let Some(next) = metadata["continue"].as_str().map(str::to_owned) else {
            break;
        };
        ensure!(
            metadata["remainingItemCount"].as_u64() >= Some(1),
            "it continues with nothing: {metadata}"
        );
        page = json(target, &format!("?limit=1&continue={next}"))?;
    }
    let unique: BTreeSet<String> = paged.iter().cloned().collect();
    ensure!(
        unique.len() == paged.len() && unique.is_superset(&all),
        "the pages have {paged:?}, the list {all:?}"
    );

    for selector in [
        "rule=ping-clusterip",
        "spec.rule=ping-clusterip,state=active",
    ] {
        let field = format!("--field-selector={selector}");
        let found = target.get(&["-n", "default", "findings", &field])?;
        let items = found["items"].as_array().context("a list")?;
        ensure!(
            !items.is_empty()
                && items
                    .iter()
                    .all(|item| item["spec"]["rule"] == "ping-clusterip"),
            "{selector} selects {items:?}"
        );
    }
    for (query, reason) in [
        ("?fieldSelector=colour%3Dred", "BadRequest"),
        ("?continue=none", "BadRequest"),
        (
            "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            // kubectl writes the reason Invalid in words.
            "is invalid: sendInitialEvents",
        ),
        ("?watch=true&resourceVersion=1000", "Expired"),
    ] {
        refused(target, query, reason)?;
    }
    Ok(
        "pages and selectors of findings are complete, and sendInitialEvents is refused as Invalid"
            .to_owned(),
    )
}

fn refused(target: &Target, query: &str, reason: &str) -> Result<()> {
    match raw(target, query) {
        Ok(text) => bail!("{query} is answered:\n{text}"),
        Err(error) => {
            let error = format!("{error:#}");
            ensure!(error.contains(reason), "{query}, not {reason}: {error}");
            Ok(())
        }
    }
}

/// `kubectl get --watch` prints the rows of tables.
pub(super) fn table(target: &Target) -> Result<String> {
    let command = ["kubectl", "-n", "default", "get", "findings", "--watch"];
    let mut watch = Watch::spawn(target.command(&command)?)?;
    let mut lines = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let complete = |lines: &[String]| {
        let head = lines.first().is_some_and(|head: &String| {
            let columns: Vec<&str> = head.split_whitespace().collect();
            columns.starts_with(&["NAME", "SEVERITY", "STATE"])
        });
        head && lines.iter().any(|line| line.starts_with("ping-clusterip-"))
    };
    while !complete(&lines) {
        ensure!(
            Instant::now() < deadline,
            "kubectl get --watch prints:\n{}",
            lines.join("\n")
        );
        lines.extend(watch.line(Duration::from_secs(1))?);
    }
    watch.stop()?;
    Ok("kubectl get findings --watch prints the table".to_owned())
}

/// A watch ends when its user's permission is withdrawn.
pub(super) fn withdrawn(target: &Target) -> Result<String> {
    let mut watch = watch(target, "timeoutSeconds=600", &["--as", VIEWER])?;
    let first = next(&mut watch, PATIENCE)?.context("no event for a user with the role view")?;
    ensure!(first["type"] == "ADDED", "the first event is {first}");
    target.kubectl(&["-n", "default", "delete", "rolebinding", VIEWER])?;
    let since = Instant::now();
    loop {
        let left = WITHDRAWN.checked_sub(since.elapsed());
        let left = left.context("the watch outlives the permission by two minutes")?;
        let Some(event) = next(&mut watch, left)? else {
            continue;
        };
        if event["type"] == "ERROR" {
            let status = &event["object"];
            ensure!(
                status["kind"] == "Status" && status["code"] == 403,
                "the watch ends with {status}"
            );
            return Ok(format!(
                "a watch ends with 403 {:.0} s after its user's role binding was deleted",
                since.elapsed().as_secs_f64()
            ));
        }
    }
}

/// A watch whose relay is lost continues at the other one, from the version that it has reached.
pub(super) fn replicas(target: &Target) -> Result<String> {
    let list = json(target, "")?;
    let version = list["metadata"]["resourceVersion"].as_str();
    let begun = version.context("a list without a version")?.to_owned();
    let query = format!("resourceVersion={begun}&allowWatchBookmarks=true");
    let mut first = watch(target, &query, &[])?;
    // A Service of another namespace: a finding that the scenario has not caused.
    scene::in_client(target, &["nslookup", "kube-dns"])?;
    let added = about(&mut first, "kube-dns")?;
    ensure!(
        added["type"] == "ADDED",
        "a new finding is {}",
        added["type"]
    );
    let reached = version_of(&added)?;
    ensure!(reached > number(&begun)?, "{reached} is before {begun}");

    let serving = serving(target)?;
    target.kubectl(&["-n", "tracer", "delete", &serving, "--wait=false"])?;
    let ended = Instant::now();
    while first.line(Duration::from_secs(1)).is_ok() {
        ensure!(
            ended.elapsed() < PATIENCE,
            "the watch outlives its relay {serving}"
        );
    }
    // Meanwhile something happens that only the other relay can report.
    let service = target.get(&["-n", "default", "service", "kubernetes"])?;
    let address = service["spec"]["clusterIP"].as_str();
    let address = address.context("Service kubernetes has no address")?;
    scene::in_client(
        target,
        &["ping", "-n", "-c", "4", "-i", "0.2", "-W", "1", address],
    )?;
    let query = format!("resourceVersion={reached}");
    let mut second = until(PATIENCE, || {
        let mut second = watch(target, &query, &[])?;
        // kubectl ends at once if no relay answers yet.
        sleep(Duration::from_secs(1));
        second.line(Duration::ZERO).map(|line| (second, line))
    })?;
    let missed = continued(&mut second, reached, address)?;
    ensure!(
        missed % 1000 != reached % 1000,
        "the same relay answers: {missed} after {reached}"
    );
    second.0.stop()?;
    let rollout = [
        "rollout",
        "status",
        "deployment/tracer-relay",
        "--timeout=120s",
    ];
    target.kubectl(&[&["-n", "tracer"], rollout.as_slice()].concat())?;
    Ok("a watch continues at another relay: nothing is missing, nothing older than 10 s is repeated".to_owned())
}

/// Reads a watch that continues after `reached` up to the finding about `text`. Returns that one's version.
fn continued(watch: &mut (Watch, Option<String>), reached: u64, text: &str) -> Result<u64> {
    let (watch, line) = watch;
    let deadline = Instant::now() + PATIENCE;
    let mut last = 0;
    loop {
        ensure!(
            Instant::now() < deadline,
            "no finding about {text} after {reached}"
        );
        let event: Value = match line.take() {
            Some(line) => serde_json::from_str(&line)?,
            None => match next(watch, Duration::from_secs(1))? {
                Some(event) => event,
                None => continue,
            },
        };
        ensure!(event["type"] != "ERROR", "it does not continue: {event}");
        let version = version_of(&event)?;
        ensure!(version > last, "{version} comes after {last}");
        last = version;
        ensure!(
            version / 1000 + REPEATED_US >= reached / 1000,
            "{version} is repeated although the client knows {reached}"
        );
        if event["object"].to_string().contains(text) {
            return Ok(version);
        }
    }
}

/// The pod of the relay that has an open watch of findings, by its metrics.
fn serving(target: &Target) -> Result<String> {
    let mut known = Vec::new();
    for relay in names(target, "component=relay", None)? {
        let text = metrics(target, &relay)?;
        ensure!(
            text.lines().any(|line| line == "tracer_relay_ready 1"),
            "{relay} is not ready by its metrics:\n{text}"
        );
        let open = "tracer_relay_open_watches{resource=\"findings\",form=\"objects\"} ";
        let open = text.lines().find_map(|line| line.strip_prefix(open));
        known.push(format!("{relay}: {}", open.unwrap_or("none")));
        if open.is_some_and(|open| open != "0") {
            return Ok(relay);
        }
    }
    bail!("no relay has an open watch: {}", known.join(", "))
}

/// A relay's metrics, which are on its pod's loopback.
pub(super) fn metrics(target: &Target, relay: &str) -> Result<String> {
    let forward = ["kubectl", "-n", "tracer", "port-forward", relay, ":9097"];
    let mut forward = Watch::spawn(target.command(&forward)?)?;
    let line = forward.line(PATIENCE)?;
    let line = line.context("kubectl port-forward says nothing")?;
    let port = forwarded(&line).with_context(|| format!("no port in {line:?}"))?;
    let url = format!("http://127.0.0.1:{port}/metrics");
    let curl = ["curl", "-sSf", "--max-time", "10", &url];
    shell::run(&mut target.command(&curl)?)
}

/// The next event, if one comes in time.
fn next(watch: &mut Watch, patience: Duration) -> Result<Option<Value>> {
    let line = watch.line(patience)?;
    let event = line.map(|line| serde_json::from_str(&line).with_context(|| line.clone()));
    event.transpose()
}

/// The next event about an object that contains this text.
fn about(watch: &mut Watch, text: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        ensure!(Instant::now() < deadline, "no finding about {text}");
        if let Some(event) = next(watch, Duration::from_secs(1))?
            && event["object"].to_string().contains(text)
        {
            return Ok(event);
        }
    }
}

fn version_of(event: &Value) -> Result<u64> {
    let version = event["object"]["metadata"]["resourceVersion"].as_str();
    number(version.with_context(|| format!("no version in {event}"))?)
}

fn number(version: &str) -> Result<u64> {
    version
        .parse()
        .with_context(|| format!("{version:?} is no number"))
}
