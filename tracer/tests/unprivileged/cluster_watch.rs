//! The watches of a cluster against the API server of the testbed: what the index answers after every rare
//! behaviour of a real server.
//!
//! Time is virtual: every change takes a second. No test sleeps for a fixed time, and none asserts a
//! duration, except that retries wait as long as the server demands.

mod cluster;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tracer::cluster::watch::{ClusterSource, RemoteIdentity, WatchConfig, Watches};
use tracer_core::identity::Presence;
use tracer_core::model::cluster::Kind;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::identity::UnknownReason;

use self::cluster::{Cluster, api, fill, pod, service, slice};
use testbed::api::{Api, Fault, GONE};

fn fault(code: u16, message: &'static str) -> Fault {
    Fault {
        code,
        message,
        retry_after: None,
    }
}

fn own(cluster: &Cluster, ip: &str) -> Result<String, UnknownReason> {
    let ip = ip.parse().unwrap();
    let pod = cluster.index.pod(cluster.now(), Ifindex(7), ip);
    pod.map(|pod| pod.name.to_string())
}

#[test]
fn what_is_listed_and_what_changes_is_known() {
    let mut cluster = Cluster::synced(api());
    assert_eq!(cluster.who("10.1.0.1").as_deref(), Some("default/a"));
    assert_eq!(cluster.who("10.152.0.1").as_deref(), Some("service web"));
    assert_eq!(cluster.who("192.168.1.1").as_deref(), Some("node here"));
    assert_eq!(cluster.index.endpoints("default", "web").len(), 1);
    let before = cluster.now();

    cluster.api.put("pods", pod("c", "10.1.0.3", "there"));
    cluster.until("c comes", |now| now.who("10.1.0.3").is_some());
    cluster.api.delete("pods", "default/a");
    cluster.until("a goes", |now| now.who("10.1.0.1").is_none());
    assert_eq!(
        cluster.who_at("10.1.0.1", before).as_deref(),
        Some("default/a"),
        "it is remembered for what it did before"
    );
    let gone = cluster
        .index
        .past_owner("10.1.0.1".parse().unwrap(), cluster.now());
    assert_eq!(gone.map(|(pod, _)| &*pod.name), Some("a"));
    assert_eq!(cluster.count("list pods"), 1);
    assert_eq!(cluster.news, [""; 0]);
    assert_eq!(cluster.watches.sync().report().to_string(), "up to date");
}

#[test]
fn a_long_list_comes_in_pages_and_is_reported_at_once() {
    let api = api();
    for number in 0..600 {
        let ip = format!("10.2.{}.{}", number / 200, number % 200);
        api.put("pods", pod(&format!("p{number}"), &ip, "there"));
    }
    let mut cluster = Cluster::watch(api);
    cluster.until("the pods are listed", |now| now.count("list pods") == 1);
    assert_eq!(cluster.index.pods().count(), 602);
    let asked = cluster.api.asked();
    let pages = asked
        .iter()
        .filter(|asked| asked.resource == "pods" && !asked.watch);
    assert_eq!(pages.count(), 7, "100 at a time");
    assert_eq!(cluster.count("put pods"), 0);
}

#[test]
fn only_what_the_role_allows_is_asked_for() {
    let cluster = Cluster::synced(api());
    let asked = cluster.api.asked();
    let verbs: BTreeSet<(&str, &str, bool)> = asked
        .iter()
        .map(|asked| (asked.resource.as_str(), asked.method.as_str(), asked.watch))
        .collect();
    let both = |kind: &Kind| [false, true].map(|watch| (kind.resource(), "GET", watch));
    assert_eq!(verbs, Kind::ALL.iter().flat_map(both).collect());
}

#[test]
fn after_410_gone_all_is_listed_anew_and_what_vanished_is_gone() {
    let mut cluster = Cluster::synced(api());
    let before = cluster.now();
    cluster.api.delete_silently("pods", "default/a");
    cluster
        .api
        .put_silently("pods", pod("c", "10.1.0.3", "there"));
    cluster.api.compact();
    cluster.api.send("pods", GONE);
    cluster.until("c is known", |now| now.who("10.1.0.3").is_some());
    assert_eq!(cluster.who("10.1.0.1"), None);
    assert_eq!(
        cluster.who_at("10.1.0.1", before).as_deref(),
        Some("default/a")
    );
    assert_eq!(
        cluster.who("10.1.0.2").as_deref(),
        Some("default/b"),
        "it stayed"
    );
    assert_eq!(
        (cluster.count("list pods"), cluster.count("delete pods")),
        (2, 0),
        "one change"
    );
    assert_eq!(cluster.count("list services"), 1, "the others go on");
    assert_eq!(cluster.report(Kind::Pod).relists, 1);
    assert_eq!(cluster.news, [""; 0], "no notice is needed");
}

