//! `cargo xtask bench --relay`: one relay, 500 agents, 50 watchers.
//!
//! The relay is the program in a process of its own. Agents are real streams without probes: each emits events into its
//! history and serves them on its connection to the relay. A double of the API server (`api`) decides who they are, and
//! this process asks the relay as the API server does. Each event has the time when it was emitted; a watcher compares
//! it with its own clock. Results are JSON on standard output.

#[path = "relay/api.rs"]
mod api;
#[path = "relay/fleet.rs"]
mod fleet;
#[path = "relay/process.rs"]
mod process;
#[path = "relay/watcher.rs"]
mod watcher;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use self::api::ApiServer;
use self::fleet::Fleet;
use self::process::Relay;
use self::watcher::{Delays, Watcher};

/// A cluster, scaled by the environment for tests of the bench itself.
fn number(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let results = runtime.block_on(measure());
    println!("{results}");
    std::process::exit(0);
}

async fn measure() -> serde_json::Value {
    let nodes = number("BENCH_NODES", 500);
    let watchers = number("BENCH_WATCHERS", 50);
    let rate = number("BENCH_EVENTS_PER_SECOND", 5000);
    let seconds = Duration::from_secs(number("BENCH_SECONDS", 30) as u64);
    let program = std::env::var("TRACER").expect("TRACER is the program to measure");

    let fleet = Arc::new(Fleet::new(nodes, watchers));
    let api = ApiServer::start(fleet.pods()).await;
    let mut relay = Relay::start(&program, &api);
    let began = Instant::now();
    fleet.connect(&api, relay.agents).await;
    let client = api.client_of(&relay).await;
    watcher::until_connected(&client, nodes).await;
    let all_connected = began.elapsed();
    progress(&format!(
        "{nodes} agents are connected after {all_connected:?}"
    ));
    tokio::time::sleep(Duration::from_secs(3)).await;

    let idle = relay.cpu_over(Duration::from_secs(10)).await;
    progress("measured at rest");

    // What is asked of whom: a stream of one pod.
    let before = watcher::streams(&client).await;
    let one_pod =
        Watcher::start(client.clone(), "team-0", Some("pod-0-0"), Delays::default()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked_for_one_pod = watcher::streams(&client).await - before;
    drop(one_pod);

    // One of the watchers never reads.
    let delays = Delays::default();
    let mut watching = Vec::new();
    for namespace in 1..watchers {
        let namespace = format!("team-{namespace}");
        watching.push(Watcher::start(client.clone(), &namespace, None, delays.clone()).await);
    }
    let stopped = Watcher::stopped(client.clone(), "team-0").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let emitting = Arc::clone(&fleet).emit(rate);
    tokio::time::sleep(Duration::from_secs(3)).await;
    delays.clear();
    let emitted_before = fleet.emitted();
    let cpu = relay.cpu_over(seconds).await;
    let emitted = fleet.emitted() - emitted_before;
    let received = delays.summary();
    let memory = relay.memory();
    progress("measured under load");
    let listed = watcher::list_findings(&client, 50).await;
    progress("listed findings");

    let most_memory = relay.most_memory();

    // The relay is killed and starts again under load.
    api.forget_reviews();
    delays.clear();
    relay.restart(&program, &api);
    let restarted = Instant::now();
    watcher::until_connected(&client, nodes).await;
    let reconnected = restarted.elapsed();
    let reviews = api.reviews_per_second();
    let cpu_of_return = relay.cpu();
    let most_memory = most_memory.max(relay.most_memory());
    progress(&format!("all agents are back after {reconnected:?}"));
    emitting.abort();
    drop((watching, stopped));
    relay.stop();

    json!({
        "nodes": nodes,
        "watchers": watchers,
        "findings": fleet.findings(),
        "events_per_second": emitted as f64 / seconds.as_secs_f64(),
        "received_by_watchers_that_read": received.events,
        "lost_by_watchers_that_read": received.lost,
        "delay_ms": {"p50": received.p50_ms, "p99": received.p99_ms, "max": received.max_ms},
        "cpu_of_a_core": {"idle": idle, "load": cpu},
        "memory_mib": {"load": memory, "most": most_memory},
        "get_findings_ms": {"p50": listed.p50_ms, "p99": listed.p99_ms, "bytes": listed.bytes},
        "agents_asked_for_one_pod": asked_for_one_pod,
        "connect_s": all_connected.as_secs_f64(),
        "restart": {
            "all_back_s": reconnected.as_secs_f64(),
            "most_token_reviews_in_a_second": reviews,
            "cpu_s": cpu_of_return,
        },
    })
}

fn progress(text: &str) {
    eprintln!("bench relay: {text}");
}
