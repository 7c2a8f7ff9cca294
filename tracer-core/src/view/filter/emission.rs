//! What of a filter the probes can be told, so that what cannot be shown does not even become a record.
//!
//! Owns the question which packets an event rests on. Errs on the side of too many records: what is shown must be what the
//! filter chooses from all events. Asks only the filter, never who is who; for that see [`interfaces`](super::interfaces).

use super::{FilterConfig, Kind, any};
use crate::model::emission::{Emission, MAX_PORTS};
use crate::model::flow::Protocol;
use crate::model::observation::IcmpError;
use crate::view::words;

/// A type of event, with the two that share a name told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Dns,
    Lookup,
    Tcp,
    Udp,
    Echo,
    IcmpError,
    Finding,
}

impl Told {
    fn kind(self) -> Kind {
        match self {
            Told::Dns => Kind::Dns,
            Told::Lookup => Kind::Lookup,
            Told::Tcp => Kind::Tcp,
            Told::Udp => Kind::Udp,
            Told::Echo | Told::IcmpError => Kind::Icmp,
            Told::Finding => Kind::Finding,
        }
    }

    fn outcomes(self) -> &'static [&'static str] {
        match self {
            Told::Dns | Told::Lookup => &words::DNS_OUTCOMES,
            Told::Tcp => &words::TCP_STATES,
            Told::Udp => &words::UDP_STATES,
            Told::Echo => &words::ECHO_STATES,
            Told::IcmpError => &words::ICMP_ERROR_OUTCOMES,
            Told::Finding => &words::FINDING_STATES,
        }
    }
}

impl FilterConfig {
    /// Which packets anything that this filter can show rests on.
    ///
    /// An event of a connection, a flow or a ping names its other end as the pod resolved it, so those need DNS. A finding can rest on anything, of its own flow's ports.
    pub fn emission(&self) -> Emission {
        let can = |told: Told| self.can_show(told);
        let finding = can(Told::Finding);
        let dns = can(Told::Dns) || can(Told::Lookup);
        let flows = can(Told::Tcp) || can(Told::Udp);
        let icmp = can(Told::Echo) || can(Told::IcmpError);
        Emission {
            dns: dns || flows || icmp || finding,
            tcp: can(Told::Tcp) || finding,
            // An error about a ping belongs to its run.
            echo: icmp || finding,
            // They end queries, connections, flows and pings.
            icmp_errors: dns || flows || icmp || finding,
            first: can(Told::Udp) || finding,
            ports: if self.ports.len() <= MAX_PORTS {
                self.ports.clone()
            } else {
                Vec::new()
            },
            by_interface: self.by_interface(),
        }
    }

    /// Whether some event of this type can pass. Asks the options that leave out whole types.
    pub(super) fn can_show(&self, told: Told) -> bool {
        let dns = matches!(told, Told::Dns | Told::Lookup);
        let timed = dns || matches!(told, Told::Tcp | Told::Echo);
        any(&self.kinds, |kind| *kind == told.kind())
            && any(&self.outcomes, |word| {
                told.outcomes().contains(&word.as_str())
            })
            && (dns || self.qtypes.is_empty() && self.rcodes.is_empty())
            && (timed || self.slow.is_none())
            && (told != Told::Echo || self.ports.is_empty())
    }
}

/// Knows what the probes were not asked for, and so what an ICMP error that seems to stand alone belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Unrecorded {
    emission: Emission,
    dns_ports: Vec<u16>,
}

impl Unrecorded {
    /// What is missing where the probes emit this, with DNS on these ports.
    pub fn new(emission: Emission, dns_ports: Vec<u16>) -> Unrecorded {
        Unrecorded {
            emission,
            dns_ports,
        }
    }

