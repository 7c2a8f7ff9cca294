//! Reads the messages that nearly all traffic consists of: an ordinary query or its answer, with one question
//! and no fault.
//!
//! Borrows the bytes and allocates only what the [`Message`] keeps. It knows no faults: `None` means that the
//! message is not plain, and the parent module reads it again with hickory-proto, which remains the reference.
//! A message that is read here equals the one read there (`a_plain_message_is_what_hickory_reads`).

use std::net::Ipv6Addr;

use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::RecordType;

use super::name::MAX_POINTERS;
use super::names::{MAX_WIRE, Names};
use super::{HEADER_LEN, edns, rdata};
use crate::model::dns::{DnsName, Flags, Message, Question, ResourceRecord};

/// Records of a plain message. Answers with more are rare, and their reader has limits of its own.
const MAX_RECORDS: u32 = 64;
/// Maximum length of a plain name in presentation format, a little less than what the wire format allows.
const MAX_NAME: usize = 250;
/// A pointer to the first octet after the header (RFC 1035 section 4.1.4): the question's name.
const TO_QUESTION: [u8; 2] = [0xc0, HEADER_LEN as u8];
/// Class CH, whose addresses have another form (RFC 1035 section 3.4).
const CHAOS: u16 = 3;

/// Reads a whole message.
pub(super) fn read(bytes: &[u8], names: &mut Names) -> Option<Message> {
    let mut reader = Reader {
        bytes,
        at: 0,
        question: None,
        names,
    };
    let [id @ .., high, low, q0, q1, an0, an1, ns0, ns1, ar0, ar1] =
        *reader.take::<HEADER_LEN>()?;
    let questions = u16::from_be_bytes([q0, q1]);
    let answers = u16::from_be_bytes([an0, an1]);
    let authorities = u16::from_be_bytes([ns0, ns1]);
    let additionals = u16::from_be_bytes([ar0, ar1]);
    let records = u32::from(answers) + u32::from(authorities) + u32::from(additionals);
    if high & 0x78 != 0 || questions != 1 || records > MAX_RECORDS {
        return None;
    }
    let name = reader.name()?;
    // Any class is accepted; the type identifies the question.
    let [qtype @ .., _, _] = *reader.take::<4>()?;
    reader.question = Some(name.clone());
    let mut message = Message {
        id: u16::from_be_bytes(id),
        response: high & 0x80 != 0,
        opcode: OpCode::Query,
        rcode: ResponseCode::from(0, low & 0x0f),
        flags: Flags {
            authoritative: high & 0x04 != 0,
            truncated: high & 0x02 != 0,
            recursion_desired: high & 0x01 != 0,
            recursion_available: low & 0x80 != 0,
            authentic_data: low & 0x20 != 0,
            checking_disabled: low & 0x10 != 0,
        },
        question: Some(Question {
            name,
            qtype: u16::from_be_bytes(qtype).into(),
        }),
        answers: Vec::with_capacity(usize::from(answers)),
        authorities: Vec::with_capacity(usize::from(authorities)),
        answer_count: answers,
        negative_ttl: None,
        edns: None,
        fragment: false,
        fault: None,
    };
    for _ in 0..answers {
        let record = reader.record()?;
        message.answers.push(record);
    }
    for _ in 0..authorities {
        let record = reader.record()?;
        if record.rtype == RecordType::SOA && message.negative_ttl.is_none() {
            let (_, minimum) = bytes.get(..reader.at)?.split_last_chunk()?;
            // RFC 2308 section 5.
            message.negative_ttl = Some(record.ttl.min(u32::from_be_bytes(*minimum)));
        }
        message.authorities.push(record);
    }
    for _ in 0..additionals {
        reader.additional(&mut message)?;
    }
    Some(message)
}

/// Reads forward through a message.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The question's name, which most records repeat.
    question: Option<DnsName>,
    names: &'a mut Names,
}

