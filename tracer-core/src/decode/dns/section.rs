//! The answer, authority and additional sections, record by record.

use hickory_proto::op::{HeaderCounts, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use super::error::ReadError;
use super::{edns, name, rdata};
use crate::model::dns::{DnsFault, Message, ResourceRecord};

/// Records read per message. The largest answers that resolvers receive have a few dozen; a message of 64 KiB
/// could hold five thousand.
const MAX_RECORDS: usize = 512;

/// Class CH (RFC 1035 section 3.2.4).
const CHAOS: u16 = 3;

/// A record's header and the position of its data.
struct Head {
    name: Name,
    rtype: RecordType,
    class: u16,
    ttl: u32,
    data_start: usize,
    data_end: usize,
}

impl Head {
    /// The record's data in the message that the header was read from.
    fn data<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        let data = message.get(self.data_start..self.data_end);
        data.unwrap_or_default()
    }
}

/// Reads the sections from `start` into `message`. From the additional section it takes only the OPT record,
/// with the upper bits of the response code (RFC 6891 section 6.1.3).
pub(super) fn read_all(
    bytes: &[u8],
    start: usize,
    counts: &HeaderCounts,
    cut: bool,
    message: &mut Message,
) {
    let mut at = start;
    let mut read = 0;
    for (section, count) in [counts.answers, counts.authorities, counts.additionals]
        .into_iter()
        .enumerate()
    {
        for _ in 0..count {
            if read == MAX_RECORDS {
                message.fault.get_or_insert(DnsFault::TooMany);
                return;
            }
            read += 1;
            let head = match head(bytes, at) {
                Ok(head) => head,
                Err(error) => {
                    message
                        .fault
                        .get_or_insert_with(|| error.fault(cut, DnsFault::Record));
                    return;
                }
            };
            at = head.data_end;
            match section {
                0 => message
                    .answers
                    .push(record(bytes, &head, &mut message.fault)),
                1 => {
                    if head.rtype == RecordType::SOA && message.negative_ttl.is_none() {
                        message.negative_ttl = negative_ttl(bytes, &head);
                    }
                    message
                        .authorities
                        .push(record(bytes, &head, &mut message.fault));
                }
                _ if head.rtype == RecordType::OPT => opt(bytes, &head, message),
                _ => {}
            }
        }
    }
}

/// The OPT record.
fn opt(bytes: &[u8], head: &Head, message: &mut Message) {
    if message.edns.is_some() {
        // A message has at most one (RFC 6891 section 6.1.1). The first wins.
        message
            .fault
            .get_or_insert_with(|| DnsFault::Edns("more than one OPT record".to_owned()));
        return;
    }
    let [high, ..] = head.ttl.to_be_bytes();
    message.rcode = ResponseCode::from(high, message.rcode.low());
    let edns = edns::read(head.class, head.ttl, head.data(bytes), &mut message.fault);
    message.edns = Some(Box::new(edns));
}

/// The lesser of a SOA's TTL and its last field, MINIMUM (RFC 2308 section 5).
fn negative_ttl(bytes: &[u8], head: &Head) -> Option<u32> {
    let data = head.data(bytes);
    // Two names of at least one octet, and five numbers.
    let (_, minimum) = data
        .split_last_chunk()
        .filter(|(before, _)| before.len() >= 18)?;
    Some(head.ttl.min(u32::from_be_bytes(*minimum)))
}

/// Reads the header of the record at `at`. hickory reads a record as a whole, so an error in its data would
/// hide the position of the next record.
fn head(bytes: &[u8], at: usize) -> Result<Head, ReadError> {
    let mut decoder = decoder_at(bytes, at)?;
    let name = name::read(bytes, &mut decoder)?;
    let rtype = RecordType::read(&mut decoder)?;
    // The class (of OPT: the sender's UDP size).
    let class = decoder.read_u16()?.unverified(/* any number is one */);
    let ttl = decoder.read_u32()?.unverified(/* any number is a TTL */);
    let data_len = decoder.read_u16()?.unverified(/* reading the data checks it */);
    let data_start = decoder.index();
    decoder.read_slice(usize::from(data_len))?;
    Ok(Head {
        name,
        rtype,
        class,
        ttl,
        data_start,
        data_end: decoder.index(),
    })
}

fn record(bytes: &[u8], head: &Head, message_fault: &mut Option<DnsFault>) -> ResourceRecord {
    let rtype = match (head.class, head.rtype) {
        // In class CH an address has another form (RFC 1035 section 3.4), so it is shown in generic form.
        (CHAOS, RecordType::A) => RecordType::NULL,
        (_, rtype) => rtype,
    };
    let data = match rdata::text(bytes, rtype, head.data_start, head.data_end) {
        Ok(data) => data,
        Err(error) => {
            message_fault.get_or_insert_with(|| DnsFault::Record(error.words()));
            rdata::generic(head.data(bytes))
        }
    };
    ResourceRecord {
        name: name::absolute(&head.name),
        rtype: head.rtype,
        ttl: head.ttl,
        data,
    }
}

/// A decoder at `at` that also sees all earlier bytes, for compressed names.
pub(super) fn decoder_at(bytes: &[u8], at: usize) -> Result<BinDecoder<'_>, DecodeError> {
    let mut decoder = BinDecoder::new(bytes);
    decoder.read_slice(at)?;
    Ok(decoder)
}
