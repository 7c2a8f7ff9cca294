use super::*;
use tracer_core::model::finding::Severity;
use tracer_core::view::gallery;

const NOW: u64 = 1_800_000_000 * SECOND_US;

fn report(namespace: &str, id: &str, emitted: i64, state: State) -> Report {
    let mut event = gallery::finding(Severity::Error, false);
    if let Body::Finding(finding) = &mut event.body {
        finding.id = id.to_owned();
        finding.state = state;
        finding.count = emitted.unsigned_abs();
    }
    Report {
        node: "a".into(),
        namespace: namespace.into(),
        pod: "web".into(),
        uid: "1".into(),
        emitted_unix_ns: emitted,
        event,
        encoded_bytes: 1000,
    }
}

fn active(namespace: &str, id: &str, emitted: i64) -> Report {
    report(namespace, id, emitted, State::Active)
}

/// `ns/count` of what was changed; `-` before what is gone.
fn changes(store: &Store, after: u64) -> Vec<String> {
    let changes = store.changes(after, 1000).expect("in the window");
    let mut last = after;
    let mut text = Vec::new();
    for change in changes {
        assert!(change.version > last, "in order");
        last = change.version;
        let count = change.kept.finding().expect("a finding").count;
        let sign = if change.gone { "-" } else { "" };
        text.push(format!("{sign}{}/{count}", change.kept.namespace));
    }
    text
}

#[test]
fn a_finding_keeps_its_name_and_gets_a_new_version() {
    let mut store = Store::new(1 << 20, NOW);
    assert_eq!(store.put(active("shop", "x", 1), NOW), Put::Added);
    let page = store.page(None, None, 9, |_| true, NOW);
    let first = Arc::clone(&page.items[0]);
    assert_eq!(store.put(active("shop", "x", 2), NOW), Put::Changed);
    let second = store.get("shop", &first.object.name).expect("kept");
    assert_eq!(second.object, first.object);
    assert_eq!(second.created, first.created);
    // Within the same microsecond.
    assert!(second.version > page.version && page.version >= first.version);
    assert_eq!(changes(&store, page.version), ["shop/2"]);
}

#[test]
fn a_history_that_is_sent_again_changes_nothing() {
    let mut store = Store::new(1 << 20, NOW);
    for emitted in [1, 2, 3] {
        store.put(active("shop", "x", emitted), NOW);
    }
    let version = store.version(NOW);
    for emitted in [1, 2, 3] {
        let put = store.put(active("shop", "x", emitted), NOW + 5);
        assert_eq!(put, Put::Unchanged);
    }
    assert!(changes(&store, version).is_empty());
    assert_eq!(store.put(active("shop", "x", 4), NOW + 6), Put::Changed);
}

#[test]
fn a_change_of_the_state_remembers_the_one_before() {
    let mut store = Store::new(1 << 20, NOW);
    store.put(active("shop", "x", 1), NOW);
    store.put(report("shop", "x", 2, State::Resolved), NOW + 10);
    let page = store.page(None, None, 9, |_| true, NOW + 20);
    let before = page.items[0].before;
    assert_eq!(before, Some((NOW + 10, Severity::Error, State::Active)));
    store.put(report("shop", "x", 3, State::Resolved), NOW + 30);
    let page = store.page(None, None, 9, |_| true, NOW + 40);
    assert_eq!(page.items[0].before, before);
}

#[test]
fn at_the_limit_the_largest_namespace_loses_its_resolved_and_oldest_findings() {
    let each = OVERHEAD_BYTES + 2000;
    let mut store = Store::new(5 * each, NOW);
    store.put(active("small", "s", 1), NOW);
    store.put(active("flood", "a", 10), NOW + 1);
    store.put(active("flood", "b", 11), NOW + 2);
    store.put(report("flood", "c", 12, State::Resolved), NOW + 3);
    let before = store.version(NOW + 3);
    for (index, id) in ["d", "e", "f"].into_iter().enumerate() {
        store.put(
            active("flood", id, 13 + index as i64),
            NOW + 10 + index as u64,
        );
    }
    let left = store.page(None, None, 99, |_| true, NOW + 20);
    let mut counts: Vec<u64> = left
        .items
        .iter()
        .map(|kept| kept.finding().expect("a finding").count)
        .collect();
    counts.sort_unstable();
    // Of the flood's, the resolved one went first, then the oldest.
    assert_eq!(counts, [1, 11, 13, 14, 15]);
    assert_eq!((store.len(), store.dropped()), (5, 2));
    assert!(store.bytes() <= 5 * each);
    // Deletions take little room: a watcher from before the first one has to list again.
    assert!(store.changes(before, 10).is_err());
}

#[test]
fn a_pod_with_many_findings_pushes_out_its_own_and_not_its_neighbours() {
    let each = OVERHEAD_BYTES + 2000;
    let mut store = Store::new(6 * each, NOW);
    let of = |pod: &str, id: &str, count: i64, state| {
        let report = report("shop", id, count, state);
        let pod = pod.into();
        Report { pod, ..report }
    };
    // The neighbours' are older, and one is resolved.
    store.put(of("api", "a", 1, State::Active), NOW);
    store.put(of("web", "b", 2, State::Resolved), NOW + 1);
    store.put(of("web", "c", 3, State::Active), NOW + 2);
    for flood in 10_i64..30 {
        let id = flood.to_string();
        let at = NOW + flood.unsigned_abs();
        store.put(of("flood", &id, flood, State::Active), at);
    }
    let left = store.page(None, None, 99, |_| true, NOW + 100);
    let mut counts: Vec<u64> = left
        .items
        .iter()
        .map(|kept| kept.finding().expect("a finding").count)
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 27, 28, 29]);
    // Nothing of the shares is left behind.
    assert!(store.expire(NOW + KEPT_ACTIVE_US + SECOND_US));
    assert_eq!((store.len(), store.shares.first_to_go()), (0, None));
}

