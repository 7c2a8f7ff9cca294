//! What both ends together show: the verdict, and the places on the path with what happened at each.

use std::sync::Arc;

use super::draw::Drawing;
use super::drops::{Drop, answer_drop, in_pod, others_dropped, request_drop};
use super::find::{Client, Found, Server, Why, client_name};
use super::join::Join;
use super::sighting::{Answer, pod_name};
use super::words::{drop_words, given, refusal, requests, silence, unknown, untranslated, word};
use crate::model::flow::Role;
use crate::model::path::{Path, Place, Verdict};

/// The path of a connection.
pub(super) fn path(join: &Join, client: &Client<'_>, server: &Server<'_>) -> Path {
    match server {
        Server::Found(found) => arrived(join, client, found),
        Server::Absent => missing(join, client, None),
        Server::Unknown(why) => missing(join, client, Some(*why)),
    }
}

/// What this end can say about the answer: silence only where nothing was lost.
fn answer(answer: Answer, incomplete: bool) -> Answer {
    match answer {
        Answer::Silence if incomplete => Answer::Unknown,
        answer => answer,
    }
}

/// The request arrived at the server's interface.
fn arrived(join: &Join, client: &Client<'_>, found: &Found<'_>) -> Path {
    let sent = answer(found.seen.answer, found.seen.incomplete);
    let got = answer(client.seen.answer, client.seen.incomplete);
    let pod = found.key.pod.ip();
    let dropped_in_pod =
        || request_drop(join, client).filter(|drop| *drop.node == *found.node && in_pod(drop));
    let lost_answer = || answer_drop(join, client, Some(found));
    let mut drawing = way_to_pod(client, found);
    let name = server_name(found);
    let node = Some(found.node);
    let pod_hop = |drawing: &mut Drawing, seen, what: &str, label: &str| {
        drawing.hop(Place::Pod, &name, node, seen, what, label);
    };
    let verdict = match (sent, got) {
        (Answer::Silence, Answer::Silence | Answer::Unknown) => {
            let (what, verdict) = match dropped_in_pod() {
                Some(drop) => {
                    drawing.rests_on(drop.probable);
                    (drop_words(&drop, None), Verdict::DroppedInPod)
                }
                None => (silence(found), Verdict::NotAnswered),
            };
            pod_hop(&mut drawing, Some(false), &what, "");
            verdict
        }
        (Answer::Given, Answer::Given) | (Answer::Unknown, Answer::Given) => {
            pod_hop(&mut drawing, Some(true), "", given(client));
            back(&mut drawing, client, Some(true), "");
            Verdict::Answered
        }
        (Answer::Given | Answer::Reset | Answer::Broken(_), Answer::Silence) => {
            pod_hop(&mut drawing, Some(true), "", word(sent, client));
            answer_lost(&mut drawing, client, lost_answer())
        }
        (Answer::Icmp(from), Answer::Silence) if from == pod => {
            pod_hop(&mut drawing, Some(true), "", word(sent, client));
            answer_lost(&mut drawing, client, lost_answer())
        }
        (_, Answer::Untranslated(from)) => {
            pod_hop(&mut drawing, Some(true), "", given(client));
            back(
                &mut drawing,
                client,
                Some(false),
                &untranslated(from, client),
            );
            Verdict::AnswerNotTranslated
        }
        (Answer::Reset, Answer::Reset | Answer::Icmp(_) | Answer::Broken(_) | Answer::Unknown) => {
            pod_hop(&mut drawing, Some(false), "sent RST", "");
            Verdict::RefusedByPod
        }
        (Answer::Icmp(from), _) if from == pod => {
            pod_hop(&mut drawing, Some(false), "sent an ICMP error", "");
            Verdict::RefusedByPod
        }
        (Answer::Silence | Answer::Given, Answer::Reset | Answer::Icmp(_)) => {
            pod_hop(&mut drawing, Some(true), "", "");
            let what = format!("got {} that the pod did not send", refusal(got));
            back(&mut drawing, client, Some(false), &what);
            Verdict::RefusedBeforePod
        }
        (Answer::Broken(one), Answer::Broken(other)) => {
            broken(&mut drawing, client, &name, found, one, other)
        }
        (Answer::Given, Answer::Broken(Role::Client)) => {
            pod_hop(&mut drawing, Some(true), "", given(client));
            back(&mut drawing, client, Some(false), "sent RST");
            Verdict::ResetByClient
        }
        (Answer::Given | Answer::Broken(_), Answer::Given | Answer::Unknown) => {
            pod_hop(&mut drawing, Some(true), "", given(client));
            back(&mut drawing, client, None, "unknown whether it arrived");
            Verdict::ClientHalfUnknown
        }
        _ => {
            pod_hop(&mut drawing, None, "arrived; its answer is unknown", "");
            Verdict::ServerHalfUnknown
        }
    };
    drawing.finish(verdict)
}

