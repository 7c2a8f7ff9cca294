//! Which packets the probes need to record for a filter, so that packets without a visible event cause no
//! record.
//!
//! Owns which packets an event depends on. In doubt it records a packet: the output must equal what the
//! filter selects from all events. It looks only at the filter, not at identities; see
//! [`interfaces`](super::interfaces) for those.

use super::{EventType, FilterConfig, any};
use crate::model::emission::{Emission, MAX_PORTS};
use crate::model::flow::Protocol;
use crate::model::observation::IcmpError;
use crate::view::words;

/// A type of event, with a variant each for the two that share the type `icmp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Dns,
    Lookup,
    Tcp,
    Udp,
    Echo,
    IcmpError,
    Drop,
    Finding,
}

impl Variant {
    fn event_type(self) -> EventType {
        match self {
            Variant::Dns => EventType::Dns,
            Variant::Lookup => EventType::Lookup,
            Variant::Tcp => EventType::Tcp,
            Variant::Udp => EventType::Udp,
            Variant::Echo | Variant::IcmpError => EventType::Icmp,
            Variant::Drop => EventType::Drop,
            Variant::Finding => EventType::Finding,
        }
    }

    fn outcomes(self) -> &'static [&'static str] {
        match self {
            Variant::Dns | Variant::Lookup => &words::DNS_OUTCOMES,
            Variant::Tcp => &words::TCP_STATES,
            Variant::Udp => &words::UDP_STATES,
            Variant::Echo => &words::ECHO_STATES,
            Variant::IcmpError => &words::ICMP_ERROR_OUTCOMES,
            Variant::Drop => &[],
            Variant::Finding => &words::FINDING_STATES,
        }
    }
}

impl FilterConfig {
    /// Which packets the probes must record for the events that this filter can show.
    ///
    /// An event of a connection, flow or ping names its other end as the pod resolved it, so those need DNS.
    /// A finding can depend on every kind of packet, with the ports of its own flow.
    pub fn emission(&self) -> Emission {
        let can = |variant: Variant| self.can_show(variant);
        let finding = can(Variant::Finding);
        let dns = can(Variant::Dns) || can(Variant::Lookup);
        let flows = can(Variant::Tcp) || can(Variant::Udp);
        // A drop names its ends as the pod resolved them, and its pod by the first packet of its flows.
        let drop = self.types.contains(&EventType::Drop) && can(Variant::Drop);
        let icmp = can(Variant::Echo) || can(Variant::IcmpError);
        Emission {
            dns: dns || flows || icmp || drop || finding,
            tcp: can(Variant::Tcp) || drop || finding,
            // An error about a ping belongs to the ping's event.
            echo: icmp || finding,
            // ICMP errors end queries, connections, flows and pings.
            icmp_errors: dns || flows || icmp || finding,
            first: can(Variant::Udp) || drop || finding,
            ports: if self.ports.len() <= MAX_PORTS {
                self.ports.clone()
            } else {
                Vec::new()
            },
            by_interface: self.by_interface(),
        }
    }

    /// Whether an event of this type can pass the options that exclude whole types.
    pub(super) fn can_show(&self, variant: Variant) -> bool {
        let dns = matches!(variant, Variant::Dns | Variant::Lookup);
        let timed = dns || matches!(variant, Variant::Tcp | Variant::Echo);
        any(&self.types, |selected| *selected == variant.event_type())
            && any(&self.outcomes, |word| {
                variant.outcomes().contains(&word.as_str())
            })
            && (dns || self.qtypes.is_empty() && self.rcodes.is_empty())
            && (timed || self.slow.is_none())
            && (variant != Variant::Echo || self.ports.is_empty())
    }
}

/// The packets that the probes do not record. An ICMP error about one of them only looks like an event of
/// its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Unrecorded {
    emission: Emission,
    dns_ports: Vec<u16>,
}

impl Unrecorded {
    /// The packets outside `emission`, with DNS on these ports.
    pub fn new(emission: Emission, dns_ports: Vec<u16>) -> Unrecorded {
        Unrecorded {
            emission,
            dns_ports,
        }
    }

