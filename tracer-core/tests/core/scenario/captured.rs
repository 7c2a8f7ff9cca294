//! The records of a packet, as a probe or a capture has them.

use tracer_core::model::record::Record;

use super::words::number;

/// The part of a packet that is captured.
pub(super) enum Captured<'a> {
    Whole,
    /// The first bytes, as with a snap length.
    Cut(usize),
    /// The first IPv4 fragment, with this many bytes of the packet's payload.
    Fragment(usize),
    /// Cut as the probe cuts a long segment: `all`, or the numbers of the chunks that arrive.
    Chunks(&'a str),
}

impl Captured<'_> {
    pub(super) fn records(&self, record: Record) -> Result<Vec<Record>, String> {
        const CHUNK: usize = 2048;
        match *self {
            Captured::Whole => Ok(vec![record]),
            Captured::Cut(length) => {
                let mut record = record;
                record.bytes.truncate(length);
                Ok(vec![record])
            }
            Captured::Fragment(length) => {
                const IPV4_HEADER: usize = 20;
                const MORE_FRAGMENTS: u8 = 0x20;
                let mut record = record;
                let total = IPV4_HEADER + length;
                if record.bytes.first() != Some(&0x45) || length % 8 != 0 {
                    return Err("a fragment is of IPv4, with a multiple of 8 bytes".to_owned());
                }
                record.bytes.truncate(total);
                let announced = u16::try_from(total).map_err(|error| error.to_string())?;
                record.bytes[2..4].copy_from_slice(&announced.to_be_bytes());
                record.bytes[6] = MORE_FRAGMENTS;
                record.wire_len = u32::from(announced);
                Ok(vec![record])
            }
            Captured::Chunks(which) => {
                let parts = record.bytes.chunks(CHUNK).enumerate();
                let mut chunks = Vec::new();
                for (index, part) in parts.map(|(index, part)| (index, part.to_vec())) {
                    chunks.push(Record {
                        chunk_offset: u32::try_from(index * CHUNK)
                            .map_err(|error| error.to_string())?,
                        sender_cgroup: 0,
                        sender_process: None,
                        bytes: part,
                        ..record.clone()
                    });
                }
                if which == "all" {
                    return Ok(chunks);
                }
                let chunk = |which| {
                    let chunk: Option<&Record> = chunks.get(number::<usize>(which)?);
                    chunk
                        .cloned()
                        .ok_or_else(|| format!("there are {} chunks", chunks.len()))
                };
                which.split(',').map(chunk).collect()
            }
        }
    }
}