/// A record's header and the position of its data's end.
struct Head {
    rtype: RecordType,
    class: u16,
    ttl: u32,
    end: usize,
}

impl<'a> Reader<'a> {
    /// The next octets.
    fn take<const COUNT: usize>(&mut self) -> Option<&'a [u8; COUNT]> {
        let octets = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += COUNT;
        Some(octets)
    }

    /// The name at the current position.
    fn name(&mut self) -> Option<DnsName> {
        if let Some(question) = &self.question
            && self.bytes.get(self.at..self.at + 2) == Some(&TO_QUESTION)
        {
            self.at += 2;
            return Some(question.clone());
        }
        if let Some((wire, end)) = in_one_piece(self.bytes, self.at) {
            self.at = end;
            return self.names.get(wire, || Some(name(wire, 0)?.0));
        }
        let (name, end) = name(self.bytes, self.at)?;
        self.at = end;
        Some(name)
    }

    /// What follows a record's owner name.
    fn head(&mut self) -> Option<Head> {
        let [t0, t1, c0, c1, ttl @ .., l0, l1] = *self.take::<10>()?;
        let end = self.at + usize::from(u16::from_be_bytes([l0, l1]));
        (end <= self.bytes.len()).then_some(Head {
            rtype: u16::from_be_bytes([t0, t1]).into(),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes(ttl),
            end,
        })
    }

    fn record(&mut self) -> Option<ResourceRecord> {
        let name = self.name()?;
        let head = self.head()?;
        let data = self.data(&head)?;
        self.at = head.end;
        Some(ResourceRecord {
            name,
            rtype: head.rtype,
            ttl: head.ttl,
            data,
        })
    }

    /// A record's data in presentation format.
    fn data(&self, head: &Head) -> Option<String> {
        // Names may point back to earlier bytes, but nothing may be read beyond the end.
        let message = self.bytes.get(..head.end)?;
        let data = message.get(self.at..)?;
        match head.rtype {
            RecordType::A if head.class == CHAOS => None,
            RecordType::A => Some(ipv4(data.try_into().ok()?)),
            RecordType::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string()),
            RecordType::CNAME | RecordType::NS | RecordType::PTR => {
                let mut text = NameText::default();
                let end = text.read(message, self.at)?;
                (end == head.end).then(|| text.as_str().map(str::to_owned))?
            }
            RecordType::SOA => soa(message, self.at),
            rtype => rdata::text(self.bytes, rtype, self.at, head.end).ok(),
        }
    }

    /// Takes from the additional section only the OPT record.
    fn additional(&mut self, message: &mut Message) -> Option<()> {
        self.name()?;
        let head = self.head()?;
        if head.rtype == RecordType::OPT {
            if message.edns.is_some() {
                return None;
            }
            let [upper, ..] = head.ttl.to_be_bytes();
            message.rcode = ResponseCode::from(upper, message.rcode.low());
            let data = self.bytes.get(self.at..head.end)?;
            let mut fault = None;
            let edns = edns::read(head.class, head.ttl, data, &mut fault);
            message.edns = Some(Box::new(edns));
            if fault.is_some() {
                return None;
            }
        }
        self.at = head.end;
        Some(())
    }
}

/// The name at `at`, and where it ends.
fn name(message: &[u8], at: usize) -> Option<(DnsName, usize)> {
    let mut text = NameText::default();
    let end = text.read(message, at)?;
    Some((DnsName::from_presentation(text.as_str()?), end))
}

/// The labels of the name at `at` and where it ends, if they are in one place: there, or where a pointer leads.
fn in_one_piece(message: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (start, limit, after) = match message.get(at..)? {
        [high, low, ..] if *high >= 0xc0 => {
            let target = usize::from(high & 0x3f) << 8 | usize::from(*low);
            // What a pointer leads to ends before the pointer.
            (target, at, Some(at + 2))
        }
        _ => (at, message.len(), None),
    };
    let labels = message.get(start..limit)?;
    let mut end = 0;
    loop {
        match *labels.get(end).filter(|_| end < MAX_WIRE)? {
            0 => break,
            length @ 1..=63 => end += 1 + usize::from(length),
            _ => return None,
        }
    }
    let wire = labels.get(..=end)?;
    Some((wire, after.unwrap_or(start + wire.len())))
}

