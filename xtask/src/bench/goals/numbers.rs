//! Goals about figures that are one number.

use super::super::figure::Figure;
use super::super::results::{Name, Results};
use super::{Goal, judged, percent};

/// The figures that are one number: its name, before, goal, how it is written, the most that it may be.
pub(super) fn all(results: &Results) -> Vec<Goal> {
    let of = |group: Figure,
              name: Name,
              text: &str,
              before: &'static str,
              goal: &'static str,
              show: fn(f64) -> String,
              met: &dyn Fn(f64) -> bool| Goal {
        group: Some(group),
        ..judged(text, before, goal, results.sample(name), show, met)
    };
    let most = |bound: f64| move |value: f64| value <= bound;
    let below = |bound: f64| move |value: f64| value < bound;
    let ns = |value: f64| format!("{value:.0} ns");
    let mib = |value: f64| format!("{value:.0} MiB");
    let seconds = |value: f64| format!("{value:.2} s");
    let ms = |value: f64| format!("{:.1} ms", value * 1000.0);
    let at_least = |bound: f64| move |value: f64| value >= bound;
    let packet = "over an empty program,";
    let delay = "packet to line, p99";
    let (small, tiny) = (most(100.0), below(0.015));
    vec![
        of(
            Figure::Packet,
            Name::KnownFlow,
            &format!("{packet} UDP of a known flow"),
            "230 ns",
            "<= 100 ns",
            ns,
            &small,
        ),
        of(
            Figure::Packet,
            Name::BulkPacket,
            &format!("{packet} TCP bulk"),
            "320-390 ns",
            "<= 100 ns",
            ns,
            &small,
        ),
        of(
            Figure::Packet,
            Name::NewFlow,
            &format!("{packet} first packet of a flow"),
            "730-840 ns",
            "<= 350 ns",
            ns,
            &most(350.0),
        ),
        of(
            Figure::Bulk,
            Name::Iperf,
            "iperf3 over TCP, json: of untraced",
            "0.952",
            ">= 0.98",
            |value| format!("{value:.3}"),
            &at_least(0.98),
        ),
        of(
            Figure::Rest,
            Name::Resident,
            "resident with 250 pods and the inventory, agent",
            "177 MiB",
            "<= 64 MiB",
            mib,
            &most(64.0),
        ),
        of(
            Figure::Rest,
            Name::RestCpu,
            "CPU at rest with 250 pods, agent",
            "0.92 %",
            "< 0.3 %",
            percent,
            &below(0.003),
        ),
        of(
            Figure::Rest,
            Name::Start,
            "start with 250 pods, agent",
            "8.1 s",
            "< 1 s",
            seconds,
            &below(1.0),
        ),
        of(
            Figure::Rest,
            Name::FirstInterface,
            "start until the first interface is traced",
            "",
            "< 100 ms",
            ms,
            &below(0.1),
        ),
        of(
            Figure::Rest,
            Name::Stop,
            "stop with 250 pods, agent",
            "8.3 s",
            "< 1 s",
            seconds,
            &below(1.0),
        ),
        of(
            Figure::Delay,
            Name::DelayFirst,
            &format!("{delay}, first second, no inventory"),
            "2 s",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::Delay,
            &format!("{delay}, then"),
            "5.2 ms",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayMedian,
            "packet to line, p50",
            "2.7 ms",
            "",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayNamedFirst,
            &format!("{delay}, first second, inventory"),
            "2 s",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayNamed,
            &format!("{delay}, then, inventory"),
            "",
            "< 15 ms",
            ms,
            &tiny,
        ),
        of(
            Figure::Delay,
            Name::DelayNamedMedian,
            "packet to line, p50, inventory",
            "",
            "",
            ms,
            &tiny,
        ),
        of(
            Figure::Sources,
            Name::Sender,
            "sender of a recorded packet (`bpf_skb_cgroup_id`)",
            "",
            "",
            ns,
            &tiny,
        ),
        of(
            Figure::Sources,
            Name::Process,
            "process of a recorded packet (look-up by socket cookie)",
            "",
            "",
            ns,
            &tiny,
        ),
        of(
            Figure::Sources,
            Name::Connect,
            "process of a connection (probe of its socket's states)",
            "",
            "",
            ns,
            &tiny,
        ),
        of(
            Figure::Sources,
            Name::Drop,
            "probe of a dropped packet of a pod",
            "",
            "",
            ns,
            &tiny,
        ),
        of(
            Figure::Sources,
            Name::TranslatedFlow,
            "CPU per new translated flow, agent",
            "",
            "",
            |value| format!("{value:.1} us"),
            &tiny,
        ),
        of(
            Figure::Sources,
            Name::Translation,
            "CPU per new translated flow: of that with --no-conntrack",
            "",
            "",
            |value| format!("{value:.2}"),
            &tiny,
        ),
        of(
            Figure::Sources,
            Name::Forwarded,
            &format!("{packet} TCP bulk that the node forwards, at its uplink"),
            "",
            "<= 60 ns",
            ns,
            &most(60.0),
        ),
    ]
}
