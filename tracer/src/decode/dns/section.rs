//! The answer, authority and additional sections, record by record.

use hickory_proto::op::{HeaderCounts, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use super::{fault, name, rdata};
use crate::model::dns::{DnsFault, Message, ResourceRecord};

/// So many records are read of one message. The largest answers that resolvers meet have a few dozen; a message of 64 KiB
/// could hold five thousand.
const MAX_RECORDS: usize = 512;

/// One record: its header, and where its data is.
struct Head {
    name: Name,
    rtype: RecordType,
    ttl: u32,
    data_start: usize,
    data_end: usize,
}

/// Reads the sections, which start at `start`, into `message`. The additional section gives nothing but the upper bits
/// of the response code (RFC 6891 section 6.1.3).
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
                        .get_or_insert(fault(&error, cut, DnsFault::Record));
                    return;
                }
            };
            at = head.data_end;
            match section {
                0 => message
                    .answers
                    .push(record(bytes, &head, &mut message.fault)),
                1 => message
                    .authorities
                    .push(record(bytes, &head, &mut message.fault)),
                _ if head.rtype == RecordType::OPT => {
                    let [high, ..] = head.ttl.to_be_bytes();
                    message.rcode = ResponseCode::from(high, message.rcode.low());
                }
                _ => {}
            }
        }
    }
}

/// Reads the header of the record at `at`. hickory's own reading of a record is of one piece: an error in the data leaves
/// no way to find the next record.
fn head(bytes: &[u8], at: usize) -> Result<Head, DecodeError> {
    let mut decoder = decoder_at(bytes, at)?;
    let name = Name::read(&mut decoder)?;
    let rtype = RecordType::read(&mut decoder)?;
    // The class (of OPT: the sender's UDP size).
    decoder.read_u16()?;
    let ttl = decoder.read_u32()?.unverified(/* any number is a TTL */);
    let data_len = decoder.read_u16()?.unverified(/* reading the data checks it */);
    let data_start = decoder.index();
    decoder.read_slice(usize::from(data_len))?;
    Ok(Head {
        name,
        rtype,
        ttl,
        data_start,
        data_end: decoder.index(),
    })
}

fn record(bytes: &[u8], head: &Head, message_fault: &mut Option<DnsFault>) -> ResourceRecord {
    let data = match rdata::text(bytes, head.rtype, head.data_start, head.data_end) {
        Ok(data) => data,
        Err(error) => {
            message_fault.get_or_insert_with(|| DnsFault::Record(name::error(&error)));
            rdata::generic(&bytes[head.data_start..head.data_end])
        }
    };
    ResourceRecord {
        name: name::absolute(&head.name),
        rtype: head.rtype,
        ttl: head.ttl,
        data,
    }
}

/// A decoder that stands at `at` and sees all that is before, for compressed names.
pub(super) fn decoder_at(bytes: &[u8], at: usize) -> Result<BinDecoder<'_>, DecodeError> {
    let mut decoder = BinDecoder::new(bytes);
    decoder.read_slice(at)?;
    Ok(decoder)
}
