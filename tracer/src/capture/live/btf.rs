//! The running kernel's types (BTF): offsets of struct fields, values of an enum, arguments of a tracepoint.
//!
//! Kernel structs differ between versions and configurations, and Rust cannot relocate field accesses in BPF
//! programs (CO-RE). So the offsets are read here and given to the probes as a read-only global. Format:
//! <https://docs.kernel.org/bpf/btf.html>.

use std::io;
use std::ops::Range;

/// Where the kernel shows its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;

// Kinds of types (linux/btf.h).
const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Modifiers and typedefs between a field and its struct, at most.
const MAX_CHAIN: usize = 16;

/// Parsed BTF: its bytes, and where each type begins. Type 0 is void.
pub(super) struct Btf {
    data: Vec<u8>,
    strings: Range<usize>,
    types: Vec<u32>,
}

/// A type's header.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    members: usize,
    /// Member offsets have a bit-field size in their upper byte.
    flag: bool,
    /// Its size, or the type that it refers to.
    size_or_type: u32,
}

impl Btf {
    /// The types of the running kernel.
    pub(super) fn of_kernel() -> io::Result<Btf> {
        let data = std::fs::read(VMLINUX)?;
        Btf::parse(data).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "invalid BTF"))
    }

    /// Finds where each type begins. `None` if the data is no BTF of this machine's byte order.
    fn parse(data: Vec<u8>) -> Option<Btf> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let [header, type_start, type_len, string_start, string_len] =
            [4, 8, 12, 16, 20].map(|at| word(&data, at).map(|word| word as usize));
        let header = header?;
        let begin = header.checked_add(type_start?)?;
        let end = begin.checked_add(type_len?)?;
        let strings = header.checked_add(string_start?)?;
        let strings = strings..strings.checked_add(string_len?)?;
        if end > data.len() || strings.end > data.len() {
            return None;
        }
        let mut btf = Btf {
            data,
            strings,
            types: vec![0],
        };
        let mut at = begin;
        while at < end {
            btf.types.push(u32::try_from(at).ok()?);
            let found = btf.header(at)?;
            at = at.checked_add(12 + trailing(&found)?)?;
        }
        Some(btf)
    }

    fn header(&self, at: usize) -> Option<Type> {
        let info = word(&self.data, at + 4)?;
        Some(Type {
            at,
            name: word(&self.data, at)?,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            flag: info >> 31 != 0,
            size_or_type: word(&self.data, at + 8)?,
        })
    }

    fn get(&self, id: u32) -> Option<Type> {
        match self.types.get(id as usize) {
            Some(&at) if id != 0 => self.header(at as usize),
            _ => None,
        }
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let bytes = self
            .data
            .get(self.strings.clone())?
            .get(offset as usize..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()
    }

    fn find(&self, kinds: &[u32], name: &str) -> Option<Type> {
        (1..self.types.len()).find_map(|id| {
            let found = self.get(u32::try_from(id).ok()?)?;
            let fits = kinds.contains(&found.kind) && self.string(found.name) == Some(name);
            fits.then_some(found)
        })
    }

    /// Follows typedefs and modifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_CHAIN {
            let found = self.get(id)?;
            match found.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = found.size_or_type,
                _ => return Some(found),
            }
        }
        None
    }

    /// The offset in bytes of a field of a struct. `path` leads through embedded structs: `nd_net.net`.
    pub(super) fn offset(&self, of: &str, path: &str) -> Option<u32> {
        let mut inside = self.find(&[STRUCT], of)?;
        let mut offset = 0;
        for name in path.split('.') {
            let (bits, type_id) = self.member(&inside, name, MAX_CHAIN)?;
            if bits % 8 != 0 {
                return None;
            }
            offset += bits / 8;
            // The last field may be of any type.
            inside = self.resolve(type_id).unwrap_or(inside);
        }
        Some(offset)
    }

    /// The size of a struct in bytes.
    pub(super) fn size(&self, of: &str) -> Option<u32> {
        self.find(&[STRUCT], of).map(|found| found.size_or_type)
    }

    /// The offset in bits and the type of a member, also of one in an anonymous struct or union.
    fn member(&self, of: &Type, name: &str, depth: usize) -> Option<(u32, u32)> {
        if !matches!(of.kind, STRUCT | UNION) || depth == 0 {
            return None;
        }
        (0..of.members).find_map(|index| {
            let at = of.at + 12 + index * 12;
            let type_id = word(&self.data, at + 4)?;
            let mut bits = word(&self.data, at + 8)?;
            if of.flag {
                bits &= 0x00ff_ffff;
            }
            match self.string(word(&self.data, at)?)? {
                "" => {
                    let (inner, type_id) = self.member(&self.resolve(type_id)?, name, depth - 1)?;
                    Some((bits + inner, type_id))
                }
                found if found == name => Some((bits, type_id)),
                _ => None,
            }
        })
    }

    /// The names of an enum's values.
    pub(super) fn values(&self, of: &str) -> Option<Vec<(u32, &str)>> {
        let found = self.find(&[ENUM], of)?;
        (0..found.members)
            .map(|index| {
                let at = found.at + 12 + index * 8;
                Some((
                    word(&self.data, at + 4)?,
                    self.string(word(&self.data, at)?)?,
                ))
            })
            .collect()
    }

    /// The number of arguments of a tracepoint.
    pub(super) fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let typedef = self.find(&[TYPEDEF], &format!("btf_trace_{name}"))?;
        let pointer = self.resolve(typedef.size_or_type)?;
        let function = self.resolve(pointer.size_or_type)?;
        // The first parameter is not the program's.
        (pointer.kind == POINTER && function.kind == FUNC_PROTO)
            .then(|| function.members.saturating_sub(1))
    }
}

