//! Stream positions: sequence numbers without wrap-around (RFC 9293 section 3.4).

use super::Extent;
use crate::model::observation::TcpSegment;

/// A segment farther off than this is neither a retransmission nor within a window, but belongs to another
/// connection of the same addresses whose start was not seen. Linux lets windows grow to 6 MiB by default
/// (`tcp_rmem`); a stray retransmission of a former connection falls within by chance in less than 1 % of
/// cases.
pub(super) const WINDOW: u64 = 16 << 20;
/// Positions are 64-bit numbers whose lower half is the sequence number. Starting here, they never fall below
/// zero.
pub(super) const ORIGIN: Position = 1 << 32;

/// A position in the stream, without wrap-around.
pub(super) type Position = u64;

/// The part of the stream that a segment, or a chunk of one, covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Its first byte.
    pub(super) start: Position,
    /// After its last captured byte.
    pub(super) stop: Position,
    /// After the whole segment's last byte.
    pub(super) full_stop: Position,
}

impl Span {
    pub(super) fn of(segment: &TcpSegment, extent: Extent, near: Position) -> Span {
        // A SYN occupies the sequence number before its data.
        let first = position(segment.sequence, near) + u64::from(segment.syn);
        let start = first + u64::from(segment.payload_offset);
        let stop = start + segment.payload.len() as u64;
        let announced = first + u64::from(extent.length);
        Span {
            start,
            stop,
            full_stop: stop.max(announced.min(start + WINDOW)),
        }
    }
}

/// The position nearest to `near` with this sequence number.
pub(super) fn position(sequence: u32, near: Position) -> Position {
    let ahead = sequence.wrapping_sub(near as u32).cast_signed();
    near.saturating_add_signed(i64::from(ahead))
}
