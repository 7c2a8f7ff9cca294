//! Judges whether bytes could start a DNS message with its length prefix.
//!
//! Owns the guess by which framing resumes in a stream whose message boundaries are unknown. Sees only the
//! candidate's first bytes; [`super::framing`] never treats the verdict as certain.
//!
//! Names and addresses are full of zeros, so two lengths and a header of small numbers match easily by
//! chance. More is required: flags and counts that implementations send, an announced length that can hold
//! the announced records, and a first question (or, in a response without one, as in zone transfers, a first
//! record) that begins with a well-formed uncompressed name and a known class. This rejects some rare
//! messages (DNS Stateful Operations of RFC 8490, several questions); the next ordinary message
//! resynchronises the stream.

/// Length prefix (RFC 1035 section 4.2.2).
pub(super) const PREFIX: usize = 2;
/// Header (RFC 1035 section 4.1.1).
pub(super) const HEADER: usize = 12;
/// Smallest question: one byte for the root name, type, class.
const MIN_QUESTION: u32 = 5;
/// Smallest record: root name, type, class, TTL, length, no data.
const MIN_RECORD: u32 = 11;
const MAX_LABEL: u8 = 63;
const MAX_NAME: usize = 255;

/// The verdict on the bytes seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No DNS message begins here.
    Implausible,
    /// Nothing contradicts it.
    Plausible,
    /// Undecided before this many bytes, never more than the message would have.
    NeedsBytes(usize),
}

/// Judges bytes that begin with the length prefix.
pub(super) fn judge(bytes: &[u8]) -> Verdict {
    let Some((prefix, message)) = bytes.split_first_chunk::<PREFIX>() else {
        return Verdict::NeedsBytes(PREFIX);
    };
    let length = u16::from_be_bytes(*prefix);
    if u32::from(length) < HEADER as u32 + MIN_QUESTION {
        return Verdict::Implausible;
    }
    let Some((header, body)) = message.split_first_chunk::<HEADER>() else {
        return Verdict::NeedsBytes(PREFIX + HEADER);
    };
    if !plausible_header(header, length) {
        return Verdict::Implausible;
    }
    match first_entry(body, usize::from(length) - HEADER) {
        // The verdict on the body counts bytes of the body.
        Verdict::NeedsBytes(count) => Verdict::NeedsBytes(PREFIX + HEADER + count),
        verdict => verdict,
    }
}

fn plausible_header(header: &[u8; HEADER], length: u16) -> bool {
    let [_, _, high, low, counts @ ..] = *header;
    let [q0, q1, a0, a1, n0, n1, r0, r1] = counts;
    let questions = u16::from_be_bytes([q0, q1]);
    let answers = u16::from_be_bytes([a0, a1]);
    let authorities = u16::from_be_bytes([n0, n1]);
    let additionals = u16::from_be_bytes([r0, r1]);

    let response = high & 0x80 != 0;
    let opcode = (high >> 3) & 0x0f;
    let reserved = low & 0x40 != 0;
    let rcode = low & 0x0f;

    let records = u32::from(answers) + u32::from(authorities) + u32::from(additionals);
    let least =
        HEADER as u32 + u32::from(questions) * MIN_QUESTION + records.saturating_mul(MIN_RECORD);
    let shape = match (opcode, response) {
        // Query: IXFR has one authority record; EDNS, TSIG and SIG(0) are additional records.
        (0, false) => questions == 1 && answers == 0 && authorities <= 1 && additionals <= 3,
        // Later messages of a zone transfer may leave the question out (RFC 5936 section 2.2.1).
        (0, true) => questions == 1 || (questions == 0 && answers > 0),
        // Notify (RFC 1996), update (RFC 2136).
        (4 | 5, _) => questions == 1,
        _ => false,
    };
    !reserved && shape && (response || rcode == 0) && least <= u32::from(length)
}

/// Judges the name, type and class at the start of the first question or record; `room` is the space for it
/// in the message.
fn first_entry(body: &[u8], room: usize) -> Verdict {
    let mut at = 0;
    loop {
        let Some(&label) = body.get(at) else {
            return Verdict::NeedsBytes(at + 1);
        };
        if label > MAX_LABEL {
            return Verdict::Implausible;
        }
        at += 1 + usize::from(label);
        // At least this must follow, here or after further labels: the root's byte, type, class.
        let rest = if label == 0 { 4 } else { 5 };
        if at > MAX_NAME || at + rest > room {
            return Verdict::Implausible;
        }
        if label == 0 {
            break;
        }
    }
    let Some(&[t0, t1, c0, c1]) = body.get(at..at + 4) else {
        return Verdict::NeedsBytes(at + 4);
    };
    let class = u16::from_be_bytes([c0, c1]);
    // IN, CH, HS, NONE, ANY.
    if (t0, t1) != (0, 0) && matches!(class, 1 | 3 | 4 | 254 | 255) {
        Verdict::Plausible
    } else {
        Verdict::Implausible
    }
}