/// A connection that was reset: by the end that its own node saw send the reset.
fn broken(
    drawing: &mut Drawing,
    client: &Client<'_>,
    name: &Arc<str>,
    found: &Found<'_>,
    at_server: Role,
    at_client: Role,
) -> Verdict {
    let node = Some(found.node);
    match (at_server, at_client) {
        (Role::Server, Role::Server) => {
            drawing.hop(Place::Pod, name, node, Some(false), "sent RST", "");
            Verdict::ResetByPod
        }
        (Role::Client, Role::Client) => {
            drawing.hop(Place::Pod, name, node, Some(true), "", given(client));
            back(drawing, client, Some(false), "sent RST");
            Verdict::ResetByClient
        }
        (Role::Client, Role::Server) => {
            drawing.hop(Place::Pod, name, node, Some(true), "got RST", given(client));
            back(
                drawing,
                client,
                Some(false),
                "got RST too: neither pod sent it",
            );
            Verdict::ResetOnTheWay
        }
        (Role::Server, Role::Client) => {
            drawing.hop(Place::Pod, name, node, None, "both ends sent RST", "");
            Verdict::ServerHalfUnknown
        }
    }
}

/// The request was not seen at the server's interface.
fn missing(join: &Join, client: &Client<'_>, why: Option<Why>) -> Path {
    let got = answer(client.seen.answer, client.seen.incomplete);
    let was_refused = matches!(got, Answer::Reset | Answer::Icmp(_));
    match request_drop(join, client) {
        Some(drop) if !was_refused => return dropped(client, &drop, None),
        Some(drop) if drop.came_with_refusal(client) => return dropped(client, &drop, Some(got)),
        _ => {}
    }
    let address = client.endpoint.address.map(|address| address.ip());
    let mut drawing = client_side(client);
    let verdict = match (got, why) {
        (Answer::Untranslated(from), _) => {
            client_node(&mut drawing, client, Some(true));
            server_hops(&mut drawing, client, Some(true), "", given(client));
            back(
                &mut drawing,
                client,
                Some(false),
                &untranslated(from, client),
            );
            Verdict::AnswerNotTranslated
        }
        (Answer::Icmp(from), _) if address == Some(from) => {
            client_node(&mut drawing, client, Some(true));
            server_hops(&mut drawing, client, Some(false), "sent an ICMP error", "");
            Verdict::RefusedByPod
        }
        (Answer::Icmp(from), _) if from != client.key.peer.ip() => {
            refused(&mut drawing, client, got)
        }
        (Answer::Reset | Answer::Icmp(_), None) => refused(&mut drawing, client, got),
        (Answer::Silence | Answer::Unknown, None) => lost(&mut drawing, join, client),
        (_, why) => {
            client_node(&mut drawing, client, None);
            server_hops(&mut drawing, client, None, &unknown(why), "");
            Verdict::ServerHalfUnknown
        }
    };
    drawing.finish(verdict)
}

/// A refusal from elsewhere than the pod.
fn refused(drawing: &mut Drawing, client: &Client<'_>, got: Answer) -> Verdict {
    let from = match got {
        Answer::Icmp(from) => format!("refused by {from} with an ICMP error"),
        _ => "refused with RST before the pod".to_owned(),
    };
    client_node(drawing, client, None);
    drawing.hop(
        Place::Network,
        &"network".into(),
        None,
        Some(false),
        &from,
        "",
    );
    drawing.beyond(
        Place::Pod,
        &client.endpoint.name,
        client.endpoint.node.as_ref(),
    );
    Verdict::RefusedBeforePod
}

