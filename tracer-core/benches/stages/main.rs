//! The cost of a DNS message at each stage, and through all of them to a JSON line.
//!
//! `cargo bench -p tracer-core --bench stages` measures time with divan. Instructions do not depend on what else
//! the machine does. This counts those of one stage, without its preparation:
//!
//! ```text
//! TRACER_STAGE=decode/mixed TRACER_QUERIES=10000 valgrind --tool=callgrind \
//!     --toggle-collect='*stages::measured*' target/release/deps/stages-*
//! ```
//!
//! `TRACER_STAGE` is STAGE/MIX or STAGE/MIX/inventory, in the spelling of [`Stage`] and [`Mix`]. Divide the count
//! by the messages that it prints.

mod stage;
mod workload;

use divan::Bencher;
use divan::counter::ItemsCount;

use self::stage::{Load, Run, Stage};
use self::workload::Mix;

/// Queries of a run under divan: enough for half of the exchanges that the tables hold.
const QUERIES: u64 = 10_000;

fn main() {
    let Ok(wanted) = std::env::var("TRACER_STAGE") else {
        return divan::main();
    };
    let queries = std::env::var("TRACER_QUERIES")
        .map_or(QUERIES, |count| count.parse().expect("a number of queries"));
    let (stage, load) = loads()
        .find(|(stage, load)| format!("{stage}/{load}") == wanted)
        .unwrap_or_else(|| {
            let names: Vec<String> = loads()
                .map(|(stage, load)| format!("{stage}/{load}"))
                .collect();
            panic!("TRACER_STAGE is none of {}", names.join(" "))
        });
    let run = stage.prepare(load, queries);
    let started = std::time::Instant::now();
    let output = measured(run);
    let each = started.elapsed() / u32::try_from(queries * 2).expect("few queries");
    println!("{} messages, {each:?} each, output {output}", queries * 2);
}

/// The frame that callgrind counts.
#[inline(never)]
fn measured(run: Run) -> usize {
    run()
}

fn loads() -> impl Iterator<Item = (Stage, Load)> {
    Stage::ALL
        .into_iter()
        .flat_map(|stage| Load::all().map(move |load| (stage, load)))
}

macro_rules! benches {
    ($($name:ident: $stage:expr;)*) => {$(
        #[divan::bench(args = Load::all(), sample_count = 10, sample_size = 1)]
        fn $name(bencher: Bencher<'_, '_>, load: &Load) {
            let load = *load;
            bencher
                .counter(ItemsCount::new(QUERIES * 2))
                .with_inputs(|| $stage.prepare(load, QUERIES))
                .bench_local_values(|run| run());
        }
    )*};
}

benches! {
    decode: Stage::Decode;
    correlate: Stage::Correlate;
    identify: Stage::Identify;
    lookup: Stage::Lookup;
    diagnose: Stage::Diagnose;
    json: Stage::Json;
    text: Stage::Text;
    pipeline: Stage::Pipeline;
    whole: Stage::Whole;
}

impl Load {
    /// Each mix without and with an inventory.
    fn all() -> impl Iterator<Item = Load> {
        [false, true].into_iter().flat_map(|inventory| {
            [Mix::Answered, Mix::Mixed, Mix::Search].map(|mix| Load { mix, inventory })
        })
    }
}
