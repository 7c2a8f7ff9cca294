//! The DNS server of a bed: one nsd process that has the names of all mixes.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use super::bed::{Bed, SERVER};
use super::load::{EXTERNAL, NAMES};
use crate::lab::process::{Place, Process, wait_listening};

const SOA: &str = "$TTL 30\n@ SOA ns hostmaster 1 7200 1800 86400 5\n@ NS ns\nns A 10.88.2.2\n";

/// Starts it and waits until it listens.
pub(super) fn start(bed: &Bed) -> Result<Process> {
    let directory = bed.directory().join("nsd");
    fs::create_dir_all(&directory)?;
    let mut cluster = SOA.to_owned();
    let mut external = SOA.to_owned();
    for number in 0..NAMES {
        let _ = writeln!(
            cluster,
            "svc-{number}.default.svc A 10.96.{}.{}",
            number / 250,
            number % 250 + 1
        );
        let _ = writeln!(
            external,
            "www-{number} A 192.0.2.{}\nwww-{number} AAAA 2001:db8::{number:x}",
            number % 250 + 1
        );
    }
    fs::write(directory.join("cluster"), cluster)?;
    fs::write(directory.join("external"), external)?;
    let dir = directory.display();
    // It stays root: its files are in a directory that only root may read.
    let configuration = format!(
        "server:
  ip-address: {SERVER}
  server-count: 1
  username: \"\"
  zonesdir: \"{dir}\"
  database: \"\"
  pidfile: \"\"
  zonelistfile: \"{dir}/zone.list\"
  xfrdfile: \"{dir}/xfrd.state\"
  xfrdir: \"{dir}\"
  cookie-secret-file: \"{dir}/cookies\"
  rrl-ratelimit: 0
  tcp-count: 1000
  tcp-query-count: 0
remote-control:
  control-enable: no
zone:
  name: cluster.local
  zonefile: cluster
zone:
  name: {EXTERNAL}
  zonefile: external
"
    );
    let file = directory.join("nsd.conf");
    fs::write(&file, configuration)?;
    let file = file.to_str().context("a path that is UTF-8")?;
    let netns = bed.netns("server");
    let cgroup = bed.accounts().group("server")?;
    let place = Place {
        netns: &netns,
        cgroup: &cgroup,
        mounts_of: None,
    };
    let log = directory.join("log");
    let process = place.start("nsd", None, &["nsd", "-d", "-c", file], &log)?;
    wait_listening(&process, "udp", 53, &log)?;
    Ok(process)
}
