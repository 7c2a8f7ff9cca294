//! Services of the type ExternalName.

use tracer_core::explain::{LeadsTo, VerdictKind};
use tracer_core::model::connection::TcpState;

use super::question::{Question, ROUTING, ask, connection};

/// ExternalName Services: of Services of the cluster, through another one, around in a circle.
const ALIASES: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: front, namespace: team}, spec: {type: ExternalName, externalName: middle.team.svc.cluster.local}}
- {apiVersion: v1, kind: Service, metadata: {name: middle, namespace: team}, spec: {type: ExternalName, externalName: admitted.team.svc.cluster.local.}}
- {apiVersion: v1, kind: Service, metadata: {name: nowhere, namespace: team}, spec: {type: ExternalName, externalName: gone.team.svc.cluster.local}}
- {apiVersion: v1, kind: Service, metadata: {name: ping, namespace: team}, spec: {type: ExternalName, externalName: pong.team.svc.cluster.local}}
- {apiVersion: v1, kind: Service, metadata: {name: pong, namespace: team}, spec: {type: ExternalName, externalName: ping.team.svc.cluster.local}}
";

#[test]
fn an_external_name_is_followed_to_the_service_that_it_stands_for() {
    let question = Question::new(&[ROUTING, ALIASES]);
    let attempt = connection(
        &question.index,
        90,
        "10.97.0.5:443",
        None,
        TcpState::Established,
    );
    let question = question.with(vec![attempt]);
    for to in ["front", "svc/front", "middle.team"] {
        let answer = question.ask("team/client", Some(to));
        let leads: Vec<LeadsTo> = answer.aliases.iter().map(|one| one.leads_to).collect();
        let expected: &[LeadsTo] = match to {
            "middle.team" => &[LeadsTo::Service],
            _ => &[LeadsTo::Alias, LeadsTo::Service],
        };
        assert_eq!(leads, expected, "{to}");
        let service = answer.service.expect("the Service behind it");
        assert_eq!(service.name, "admitted");
        assert_eq!(service.asked_port.as_deref(), Some("443/TCP"));
        assert_eq!(answer.verdict.kind, VerdictKind::Works, "{to}");
    }
    let closed = question.ask("team/client", Some("front:444"));
    assert_eq!(
        closed.verdict.says,
        "Service team/admitted does not serve 444/TCP: it serves only 443/TCP"
    );
}

#[test]
fn an_external_name_outside_of_the_cluster_is_not_looked_up() {
    let answer = ask(&[ROUTING, ALIASES], "team/client", "dangling");
    let [alias] = &answer.aliases[..] else {
        panic!("{:?}", answer.aliases);
    };
    assert_eq!(alias.leads_to, LeadsTo::Outside);
    assert_eq!(alias.instead, None);
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    let unknown = "whether db.example.net resolves and answers: it is outside of the cluster, and no look-up is made";
    assert!(
        answer.unknown.iter().any(|one| one == unknown),
        "{:?}",
        answer.unknown
    );
}

#[test]
fn an_external_name_that_leads_nowhere_is_the_answer() {
    for (name, leads_to, says) in [
        (
            "nowhere",
            LeadsTo::Absent,
            "ExternalName Service team/nowhere stands for gone.team.svc.cluster.local, which leads nowhere: no Service \
             gone in team",
        ),
        (
            "circular",
            LeadsTo::Loop,
            "ExternalName Service team/circular stands for circular.team.svc.cluster.local, which leads nowhere: its \
             own name",
        ),
        (
            "ping",
            LeadsTo::Loop,
            "ExternalName Service team/pong stands for ping.team.svc.cluster.local, which leads nowhere: it leads back \
             to team/ping",
        ),
        (
            "by-address",
            LeadsTo::Address,
            "ExternalName Service team/by-address stands for 198.51.100.40: an address, which DNS takes as a name",
        ),
        (
            "shortened",
            LeadsTo::Outside,
            "ExternalName Service team/shortened stands for pair.team, a name outside of the cluster; possible cause, \
             if pair.team.svc.cluster.local is meant: no search domain is added",
        ),
    ] {
        let answer = ask(&[ROUTING, ALIASES], "team/client", name);
        let last = answer.aliases.last().expect("an alias");
        assert_eq!(last.leads_to, leads_to, "{name}");
        assert_eq!(answer.verdict.says, says);
        assert_eq!(answer.verdict.kind, VerdictKind::Blocked);
    }
}

#[test]
fn a_long_chain_of_external_names_is_not_followed_to_its_end() {
    let mut chain = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for number in 0..20 {
        chain += &format!(
            "- {{apiVersion: v1, kind: Service, metadata: {{name: s{number}, namespace: team}}, spec: {{type: \
             ExternalName, externalName: s{}.team.svc.cluster.local}}}}\n",
            number + 1
        );
    }
    let answer = ask(&[ROUTING, &chain], "team/client", "s0");
    assert_eq!(answer.aliases.len(), 8);
    let last = answer.aliases.last().expect("an alias");
    assert_eq!(last.leads_to, LeadsTo::Unknown);
}