#[test]
fn an_event_cut_in_the_middle_comes_whole_when_the_watch_resumes() {
    let mut cluster = Cluster::synced(api());
    cluster
        .api
        .put_silently("pods", pod("c", "10.1.0.3", "there"));
    cluster.api.send(
        "pods",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"namespace\":\"default\",\"name\":\"c",
    );
    cluster.api.break_watches("pods");
    cluster.until("c comes", |now| now.who("10.1.0.3").is_some());
    assert_eq!(cluster.who("10.1.0.3").as_deref(), Some("default/c"));
    assert_eq!(cluster.count("list pods"), 1, "it went on where it was");
    cluster.until("all is well", |now| {
        now.report(Kind::Pod).stale_since.is_none()
    });
}

#[test]
fn a_watch_goes_on_from_its_last_bookmark() {
    let mut cluster = Cluster::synced(api());
    let version = cluster.api.bookmark("services");
    cluster.api.end_watches("services");
    let resumed = |now: &Cluster| {
        let asked = now.api.asked().into_iter();
        asked
            .filter(|asked| asked.resource == "services" && asked.watch)
            .filter_map(|asked| asked.query["resourceVersion"].parse::<u64>().ok())
            .next_back()
    };
    cluster.until("it is watched again", |now| resumed(now) == Some(version));
    cluster.api.put("services", service("late", "10.152.0.9"));
    cluster.until("a change comes", |now| now.who("10.152.0.9").is_some());
    assert_eq!(cluster.count("list services"), 1);
}

#[test]
fn a_slow_list_holds_nothing_else_up_and_half_of_it_is_not_reported() {
    let api = api();
    api.hold("pods", true);
    let mut cluster = Cluster::watch(api);
    cluster.until("the Services are known", |now| {
        now.who("10.152.0.1").is_some()
    });
    assert_eq!(own(&cluster, "10.1.0.1"), Err(UnknownReason::NotAnswered));
    assert_eq!(
        cluster.index.has_pod("default", "missing"),
        Presence::CannotTell
    );
    assert!(!cluster.is_synced());
    cluster.api.hold("pods", false);
    cluster.until("pods are known", |now| now.is_synced());
    assert_eq!(own(&cluster, "10.1.0.1"), Ok("a".into()));
    assert_eq!(cluster.index.has_pod("default", "missing"), Presence::No);
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let api = api();
    let busy = Fault {
        code: 429,
        message: "too many requests",
        retry_after: Some(4),
    };
    api.fail("pods", false, busy);
    let mut cluster = Cluster::watch(api);
    cluster.until("the pods are known", |now| now.who("10.1.0.1").is_some());
    let asked = cluster.api.asked().into_iter();
    let lists: Vec<_> = asked
        .filter(|asked| asked.resource == "pods" && !asked.watch)
        .collect();
    // More than the watches would wait on their own.
    assert!(lists[1].at - lists[0].at >= Duration::from_secs(4));
    cluster.until("all is well", |now| now.is_synced());
}

#[test]
fn refused_credentials_are_read_again_and_names_stay_meanwhile() {
    let mut cluster = Cluster::synced(api());
    cluster.api.require("second");
    let stale = |now: &Cluster| now.watches.sync().report().stale_since().is_some();
    cluster.until("it is noticed", stale);
    assert_eq!(cluster.who("10.1.0.1").as_deref(), Some("default/a"));
    cluster.until("a notice", |now| !now.news.is_empty());
    let reported = &cluster.news[0];
    assert!(
        reported.contains("does not accept the credentials"),
        "{reported}"
    );
    assert!(reported.contains("names stay as they are"), "{reported}");

    cluster.api.delete_silently("pods", "default/a");
    cluster.renew("second");
    cluster.until("a is gone", |now| now.who("10.1.0.1").is_none());
    assert_eq!(cluster.who("10.1.0.2").as_deref(), Some("default/b"));
    cluster.until("all is well", |now| !stale(now) && now.news.len() == 2);
    assert!(
        cluster.news[1].ends_with("names are up to date"),
        "{:?}",
        cluster.news
    );
}

