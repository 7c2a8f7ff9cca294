//! Replays a capture with an inventory and prints the findings:
//! `cargo run -p tracer-core --features files --example replay -- CAPTURE INVENTORY`

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use tracer_core::files::capture::{Reader, Replay, ReplaySettings};
use tracer_core::files::inventory;
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::event::Body;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [capture, inventory] = &arguments[..] else {
        return Err("usage: replay CAPTURE INVENTORY".into());
    };
    let inventory = inventory::load(Path::new(inventory))?.inventory;
    let pods: HashMap<IpAddr, Arc<str>> = inventory
        .pods
        .iter()
        .filter(|pod| !pod.host_network)
        .flat_map(|pod| pod.ips.iter().map(|ip| (*ip, pod.uid.clone())))
        .collect();

    let (mut pipeline, mut events) = (Pipeline::new(Settings::default()), Vec::new());
    let cluster = ClusterChange::Replace(Box::new(inventory));
    pipeline.step(Input::Change(Timestamp(0), cluster), &mut events);

    let mut replay = Replay::new(Reader::open(capture)?, &ReplaySettings::default());
    let (mut records, mut now, mut more) = (Vec::new(), Timestamp(0), true);
    while more {
        more = replay.step(|ip| pods.contains_key(&ip), &mut records)?;
        // A capture has no network namespaces: an address identifies the pod behind an interface.
        for (ifindex, ip) in replay.new_interfaces() {
            let uid = pods.get(&ip).cloned();
            let interface = ClusterChange::Interface { ifindex, uid };
            pipeline.step(Input::Change(now, interface), &mut events);
        }
        for record in records.drain(..) {
            now = now.max(record.time);
            pipeline.step(Input::Record(record), &mut events);
        }
    }
    pipeline.step(Input::End(now), &mut events);

    for event in events {
        if let Body::Finding(finding) = event.body {
            println!("{}: {}", finding.rule, finding.summary);
            for reason in finding.why {
                println!("  {reason}");
            }
        }
    }
    Ok(())
}
