//! The upstream stand-in: the resolver that the node's resolv.conf names, and all of the world outside the
//! cluster.
//!
//! BIND in two views: one holds the world's zones, the other resolves by asking the first, so that answers
//! look as a resolver's do (`ra`, no `aa`). Names for tests: `servfail.example`, `refused.example`,
//! `silent.example` (no answer), `truncated.example` (TC over UDP, answered over TCP), `big.example.com` (a
//! long TXT record), `huge.example.com` (60 KB of them).

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::network::UPSTREAM;
use super::paths::{Paths, netns_file};
use super::process::{Place, Process, wait_listening};
use super::{cgroup, web};

const ZONES: [(&str, &str); 5] = [
    ("root.zone", include_str!("../../lab/upstream/root.zone")),
    (
        "example.com.zone",
        include_str!("../../lab/upstream/example.com.zone"),
    ),
    (
        "example.org.zone",
        include_str!("../../lab/upstream/example.org.zone"),
    ),
    (
        "example.zone",
        include_str!("../../lab/upstream/example.zone"),
    ),
    (
        "policy.zone",
        include_str!("../../lab/upstream/policy.zone"),
    ),
];

/// Starts the resolver and a web server for `www.example.com`.
pub(crate) fn start(paths: &Paths, cgroup_root: &Path) -> Result<Vec<Process>> {
    let netns = netns_file(&paths.netns("upstream"));
    let cgroup = cgroup_root.join("upstream");
    cgroup::create(&cgroup)?;
    let place = Place {
        netns: &netns,
        cgroup: &cgroup,
        mounts_of: None,
    };
    let directory = paths.part_directory("upstream");
    fs::create_dir_all(&directory)?;
    for (name, zone) in ZONES {
        fs::write(directory.join(name), zone)?;
    }
    let file = directory.join("named.conf");
    fs::write(&file, configuration(&directory))?;

    let file = file.display().to_string();
    let mut argv = vec!["named", "-g", "-n", "1", "-c", &file];
    // Debian confines named to its own directories, by the program's path.
    if fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|on| on.starts_with('Y'))
    {
        argv.splice(..0, ["aa-exec", "-p", "unconfined", "--"]);
    }
    let log = paths.log("upstream-named");
    let named = place.start("named", None, &argv, &log)?;
    wait_listening(&named, "udp", 53, &log)?;
    wait_listening(&named, "tcp", 53, &log)?;

    let log = paths.log("upstream-nginx");
    let web = web::start(
        &place,
        None,
        &[80],
        "www.example.com, outside the cluster",
        &directory.join("web"),
        &log,
    )?;
    Ok(vec![named, web])
}

fn configuration(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "options {{
    directory \"{directory}\";
    pid-file none;
    session-keyfile none;
    listen-on {{ {}; 127.0.0.1; }};
    listen-on-v6 {{ {}; }};
    dnssec-validation no;
    empty-zones-enable no;
    minimal-responses yes;
    answer-cookie no;
    allow-query {{ any; }};
    allow-recursion {{ any; }};
}};
controls {{ }};
view \"world\" {{
    match-destinations {{ 127.0.0.1; }};
    recursion no;
    zone \".\" {{ type primary; file \"root.zone\"; }};
    zone \"example\" {{ type primary; file \"example.zone\"; }};
    zone \"example.com\" {{ type primary; file \"example.com.zone\"; }};
    zone \"example.org\" {{ type primary; file \"example.org.zone\"; }};
}};
view \"resolver\" {{
    recursion yes;
    forward only;
    forwarders {{ 127.0.0.1; }};
    response-policy {{ zone \"policy\"; }} qname-wait-recurse no;
    zone \"policy\" {{ type primary; file \"policy.zone\"; allow-query {{ none; }}; }};
    zone \"refused.example\" {{ type primary; file \"root.zone\"; allow-query {{ none; }}; }};
    zone \"servfail.example\" {{ type forward; forward only; forwarders {{ 127.0.0.1 port 1; }}; }};
}};
",
        UPSTREAM.0, UPSTREAM.1
    )
}
