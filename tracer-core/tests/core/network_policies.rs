//! NetworkPolicies in text files: each file of `tests/policies` has policies and, in comments, what they allow.
//!
//! `#? FROM -> TO PORT/PROTOCOL VERDICT`. An end is `namespace/pod` or `node/NAME` of cluster.yaml, or an
//! address; `TO via ADDRESS` is reached through a Service's address. VERDICT is `allowed`, `undecided`, or
//! `denied egress|ingress POLICY[,POLICY]` with all policies that select that end.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use tracer_core::files::inventory;
use tracer_core::model::cluster::{Inventory, NetworkPolicy};
use tracer_core::policy::{Connection, Direction, Party, PodView, Verdict, Who, judge};

fn load(file: &Path) -> Inventory {
    inventory::load(file).expect("an inventory").inventory
}

fn party<'a>(cluster: &'a Inventory, end: &'a str) -> Party<'a> {
    if let Ok(ip) = end.parse() {
        return Party {
            ip,
            who: Who::Outside,
        };
    }
    let (namespace, name) = end.split_once('/').expect("namespace/name");
    if namespace == "node" {
        let node = cluster.nodes.iter().find(|node| &*node.name == name);
        let ip = node.expect("a node of cluster.yaml").ips[0];
        return Party {
            ip,
            who: Who::Node(Some(name)),
        };
    }
    let mut pods = cluster.pods.iter();
    let pod = pods.find(|pod| &*pod.namespace == namespace && &*pod.name == name);
    let pod = pod.expect("a pod of cluster.yaml");
    let mut namespaces = cluster.namespaces.iter();
    let namespace = namespaces.find(|namespace| namespace.name == pod.namespace);
    let view = PodView {
        namespace: &pod.namespace,
        namespace_labels: namespace.map(|namespace| namespace.labels.as_slice()),
        labels: &pod.labels,
        ports: &pod.ports,
        node: pod.node.as_deref(),
    };
    Party {
        ip: pod.ips[0],
        who: match pod.host_network {
            true => Who::Node(pod.node.as_deref()),
            false => Who::Pod(view),
        },
    }
}

fn names(direction: &Direction<'_>) -> String {
    let name = |policy: &&NetworkPolicy| policy.name.to_string();
    direction
        .selecting
        .iter()
        .map(name)
        .collect::<Vec<_>>()
        .join(",")
}

fn verdict(cluster: &Inventory, policies: &[NetworkPolicy], question: &[&str]) -> String {
    let (&[from, "->", to, port], through) = (match question {
        [from, arrow, to, "via", address, port] => {
            let through: IpAddr = address.parse().expect("an address");
            (&[*from, *arrow, *to, *port], Some(through))
        }
        [from, arrow, to, port] => (&[*from, *arrow, *to, *port], None),
        _ => panic!("{question:?}"),
    }) else {
        panic!("{question:?}")
    };
    let (port, protocol) = port.split_once('/').expect("PORT/PROTOCOL");
    let connection = Connection {
        from: party(cluster, from),
        to: party(cluster, to),
        through,
        protocol,
        port: port.parse().expect("a port"),
    };
    let judgement = judge(policies, &connection);
    match (judgement.egress.verdict, judgement.ingress.verdict) {
        (Verdict::Denied, _) => format!("denied egress {}", names(&judgement.egress)),
        (_, Verdict::Denied) => format!("denied ingress {}", names(&judgement.ingress)),
        (Verdict::Undecided(_), _) | (_, Verdict::Undecided(_)) => "undecided".to_owned(),
        _ => {
            assert!(judgement.allows());
            "allowed".to_owned()
        }
    }
}

#[test]
fn policies_allow_what_the_specification_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    let cluster = load(&folder.join("cluster.yaml"));
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("tests/policies")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name != "cluster.yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a file");
        let policies = load(&file).policies;
        let questions = text.lines().filter_map(|line| line.strip_prefix("#? "));
        let mut asked = 0;
        for line in questions {
            let words: Vec<&str> = line.split_whitespace().collect();
            let port = words.iter().position(|word| {
                word.contains("/TCP") || word.contains("/UDP") || word.contains("/SCTP")
            });
            let (question, expected) = words.split_at(port.expect("PORT/PROTOCOL") + 1);
            let (found, expected) = (verdict(&cluster, &policies, question), expected.join(" "));
            if found != expected {
                wrong.push(format!("{}: {line}: {found}", file.display()));
            }
            asked += 1;
        }
        assert!(asked > 1, "{}: nothing is asked", file.display());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
