//! Words of the vocabulary and their numbers on the wire.

use super::{Unreadable, proto};
use tracer_core::model::connection::{RefusedBy, TcpState, UdpState};
use tracer_core::model::exchange::{ConnectionEnd, Outcome, Transport};
use tracer_core::model::finding::Severity;
use tracer_core::model::flow::Role;
use tracer_core::model::identity::UnknownReason;
use tracer_core::model::loss::Stage;

/// A word with a number.
pub(super) trait Word: Sized {
    fn to_wire(self) -> i32;
    fn from_wire(number: i32) -> Result<Self, Unreadable>;
}

/// Both sides call their words the same.
macro_rules! same_words {
    ($type:ident, $what:literal: $($word:ident),+) => {
        impl Word for $type {
            fn to_wire(self) -> i32 {
                match self {
                    $($type::$word => proto::$type::$word.into(),)+
                }
            }

            fn from_wire(number: i32) -> Result<$type, Unreadable> {
                match proto::$type::try_from(number) {
                    $(Ok(proto::$type::$word) => Ok($type::$word),)+
                    _ => Err(Unreadable::Unknown($what)),
                }
            }
        }
    };
}

same_words!(Role, "the role": Client, Server);
same_words!(Transport, "the transport": Udp, Tcp);
same_words!(Outcome, "the outcome": Answered, Nodata, Nxdomain, Servfail, Refused, Formerr, Truncated, Timeout, IcmpError, Other);
same_words!(ConnectionEnd, "the connection's end": Refused, Timeout, Reset, Closed);
same_words!(UdpState, "the state": Open, Unanswered, IcmpError, Closed);
same_words!(Severity, "the severity": Info, Warning, Error);
same_words!(Stage, "the stage": Kernel, Ring, Decode, Table, Queue, Stream);
same_words!(UnknownReason, "the reason": NoInventory, NotAnswered, Refused, NotInInventory, NoPodProcess, Ambiguous);

impl Word for TcpState {
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
            Ok(Wire::Unspecified) | Err(_) => return Err(Unreadable::Unknown("the state")),
        })
    }
}
