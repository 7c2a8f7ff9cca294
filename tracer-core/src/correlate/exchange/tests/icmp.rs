//! Queries ended by an ICMP error.

use super::*;

#[test]
fn icmp_error_for_the_query_ends_the_exchange_at_once() {
    let mut bench = Bench::new();
    bench
        .see(asks(0, 4_000, 7, A))
        .see(asks(0, 4_001, 8, A))
        .see(unreachable(1, socket(4_001)));
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.outcome, exchange.id, exchange.rcode),
        (Outcome::IcmpError, 8, None)
    );
    let icmp = exchange.icmp.expect("the error");
    assert_eq!((icmp.icmp_type, icmp.icmp_code), (3, 3));
    // The other is still open.
    bench.see(answers(2, 4_000, 7, A));
    assert_eq!(bench.exchange().id, 7);
}

#[test]
fn each_icmp_error_ends_one_of_the_parallel_queries() {
    let mut bench = Bench::new();
    bench.see(asks(0, 4_000, 9, A)).see(asks(1, 4_000, 8, AAAA));
    bench.see(unreachable(2, socket(4_000)));
    assert_eq!(bench.exchange().id, 9, "the older");
    bench.see(unreachable(3, socket(4_000)));
    assert_eq!(bench.exchange().id, 8);
}

#[test]
fn an_icmp_error_from_the_server_pod_ends_the_servers_exchange() {
    let mut bench = Bench::new();
    let server = flow(Protocol::Udp, 53, 4_000);
    bench.see(dns(0, ToPod, server, query(7, NAME, A)));
    // The pod itself has no listener: the quoted packet is the client's.
    let client = Flow {
        pod: server.peer,
        peer: server.pod,
        ..server
    };
    let mut error = unreachable(1, client);
    error.direction = FromPod;
    error.flow = Flow {
        protocol: Protocol::Icmp,
        ..server
    };
    bench.see(error);
    let exchange = bench.exchange();
    assert_eq!(
        (exchange.outcome, exchange.role),
        (Outcome::IcmpError, Role::Server)
    );
}

#[test]
fn icmp_error_that_quotes_the_identifier_ends_that_query() {
    // Kernels rate-limit errors: of two parallel queries, the second one's came.
    let mut bench = Bench::new();
    bench.see(asks(0, 4_000, 9, A)).see(asks(1, 4_000, 8, AAAA));
    let mut error = unreachable(2, socket(4_000));
    if let What::IcmpError(error) = &mut error.what {
        error.datagram_id = Some(8);
    }
    bench.see(error);
    assert_eq!(bench.exchange().id, 8);
    bench.at(6_000);
    let other = bench.exchange();
    assert_eq!((other.id, other.outcome), (9, Outcome::Timeout));
}
