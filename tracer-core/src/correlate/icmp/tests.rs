use crate::correlate::testing::*;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::dns::{RecordType, ResponseCode};
use crate::model::flow::{Direction, Flow, Protocol, Role};
use crate::model::observation::What;

use Direction::FromPod;

fn only_error(bench: &mut Bench) -> Correlated {
    let mut events = bench.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert!(
        matches!(events[0].event, CorrelatedEvent::IcmpError(_)),
        "{events:#?}"
    );
    events.remove(0)
}

#[test]
fn an_error_about_an_unknown_flow_has_its_sender_as_peer() {
    for protocol in [
        Protocol::Udp,
        Protocol::Tcp,
        Protocol::Icmp,
        Protocol::Other(132),
    ] {
        let mut bench = Bench::new();
        let about = flow(protocol, 40_000, 53);
        bench.see(icmp(5, about, 3, 1, None, None));
        let item = only_error(&mut bench);
        assert_eq!((item.time, item.role), (ms(5), Role::Client));
        assert_eq!(item.flow.peer.ip().to_string(), "192.168.2.33");
    }
}

#[test]
fn packet_too_big_ends_no_connection_and_has_its_flow() {
    let mut bench = Bench::new();
    let web = flow(Protocol::Tcp, 40_000, 80);
    bench.see(tcp(0, FromPod, web, "S", 100, 0));
    bench.see(icmp(1, web, 3, 4, Some(1300), None));
    let item = only_error(&mut bench);
    assert_eq!(item.flow, web);
    let CorrelatedEvent::IcmpError(error) = item.event else {
        panic!("checked above")
    };
    assert_eq!(error.mtu, Some(1300));
}

#[test]
fn an_error_about_an_established_connection_has_its_flow() {
    let mut bench = Bench::new();
    let web = flow(Protocol::Tcp, 40_000, 80);
    bench
        .see(tcp(0, FromPod, web, "S", 100, 0))
        .see(tcp(1, Direction::ToPod, web, "SA", 500, 101));
    bench.events();
    bench.see(icmp(2, web, 11, 0, None, None));
    assert_eq!(only_error(&mut bench).flow, web);
}

#[test]
fn an_error_the_pod_sends_about_an_answer_is_an_event_of_its_own() {
    // The client gave up and closed its port; then the answer came.
    let mut bench = Bench::new();
    let socket = flow(Protocol::Udp, 40_000, 53);
    let mut error = unreachable(9_000, socket);
    error.direction = FromPod;
    error.flow = Flow {
        protocol: Protocol::Icmp,
        ..socket
    };
    if let What::IcmpError(error) = &mut error.what {
        std::mem::swap(&mut error.about.src, &mut error.about.dst);
    }
    bench.see(error);
    let item = only_error(&mut bench);
    assert_eq!((item.role, item.flow.peer), (Role::Server, socket.peer));
}

#[test]
fn no_error_about_an_established_connection_ends_it() {
    let mut bench = Bench::new();
    let web = flow(Protocol::Tcp, 40_000, 80);
    bench
        .see(tcp(0, FromPod, web, "S", 100, 0))
        .see(tcp(1, Direction::ToPod, web, "SA", 500, 101));
    bench.events();
    // Net, host, protocol, port unreachable; fragmentation needed; prohibited; time exceeded; parameter problem.
    let kinds = [
        (3, 0, None),
        (3, 1, None),
        (3, 2, None),
        (3, 3, None),
        (3, 4, Some(1_300)),
        (3, 13, None),
        (11, 0, None),
        (12, 0, None),
    ];
    for (number, (icmp_type, icmp_code, mtu)) in (2..).zip(kinds) {
        bench.see(icmp(number, web, icmp_type, icmp_code, mtu, None));
        let item = only_error(&mut bench);
        assert_eq!((item.flow, item.role), (web, Role::Client));
        let CorrelatedEvent::IcmpError(error) = item.event else {
            panic!("checked above")
        };
        assert_eq!(
            (error.icmp_type, error.icmp_code, error.mtu),
            (icmp_type, icmp_code, mtu)
        );
    }
    bench.see(tcp(100, FromPod, web, "FA", 101, 501)).see(tcp(
        101,
        Direction::ToPod,
        web,
        "FA",
        501,
        102,
    ));
    bench.at(1_000);
    assert_eq!(
        bench.tcp().state,
        crate::model::connection::TcpState::Closed
    );
    // A straggler of the ended connection.
    bench.see(icmp(1_200, web, 3, 4, Some(1_300), None));
    assert_eq!(only_error(&mut bench).flow, web);
}

#[test]
fn packet_too_big_about_a_dns_answer_has_its_flow() {
    let mut bench = Bench::new();
    let server = flow(Protocol::Udp, 53, 40_000);
    bench.see(dns(
        0,
        Direction::ToPod,
        server,
        query(7, "a.example.", RecordType::A),
    ));
    bench.see(dns(
        1,
        FromPod,
        server,
        response(
            7,
            "a.example.",
            RecordType::A,
            ResponseCode::NoError,
            &[RecordType::A],
        ),
    ));
    bench.events();
    bench.see(icmp(2, server, 3, 4, Some(1_300), None));
    let item = only_error(&mut bench);
    assert_eq!((item.flow, item.role), (server, Role::Server));
}

#[test]
fn packet_too_big_about_a_dns_query_leaves_it_open() {
    let mut bench = Bench::new();
    let client = flow(Protocol::Udp, 40_000, 53);
    bench.see(dns(
        0,
        FromPod,
        client,
        query(7, "a.example.", RecordType::A),
    ));
    bench.see(icmp(1, client, 3, 4, Some(1_300), None));
    assert_eq!(only_error(&mut bench).flow, client);
    bench.at(6_000);
    assert_eq!(
        bench.exchange().outcome,
        crate::model::exchange::Outcome::Timeout
    );
}
