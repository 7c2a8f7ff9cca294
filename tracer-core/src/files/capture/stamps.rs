//! The unit and origin of a pcapng interface's timestamps: the options `if_tsresol` and `if_tsoffset`.
//!
//! Read here because pcap-parser takes the offset for little-endian in every section, and does not support
//! binary resolutions.

use pcap_parser::pcapng::{InterfaceDescriptionBlock, OptionCode};

use crate::model::time::Timestamp;

const IF_TSRESOL: OptionCode = OptionCode(9);
const IF_TSOFFSET: OptionCode = OptionCode(14);

/// An interface's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The value of `if_tsresol`: the negative exponent of 10 or, with the highest bit set, of 2, in seconds.
    resolution: u8,
    offset_s: i64,
}

impl Clock {
    /// Microseconds since the epoch, unless the interface states otherwise.
    pub(super) fn from_description(
        description: &InterfaceDescriptionBlock<'_>,
        big_endian: bool,
    ) -> Clock {
        let mut clock = Clock {
            resolution: 6,
            offset_s: 0,
        };
        for option in &description.options {
            let value = option.as_bytes().unwrap_or_default();
            match (option.code, value) {
                (IF_TSRESOL, &[resolution]) => clock.resolution = resolution,
                (IF_TSOFFSET, value) => {
                    if let Ok(bytes) = value.try_into() {
                        clock.offset_s = if big_endian {
                            i64::from_be_bytes(bytes)
                        } else {
                            i64::from_le_bytes(bytes)
                        };
                    }
                }
                _ => {}
            }
        }
        clock
    }

    /// Nanoseconds since the epoch; times before it, or after 2554, become the nearest representable time.
    pub(super) fn time(self, stamp: u64) -> Timestamp {
        let exponent = u32::from(self.resolution & 0x7f);
        let billions = u128::from(stamp) * 1_000_000_000;
        let ns = if self.resolution & 0x80 != 0 {
            billions.checked_shr(exponent).unwrap_or(0)
        } else {
            10u128
                .checked_pow(exponent)
                .map_or(0, |per_second| billions / per_second)
        };
        let offset_ns = i128::from(self.offset_s) * 1_000_000_000;
        let ns = i128::try_from(ns)
            .unwrap_or(i128::MAX)
            .saturating_add(offset_ns);
        Timestamp(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
    }
}