/// An IPv4 address. The standard library's formatting costs more than the rest of the record.
fn ipv4(octets: [u8; 4]) -> String {
    let mut text = String::with_capacity("255.255.255.255".len());
    for (number, octet) in octets.into_iter().enumerate() {
        if number > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// The data of a SOA record (RFC 1035 section 3.3.13), from `at` to the end.
fn soa(message: &[u8], at: usize) -> Option<String> {
    let mut server = NameText::default();
    let at = server.read(message, at)?;
    let mut mailbox = NameText::default();
    let at = mailbox.read(message, at)?;
    let numbers: &[u8; 20] = message.get(at..)?.try_into().ok()?;
    let (server, mailbox) = (server.as_str()?, mailbox.as_str()?);
    // A number has at most ten digits, after a space.
    let mut text = String::with_capacity(server.len() + mailbox.len() + 56);
    text.push_str(server);
    text.push(' ');
    text.push_str(mailbox);
    let (numbers, _) = numbers.as_chunks();
    for number in numbers {
        text.push(' ');
        text.push_str(itoa::Buffer::new().format(u32::from_be_bytes(*number)));
    }
    Some(text)
}

/// A name in presentation format and in lower case, on the stack.
struct NameText {
    bytes: [u8; MAX_NAME],
    length: usize,
}

impl Default for NameText {
    fn default() -> NameText {
        NameText {
            bytes: [0; MAX_NAME],
            length: 0,
        }
    }
}

impl NameText {
    /// Reads the name at `at` and returns where it ends. Pointers lead strictly backwards, no label begins
    /// where the part with the pointer does or later, and their number is bounded (RFC 9267 section 2 has what
    /// happens otherwise).
    fn read(&mut self, message: &[u8], mut at: usize) -> Option<usize> {
        let mut end = None;
        let mut pointers = 0;
        let (mut start, mut limit) = (at, message.len());
        loop {
            if at >= limit {
                return None;
            }
            match *message.get(at)? {
                0 => break,
                length @ 1..=63 => {
                    let label = message.get(at + 1..)?.get(..usize::from(length))?;
                    at += 1 + label.len();
                    self.push(label)?;
                }
                high @ 0xc0.. => {
                    let target = usize::from(high & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                    end = end.or(Some(at + 2));
                    pointers += 1;
                    if target >= start || pointers > MAX_POINTERS {
                        return None;
                    }
                    limit = start;
                    (at, start) = (target, target);
                }
                _ => return None,
            }
        }
        if self.length == 0 {
            self.push(b"")?;
        }
        end.or(Some(at + 1))
    }

    /// Appends a label and its dot.
    fn push(&mut self, label: &[u8]) -> Option<()> {
        let end = self.length + label.len();
        let room = self.bytes.get_mut(self.length..=end)?;
        let mut plain = true;
        for (to, from) in room.iter_mut().zip(label) {
            *to = LOWER.get(usize::from(*from)).copied().unwrap_or(0);
            plain &= *to != 0;
        }
        *room.last_mut()? = b'.';
        self.length = end + 1;
        plain.then_some(())
    }

    fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

/// An octet of a label in lower case (RFC 4343); 0 for one that presentation format escapes
/// ([`push_label`](crate::model::printable::push_label)).
#[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0x21_u8;
    while octet <= 0x7e {
        if !matches!(
            octet,
            b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$'
        ) {
            table[octet as usize] = octet.to_ascii_lowercase();
        }
        octet += 1;
    }
    table
};

#[cfg(test)]
mod tests;
