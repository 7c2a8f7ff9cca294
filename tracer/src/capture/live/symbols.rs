//! Names of kernel functions, where this process may read their addresses (CAP_SYSLOG). An agent may not.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use tracing::debug;

const KALLSYMS: &str = "/proc/kallsyms";

/// The kernel's functions by address. Read at the first question: it takes a tenth of a second and some MiB.
#[derive(Default)]
pub(super) struct Symbols {
    functions: Option<Vec<(u64, Box<str>)>>,
}

impl Symbols {
    /// The function that contains this address.
    pub(super) fn function(&mut self, address: u64) -> Option<Arc<str>> {
        let functions = self.functions.get_or_insert_with(|| {
            let file = File::open(KALLSYMS).ok();
            let functions = file.and_then(|file| read(BufReader::new(file)));
            if functions.is_none() {
                debug!("{KALLSYMS} hides addresses: dropped packets have no function");
            }
            functions.unwrap_or_default()
        });
        containing(functions, address).map(Into::into)
    }
}

/// The functions in address order; `None` if the addresses are hidden or cannot be read.
fn read(lines: impl BufRead) -> Option<Vec<(u64, Box<str>)>> {
    let mut functions = Vec::new();
    for line in lines.lines() {
        let line = line.ok()?;
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let address = u64::from_str_radix(address, 16).ok()?;
        if address == 0 {
            return None;
        }
        if matches!(kind, "t" | "T" | "w" | "W") {
            functions.push((address, name.into()));
        }
    }
    functions.sort_unstable();
    Some(functions)
}

fn containing(functions: &[(u64, Box<str>)], address: u64) -> Option<&str> {
    let next = functions.partition_point(|(start, _)| *start <= address);
    Some(&functions.get(next.checked_sub(1)?)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_that_begins_before_it() {
        let text = "ffff20 T later\nffff10 t first\nffff30 D data\n";
        let functions = read(text.as_bytes()).expect("addresses are shown");
        assert_eq!(containing(&functions, 0xff_ff0f), None);
        assert_eq!(containing(&functions, 0xff_ff10), Some("first"));
        assert_eq!(containing(&functions, 0xff_ff1f), Some("first"));
        assert_eq!(containing(&functions, 0xff_ff99), Some("later"));
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        assert!(read("0000000000000000 T first\n".as_bytes()).is_none());
    }
}
