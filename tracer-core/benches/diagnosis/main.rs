//! What the diagnosis costs per packet, for traffic without and with failures.
//!
//! `cargo bench -p tracer-core --bench diagnosis`. The events are made once, by the stages before it.

mod traffic;

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use tracer_core::diagnose::{Diagnosis, DiagnosisSettings};
use tracer_core::identity::Index;
use tracer_core::model::event::Event;
use tracer_core::model::settings::Thresholds;
use tracer_core::model::time::Timestamp;

use self::traffic::{Mix, Seen, Traffic};

fn main() {
    divan::main();
}

/// The rounds before the measurement: findings are open by then.
const WARM: u64 = 2;

#[divan::bench(args = Mix::ALL)]
fn packet(bencher: Bencher<'_, '_>, mix: &Mix) {
    let traffic = Traffic::new(*mix);
    let mut diagnosis = Diagnosis::new(
        &DiagnosisSettings::default(),
        vec![53],
        &Thresholds::default(),
    );
    let mut out = Vec::new();
    let mut round = 0;
    while round < WARM {
        play(&mut diagnosis, &traffic, round, &mut out);
        round += 1;
    }
    bencher
        .counter(ItemsCount::new(traffic.packets))
        .bench_local(|| {
            play(&mut diagnosis, &traffic, round, &mut out);
            round += 1;
        });
    black_box(out);
}

/// One round of the traffic. Its times are those of the first round: the diagnosis compares the events of a round
/// with each other, and its own time advances.
#[inline(never)]
fn play(diagnosis: &mut Diagnosis, traffic: &Traffic, round: u64, out: &mut Vec<Event>) {
    let index: &Index = traffic.pipeline.index();
    for seen in &traffic.seen {
        match seen {
            Seen::Asked(at, ends, asked) => {
                diagnosis.asked(Timestamp(at.0 + round * traffic.span), ends, asked, index);
            }
            Seen::Event(now, event) => {
                let now = Timestamp(now.0 + round * traffic.span);
                diagnosis.event(now, event, index, out);
                diagnosis.advance(now, index, out);
            }
        }
    }
    out.clear();
}