    /// Whether the error ends a query, connection attempt or UDP flow whose packets were not recorded. It is
    /// then part of an event that the filter excludes, not an event of its own.
    pub(super) fn owns(&self, error: &IcmpError) -> bool {
        let (src, dst) = (error.about.src.port(), error.about.dst.port());
        let [from_dns, to_dns] = [src, dst].map(|port| self.dns_ports.contains(&port));
        let ports = &self.emission.ports;
        let listed = ports.is_empty() || ports.contains(&src) || ports.contains(&dst);
        if error.is_too_big() {
            // It ends nothing: the sender repeats the data in smaller packets.
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

    fn variant(body: &Body) -> Option<Variant> {
        Some(match body {
            Body::Dns(..) => Variant::Dns,
            Body::Lookup(_) => Variant::Lookup,
            Body::Tcp(_) => Variant::Tcp,
            Body::Udp(_) => Variant::Udp,
            Body::Echo(_) => Variant::Echo,
            Body::IcmpError(_) => Variant::IcmpError,
            Body::Drop(_) => Variant::Drop,
            Body::Finding(_) => Variant::Finding,
            Body::Lost(_) => return None,
        })
    }

    fn types(types: &[EventType]) -> FilterConfig {
        FilterConfig {
            types: types.to_vec(),
            ..FilterConfig::default()
        }
    }

    fn named(mut config: FilterConfig) -> FilterConfig {
        config.names = vec!["*.example.com".parse().expect("a pattern")];
        config
    }

    fn outcomes(words: &[&str]) -> FilterConfig {
        FilterConfig {
            outcomes: words.iter().map(|word| (*word).to_owned()).collect(),
            ..FilterConfig::default()
        }
    }

    /// The emission in one line: `dns tcp echo error first`, then the ports.
    fn emitted(config: &FilterConfig) -> String {
        let emission = config.emission();
        let mut words: Vec<String> = [
            (emission.dns, "dns"),
            (emission.tcp, "tcp"),
            (emission.echo, "echo"),
            (emission.icmp_errors, "error"),
            (emission.first, "first"),
        ]
        .into_iter()
        .filter(|(emitted, _)| *emitted)
        .map(|(_, word)| word.to_owned())
        .collect();
        words.extend(emission.ports.iter().map(u16::to_string));
        words.join(" ")
    }

    #[test]
    fn only_packets_that_a_visible_event_needs_are_recorded() {
        let all = "dns tcp echo error first";
        for (config, expected) in [
            (FilterConfig::default(), all),
            (types(&[EventType::Finding]), all),
            (types(&[EventType::Finding, EventType::Icmp]), all),
            // Names come from DNS.
            (types(&[EventType::Icmp]), "dns echo error"),
            (named(types(&[EventType::Icmp])), "dns echo error"),
            (types(&[EventType::Dns]), "dns error"),
            (types(&[EventType::Lookup]), "dns error"),
            (types(&[EventType::Tcp]), "dns tcp error"),
            (types(&[EventType::Udp]), "dns error first"),
            (
                types(&[EventType::Icmp, EventType::Udp]),
                "dns echo error first",
            ),
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
            // UDP flows and findings have no duration, so `slow` excludes them.
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
                    ..types(&[EventType::Tcp])
                },
                "dns tcp error 80 443",
            ),
            // More ports than the probes can compare.
            (
                FilterConfig {
                    ports: (1..=9).collect(),
                    ..types(&[EventType::Tcp])
                },
                "dns tcp error",
            ),
            (
                FilterConfig {
                    outcomes: outcomes(&["nxdomain"]).outcomes,
                    ..types(&[EventType::Tcp])
                },
                "",
            ),
        ] {
            assert_eq!(emitted(&config), expected, "{config:?}");
        }
    }

    #[test]
    fn every_event_that_passes_a_filter_is_recorded() {
        let words = words::outcomes();
        let mut filters: Vec<FilterConfig> = words.iter().map(|word| outcomes(&[word])).collect();
        filters.extend(EventType::ALL.map(|event_type| types(&[event_type])));
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
        for config in filters {
            let filter = Filter::from(FilterConfig {
                detail: Detail::All,
                ..config.clone()
            });
            for (what, event) in gallery::all() {
                if let Some(variant) = variant(&event.body).filter(|_| filter.matches(&event)) {
                    assert!(config.can_show(variant), "{what} {config:?}");
                    passed += 1;
                }
            }
        }
        assert!(passed > 100, "{passed}");
    }

    #[test]
    fn an_icmp_error_about_an_unrecorded_packet_is_not_an_event_of_its_own() {
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
        let owned = |config: FilterConfig| {
            let unrecorded = Unrecorded::new(config.emission(), vec![53]);
            [&syn, &segment, &too_big, &datagram, &query, &answer, &ping]
                .map(|error| unrecorded.owns(error))
        };
        let none = [false; 7];
        assert_eq!(owned(FilterConfig::default()), none);
        assert_eq!(
            owned(types(&[EventType::Icmp])),
            [true, false, false, true, false, false, false]
        );
        assert_eq!(
            owned(types(&[EventType::Icmp, EventType::Dns])),
            [true, false, false, true, false, false, false]
        );
        assert_eq!(
            owned(types(&[EventType::Icmp, EventType::Tcp, EventType::Udp])),
            none
        );
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
