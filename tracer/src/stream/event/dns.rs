//! Converts DNS exchanges and lookups.

use std::sync::Arc;
use std::time::Duration;

use super::ends::{address_from_wire, address_to_wire, pod_from_wire, pod_to_wire};
use super::flows::{flow_from_wire, flow_to_wire, icmp_to_wire, optional_icmp};
use super::words::WireEnum;
use super::{Unreadable, nanoseconds, proto, small, timestamp, wall};
use tracer_core::model::dns::{
    DnsFault, DnsName, Flags, OpCode, Question, RecordType, ResourceRecord,
};
use tracer_core::model::edns::{Edns, EdnsOption, ExtendedError};
use tracer_core::model::exchange::{self, ClientQuestion, Details, Exchange};
use tracer_core::model::lookup::{Lookup, Place, Step};
use tracer_core::view::WallClock;

pub(super) fn exchange_to_wire(
    exchange: &Exchange,
    place: Option<&Place>,
    clock: &dyn WallClock,
) -> proto::Dns {
    let details = &exchange.details;
    proto::Dns {
        flow: Some(flow_to_wire(&exchange.flow)),
        role: exchange.role.to_wire(),
        transport: exchange.transport.to_wire(),
        id: u32::from(exchange.id),
        question: exchange.question.as_ref().map(|question| proto::Question {
            name: question.name.to_string(),
            qtype: type_to_wire(question.qtype),
        }),
        asked_unix_ns: wall(clock, exchange.asked),
        last_attempt_unix_ns: wall(clock, exchange.last_attempt),
        attempts: exchange.attempts,
        outcome: exchange.outcome.to_wire(),
        rcode: exchange.rcode.map(|rcode| u32::from(u16::from(rcode))),
        answers: exchange.answers.iter().map(record_to_wire).collect(),
        authorities: exchange.authorities.iter().map(record_to_wire).collect(),
        latency_ns: exchange.latency.map(nanoseconds),
        late: exchange.late,
        icmp: exchange.icmp.as_ref().map(icmp_to_wire),
        connection: exchange.connection.map_or(0, WireEnum::to_wire),
        asked_peer: exchange.asked_peer.map(address_to_wire),
        fragments_lost: exchange.fragments_lost,
        caused_by: (exchange.caused_by.as_deref()).map(|cause| proto::ClientQuestion {
            client: Some(address_to_wire(cause.client)),
            pod: cause.pod.as_deref().map(pod_to_wire),
            id: u32::from(cause.id),
            time_unix_ns: wall(clock, cause.time),
        }),
        steps: exchange
            .steps
            .iter()
            .map(|step| proto::TransportStep {
                transport: step.transport.to_wire(),
                outcome: step.outcome.to_wire(),
                latency_ns: step.latency.map(nanoseconds),
            })
            .collect(),
        fault: exchange.fault.as_ref().map(fault_to_wire),
        opcode: u32::from(u8::from(details.opcode)),
        query_fault: details.query_fault.as_ref().map(fault_to_wire),
        query_edns: details.query_edns.as_deref().map(edns_to_wire),
        flags: details.flags.map(flags_to_wire),
        edns: details.edns.as_deref().map(edns_to_wire),
        negative_ttl: details.negative_ttl,
        resynchronised: details.resynchronised,
        lookup: place.map(|place| proto::Place {
            asked: place.asked.clone(),
            candidate: place.candidate,
            of: place.of,
        }),
    }
}

fn cause_from_wire(wire: proto::ClientQuestion) -> Result<Box<ClientQuestion>, Unreadable> {
    Ok(Box::new(ClientQuestion {
        client: address_from_wire(wire.client)?,
        pod: wire.pod.map(pod_from_wire).map(Arc::new),
        id: small(wire.id, "an identifier")?,
        time: timestamp(wire.time_unix_ns),
    }))
}

