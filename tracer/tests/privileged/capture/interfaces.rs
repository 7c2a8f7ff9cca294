//! Which interfaces are attached and when, and what stays behind.

use std::time::{Duration, Instant};

use aya::programs::tc::TcAttachType;
use aya::programs::{SchedClassifier, loaded_programs};
use testbed::turn;
use tracer::capture::live::{
    self as capture, Capture, CaptureError, Hook, InterfaceEvent, TracedLink,
};
use tracer::capture::{HookChoice, Options};

use super::child::{Child, hooks, programs_left};
use super::live::{GATEWAY, Live, udp_payload, udp_socket};
use super::netns::Netns;

/// Classic BPF of one instruction for tc's bpf classifier: returns -1 ("next") or 2 ("drop").
const CONTINUE: &str = "1,6 0 0 4294967295";
const DROP: &str = "1,6 0 0 2";

pub fn attached(live: &Live, name: &str) -> bool {
    live.events
        .iter()
        .any(|event| matches!(event, InterfaceEvent::Attached { link, .. } if link.name == name))
}

pub fn by(hook: HookChoice) -> Options {
    Options {
        hook,
        ..Options::default()
    }
}

/// What tc shows of both hooks.
fn filters(node: &Netns, interface: &str) -> String {
    node.sh(&format!(
        "tc filter show dev {interface} ingress; tc filter show dev {interface} egress"
    ))
}

/// The programs that TCX has on both hooks.
pub fn tcx_programs(node: &Netns, interface: &str) -> Vec<u32> {
    node.enter(|| {
        [TcAttachType::Ingress, TcAttachType::Egress]
            .into_iter()
            .flat_map(|direction| {
                SchedClassifier::query_tcx(interface, direction)
                    .expect("TCX answers")
                    .1
            })
            .map(|program| program.id())
            .collect()
    })
}

/// The programs of clsact filters, as tc prints them ("... id 17 ...").
pub fn clsact_programs(node: &Netns, interface: &str) -> Vec<u32> {
    let shown = filters_or_nothing(node, interface);
    let words: Vec<&str> = shown.split_whitespace().collect();
    words
        .windows(2)
        .filter(|pair| pair[0] == "id")
        .filter_map(|pair| pair[1].parse().ok())
        .collect()
}