    /// Whether the error is the end of a query, a connection attempt or a UDP flow that would be told as such if its
    /// packets had been recorded: then it is part of an event that was not asked for, and no event of its own.
    pub(super) fn owns(&self, error: &IcmpError) -> bool {
        let (src, dst) = (error.about.src.port(), error.about.dst.port());
        let [from_dns, to_dns] = [src, dst].map(|port| self.dns_ports.contains(&port));
        let ports = &self.emission.ports;
        let listed = ports.is_empty() || ports.contains(&src) || ports.contains(&dst);
        if error.is_too_big() {
            // It ends nothing: the packet is sent again, smaller.
            return false;
        }
        match error.about.protocol {
            // An error about an answer ends no query.
            Protocol::Udp if to_dns || from_dns => to_dns && !self.emission.dns,
            Protocol::Udp => !(self.emission.first && listed),
            Protocol::Tcp if (to_dns || from_dns) && self.emission.dns => false,
            Protocol::Tcp => error.opens && !(self.emission.tcp && listed),
            Protocol::Icmp | Protocol::Icmpv6 | Protocol::Other(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::dns::{RecordType, ResponseCode};
    use crate::model::event::Body;
    use crate::view::filter::{Detail, Filter};
    use crate::view::gallery;

    fn told(body: &Body) -> Option<Told> {
        Some(match body {
            Body::Dns(..) => Told::Dns,
            Body::Lookup(_) => Told::Lookup,
            Body::Tcp(_) => Told::Tcp,
            Body::Udp(_) => Told::Udp,
            Body::Echo(_) => Told::Echo,
            Body::IcmpError(_) => Told::IcmpError,
            Body::Finding(_) => Told::Finding,
            Body::Lost(_) => return None,
        })
    }

    fn kinds(kinds: &[Kind]) -> FilterConfig {
        FilterConfig {
            kinds: kinds.to_vec(),
            ..FilterConfig::default()
        }
    }

    fn named(mut asked: FilterConfig) -> FilterConfig {
        asked.names = vec!["*.example.com".parse().expect("a pattern")];
        asked
    }

    fn outcomes(words: &[&str]) -> FilterConfig {
        FilterConfig {
            outcomes: words.iter().map(|word| (*word).to_owned()).collect(),
            ..FilterConfig::default()
        }
    }

    /// In one line: `dns tcp echo error first`, then the ports.
    fn emitted(asked: &FilterConfig) -> String {
        let emission = asked.emission();
        let mut words: Vec<String> = [
            (emission.dns, "dns"),
            (emission.tcp, "tcp"),
            (emission.echo, "echo"),
            (emission.icmp_errors, "error"),
            (emission.first, "first"),
        ]
        .into_iter()
        .filter(|(asked, _)| *asked)
        .map(|(_, word)| word.to_owned())
        .collect();
        words.extend(emission.ports.iter().map(u16::to_string));
        words.join(" ")
    }

    #[test]
    fn what_cannot_be_shown_causes_no_record() {
        let all = "dns tcp echo error first";
        for (asked, expected) in [
            (FilterConfig::default(), all),
            (kinds(&[Kind::Finding]), all),
            (kinds(&[Kind::Finding, Kind::Icmp]), all),
            // A name is known from DNS.
            (kinds(&[Kind::Icmp]), "dns echo error"),
            (named(kinds(&[Kind::Icmp])), "dns echo error"),
            (kinds(&[Kind::Dns]), "dns error"),
            (kinds(&[Kind::Lookup]), "dns error"),
            (kinds(&[Kind::Tcp]), "dns tcp error"),
            (kinds(&[Kind::Udp]), "dns error first"),
            (kinds(&[Kind::Icmp, Kind::Udp]), "dns echo error first"),
            (outcomes(&["running", "done"]), "dns echo error"),
            (outcomes(&["established"]), "dns tcp error"),
            (outcomes(&["icmp-error"]), "dns echo error first"),
            (outcomes(&["active"]), all),
            (
                FilterConfig {
                    rcodes: vec![ResponseCode::NXDomain],
                    ..FilterConfig::default()
                },
                "dns error",
            ),
            (
                FilterConfig {
                    qtypes: vec![RecordType::A],
                    ..FilterConfig::default()
                },
                "dns error",
            ),
            // What has no duration is not slow: neither UDP flows nor findings.
            (
                FilterConfig {
                    slow: Some(Duration::from_millis(1)),
                    ..FilterConfig::default()
                },
                "dns tcp echo error",
            ),
            (
                FilterConfig {
                    failed: true,
                    ..FilterConfig::default()
                },
                all,
            ),
            (
                FilterConfig {
                    ports: vec![53],
                    ..FilterConfig::default()
                },
                "dns tcp echo error first 53",
            ),
            (
                FilterConfig {
                    ports: vec![80, 443],
                    ..kinds(&[Kind::Tcp])
                },
                "dns tcp error 80 443",
            ),
            // More ports than the probes can tell apart.
            (
                FilterConfig {
                    ports: (1..=9).collect(),
                    ..kinds(&[Kind::Tcp])
                },
                "dns tcp error",
            ),
            (
                FilterConfig {
                    outcomes: outcomes(&["nxdomain"]).outcomes,
                    ..kinds(&[Kind::Tcp])
                },
                "",
            ),
        ] {
            assert_eq!(emitted(&asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_a_filter_lets_through_is_never_left_out() {
        let words = words::outcomes();
        let mut filters: Vec<FilterConfig> = words.iter().map(|word| outcomes(&[word])).collect();
        filters.extend(Kind::ALL.map(|kind| kinds(&[kind])));
        filters.push(FilterConfig {
            slow: Some(Duration::from_nanos(1)),
            ..FilterConfig::default()
        });
        filters.extend([53, 80, 123, 443, 41_000].map(|port| FilterConfig {
            ports: vec![port],
            ..FilterConfig::default()
        }));
        filters.push(FilterConfig {
            rcodes: vec![ResponseCode::NoError, ResponseCode::NXDomain],
            ..FilterConfig::default()
        });
        filters.push(FilterConfig {
            qtypes: vec![RecordType::A, RecordType::AAAA],
            ..FilterConfig::default()
        });
        let mut passed = 0;
        for asked in filters {
            let filter = Filter::from(FilterConfig {
                detail: Detail::All,
                ..asked.clone()
            });
            for (what, event) in gallery::all() {
                if let Some(told) = told(&event.body).filter(|_| filter.matches(&event)) {
                    assert!(asked.can_show(told), "{what} {asked:?}");
                    passed += 1;
                }
            }
        }
        assert!(passed > 100, "{passed}");
    }

    #[test]
    fn an_error_belongs_to_what_it_ends_even_if_that_was_not_recorded() {
        let to = |address: &str| address.parse().expect("an address");
        let syn = IcmpError {
            opens: true,
            ..gallery::icmp(Protocol::Tcp, to("10.152.183.99:80"))
        };
        let too_big = IcmpError {
            icmp_code: 4,
            ..syn
        };
        let segment = gallery::icmp(Protocol::Tcp, to("10.152.183.99:80"));
        let datagram = gallery::icmp(Protocol::Udp, to("10.1.79.66:9999"));
        let query = gallery::icmp(Protocol::Udp, to("10.152.183.10:53"));
        let mut answer = query;
        std::mem::swap(&mut answer.about.src, &mut answer.about.dst);
        let ping = gallery::icmp(Protocol::Icmp, to("10.1.79.66:0"));
        let owned = |asked: FilterConfig| {
            let unrecorded = Unrecorded::new(asked.emission(), vec![53]);
            [&syn, &segment, &too_big, &datagram, &query, &answer, &ping]
                .map(|error| unrecorded.owns(error))
        };
        let none = [false; 7];
        assert_eq!(owned(FilterConfig::default()), none);
        assert_eq!(
            owned(kinds(&[Kind::Icmp])),
            [true, false, false, true, false, false, false]
        );
        assert_eq!(
            owned(kinds(&[Kind::Icmp, Kind::Dns])),
            [true, false, false, true, false, false, false]
        );
        assert_eq!(owned(kinds(&[Kind::Icmp, Kind::Tcp, Kind::Udp])), none);
        let on = |port: u16| FilterConfig {
            ports: vec![port],
            ..FilterConfig::default()
        };
        assert_eq!(
            owned(on(81)),
            [true, false, false, true, false, false, false]
        );
        assert_eq!(
            owned(on(80)),
            [false, false, false, true, false, false, false]
        );
    }
}