/// The request left the client, and the watched server's interface did not show it.
fn lost(drawing: &mut Drawing, join: &Join, client: &Client<'_>) -> Verdict {
    let endpoint = &client.endpoint;
    if endpoint.node.as_ref() == Some(client.node) {
        let what = "lost on the node, without a drop that was seen";
        drawing.hop(
            Place::Node,
            client.node,
            Some(client.node),
            Some(false),
            what,
            "",
        );
        drawing.beyond(Place::Pod, &endpoint.name, endpoint.node.as_ref());
        return Verdict::LostOnNode;
    }
    let server = endpoint.address.map(|address| address.ip());
    let ends = [
        (Some(client.node), Some(client.key.pod.ip())),
        (endpoint.node.as_ref(), server),
    ];
    let blind = ends.into_iter().find_map(|(node, pod)| {
        let (node, pod) = (node?, pod?);
        let sees = (join.known(node)).is_some_and(|known| known.sees_drops_of(pod));
        (!sees).then_some(node)
    });
    let lossy = (join.known(client.node)).is_some_and(|node| node.may_lack(client.seen));
    let others = others_dropped(join, client);
    if blind.is_some() || lossy || endpoint.node.is_none() || others {
        let unknown = "did not arrive; where it was lost is unknown";
        let what = match blind {
            Some(node) => format!("{unknown}: {node} isn't known to report its drops"),
            None if others => format!("{unknown}: other packets of these pods were dropped"),
            None => unknown.to_owned(),
        };
        client_node(drawing, client, None);
        if let Some(node) = &endpoint.node {
            drawing.hop(Place::Node, node, Some(node), None, "", "");
        }
        drawing.hop(
            Place::Pod,
            &endpoint.name,
            endpoint.node.as_ref(),
            Some(false),
            &what,
            "",
        );
        return Verdict::LostBeforePod;
    }
    client_node(drawing, client, Some(true));
    let what = "lost between the nodes: neither kernel dropped it";
    drawing.hop(
        Place::Network,
        &"network".into(),
        None,
        Some(false),
        what,
        "",
    );
    if let Some(node) = &endpoint.node {
        drawing.beyond(Place::Node, node, Some(node));
    }
    drawing.beyond(Place::Pod, &endpoint.name, endpoint.node.as_ref());
    Verdict::LostBetweenNodes
}

/// A kernel dropped the request, and possibly refused it.
fn dropped(client: &Client<'_>, drop: &Drop<'_>, refused: Option<Answer>) -> Path {
    let mut drawing = client_side(client);
    let endpoint = &client.endpoint;
    let what = drop_words(drop, refused);
    drawing.rests_on(drop.probable);
    let verdict = |verdict| match refused {
        Some(_) if in_pod(drop) => Verdict::RefusedByPod,
        Some(_) => Verdict::RefusedBeforePod,
        None => verdict,
    };
    let here = drop.node == client.node;
    let one_node = endpoint.node.as_ref() == Some(client.node);
    if here && !(one_node && in_pod(drop)) {
        drawing.hop(
            Place::Node,
            client.node,
            Some(client.node),
            Some(false),
            &what,
            "",
        );
        if let Some(node) = endpoint.node.as_ref().filter(|_| !one_node) {
            drawing.beyond(Place::Node, node, Some(node));
        }
        drawing.beyond(Place::Pod, &endpoint.name, endpoint.node.as_ref());
        return drawing.finish(verdict(Verdict::DroppedOnClientNode));
    }
    client_node(&mut drawing, client, Some(true));
    if in_pod(drop) {
        if !here {
            drawing.hop(Place::Node, drop.node, Some(drop.node), Some(true), "", "");
        }
        drawing.hop(
            Place::Pod,
            &endpoint.name,
            Some(drop.node),
            Some(false),
            &what,
            "",
        );
        return drawing.finish(verdict(Verdict::DroppedInPod));
    }
    drawing.hop(
        Place::Node,
        drop.node,
        Some(drop.node),
        Some(false),
        &what,
        "",
    );
    drawing.beyond(Place::Pod, &endpoint.name, Some(drop.node));
    drawing.finish(verdict(Verdict::DroppedOnServerNode))
}