fn assert_unloaded(programs: &[u32]) {
    // The kernel frees a program some time after its last user is gone.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left: Vec<u32> = loaded_programs()
            .filter_map(Result::ok)
            .map(|info| info.id())
            .filter(|id| programs.contains(id))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "programs {left:?} are still loaded"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_there_is_attached_at_the_start_and_only_pods_are() {
    let _turn = turn::shared();
    let (node, pod, other) = (Netns::new(), Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    node.sh(&format!(
        "ip link add uplink type veth peer name eth0 netns {} && ip addr add 192.168.2.33/24 dev uplink
         ip link add here type veth peer name there && ip link set uplink up
         ip link add route type veth peer name eth1 netns {0} && ip link set route up
         ip addr add 10.99.0.1/32 dev route && ip route add default dev route",
        other.path()
    ));
    let live = Live::start(&node, Options::default());
    let traced: Vec<String> = live
        .capture
        .interfaces()
        .into_iter()
        .map(|status| status.link.name)
        .collect();
    assert_eq!(traced, ["pod1"]);
    live.stop();
    // What `tracer check` names is what would be traced. Inside a pod, the pod's end of the veth has a peer elsewhere,
    // too.
    for (netns, pods, uplinks) in [
        (&node, vec!["pod1"], vec!["route"]),
        (&pod, vec![], vec!["eth0"]),
    ] {
        let listed = netns
            .enter(capture::traced_interfaces)
            .expect("the kernel lists");
        let (of_node, of_pods): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|link| link.of.is_node());
        let names = |links: Vec<TracedLink>| -> Vec<String> {
            links.into_iter().map(|link| link.name).collect()
        };
        assert_eq!(names(of_pods), pods);
        assert_eq!(names(of_node), uplinks);
    }
}

#[test]
fn an_interface_whose_address_turns_out_to_be_the_node_s_is_let_go() {
    let _turn = turn::shared();
    let (node, pod, other) = (Netns::new(), Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    node.sh(&format!(
        "ip link add uplink type veth peer name eth0 netns {} && ip link set uplink up
         ip addr add 192.168.2.33/32 dev uplink",
        other.path()
    ));
    let mut live = Live::start(&node, Options::default());
    live.wait("both", |live| {
        attached(live, "pod1") && attached(live, "uplink")
    });
    let address = "192.168.2.33".parse().expect("an address");
    live.capture.set_node_addresses(vec![address]);
    live.wait("the end of it", |live| {
        live.events
            .iter()
            .any(|event| matches!(event, InterfaceEvent::Gone { name, .. } if name == "uplink"))
    });
    let traced: Vec<String> = live
        .capture
        .interfaces()
        .into_iter()
        .map(|status| status.link.name)
        .collect();
    assert_eq!(traced, ["pod1"]);
    live.stop();
}

#[test]
fn a_vanished_interface_is_reported_with_its_totals_and_a_renamed_one_with_its_name() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(&node, Options::default());
    node.sh("ip link set pod1 down; ip link set pod1 name renamed; ip link set renamed up");
    live.wait("new name", |live| attached(live, "renamed"));
    udp_socket(&pod, "0.0.0.0:0");
    pod.sh("ip link del eth0");
    live.wait("end", |live| {
        live.events
            .iter()
            .any(|event| matches!(event, InterfaceEvent::Gone { name, .. } if name == "renamed"))
    });
    assert!(live.capture.interfaces().is_empty());
    assert!(
        !live
            .events
            .iter()
            .any(|event| matches!(event, InterfaceEvent::Failed { .. })),
        "{:?}",
        live.events
    );
    live.stop();
}

#[test]
fn an_interface_that_gets_a_node_address_is_let_go() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "veth1", 1);
    let mut live = Live::start(&node, Options::default());
    live.wait("interface", |live| attached(live, "veth1"));
    node.sh("ip addr add 192.168.2.33/24 dev veth1");
    live.wait("end", |live| {
        live.events
            .iter()
            .any(|event| matches!(event, InterfaceEvent::Gone { .. }))
    });
    programs_left(&node, "veth1", hooks()[0], 0);
    live.stop();
}

#[test]
fn a_clean_exit_leaves_nothing_behind_with_tcx() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let live = Live::start(&node, by(HookChoice::Tcx));
    let programs = tcx_programs(&node, "pod1");
    assert_eq!(programs.len(), 2);
    live.stop();
    programs_left(&node, "pod1", HookChoice::Tcx, 0);
    assert_unloaded(&programs);
}

#[test]
fn a_clean_exit_leaves_nothing_behind_with_clsact() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    // A foreign qdisc and filter: they exist before and must exist after, unchanged.
    node.sh(&format!("tc qdisc add dev pod1 clsact && tc filter add dev pod1 ingress prio 7 bpf da bytecode '{CONTINUE}'"));
    let before = filters(&node, "pod1");
    let live = Live::start(&node, by(HookChoice::Clsact));
    assert!(
        live.capture
            .interfaces()
            .iter()
            .all(|status| status.hook == Hook::Clsact)
    );
    let programs = clsact_programs(&node, "pod1");
    assert_eq!(programs.len(), 2, "{}", filters(&node, "pod1"));
    live.stop();
    assert_eq!(filters(&node, "pod1"), before);
    assert_unloaded(&programs);
}

#[test]
fn a_program_that_took_our_place_is_left_alone() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let live = Live::start(&node, by(HookChoice::Clsact));
    let ours = clsact_programs(&node, "pod1");
    let shown = node.sh("tc filter show dev pod1 egress");
    let handle = shown
        .split_whitespace()
        .skip_while(|word| *word != "handle")
        .nth(1)
        .expect("a handle");
    node.sh(&format!(
        "tc filter replace dev pod1 egress prio 1 handle {handle} bpf da bytecode '{CONTINUE}'"
    ));
    let theirs = node.sh("tc filter show dev pod1 egress");
    live.stop();
    assert_eq!(node.sh("tc filter show dev pod1 ingress"), "");
    assert_eq!(node.sh("tc filter show dev pod1 egress"), theirs);
    assert_unloaded(&ours);
}

