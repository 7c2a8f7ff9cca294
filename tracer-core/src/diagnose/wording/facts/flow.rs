//! Connections that are slow, break or stall, and UDP flows.

use super::super::parts::Count;
use super::super::sentence;
use super::path::holder_of;
use crate::diagnose::fact::{FlowFact, StallCause};
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &FlowFact) -> Sentence {
    match fact {
        FlowFact::SynsLost => sentence!(
            "The first SYNs, or the answers to them, were lost; the pod's system sent the SYN again after 1 s, 3 s, 7 s and so on, and the application waited for it."
        ),
        FlowFact::SynLossBetweenNodes => sentence!(
            "Possible causes of SYNs lost between nodes: the overlay network drops packets with wrong checksums (checksum offload of its device), or one endpoint's node is out of reach."
        ),
        FlowFact::SynLossOnNodes => sentence!(
            "Possible causes of SYNs lost on a node: SNAT loses a race for a source port (conntrack insert_failed; --random-fully avoids it), or the conntrack table is full."
        ),
        FlowFact::ConntrackFull(others) => sentence!(
            "SYNs to {} of this node were lost within the same minute, while other connections were established. Possible cause: the conntrack table of the node is full (\"nf_conntrack: table full, dropping packet\" in dmesg).",
            Count(
                u64::try_from(*others).unwrap_or(u64::MAX),
                "other destination"
            )
        ),
        FlowFact::AnsweredTooLate(after) => {
            sentence!("The SYN-ACK came after {}.", after)
        }
        FlowFact::GivesUpEarly => sentence!(
            "The application gives up each attempt before an answer is overdue; none of them was answered while it waited."
        ),
        FlowFact::OtherSender(from, holder) => sentence!(
            "The replies acknowledge the pod's packets and come from {}, {}. The pod's system knows no such connection and resets or discards them.",
            from,
            holder_of(holder)
        ),
        FlowFact::NotTranslatedCauses { at_once: true } => sentence!(
            "The node translates the Service's address in requests and not in replies. Possible causes: both pods are on one bridge and bridged packets bypass the node's rules (br_netfilter is not loaded, or net.bridge.bridge-nf-call-iptables is 0), or requests and replies take different paths."
        ),
        FlowFact::NotTranslatedCauses { at_once: false } => sentence!(
            "The connection was translated at first. Possible causes: connection tracking took the packets for invalid (out of the TCP window) and let them pass untranslated, or its entry is gone."
        ),
        FlowFact::ResetAfterDataCauses => sentence!(
            "Possible causes: the other end expects TLS, mutual TLS (a service mesh in STRICT mode, a client without its sidecar) or another protocol than the pod speaks; a proxy there finds no way to its backend."
        ),
        FlowFact::ResetAfterIdleCauses(idle) => sentence!(
            "Possible causes: something on the path forgot the connection within {}: IPVS (15 minutes for TCP by default), conntrack, a load balancer or NAT gateway (often 4 to 6 minutes), a firewall; or the endpoint restarted meanwhile. Keepalives more often than that keep it alive (net.ipv4.tcp_keepalive_time is 2 hours by default).",
            idle
        ),
        FlowFact::LastAnswer(ago) => {
            sentence!("The last packet from the other end came {} before.", ago)
        }
        FlowFact::SentAgain(segments) => sentence!(
            "The pod's kernel sent {} again.",
            Count(*segments, "segment")
        ),
        FlowFact::SilentAfterIdle(idle) => sentence!(
            "The connection was idle for {} before. Possible cause: conntrack, IPVS, a load balancer, NAT gateway or firewall on the path forgot it meanwhile and drops its packets. Keepalives more often than that keep it alive.",
            idle
        ),
        FlowFact::StallCauses(StallCause::Data) => sentence!(
            "Neither an acknowledgment nor a RST comes back. Possible causes: the endpoint or its node is gone, the path to it is broken, or something on the path forgot the connection and drops its packets. Without TCP_USER_TIMEOUT Linux repeats data for about 15 minutes before it reports an error."
        ),
        FlowFact::StallCauses(StallCause::Keepalive) => sentence!(
            "Keepalive probes get no acknowledgment. Possible causes: the endpoint or its node is gone, or something on the path forgot the idle connection."
        ),
        FlowFact::StallCauses(StallCause::SynAck) => sentence!(
            "The pod acknowledged the SYN-ACK, and the other end sends it again. Possible causes: its program accepts connections too slowly, so that its accept queue is full (ss -ltn shows Recv-Q above Send-Q; ListenOverflows in nstat), or the pod's acknowledgments are lost on the way."
        ),
        FlowFact::LargestDelivered(0) => {
            sentence!("No segment with payload was seen to arrive in that direction.")
        }
        FlowFact::LargestDelivered(bytes) => sentence!(
            "The largest segment that arrived in that direction has {} bytes of payload.",
            bytes
        ),
        FlowFact::WasAnswered { sent, received } => sentence!(
            "Before that, the same socket had sent {} and got {} back.",
            Count(*sent, "packet"),
            received
        ),
        FlowFact::UdpEndpointGone => sentence!(
            "Possible cause: the endpoint is gone, and the node's connection tracking keeps the flow at it for as long as the pod sends. A new socket gets another endpoint."
        ),
        FlowFact::UdpServerSilent => {
            sentence!("Possible cause: the server has stopped answering.")
        }
    }
}
