//! The health of DNS as one JSON object (docs/dns.md). Its fields only grow in number.

use std::time::Duration;

use serde::Serialize;

use super::line::Line;
use super::nanoseconds;
use super::time::Rfc3339;
use crate::view::WallClock;
use crate::view::dns_health::{
    DnsHealth, FailingName, Latencies, NdotsSaving, Object, Savings, Server, ServerStats, Totals,
    WorkloadStats,
};
use crate::view::words;

#[derive(Serialize)]
struct Health<'a> {
    r#type: &'static str,
    from: Option<String>,
    to: Option<String>,
    totals: TotalsObject,
    servers: Vec<ServerObject<'a>>,
    servers_total: usize,
    other_servers: Option<ServerNumbers>,
    workloads: Vec<WorkloadObject<'a>>,
    workloads_total: usize,
    other_workloads: Option<WorkloadNumbers>,
    savings: SavingsObject<'a>,
    failing_names: Vec<FailingObject<'a>>,
    failing_names_total: usize,
    other_failing_lookups: u64,
    incomplete: u64,
    lost: Vec<LossObject>,
}

#[derive(Serialize)]
struct TotalsObject {
    workloads: u64,
    lookups: u64,
    failed: u64,
    undecided: u64,
    asked_again: u64,
    queries: u64,
    lookup_queries: u64,
    waited_ns: u64,
    duration: Percentiles,
}

#[derive(Serialize)]
struct Percentiles {
    count: u64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
}

#[derive(Serialize)]
struct ObjectFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

#[derive(Serialize)]
struct ServerObject<'a> {
    #[serde(flatten)]
    object: ObjectFields<'a>,
    direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<ObjectFields<'a>>,
    #[serde(flatten)]
    numbers: ServerNumbers,
}

#[derive(Serialize)]
struct ServerNumbers {
    queries: u64,
    repeated: u64,
    responses: u64,
    outcomes: serde_json::Map<String, serde_json::Value>,
    late: u64,
    latency: Percentiles,
}

#[derive(Serialize)]
struct WorkloadObject<'a> {
    #[serde(flatten)]
    object: ObjectFields<'a>,
    dns_server: bool,
    #[serde(flatten)]
    numbers: WorkloadNumbers,
}

#[derive(Serialize)]
struct WorkloadNumbers {
    lookups: u64,
    failed: u64,
    undecided: u64,
    asked_again: u64,
    queries: u64,
    lookup_queries: u64,
    wasted_queries: u64,
    waited_ns: u64,
    duration: Percentiles,
}

#[derive(Serialize)]
struct SavingsObject<'a> {
    queries: u64,
    of: u64,
    unknown_lookups: u64,
    names: Vec<NameSaving<'a>>,
    names_total: usize,
    other_names: u64,
    ndots: Vec<NdotsObject<'a>>,
}

#[derive(Serialize)]
struct NameSaving<'a> {
    name: &'a str,
    queries: u64,
}

#[derive(Serialize)]
struct NdotsObject<'a> {
    #[serde(flatten)]
    workload: ObjectFields<'a>,
    ndots: usize,
    queries: u64,
    of: u64,
}

#[derive(Serialize)]
struct FailingObject<'a> {
    name: Option<&'a str>,
    outcome: &'static str,
    lookups: u64,
    asked_by: Vec<Asker<'a>>,
    by_others: u64,
}

#[derive(Serialize)]
struct Asker<'a> {
    #[serde(flatten)]
    workload: ObjectFields<'a>,
    lookups: u64,
}

#[derive(Serialize)]
struct LossObject {
    stage: &'static str,
    reason: &'static str,
    count: u64,
}

