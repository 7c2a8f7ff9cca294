//! Events of which records were lost.

use super::*;

pub(super) fn all() -> Vec<(&'static str, Event)> {
    let unanswered = exchange(NEVER, RecordType::A, Outcome::Undecided);
    let cluster_ip = || client("10.152.183.117", 80);
    let steps = vec![step(NEVER, RecordType::A, Some(Outcome::Nxdomain), &[])];
    let asked = Some("no-such-service");
    let mut all = vec![
        ("dns incomplete", dns(kube_dns(), unanswered, None)),
        (
            "lookup incomplete",
            lookup(asked, Outcome::Undecided, steps),
        ),
        (
            "tcp incomplete",
            tcp(cluster_ip(), TcpState::Undecided, |tcp| {
                tcp.syn_retransmits = 2;
            }),
        ),
        (
            "tcp established, incomplete",
            tcp(cluster_ip(), TcpState::Established, |tcp| {
                tcp.handshake = Some(us(410));
            }),
        ),
        (
            "udp incomplete",
            udp(client("192.0.2.53", 123), UdpState::Undecided, |_| {}),
        ),
        (
            "ping incomplete",
            echo(client("10.1.79.66", 0), 8, 5, |echo| {
                echo.state = EchoState::Undecided;
            }),
        ),
    ];
    for (_, event) in &mut all {
        event.incomplete = true;
    }
    all
}