/// The bytes behind a type's header. `None` for a kind that this version does not know.
fn trailing(of: &Type) -> Option<usize> {
    Some(match of.kind {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => of.members * 12,
        ENUM | FUNC_PROTO => of.members * 8,
        POINTER | TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => 0,
        // Forward declaration, function, float.
        7 | 12 | 16 => 0,
        _ => return None,
    })
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_is_no_btf_gives_nothing() {
        assert!(Btf::parse(Vec::new()).is_none());
        assert!(Btf::parse(vec![0; 64]).is_none());
        let mut huge = vec![0xff; 24];
        huge[..2].copy_from_slice(&MAGIC.to_ne_bytes());
        assert!(Btf::parse(huge).is_none());
    }

    /// As `pahole` and the kernel's headers have them: fields that no configuration moves.
    #[test]
    fn the_running_kernels_types_are_read() {
        let btf = Btf::of_kernel().expect("this kernel has BTF");
        assert_eq!(btf.offset("iphdr", "saddr"), Some(12));
        assert_eq!(btf.offset("iphdr", "daddr"), Some(16));
        assert_eq!(btf.offset("tcphdr", "seq"), Some(4));
        assert_eq!(btf.offset("iphdr", "no_such_field"), None);
        assert_eq!(btf.offset("no_such_struct", "x"), None);
        assert_eq!(btf.size("iphdr"), Some(20));
        let reasons = btf.values("skb_drop_reason").expect("Linux 5.17");
        assert!(
            reasons
                .iter()
                .any(|(_, name)| name.ends_with("NETFILTER_DROP"))
        );
        assert!(btf.tracepoint_arguments("kfree_skb") >= Some(3));
        assert_eq!(btf.tracepoint_arguments("no_such_tracepoint"), None);
    }

    #[test]
    fn truncated_btf_never_panics() {
        let whole = Btf::of_kernel().expect("this kernel has BTF").data;
        for length in [23, 24, 25, 1_000, 100_003, whole.len() - 1] {
            assert!(Btf::parse(whole[..length].to_vec()).is_none());
        }
    }
}