#[test]
fn without_permission_for_one_kind_the_others_are_known_and_it_says_what_is_missing() {
    let api = api();
    let message = "pods is forbidden: User \"me\" cannot list resource \"pods\"";
    api.fail_always("pods", Some(fault(403, message)));
    let mut cluster = Cluster::watch(api);
    cluster.until("it is refused", |now| now.count("refused pods") > 0);
    assert_eq!(own(&cluster, "10.1.0.1"), Err(UnknownReason::Refused));
    cluster.until("the rest is synced", |now| now.is_synced());
    cluster.until("a notice", |now| !now.news.is_empty());
    assert_eq!(cluster.who("10.152.0.1").as_deref(), Some("service web"));
    assert_eq!(cluster.report(Kind::Pod).refused, Some("list"));
    let reported = &cluster.news[0];
    for part in [
        "does not allow this user to list pods",
        message,
        "Grant \"list\" and \"watch\" on pods in a ClusterRole",
    ] {
        assert!(reported.contains(part), "{reported}");
    }
    cluster.api.fail_always("pods", None);
    cluster.until("pods are known", |now| {
        own(now, "10.1.0.1") == Ok("a".into())
    });
    cluster.until("it is well", |now| now.report(Kind::Pod).refused.is_none());
    assert_eq!(cluster.news.len(), 1, "once: {:?}", cluster.news);
}

#[test]
fn while_the_server_fails_the_index_stays_and_it_is_said_since_when() {
    let mut cluster = Cluster::synced(api());
    cluster
        .api
        .fail_always("pods", Some(fault(500, "etcd is gone")));
    cluster.api.break_watches("pods");
    let stale = |now: &Cluster| now.report(Kind::Pod).stale_since;
    cluster.until("it is noticed", |now| stale(now).is_some());
    assert_eq!(cluster.who("10.1.0.1").as_deref(), Some("default/a"));
    let since = stale(&cluster);
    let report = cluster.watches.sync().report().to_string();
    assert!(report.starts_with("stale since "), "{report}");
    assert!(report.ends_with(": pods"), "{report}");

    cluster
        .api
        .put_silently("pods", pod("c", "10.1.0.3", "there"));
    cluster.until("it fails again", |now| {
        let asked = now.api.asked();
        asked
            .iter()
            .filter(|asked| asked.resource == "pods")
            .count()
            >= 4
    });
    assert_eq!(stale(&cluster), since, "the first failure counts");
    cluster.api.fail_always("pods", None);
    cluster.until("what was missed comes", |now| now.who("10.1.0.3").is_some());
    cluster.until("all is well", |now| stale(now).is_none());
    assert_eq!(cluster.count("list pods"), 1);
    cluster.until("both notices", |now| now.news.len() == 2);
    assert!(
        cluster.news[0].contains("etcd is gone"),
        "{:?}",
        cluster.news
    );
}

#[test]
fn a_malformed_object_is_left_out_and_counted() {
    let api = api();
    let mut wrong = pod("wrong-type", "10.1.0.8", "there");
    wrong["spec"]["hostNetwork"] = json!("maybe");
    api.put("pods", wrong);
    api.put("pods", pod("wrong-address", "10.1.0.999", "there"));
    let mut cluster = Cluster::synced(api);
    assert_eq!(cluster.index.pods().count(), 2, "a and b");
    assert_eq!(cluster.report(Kind::Pod).malformed, 2);
    // In a watch the object stays as it was.
    let mut wrong = pod("a", "10.1.0.1", "here");
    wrong["spec"]["hostNetwork"] = json!("maybe");
    cluster.api.put("pods", wrong);
    cluster.api.put("pods", pod("c", "10.1.0.3", "there"));
    cluster.until("the next one comes", |now| now.who("10.1.0.3").is_some());
    assert_eq!(cluster.who("10.1.0.1").as_deref(), Some("default/a"));
    assert_eq!(cluster.report(Kind::Pod).malformed, 3);
    // A line that is not an event is skipped.
    cluster
        .api
        .send("pods", "{\"type\":\"ADDED\",\"object\":7}\n");
    cluster.api.put("pods", pod("d", "10.1.0.4", "there"));
    cluster.until("the next one comes", |now| now.who("10.1.0.4").is_some());
    assert_eq!(cluster.count("list pods"), 1);
}

