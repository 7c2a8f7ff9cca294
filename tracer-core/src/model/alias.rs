//! Chains of CNAMEs in an answer (RFC 1034 section 3.6.2).

use smallvec::{SmallVec, smallvec};

use super::dns::{DnsName, RecordType, ResourceRecord};

/// Maximum length of a chain; resolvers give up sooner.
const MAX_ALIASES: usize = 16;

/// The queried name and its aliases in order, each with the lowest TTL on the path to it. Accepts records in
/// any order, and chains that loop.
pub fn aliases(asked: &DnsName, answers: &[ResourceRecord]) -> SmallVec<[(DnsName, u32); 2]> {
    let mut aliases = smallvec![(asked.clone(), u32::MAX)];
    while let Some((owner, ttl)) = aliases.last() {
        let next = answers
            .iter()
            .filter(|record| record.rtype == RecordType::CNAME && record.name == *owner)
            .map(|record| (DnsName::new(&record.data), record.ttl.min(*ttl)))
            .find(|(target, _)| aliases.iter().all(|(alias, _)| alias != target));
        match next {
            Some(next) if aliases.len() < MAX_ALIASES => aliases.push(next),
            _ => break,
        }
    }
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cname(name: &str, ttl: u32, target: &str) -> ResourceRecord {
        ResourceRecord {
            name: DnsName::new(name),
            rtype: RecordType::CNAME,
            ttl,
            data: target.to_owned(),
        }
    }

    fn chain(asked: &str, answers: &[ResourceRecord]) -> Vec<(String, u32)> {
        let aliases = aliases(&DnsName::new(asked), answers);
        aliases
            .into_iter()
            .map(|(name, ttl)| (name.to_string(), ttl))
            .collect()
    }

    #[test]
    fn a_chain_is_followed_in_any_order_and_a_loop_ends() {
        let answers = [
            cname("b.test", 90, "C.test."),
            cname("a.test", 300, "b.test."),
            cname("other.test", 1, "d.test."),
        ];
        let expected = [("a.test.", u32::MAX), ("b.test.", 300), ("c.test.", 90)];
        let expected = expected.map(|(name, ttl)| (name.to_owned(), ttl));
        assert_eq!(chain("a.test", &answers), expected);
        let a_loop = [cname("a.test", 5, "b.test."), cname("b.test", 5, "a.test.")];
        assert_eq!(chain("a.test", &a_loop).len(), 2);
        let long: Vec<ResourceRecord> = (0..100)
            .map(|number| {
                cname(
                    &format!("{number}.test"),
                    5,
                    &format!("{}.test.", number + 1),
                )
            })
            .collect();
        assert_eq!(chain("0.test", &long).len(), MAX_ALIASES);
    }
}
