//! The log of the probes (`--probe-log`).

use std::sync::Mutex;

use testbed::turn;
use tracer::capture::Options;

use super::live::{GATEWAY, Live, udp_socket};
use super::netns::Netns;

struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0
            .lock()
            .expect("no thread panics with it")
            .push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn the_probes_log_every_packet_when_asked() {
    let _turn = turn::shared();
    log::set_logger(&LINES).expect("no other logger in these tests");
    log::set_max_level(log::LevelFilter::Info);
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(
        &node,
        Options {
            probe_log: true,
            ..Options::default()
        },
    );
    let client = udp_socket(&pod, "0.0.0.0:0");
    client.send_to(b"logged", (GATEWAY, 5_301)).expect("sends");
    live.wait("log line", |_| {
        let lines = LINES.0.lock().expect("no thread panics with it");
        lines
            .iter()
            .any(|line| line.contains("protocol 17") && line.contains("peer port 5301"))
    });
    live.stop();
}