/// The object, on a line. Each list has at most `top` rows.
pub(in crate::view) fn object(
    health: &DnsHealth,
    top: Option<usize>,
    clock: &dyn WallClock,
) -> serde_json::Result<String> {
    let top = top.unwrap_or(usize::MAX);
    let mut times = Rfc3339::default();
    let mut time = |at| times.format(clock.wall(at)).to_owned();
    let (servers, workloads) = (health.servers(), health.workloads());
    let (failing, other_failing_lookups) = health.failing_names();
    let losses = health.losses().iter().map(|loss| LossObject {
        stage: loss.stage.as_str(),
        reason: loss.reason,
        count: loss.count,
    });
    let object = Health {
        r#type: "dns-health",
        from: health.period().map(|(first, _)| time(first)),
        to: health.period().map(|(_, last)| time(last)),
        totals: totals(&health.totals()),
        servers: servers
            .rows
            .iter()
            .take(top)
            .map(|(server, stats)| self::server(server, stats))
            .collect(),
        servers_total: servers.rows.len(),
        other_servers: servers.others.map(server_numbers),
        workloads: workloads
            .rows
            .iter()
            .take(top)
            .map(|(whose, stats)| WorkloadObject {
                object: fields(whose),
                dns_server: health.serves(whose),
                numbers: workload_numbers(stats),
            })
            .collect(),
        workloads_total: workloads.rows.len(),
        other_workloads: workloads.others.map(workload_numbers),
        savings: savings(&health.savings(), top),
        failing_names: failing.iter().take(top).map(failing_name).collect(),
        failing_names_total: failing.len(),
        other_failing_lookups,
        incomplete: health.incomplete(),
        lost: losses.collect(),
    };
    let mut out = String::new();
    Line(&mut out).value(&object)?;
    out.push('\n');
    Ok(out)
}

fn totals(totals: &Totals) -> TotalsObject {
    TotalsObject {
        workloads: totals.workloads,
        lookups: totals.lookups,
        failed: totals.failed,
        undecided: totals.undecided,
        asked_again: totals.asked_again,
        queries: totals.queries,
        lookup_queries: totals.lookup_queries,
        waited_ns: nanoseconds(totals.waited),
        duration: percentiles(&totals.latencies),
    }
}

fn percentiles(latencies: &Latencies) -> Percentiles {
    let at = |percent| latencies.percentile(percent).map(nanoseconds);
    Percentiles {
        count: latencies.count(),
        p50_ns: at(50),
        p90_ns: at(90),
        p99_ns: at(99),
        max_ns: latencies.max().map(|max: Duration| nanoseconds(max)),
    }
}

fn fields(object: &Object) -> ObjectFields<'_> {
    ObjectFields {
        cluster: object.cluster.as_deref(),
        kind: &object.kind,
        namespace: object.namespace.as_deref(),
        name: &object.name,
    }
}

fn server<'a>(server: &'a Server, stats: &'a ServerStats) -> ServerObject<'a> {
    ServerObject {
        object: fields(&server.object),
        direction: words::direction(server.seen_at),
        answered_by: stats.answered_by().map(fields),
        numbers: server_numbers(stats),
    }
}

fn server_numbers(stats: &ServerStats) -> ServerNumbers {
    let outcomes = stats.outcomes.iter();
    ServerNumbers {
        queries: stats.queries,
        repeated: stats.repeated,
        responses: stats.responses,
        outcomes: outcomes
            .map(|(word, count)| (word.to_owned(), count.into()))
            .collect(),
        late: stats.late,
        latency: percentiles(&stats.latencies),
    }
}

fn workload_numbers(stats: &WorkloadStats) -> WorkloadNumbers {
    WorkloadNumbers {
        lookups: stats.lookups,
        failed: stats.failed,
        undecided: stats.undecided,
        asked_again: stats.asked_again,
        queries: stats.queries,
        lookup_queries: stats.lookup_queries,
        wasted_queries: stats.wasted,
        waited_ns: nanoseconds(stats.waited),
        duration: percentiles(&stats.latencies),
    }
}

fn savings<'a>(savings: &Savings<'a>, top: usize) -> SavingsObject<'a> {
    let names = savings.names.iter().take(top);
    let ndots = savings.ndots.iter().take(top);
    SavingsObject {
        queries: savings.saved,
        of: savings.of,
        unknown_lookups: savings.unknown,
        names: names
            .map(|(name, queries)| NameSaving {
                name,
                queries: *queries,
            })
            .collect(),
        names_total: savings.names.len(),
        other_names: savings.other_names,
        ndots: ndots.map(ndots_saving).collect(),
    }
}

fn ndots_saving<'a>(saving: &NdotsSaving<'a>) -> NdotsObject<'a> {
    NdotsObject {
        workload: fields(saving.workload),
        ndots: saving.ndots,
        queries: saving.saved,
        of: saving.of,
    }
}

fn failing_name<'a>(failing: &FailingName<'a>) -> FailingObject<'a> {
    FailingObject {
        name: failing.key.name.as_deref(),
        outcome: failing.key.outcome,
        lookups: failing.lookups,
        asked_by: failing
            .asked_by
            .iter()
            .map(|(whose, lookups)| Asker {
                workload: fields(whose),
                lookups: *lookups,
            })
            .collect(),
        by_others: failing.by_others,
    }
}
