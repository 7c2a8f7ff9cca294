//! Names that came before: applications ask for the same few names again and again, and each of them is then one
//! allocation that all messages share.
//!
//! A table with one place per hash, keyed by wire format in the case in which it came. A name that meets an
//! occupied place takes it, so a flood of new names costs their allocation, as without the table.

use crate::model::dns::DnsName;

/// Places of the table, which bounds it to about 100 KiB.
const PLACES: usize = 1024;
/// Longest name that is remembered, in wire format.
pub(super) const MAX_WIRE: usize = 64;
/// An odd number without a pattern (the golden ratio): multiplying by it mixes bits upwards.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Debug)]
struct Known {
    wire: [u8; MAX_WIRE],
    length: usize,
    name: DnsName,
}

/// Recent names.
#[derive(Clone, Debug, Default)]
pub(in crate::decode) struct Names {
    /// Empty if nothing is remembered.
    places: Vec<Option<Known>>,
}

impl Names {
    /// A table that remembers names. The default remembers none.
    pub(in crate::decode) fn remembering() -> Names {
        Names {
            places: vec![None; PLACES],
        }
    }

    /// The name with this wire format, which has no pointers; `read` makes it if it is new.
    pub(super) fn get(
        &mut self,
        wire: &[u8],
        read: impl FnOnce() -> Option<DnsName>,
    ) -> Option<DnsName> {
        let Some(place) = self.places.get_mut(hash(wire)) else {
            return read();
        };
        if let Some(known) = place
            && known.wire.get(..known.length) == Some(wire)
        {
            return Some(known.name.clone());
        }
        let name = read()?;
        let mut known = Known {
            wire: [0; MAX_WIRE],
            length: wire.len(),
            name: name.clone(),
        };
        if let Some(room) = known.wire.get_mut(..wire.len()) {
            room.copy_from_slice(wire);
            *place = Some(known);
        }
        Some(name)
    }
}

/// The place of a name.
fn hash(wire: &[u8]) -> usize {
    let (words, rest) = wire.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let mixed = words
        .chain(rest.iter().map(|octet| u64::from(*octet)))
        .fold(0_u64, |hash, word| {
            (hash.rotate_left(5) ^ word).wrapping_mul(MIX)
        });
    (mixed >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::{DnsName, Names};

    fn read(text: &str) -> Option<DnsName> {
        Some(DnsName::from_presentation(text))
    }

    #[test]
    fn a_name_that_comes_again_is_the_same_allocation() {
        let mut names = Names::remembering();
        let first = names.get(b"\x03web\0", || read("web.")).expect("a name");
        let again = names.get(b"\x03web\0", || None).expect("the same name");
        assert!(std::ptr::eq(first.as_str(), again.as_str()));
        assert_eq!(names.get(b"\x03wes\0", || None), None);
    }

    #[test]
    fn any_number_of_names_read_as_themselves() {
        let mut names = Names::remembering();
        for round in 0..2 {
            for number in 0..5_000 {
                let text = format!("n{number:04}.");
                let wire = format!("\x05n{number:04}\0");
                let name = names.get(wire.as_bytes(), || read(&text));
                assert_eq!(name, read(&text), "round {round}");
            }
        }
    }

    #[test]
    fn a_long_name_is_read_each_time() {
        let mut names = Names::remembering();
        let wire = [1; 200];
        assert_eq!(names.get(&wire, || read("long.")), read("long."));
        assert_eq!(names.get(&wire, || None), None);
    }
}
