//! Converts enums to their numbers on the wire and back.

use super::{Unreadable, proto};
use tracer_core::model::connection::{RefusedBy, TcpState, UdpState};
use tracer_core::model::exchange::{ConnectionEnd, Outcome, Transport};
use tracer_core::model::finding::Severity;
use tracer_core::model::flow::Role;
use tracer_core::model::identity::UnknownReason;
use tracer_core::model::loss::Stage;

/// An enum with numbers on the wire.
pub(super) trait WireEnum: Sized {
    fn to_wire(self) -> i32;
    fn from_wire(number: i32) -> Result<Self, Unreadable>;
}

/// Implements [`WireEnum`] for an enum with the same variants in the model and on the wire.
macro_rules! same_variants {
    ($type:ident, $what:literal: $($variant:ident),+) => {
        impl WireEnum for $type {
            fn to_wire(self) -> i32 {
                match self {
                    $($type::$variant => proto::$type::$variant.into(),)+
                }
            }

            fn from_wire(number: i32) -> Result<$type, Unreadable> {
                match proto::$type::try_from(number) {
                    $(Ok(proto::$type::$variant) => Ok($type::$variant),)+
                    _ => Err(Unreadable::Unknown($what)),
                }
            }
        }
    };
}

same_variants!(Role, "the role": Client, Server);
same_variants!(Transport, "the transport": Udp, Tcp);
same_variants!(Outcome, "the outcome": Answered, Nodata, Nxdomain, Servfail, Refused, Formerr, Truncated, Timeout, IcmpError, Other, Undecided);
same_variants!(ConnectionEnd, "the connection's end": Refused, Timeout, Reset, Closed);
same_variants!(UdpState, "the state": Open, Unanswered, IcmpError, Closed, Undecided);
same_variants!(Severity, "the severity": Info, Warning, Error);
same_variants!(Stage, "the stage": Kernel, Ring, Decode, Table, Queue, Stream);
same_variants!(UnknownReason, "the reason": NoInventory, NotAnswered, Refused, NotInInventory, NoPodProcess, Ambiguous, NodeProcess);

impl WireEnum for TcpState {
    fn to_wire(self) -> i32 {
        use proto::TcpState as Wire;
        match self {
            TcpState::Opening => Wire::Opening,
            TcpState::Established => Wire::Established,
            TcpState::Refused(RefusedBy::Rst) => Wire::RefusedByRst,
            TcpState::Refused(RefusedBy::Icmp) => Wire::RefusedByIcmp,
            TcpState::Timeout => Wire::Timeout,
            TcpState::Reset => Wire::Reset,
            TcpState::Closed => Wire::Closed,
            TcpState::Idle => Wire::Idle,
            TcpState::Undecided => Wire::Undecided,
        }
        .into()
    }

    fn from_wire(number: i32) -> Result<TcpState, Unreadable> {
        use proto::TcpState as Wire;
        Ok(match Wire::try_from(number) {
            Ok(Wire::Opening) => TcpState::Opening,
            Ok(Wire::Established) => TcpState::Established,
            Ok(Wire::RefusedByRst) => TcpState::Refused(RefusedBy::Rst),
            Ok(Wire::RefusedByIcmp) => TcpState::Refused(RefusedBy::Icmp),
            Ok(Wire::Timeout) => TcpState::Timeout,
            Ok(Wire::Reset) => TcpState::Reset,
            Ok(Wire::Closed) => TcpState::Closed,
            Ok(Wire::Idle) => TcpState::Idle,
            Ok(Wire::Undecided) => TcpState::Undecided,
            Ok(Wire::Unspecified) | Err(_) => return Err(Unreadable::Unknown("the state")),
        })
    }
}
