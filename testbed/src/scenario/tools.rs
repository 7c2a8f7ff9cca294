//! Parses the output of nslookup, ping and curl.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// What nslookup printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nslookup {
    /// The addresses of the name; not the server's.
    pub addresses: Vec<String>,
    /// It reports NXDOMAIN.
    pub nxdomain: bool,
}

impl Nslookup {
    /// Reads the output of bind's nslookup.
    pub fn parse(text: &str) -> Nslookup {
        let mut nslookup = Nslookup::default();
        let mut after_name = false;
        for line in text.lines() {
            after_name |= line.starts_with("Name:");
            if let Some(address) = line.strip_prefix("Address:").filter(|_| after_name) {
                nslookup.addresses.push(address.trim().to_owned());
            }
            nslookup.nxdomain |= line.contains("NXDOMAIN");
        }
        nslookup
    }
}

/// The closing lines of iputils' ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Packets transmitted.
    pub sent: u64,
    /// Packets received.
    pub received: u64,
    /// Round-trip times, if there was a reply.
    pub rtt: Option<PingRtt>,
}

/// `rtt min/avg/max/mdev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingRtt {
    /// Least.
    pub min: Duration,
    /// Mean.
    pub avg: Duration,
    /// Greatest.
    pub max: Duration,
}

impl Ping {
    /// Reads the output of iputils' ping.
    pub fn parse(text: &str) -> Result<Ping> {
        let counts = text
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let counts = counts.with_context(|| format!("no statistics in ping's output:\n{text}"))?;
        let mut parts = counts.split(", ");
        let mut count = || {
            parts
                .next()
                .and_then(|part| part.split(' ').next()?.parse().ok())
        };
        let (sent, received) = (
            count().context("no count sent")?,
            count().context("no count received")?,
        );
        let rtt = text
            .lines()
            .find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
        let rtt = rtt.map(|figures| -> Result<PingRtt> {
            let figures = figures.split(' ').next().unwrap_or_default();
            let figures: Vec<f64> = figures
                .split('/')
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            ensure!(figures.len() == 4, "four figures, not {figures:?}");
            let [min, avg, max] =
                [0, 1, 2].map(|index| Duration::from_secs_f64(figures[index] / 1000.0));
            Ok(PingRtt { min, avg, max })
        });
        Ok(Ping {
            sent,
            received,
            rtt: rtt.transpose()?,
        })
    }
}

/// What curl reported through the format of the scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curl {
    /// HTTP status.
    pub code: u16,
    /// The address that it connected to.
    pub address: String,
    /// The port that it connected to.
    pub port: u16,
    /// From the resolved name to the established connection.
    pub connect: Duration,
}

impl Curl {
    /// Reads `HTTP 200 from 10.0.0.1:80, connected in 0.0012 s (name 0.0010 s)`.
    pub fn parse(text: &str) -> Result<Curl> {
        let wrong = || format!("not curl's line: {text}");
        let (code, rest) = text
            .trim()
            .strip_prefix("HTTP ")
            .and_then(|rest| rest.split_once(" from "))
            .with_context(wrong)?;
        let (peer, rest) = rest.split_once(", connected in ").with_context(wrong)?;
        let (address, port) = peer.rsplit_once(':').with_context(wrong)?;
        let (connect, name) = rest.split_once(" s (name ").with_context(wrong)?;
        let name: f64 = name.trim_end_matches(" s)").parse().with_context(wrong)?;
        let connect: f64 = connect.parse().with_context(wrong)?;
        Ok(Curl {
            code: code.parse().with_context(wrong)?,
            address: address.to_owned(),
            port: port.parse().with_context(wrong)?,
            connect: Duration::from_secs_f64((connect - name).max(0.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nslookup_gives_the_names_addresses_and_not_the_servers() {
        let text = "Server:\t\t10.152.183.10\nAddress:\t10.152.183.10#53\n\nName:\tweb.default.svc.cluster.local\nAddress: 10.152.183.117\n\n";
        assert_eq!(
            Nslookup::parse(text),
            Nslookup {
                addresses: vec!["10.152.183.117".into()],
                nxdomain: false
            }
        );
        assert!(Nslookup::parse("** server can't find web: NXDOMAIN\n").nxdomain);
    }

    #[test]
    fn ping_without_a_reply_has_no_round_trip_time() {
        let text = "8 packets transmitted, 0 received, 100% packet loss, time 1432ms\n";
        assert_eq!(
            Ping::parse(text).unwrap(),
            Ping {
                sent: 8,
                received: 0,
                rtt: None
            }
        );
    }

    #[test]
    fn ping_figures_are_milliseconds() {
        let text = "5 packets transmitted, 5 received, 0% packet loss, time 803ms\nrtt min/avg/max/mdev = 0.061/0.070/1.000/0.010 ms\n";
        let rtt = Ping::parse(text).unwrap().rtt.unwrap();
        assert_eq!(
            [rtt.min, rtt.avg, rtt.max].map(|figure| figure.as_micros()),
            [61, 70, 1000]
        );
    }

    #[test]
    fn curl_connects_after_the_name_is_resolved() {
        let curl =
            Curl::parse("HTTP 200 from 10.152.183.117:80, connected in 0.003 s (name 0.001 s)\n")
                .unwrap();
        assert_eq!(
            (curl.code, curl.address.as_str(), curl.port),
            (200, "10.152.183.117", 80)
        );
        assert_eq!(curl.connect, Duration::from_millis(2));
    }
}