/// The answer left the pod and did not arrive.
fn answer_lost(drawing: &mut Drawing, client: &Client<'_>, drop: Option<Drop<'_>>) -> Verdict {
    match drop {
        Some(drop) => {
            let what = drop_words(&drop, None);
            drawing.rests_on(drop.probable);
            drawing.hop(
                Place::Node,
                drop.node,
                Some(drop.node),
                Some(false),
                &what,
                "",
            );
            drawing.beyond(Place::Pod, &client_name(client), Some(client.node));
            Verdict::AnswerDropped
        }
        None => {
            back(drawing, client, Some(false), "the answer did not arrive");
            Verdict::AnswerLost
        }
    }
}

/// The client's pod.
fn client_side(client: &Client<'_>) -> Drawing {
    let mut drawing = Drawing::of_attempt(client.seen.started);
    let sent = format!("sent {}", requests(client.key.protocol, client.seen.asked));
    drawing.hop(
        Place::Pod,
        &client_name(client),
        Some(client.node),
        Some(true),
        &sent,
        "",
    );
    drawing
}

/// The client's node, with the endpoint that it translates to.
fn client_node(drawing: &mut Drawing, client: &Client<'_>, seen: Option<bool>) {
    let endpoint = &client.endpoint;
    let label = match endpoint.address.filter(|_| endpoint.translated) {
        Some(address) => address.ip().to_string(),
        None => String::new(),
    };
    let what = match label.is_empty() || seen.is_none() {
        true => String::new(),
        false => format!("translated to {label}"),
    };
    drawing.hop(
        Place::Node,
        client.node,
        Some(client.node),
        seen,
        &what,
        &label,
    );
}

/// The way to a pod whose interface the request reached.
fn way_to_pod(client: &Client<'_>, found: &Found<'_>) -> Drawing {
    let mut drawing = client_side(client);
    drawing.rests_on(found.masqueraded);
    let label = match client.key.peer.ip() == found.key.pod.ip() {
        true => String::new(),
        false => found.key.pod.ip().to_string(),
    };
    let what = match label.is_empty() {
        true => String::new(),
        false => format!("translated to {label}"),
    };
    drawing.hop(
        Place::Node,
        client.node,
        Some(client.node),
        Some(true),
        &what,
        &label,
    );
    if found.node != client.node {
        let (what, label) = match found.masqueraded {
            true => (
                format!("arrived, probably as {}", found.key.peer),
                format!("probably as {}", found.key.peer),
            ),
            false => ("arrived".to_owned(), String::new()),
        };
        drawing.hop(
            Place::Node,
            found.node,
            Some(found.node),
            Some(true),
            &what,
            &label,
        );
    }
    drawing
}

/// The server's node and pod, where neither was seen.
fn server_hops(
    drawing: &mut Drawing,
    client: &Client<'_>,
    seen: Option<bool>,
    what: &str,
    label: &str,
) {
    let endpoint = &client.endpoint;
    if let Some(node) = endpoint.node.as_ref().filter(|node| *node != client.node) {
        let passed = seen.map(|_| true);
        drawing.hop(Place::Node, node, Some(node), passed, "", "");
    }
    drawing.hop(
        Place::Pod,
        &endpoint.name,
        endpoint.node.as_ref(),
        seen,
        what,
        label,
    );
}

/// The client's pod, at the end of the way back.
fn back(drawing: &mut Drawing, client: &Client<'_>, seen: Option<bool>, what: &str) {
    drawing.hop(
        Place::Pod,
        &client_name(client),
        Some(client.node),
        seen,
        what,
        "",
    );
}

fn server_name(found: &Found<'_>) -> Arc<str> {
    pod_name(&found.seen.ends)
}