pub(super) fn exchange_from_wire(
    wire: proto::Dns,
) -> Result<(Exchange, Option<Place>), Unreadable> {
    let exchange = Exchange {
        number: 0,
        flow: flow_from_wire(wire.flow)?,
        role: WireEnum::from_wire(wire.role)?,
        transport: WireEnum::from_wire(wire.transport)?,
        id: small(wire.id, "an identifier")?,
        question: wire
            .question
            .map(|question| {
                Ok(Question {
                    name: DnsName::new(&question.name),
                    qtype: type_from_wire(question.qtype)?,
                })
            })
            .transpose()?,
        asked: timestamp(wire.asked_unix_ns),
        last_attempt: timestamp(wire.last_attempt_unix_ns),
        attempts: wire.attempts,
        outcome: WireEnum::from_wire(wire.outcome)?,
        rcode: wire
            .rcode
            .map(|rcode| small::<u16>(rcode, "a response code").map(Into::into))
            .transpose()?,
        answers: records_from_wire(wire.answers)?,
        authorities: records_from_wire(wire.authorities)?,
        latency: wire.latency_ns.map(Duration::from_nanos),
        late: wire.late,
        icmp: optional_icmp(wire.icmp)?,
        connection: (wire.connection != 0)
            .then(|| WireEnum::from_wire(wire.connection))
            .transpose()?,
        asked_peer: wire
            .asked_peer
            .map(|asked| address_from_wire(Some(asked)))
            .transpose()?,
        fragments_lost: wire.fragments_lost,
        caused_by: wire.caused_by.map(cause_from_wire).transpose()?,
        // Findings are sent with it in their words.
        upstream: None,
        steps: wire
            .steps
            .into_iter()
            .map(|step| {
                Ok(exchange::Step {
                    transport: WireEnum::from_wire(step.transport)?,
                    outcome: WireEnum::from_wire(step.outcome)?,
                    latency: step.latency_ns.map(Duration::from_nanos),
                })
            })
            .collect::<Result<_, _>>()?,
        fault: fault_from_wire(wire.fault)?,
        details: Details {
            opcode: OpCode::from_u8(small(wire.opcode, "an opcode")?),
            query_fault: fault_from_wire(wire.query_fault)?,
            query_edns: wire.query_edns.map(edns_from_wire).transpose()?,
            flags: wire.flags.map(flags_from_wire),
            edns: wire.edns.map(edns_from_wire).transpose()?,
            negative_ttl: wire.negative_ttl,
            resynchronised: wire.resynchronised,
        },
    };
    let place = wire.lookup.map(|place| Place {
        asked: place.asked,
        candidate: place.candidate,
        of: place.of,
    });
    Ok((exchange, place))
}

pub(super) fn lookup_to_wire(lookup: &Lookup, clock: &dyn WallClock) -> proto::Lookup {
    proto::Lookup {
        asked: lookup.asked.clone(),
        qtypes: lookup.qtypes.iter().copied().map(type_to_wire).collect(),
        outcome: lookup.outcome.to_wire(),
        queries: lookup.queries,
        duration_ns: nanoseconds(lookup.duration),
        waited_ns: nanoseconds(lookup.waited),
        steps: lookup
            .steps
            .iter()
            .map(|step| proto::LookupStep {
                name: step.name.to_string(),
                qtype: type_to_wire(step.qtype),
                outcome: step.outcome.map(WireEnum::to_wire),
                latency_ns: step.latency.map(nanoseconds),
                attempts: step.attempts,
                data: step.data.clone(),
                errors: step.errors.iter().map(error_to_wire).collect(),
                asked_unix_ns: wall(clock, step.asked),
            })
            .collect(),
    }
}

pub(super) fn lookup_from_wire(wire: proto::Lookup) -> Result<Lookup, Unreadable> {
    Ok(Lookup {
        asked: wire.asked,
        qtypes: wire
            .qtypes
            .into_iter()
            .map(type_from_wire)
            .collect::<Result<_, _>>()?,
        outcome: WireEnum::from_wire(wire.outcome)?,
        queries: wire.queries,
        duration: Duration::from_nanos(wire.duration_ns),
        waited: Duration::from_nanos(wire.waited_ns),
        steps: wire
            .steps
            .into_iter()
            .map(|step| {
                Ok(Step {
                    name: DnsName::new(&step.name),
                    qtype: type_from_wire(step.qtype)?,
                    outcome: step.outcome.map(WireEnum::from_wire).transpose()?,
                    latency: step.latency_ns.map(Duration::from_nanos),
                    attempts: step.attempts,
                    data: step.data,
                    errors: step
                        .errors
                        .into_iter()
                        .map(error_from_wire)
                        .collect::<Result<_, _>>()?,
                    asked: timestamp(step.asked_unix_ns),
                    // Only rules read it, and they run where the packets are seen.
                    sent: Vec::new(),
                })
            })
            .collect::<Result<_, _>>()?,
    })
}

fn type_to_wire(rtype: RecordType) -> u32 {
    u32::from(u16::from(rtype))
}

fn type_from_wire(number: u32) -> Result<RecordType, Unreadable> {
    small::<u16>(number, "a record type").map(RecordType::from)
}

