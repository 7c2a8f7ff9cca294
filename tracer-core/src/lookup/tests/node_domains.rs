//! Search domains from the node's resolv.conf, and lookups that began before the input did.

use super::*;

const KNOWN: [&str; 3] = [
    "web.default.svc.cluster.local",
    "web.svc.cluster.local",
    "web.cluster.local",
];

impl Pod {
    /// Asks for A of each name in turn; each gets NXDOMAIN.
    fn walk(&mut self, names: &[&str]) -> Vec<Option<Place>> {
        let mut places = Vec::new();
        for name in names {
            self.ask(1, name, A);
            places.push(self.end(1, name, A, Nxdomain));
        }
        places
    }

    fn learned(&self) -> (Vec<String>, bool) {
        let (domains, complete) = self.folder.node_domains.for_node(None);
        (domains.iter().map(ToString::to_string).collect(), complete)
    }
}

fn of(place: &Option<Place>) -> Option<u32> {
    place.as_ref().and_then(|place| place.of)
}

#[test]
fn a_node_domain_is_learned_where_no_other_reading_is_left() {
    let mut pod = Pod::new();
    let whole = [&KNOWN[..], &["web.example.internal", "web"]].concat();
    let places = pod.walk(&whole);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Nxdomain, 5)]
    );
    assert_eq!(of(&places[2]), Some(4));
    assert_eq!(of(&places[3]), Some(5));
    assert_eq!(pod.learned(), (vec!["example.internal.".to_owned()], true));
    // From now on it is an expected candidate.
    let other = whole.iter().map(|name| name.replace("web", "db"));
    let other: Vec<String> = other.collect();
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    let places = pod.walk(&other);
    assert_eq!(of(&places[1]), Some(5));
    assert_eq!(
        pod.decided_lookups()[1],
        (Some("db"), "A".to_owned(), Nxdomain, 5)
    );
}

#[test]
fn an_answer_under_a_node_domain_shows_that_domain_but_not_a_complete_list() {
    let mut pod = Pod::new();
    pod.walk(&KNOWN);
    for qtype in [A, AAAA] {
        pod.ask(2, "web.example.internal", qtype);
    }
    pod.end(2, "web.example.internal", A, Answered);
    pod.end(2, "web.example.internal", AAAA, Nodata);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A+AAAA".to_owned(), Answered, 5)]
    );
    assert_eq!(pod.learned(), (vec!["example.internal.".to_owned()], false));
}

#[test]
fn node_domains_are_learned_in_order_and_dropped_when_they_disappear() {
    let mut pod = Pod::new();
    pod.walk(&[&KNOWN[..], &["web.one.test", "web.two.test", "web"]].concat());
    let both = vec!["one.test.".to_owned(), "two.test.".to_owned()];
    assert_eq!(pod.learned(), (both, true));
    // The first domain was removed and a third added.
    pod.walk(&[&KNOWN[..], &["web.two.test", "web.three.test", "web"]].concat());
    let now = vec!["two.test.".to_owned(), "three.test.".to_owned()];
    assert_eq!(pod.learned(), (now, true));
    pod.walk(&[&KNOWN[..], &["web"]].concat());
    assert_eq!(pod.learned(), (vec![], true));
    let queries: Vec<u32> = pod
        .decided_lookups()
        .into_iter()
        .map(|decided| decided.3)
        .collect();
    assert_eq!(queries, [6, 6, 4]);
}

#[test]
fn a_name_with_the_same_head_is_a_candidate_only_where_no_other_reading_is_left() {
    // After a pause it is a new question.
    let mut pod = Pod::new();
    pod.walk(&KNOWN);
    pod.wait(101);
    pod.ask(9, "web.example.com", A);
    pod.end(9, "web.example.com", A, Answered);
    pod.wait(6_000);
    assert_eq!(pod.decided_lookups().len(), 2);
    // musl stops after NODATA.
    let mut pod = Pod::new();
    pod.walk(&KNOWN[..2]);
    pod.ask(1, KNOWN[2], A);
    pod.end(1, KNOWN[2], A, Nodata);
    pod.ask(9, "web.example.com", A);
    pod.end(9, "web.example.com", A, Answered);
    pod.wait(6_000);
    assert_eq!(pod.decided_lookups().len(), 2);
    // The asked name is not certain.
    let mut pod = Pod::new();
    pod.walk(&["web.cluster.local", "web.example.com"]);
    pod.wait(6_000);
    assert_eq!(pod.decided_lookups().len(), 2);
    // The query comes at another position of the list.
    let mut pod = Pod::new();
    pod.walk(&[KNOWN[0], KNOWN[1], "web.example.com"]);
    pod.wait(6_000);
    assert_eq!(pod.decided_lookups().len(), 2);
    assert_eq!(pod.learned(), (vec![], false));
}

#[test]
fn a_name_tried_as_it_is_first_ends_with_the_node_domains() {
    let mut pod = Pod::new();
    let long = "a.b.c.d.e.f";
    let list = SEARCH.map(|domain| format!("{long}.{domain}"));
    let known: Vec<&str> = [long]
        .into_iter()
        .chain(list.iter().map(String::as_str))
        .collect();
    pod.walk(&known);
    assert!(
        pod.decided_lookups().is_empty(),
        "a node domain could follow"
    );
    pod.walk(&["a.b.c.d.e.f.example.internal"]);
    pod.wait(100);
    assert_eq!(
        pod.decided_lookups(),
        [(Some(long), "A".to_owned(), Nxdomain, 5)]
    );
    assert_eq!(pod.learned(), (vec!["example.internal.".to_owned()], false));
}

#[test]
fn a_lookup_that_may_have_begun_earlier_has_an_asked_name_only_if_it_is_certain() {
    let begin = || {
        let mut pod = Pod::new();
        pod.folder = Folder::new(&Thresholds::default(), &Limits::default());
        pod
    };
    // The third candidate of `web`, or a full name.
    let mut pod = begin();
    pod.walk(&["web.cluster.local", "web"]);
    assert_eq!(
        pod.decided_lookups(),
        [(Some("web"), "A".to_owned(), Nxdomain, 2)]
    );
    // The last candidate of `example.com`, or a full name.
    let mut pod = begin();
    pod.walk(&["example.com"]);
    pod.wait(100);
    assert_eq!(pod.decided_lookups(), [(None, "A".to_owned(), Nxdomain, 1)]);
    pod.wait(1_000);
    pod.walk(&["example.com"]);
    pod.wait(100);
    assert_eq!(
        pod.decided_lookups()[1],
        (Some("example.com."), "A".to_owned(), Nxdomain, 1)
    );
}

#[test]
fn a_lookup_without_a_known_search_list_is_decided_without_delay() {
    let mut pod = Pod::new();
    pod.resolver = None;
    pod.walk(&["no.example.com"]);
    pod.wait(100);
    assert_eq!(pod.decided_lookups(), [(None, "A".to_owned(), Nxdomain, 1)]);
    for qtype in [A, AAAA] {
        pod.ask(3, "no.example.com", qtype);
    }
    for qtype in [A, AAAA] {
        pod.end(3, "no.example.com", qtype, Nxdomain);
    }
    assert_eq!(
        pod.decided_lookups()[1],
        (None, "A+AAAA".to_owned(), Nxdomain, 2)
    );
}