#[test]
fn an_old_finding_is_deleted_and_watchers_learn_of_it() {
    let mut store = Store::new(1 << 20, NOW);
    store.put(active("shop", "x", 1), NOW);
    store.put(report("shop", "y", 2, State::Resolved), NOW);
    let version = store.version(NOW);
    assert!(!store.expire(NOW + KEPT_RESOLVED_US - 1));
    assert!(store.expire(NOW + KEPT_RESOLVED_US + SECOND_US));
    assert_eq!(changes(&store, version), ["-shop/2"]);
    assert!(store.expire(NOW + KEPT_ACTIVE_US + SECOND_US));
    assert_eq!(changes(&store, store.oldest), ["-shop/1"]);
    assert_eq!((store.len(), store.bytes()), (0, 0));
    assert!(store.changes(version, 9).is_err(), "the first is forgotten");
}

#[test]
fn a_watch_may_resume_at_another_replica_whatever_its_clock() {
    let mut store = Store::new(1 << 20, NOW);
    let start = NOW + 60 * SECOND_US;
    store.put(active("shop", "x", 1), start);
    // Its own version: nothing twice.
    let own = store.version(start);
    let from = store.resumed(own, true, start);
    assert!(changes(&store, from).is_empty());
    // Another replica received the change up to the slack later or earlier.
    for theirs in [
        start + SLACK_US - 1,
        start,
        start - 1,
        start + 3600 * SECOND_US,
    ] {
        let from = store.resumed(theirs, false, start + 1);
        assert_eq!(changes(&store, from), ["shop/1"], "{theirs}");
    }
    // From before this replica's start: it cannot know what vanished.
    let error = store.resume(NOW - 1, false, start).expect_err("too old");
    assert_eq!(error.oldest, NOW);
    assert!(store.resume(NOW, false, start).is_ok());
}

impl Store {
    fn resumed(&mut self, version: u64, own: bool, now_us: u64) -> u64 {
        self.resume(version, own, now_us).expect("in the window")
    }
}

#[test]
fn pages_follow_each_other_without_gap_or_repetition() {
    let mut store = Store::new(1 << 22, NOW);
    for (number, namespace) in ["a", "b", "c"].into_iter().enumerate() {
        for id in ["1", "2", "3"] {
            store.put(active(namespace, id, number as i64), NOW);
        }
    }
    let mut names: Vec<String> = Vec::new();
    let mut after: Option<(String, String)> = None;
    let mut remaining = Vec::new();
    loop {
        let start = after
            .as_ref()
            .map(|(ns, name)| (ns.as_str(), name.as_str()));
        let page = store.page(None, start, 4, |_| true, NOW);
        let Some(last) = page.items.last() else { break };
        after = Some((last.namespace.to_string(), last.object.name.clone()));
        names.extend(page.items.iter().map(|kept| kept.object.name.clone()));
        remaining.push(page.remaining);
        if page.remaining == 0 {
            break;
        }
    }
    assert_eq!(remaining, [5, 1, 0]);
    assert_eq!(names.len(), 9);
    let one = store.page(Some("b"), None, 9, |_| true, NOW);
    assert_eq!((one.items.len(), one.remaining), (3, 0));
}

fn path() -> Option<Path> {
    let all = gallery::all();
    all.into_iter().find_map(|(_, event)| match event.body {
        Body::Finding(finding) => finding.path.map(|path| *path),
        _ => None,
    })
}

#[test]
fn a_path_is_a_change_and_stays_when_the_finding_is_reported_again() {
    let mut store = Store::new(1 << 20, NOW);
    store.put(active("shop", "x", 1), NOW);
    let page = store.page(None, None, 9, |_| true, NOW);
    let name = page.items[0].object.name.clone();
    let bytes = store.bytes();
    let asked = AskedPath {
        last: Timestamp(7),
        answered_us: NOW + 5,
    };
    let found = path();
    assert!(found.is_some());
    assert!(store.set_path("shop", &name, asked, found.clone()));
    assert_eq!(changes(&store, page.version), ["shop/1"]);
    assert!(store.bytes() > bytes, "a path counts");
    // The same answer, and none, are no change.
    let version = store.version(NOW + 6);
    assert!(!store.set_path("shop", &name, asked, found.clone()));
    assert!(!store.set_path("shop", &name, asked, None));
    assert!(changes(&store, version).is_empty());
    assert_eq!(store.put(active("shop", "x", 2), NOW + 9), Put::Changed);
    let kept = store.get("shop", &name).expect("kept");
    let finding = kept.finding().expect("a finding");
    assert_eq!(
        (finding.count, finding.path.as_deref()),
        (2, found.as_ref())
    );
    assert_eq!(kept.asked, Some(asked));
    assert!(!store.set_path("shop", "gone", asked, found));
}
