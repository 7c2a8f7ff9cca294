//! The web servers behind the Services: one nginx per pod that answers with the pod's name. Owns its
//! configuration and its start.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::network::have_ipv6;
use super::process::{Place, Process, wait_listening};

/// Starts a web server that answers `body` on each port.
pub(super) fn start(
    place: &Place<'_>,
    pod: Option<&str>,
    ports: &[u16],
    body: &str,
    directory: &Path,
    log: &Path,
) -> Result<Process> {
    fs::create_dir_all(directory)?;
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration(ports, body, directory))?;
    let (prefix, file) = (directory.display().to_string(), file.display().to_string());
    let process = place.start(
        "nginx",
        pod,
        &["nginx", "-e", "stderr", "-p", &prefix, "-c", &file],
        log,
    )?;
    for port in ports {
        wait_listening(&process, "tcp", *port, log)?;
    }
    Ok(process)
}

/// One process, nothing read from or written to outside of its directory.
fn configuration(ports: &[u16], body: &str, directory: &Path) -> String {
    let directory = directory.display();
    let mut listen = String::new();
    for port in ports {
        let _ = writeln!(listen, "        listen {port};");
        if have_ipv6() {
            let _ = writeln!(listen, "        listen [::]:{port};");
        }
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {directory}/{kind};\n"))
        .collect();
    format!(
        "daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
{temporary}    server {{
{listen}        default_type text/plain;
        location / {{ return 200 \"{body}\\n\"; }}
    }}
}}
"
    )
}