#[test]
fn removed_probes_are_attached_again_and_counts_continue() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let options = Options {
        relist_every: Duration::from_millis(100),
        ..by(HookChoice::Clsact)
    };
    let mut live = Live::start(&node, options);
    pod.sh(&format!("ping -c 3 -i 0.01 {GATEWAY}"));
    node.sh("tc qdisc del dev pod1 clsact");
    live.wait("filters", |_| {
        filters_or_nothing(&node, "pod1")
            .matches("direct-action")
            .count()
            == 2
    });
    pod.sh(&format!("ping -c 3 -i 0.01 {GATEWAY}"));
    let totals = live
        .capture
        .interfaces()
        .pop()
        .expect("still traced")
        .totals;
    assert!(
        totals.tx.packets >= 6 && totals.rx.packets >= 6,
        "{totals:?}"
    );
    assert!(
        !live
            .events
            .iter()
            .any(|event| matches!(event, InterfaceEvent::Gone { .. }))
    );
    live.stop();
}

#[test]
fn both_hooks_see_what_another_filter_drops_afterwards() {
    let _turn = turn::shared();
    for hook in hooks() {
        let (node, pod) = (Netns::new(), Netns::new());
        node.add_pod(&pod, "pod1", 1);
        node.sh(&format!("tc qdisc add dev pod1 clsact && tc filter add dev pod1 ingress prio 2 bpf da bytecode '{DROP}'"));
        let mut live = Live::start(&node, by(hook));
        let client = udp_socket(&pod, "0.0.0.0:0");
        pod.sh(&format!(
            "ip neigh add {GATEWAY} lladdr 02:00:00:00:00:01 dev eth0"
        ));
        client
            .send_to(b"dropped later", (GATEWAY, 53))
            .expect("sends");
        live.wait("record", |live| {
            live.records
                .iter()
                .any(|record| udp_payload(record) == b"dropped later")
        });
        live.stop();
    }
}

#[test]
fn two_instances_see_the_same_and_a_second_of_one_name_is_refused() {
    let _turn = turn::shared();
    for hook in hooks() {
        let (node, pod) = (Netns::new(), Netns::new());
        node.add_pod(&pod, "pod1", 1);
        let mut first = Live::start(&node, by(hook));
        let refused = node
            .enter(|| Capture::start(by(hook)).map(|_| ()))
            .expect_err("the name is taken");
        assert!(
            matches!(refused, CaptureError::AlreadyRunning { .. }),
            "{refused}"
        );
        let mut second = Live::start(
            &node,
            Options {
                instance: "second".to_owned(),
                ..by(hook)
            },
        );
        let client = udp_socket(&pod, "0.0.0.0:0");
        client.send_to(b"seen twice", (GATEWAY, 53)).expect("sends");
        for live in [&mut first, &mut second] {
            live.wait("record", |live| {
                live.records
                    .iter()
                    .any(|record| udp_payload(record) == b"seen twice")
            });
        }
        first.stop();
        client
            .send_to(b"seen once more", (GATEWAY, 53))
            .expect("sends");
        second.wait("record", |live| {
            live.records
                .iter()
                .any(|record| udp_payload(record) == b"seen once more")
        });
        second.stop();
    }
}

#[test]
fn a_killed_capture_s_filters_are_taken_over() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let child = Child::start(&node, "pod1", HookChoice::Clsact);
    child.kill();
    let left = clsact_programs(&node, "pod1");
    assert_eq!(left.len(), 2, "below TCX a filter outlives its loader");

    let mut live = Live::start(&node, by(HookChoice::Clsact));
    let now = clsact_programs(&node, "pod1");
    assert_eq!(
        now.len(),
        2,
        "replaced, not added: {}",
        filters(&node, "pod1")
    );
    assert!(now.iter().all(|id| !left.contains(id)));
    udp_socket(&pod, "0.0.0.0:0")
        .send_to(b"after", (GATEWAY, 53))
        .expect("sends");
    live.wait("record", |live| {
        live.records
            .iter()
            .any(|record| udp_payload(record) == b"after")
    });
    live.stop();
    assert_eq!(clsact_programs(&node, "pod1"), Vec::<u32>::new());
    assert_unloaded(&left);
}

/// The same where there may be no qdisc: tc complains then.
fn filters_or_nothing(node: &Netns, interface: &str) -> String {
    node.sh(&format!(
        "tc filter show dev {interface} ingress 2>/dev/null; tc filter show dev {interface} egress 2>/dev/null; true"
    ))
}