fn record_to_wire(record: &ResourceRecord) -> proto::Record {
    proto::Record {
        name: record.name.to_string(),
        r#type: type_to_wire(record.rtype),
        ttl: record.ttl,
        data: record.data.clone(),
    }
}

fn records_from_wire(wire: Vec<proto::Record>) -> Result<Vec<ResourceRecord>, Unreadable> {
    wire.into_iter()
        .map(|record| {
            Ok(ResourceRecord {
                name: DnsName::new(&record.name),
                rtype: type_from_wire(record.r#type)?,
                ttl: record.ttl,
                data: record.data,
            })
        })
        .collect()
}

fn fault_to_wire(fault: &DnsFault) -> proto::DnsFault {
    use proto::dns_fault::Fault;
    proto::DnsFault {
        fault: Some(match fault {
            DnsFault::CutShort => Fault::CutShort(true),
            DnsFault::Questions(count) => Fault::Questions(u32::from(*count)),
            DnsFault::Question(what) => Fault::Question(what.clone()),
            DnsFault::Record(what) => Fault::Record(what.clone()),
            DnsFault::Edns(what) => Fault::Edns(what.clone()),
            DnsFault::TooMany => Fault::TooMany(true),
        }),
    }
}

fn fault_from_wire(wire: Option<proto::DnsFault>) -> Result<Option<DnsFault>, Unreadable> {
    use proto::dns_fault::Fault;
    let Some(wire) = wire else { return Ok(None) };
    Ok(Some(
        match wire.fault.ok_or(Unreadable::Unknown("the fault"))? {
            Fault::CutShort(_) => DnsFault::CutShort,
            Fault::Questions(count) => DnsFault::Questions(small(count, "a count")?),
            Fault::Question(what) => DnsFault::Question(what),
            Fault::Record(what) => DnsFault::Record(what),
            Fault::Edns(what) => DnsFault::Edns(what),
            Fault::TooMany(_) => DnsFault::TooMany,
        },
    ))
}

fn flags_to_wire(flags: Flags) -> proto::Flags {
    proto::Flags {
        authoritative: flags.authoritative,
        truncated: flags.truncated,
        recursion_desired: flags.recursion_desired,
        recursion_available: flags.recursion_available,
        authentic_data: flags.authentic_data,
        checking_disabled: flags.checking_disabled,
    }
}

fn flags_from_wire(wire: proto::Flags) -> Flags {
    Flags {
        authoritative: wire.authoritative,
        truncated: wire.truncated,
        recursion_desired: wire.recursion_desired,
        recursion_available: wire.recursion_available,
        authentic_data: wire.authentic_data,
        checking_disabled: wire.checking_disabled,
    }
}

fn edns_to_wire(edns: &Edns) -> proto::Edns {
    proto::Edns {
        udp_size: u32::from(edns.udp_size),
        version: u32::from(edns.version),
        dnssec_ok: edns.dnssec_ok,
        nsid: edns.nsid.clone(),
        cookie: edns.cookie.clone(),
        client_subnet: edns.client_subnet.clone(),
        errors: edns.errors.iter().map(error_to_wire).collect(),
        others: edns
            .others
            .iter()
            .map(|option| proto::EdnsOption {
                code: u32::from(option.code),
                data: option.data.clone(),
            })
            .collect(),
    }
}

fn edns_from_wire(wire: proto::Edns) -> Result<Box<Edns>, Unreadable> {
    Ok(Box::new(Edns {
        udp_size: small(wire.udp_size, "a size")?,
        version: small(wire.version, "a version")?,
        dnssec_ok: wire.dnssec_ok,
        nsid: wire.nsid,
        cookie: wire.cookie,
        client_subnet: wire.client_subnet,
        errors: wire
            .errors
            .into_iter()
            .map(error_from_wire)
            .collect::<Result<_, _>>()?,
        others: wire
            .others
            .into_iter()
            .map(|option| {
                Ok(EdnsOption {
                    code: small(option.code, "an option")?,
                    data: option.data,
                })
            })
            .collect::<Result<_, _>>()?,
    }))
}

fn error_to_wire(error: &ExtendedError) -> proto::ExtendedError {
    proto::ExtendedError {
        code: u32::from(error.code),
        text: error.text.clone(),
    }
}

fn error_from_wire(wire: proto::ExtendedError) -> Result<ExtendedError, Unreadable> {
    Ok(ExtendedError {
        code: small(wire.code, "an extended error")?,
        text: wire.text,
    })
}
