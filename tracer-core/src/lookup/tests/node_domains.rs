//! Domains that stand in the node's resolv.conf alone, and lookups that began before anybody looked.

use super::*;

const KNOWN: [&str; 3] = [
    "web.default.svc.cluster.local",
    "web.svc.cluster.local",
    "web.cluster.local",
];

impl Pod {
    /// Asks for A under each name in turn; each is unknown.
    fn walk(&mut self, names: &[&str]) -> Vec<Option<Place>> {
        let mut places = Vec::new();
        for name in names {
            self.ask(1, name, A);
            places.push(self.end(1, name, A, Nxdomain));
        }
        places
    }

    fn learned(&self) -> (Vec<String>, bool) {
        let (domains, complete) = self.folder.node_domains.of(None);
        (domains.iter().map(ToString::to_string).collect(), complete)
    }
}

fn of(place: &Option<Place>) -> Option<u32> {
    place.as_ref().and_then(|place| place.of)
}

#[test]
fn a_domain_of_the_node_is_learned_where_nothing_else_can_stand() {
    let mut pod = Pod::new();
    let whole = [&KNOWN[..], &["web.example.internal", "web"]].concat();
    let places = pod.walk(&whole);
    assert_eq!(pod.told(), [(Some("web"), "A".to_owned(), Nxdomain, 5)]);
    assert_eq!(of(&places[2]), Some(4));
    assert_eq!(of(&places[3]), Some(5));
    assert_eq!(pod.learned(), (vec!["example.internal.".to_owned()], true));
    // From now on it is expected.
    let other = whole.iter().map(|name| name.replace("web", "db"));
    let other: Vec<String> = other.collect();
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    let places = pod.walk(&other);
    assert_eq!(of(&places[1]), Some(5));
    assert_eq!(pod.told()[1], (Some("db"), "A".to_owned(), Nxdomain, 5));
}

#[test]
fn a_name_found_with_a_domain_of_the_node_tells_that_it_is_one_and_not_that_it_is_the_only_one() {
    let mut pod = Pod::new();
    pod.walk(&KNOWN);
    for qtype in [A, AAAA] {
        pod.ask(2, "web.example.internal", qtype);
    }
    pod.end(2, "web.example.internal", A, Answered);
    pod.end(2, "web.example.internal", AAAA, Nodata);
    assert_eq!(
        pod.told(),
        [(Some("web"), "A+AAAA".to_owned(), Answered, 5)]
    );
    assert_eq!(pod.learned(), (vec!["example.internal.".to_owned()], false));
}

#[test]
fn two_domains_of_the_node_are_learned_in_order_and_forgotten_when_they_are_gone() {
    let mut pod = Pod::new();
    pod.walk(&[&KNOWN[..], &["web.one.test", "web.two.test", "web"]].concat());
    let both = vec!["one.test.".to_owned(), "two.test.".to_owned()];
    assert_eq!(pod.learned(), (both, true));
    // The first is gone, a third has come.
    pod.walk(&[&KNOWN[..], &["web.two.test", "web.three.test", "web"]].concat());
    let now = vec!["two.test.".to_owned(), "three.test.".to_owned()];
    assert_eq!(pod.learned(), (now, true));
    pod.walk(&[&KNOWN[..], &["web"]].concat());
    assert_eq!(pod.learned(), (vec![], true));
    let queries: Vec<u32> = pod.told().into_iter().map(|told| told.3).collect();
    assert_eq!(queries, [6, 6, 4]);
}

#[test]
fn a_name_that_begins_alike_is_not_taken_for_a_candidate_without_need() {
    // After a pause it was asked anew.
    let mut pod = Pod::new();
    pod.walk(&KNOWN);
    pod.wait(101);
    pod.ask(9, "web.example.com", A);
    pod.end(9, "web.example.com", A, Answered);
    pod.wait(6_000);
    assert_eq!(pod.told().len(), 2);
    // After NODATA musl has stopped.
    let mut pod = Pod::new();
    pod.walk(&KNOWN[..2]);
    pod.ask(1, KNOWN[2], A);
    pod.end(1, KNOWN[2], A, Nodata);
    pod.ask(9, "web.example.com", A);
    pod.end(9, "web.example.com", A, Answered);
    pod.wait(6_000);
    assert_eq!(pod.told().len(), 2);
    // Where what was asked for is not certain.
    let mut pod = Pod::new();
    pod.walk(&["web.cluster.local", "web.example.com"]);
    pod.wait(6_000);
    assert_eq!(pod.told().len(), 2);
    // In another place of the list.
    let mut pod = Pod::new();
    pod.walk(&[KNOWN[0], KNOWN[1], "web.example.com"]);
    pod.wait(6_000);
    assert_eq!(pod.told().len(), 2);
    assert_eq!(pod.learned(), (vec![], false));
}

#[test]
fn a_name_tried_as_it_is_first_goes_through_the_nodes_domains_last() {
    let mut pod = Pod::new();
    let long = "a.b.c.d.e.f";
    let list = SEARCH.map(|domain| format!("{long}.{domain}"));
    let known: Vec<&str> = [long]
        .into_iter()
        .chain(list.iter().map(String::as_str))
        .collect();
    pod.walk(&known);
    assert!(pod.told().is_empty(), "a domain of the node's could follow");
    pod.walk(&["a.b.c.d.e.f.example.internal"]);
    pod.wait(100);
    assert_eq!(pod.told(), [(Some(long), "A".to_owned(), Nxdomain, 5)]);
    assert_eq!(pod.learned(), (vec!["example.internal.".to_owned()], false));
}

#[test]
fn a_lookup_that_may_have_begun_earlier_claims_what_was_asked_only_when_it_is_clear() {
    let begin = || {
        let mut pod = Pod::new();
        pod.folder = Folder::new(&Thresholds::default(), &Limits::default());
        pod
    };
    // The third candidate of `web`, or a full name.
    let mut pod = begin();
    pod.walk(&["web.cluster.local", "web"]);
    assert_eq!(pod.told(), [(Some("web"), "A".to_owned(), Nxdomain, 2)]);
    // The last of `example.com`, or a full name.
    let mut pod = begin();
    pod.walk(&["example.com"]);
    pod.wait(100);
    assert_eq!(pod.told(), [(None, "A".to_owned(), Nxdomain, 1)]);
    pod.wait(1_000);
    pod.walk(&["example.com"]);
    pod.wait(100);
    assert_eq!(
        pod.told()[1],
        (Some("example.com."), "A".to_owned(), Nxdomain, 1)
    );
}

#[test]
fn a_pod_whose_search_list_nobody_knows_is_told_without_delay() {
    let mut pod = Pod::new();
    pod.resolver = None;
    pod.walk(&["no.example.com"]);
    pod.wait(100);
    assert_eq!(pod.told(), [(None, "A".to_owned(), Nxdomain, 1)]);
    for qtype in [A, AAAA] {
        pod.ask(3, "no.example.com", qtype);
    }
    for qtype in [A, AAAA] {
        pod.end(3, "no.example.com", qtype, Nxdomain);
    }
    assert_eq!(pod.told()[1], (None, "A+AAAA".to_owned(), Nxdomain, 2));
}