#[test]
fn a_server_that_is_away_at_start_names_later() {
    // A kubeconfig for an address without a listener.
    let api = Api::start();
    let address = api.address;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    std::fs::write(file, api.kubeconfig("first")).unwrap();
    drop(api);
    let mut cluster = Cluster::watch_by(Api::start(), directory, RemoteIdentity::Cluster);
    cluster.until("a notice", |now| !now.news.is_empty());
    let reported = &cluster.news[0];
    assert!(
        reported.contains(&format!("cannot reach http://{address}: ")),
        "{reported}"
    );
    assert!(reported.contains("names come later"), "{reported}");
    assert_eq!(own(&cluster, "10.1.0.1"), Err(UnknownReason::NotAnswered));
    let now = cluster.now();
    let deadline = cluster.index.name_deadline(now, now, Ifindex(7));
    assert!(deadline.is_some(), "for a moment");

    let api = Api::at(address);
    fill(&api);
    cluster.until("names come", |now| own(now, "10.1.0.1") == Ok("a".into()));
    cluster.until("all is well", |now| now.is_synced() && now.news.len() == 2);
}

#[test]
fn an_api_without_a_kind_is_not_asked_for_it_again() {
    let api = api();
    api.fail_always(
        "servicecidrs",
        Some(fault(404, "the server could not find it")),
    );
    let mut cluster = Cluster::watch(api);
    cluster.until("the rest is synced", |now| now.is_synced());
    assert!(cluster.report(Kind::ServiceCidr).absent);
    assert_eq!(cluster.news, [""; 0]);
    cluster.api.put("pods", pod("c", "10.1.0.3", "there"));
    cluster.until("the rest continues", |now| now.who("10.1.0.3").is_some());
    let asked = cluster.api.asked();
    let asked = asked
        .iter()
        .filter(|asked| asked.resource == "servicecidrs");
    assert_eq!(asked.count(), 1);
}

#[test]
fn with_endpoints_other_nodes_pods_are_known_by_slices() {
    let mut cluster = Cluster::watch_with(api(), RemoteIdentity::Endpoints);
    cluster.until("all is synced", |now| now.is_synced());
    let pods: Vec<_> = cluster
        .index
        .pods()
        .map(|pod| pod.name.to_string())
        .collect();
    assert_eq!(pods, ["a"], "this node's");
    assert_eq!(
        cluster.who("10.1.0.2").as_deref(),
        Some("default/b"),
        "by its slice"
    );
    assert_eq!(
        cluster.index.has_pod("default", "b"),
        Presence::CannotTell,
        "it may be elsewhere"
    );
    cluster
        .api
        .put("endpointslices", slice("web", "c", "10.1.0.3"));
    cluster.until("c comes", |now| now.who("10.1.0.3").is_some());
    assert_eq!(cluster.who("10.1.0.2"), None, "no slice has it any more");
}

#[test]
fn with_none_slices_are_not_even_asked_for() {
    let mut cluster = Cluster::watch_with(api(), RemoteIdentity::None);
    cluster.until("all is synced", |now| now.is_synced());
    assert_eq!(cluster.who("10.1.0.1").as_deref(), Some("default/a"));
    assert_eq!(cluster.who("10.1.0.2"), None);
    assert_eq!(cluster.who("10.152.0.1").as_deref(), Some("service web"));
    assert!(!cluster.index.knows_endpoints());
    let asked = cluster.api.asked();
    assert!(asked.iter().all(|asked| asked.resource != "endpointslices"));
}

#[test]
fn credentials_that_cannot_be_used_are_an_error_at_once() {
    let spawn = |source| {
        let (changes, _) = tokio::sync::mpsc::channel(1);
        let config = WatchConfig {
            source,
            remote: RemoteIdentity::Cluster,
            node: "here".into(),
        };
        Watches::spawn(config, changes).unwrap_err().to_string()
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    let kubeconfig = |context: Option<&str>| ClusterSource::Kubeconfig {
        file: Some(file.clone()),
        context: context.map(str::to_owned),
    };
    let missing = spawn(kubeconfig(None));
    assert!(missing.contains("cannot use the kubeconfig"), "{missing}");
    assert!(missing.contains(&*file.to_string_lossy()), "{missing}");
    assert!(missing.contains("No such file"), "{missing}");
    std::fs::write(&file, api().kubeconfig("t")).unwrap();
    let context = spawn(kubeconfig(Some("elsewhere")));
    assert!(context.contains("elsewhere"), "{context}");
}

#[test]
fn a_server_with_tls_that_is_away_is_no_error_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    // No listener, and only root could start one.
    let server = "https://127.0.0.1:1";
    let config = json!({
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    });
    std::fs::write(file, config.to_string()).unwrap();
    let mut cluster = Cluster::watch_by(Api::start(), directory, RemoteIdentity::Cluster);
    cluster.until("a notice", |now| !now.news.is_empty());
    let reported = &cluster.news[0];
    assert!(
        reported.contains(&format!("cannot reach {server}: ")),
        "{reported}"
    );
}
