//! A session: makes the bed, takes the measurements of the plan, repeats those that others disturbed, and
//! removes everything at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::bench::tool::Programs;
use testbed::bench::{Bed, Measured, Measurement, sweep};

use super::plan::Block;
use super::progress::Progress;
use super::results::{Origin, Results, Run};

/// A run is disturbed if others used more than this share of the machine.
const DISTURBED: f64 = 0.045;
/// How long a run is put off while others use the CPU.
const PATIENCE: Duration = Duration::from_secs(5);
/// Only one bench at a time measures anything.
const LOCK: &str = "/run/tracer-bench.lock";

/// A run of `cargo xtask bench`.
#[derive(Debug)]
pub struct Session {
    scratch: PathBuf,
    programs: Programs,
    quick: bool,
    runs: Vec<Run>,
    discarded: usize,
    _lock: File,
}

impl Session {
    /// Waits for other benches and prepares the inventory.
    pub fn begin(directory: &Path, tracer: PathBuf, quick: bool) -> Result<Session> {
        let scratch = directory.join("scratch");
        fs::create_dir_all(&scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        let lock = File::create(LOCK).with_context(|| format!("cannot open {LOCK}"))?;
        if lock.try_lock().is_err() {
            eprintln!("bench: another bench runs; waiting for its end");
            lock.lock().context("the lock")?;
        }
        sweep()?;
        interruptible()?;
        let inventory = scratch.join("inventory.yaml");
        testbed::bench::inventory::write(&inventory)?;
        Ok(Session {
            scratch,
            programs: Programs { tracer, inventory },
            quick,
            runs: Vec::new(),
            discarded: 0,
            _lock: lock,
        })
    }

    /// Takes the measurements. A tool that is not installed is left out.
    pub fn measure(&mut self, blocks: &[Block]) -> Result<()> {
        let planned = blocks.iter().map(Block::lasts).sum();
        let mut progress = Progress::new(planned);
        // Repetitions cost time; a quarter more is what a run may take.
        let count: usize = blocks
            .iter()
            .map(|block| block.tools.len() * block.rounds as usize)
            .sum();
        let mut repetitions = count / 4;
        let mut bed: Option<Bed> = None;
        for block in blocks {
            let tools: Vec<_> = block.tools.iter().filter(|tool| tool.available()).collect();
            if bed
                .as_ref()
                .is_none_or(|bed| bed.addresses().len() != block.pods)
            {
                drop(bed.take());
            }
            let bed = match &mut bed {
                Some(bed) => bed,
                empty => empty.insert(Bed::raise(block.pods, &self.scratch)?),
            };
            for round in 0..block.rounds {
                for tool in &tools {
                    let measurement = block.measurement(**tool);
                    progress.note(&title(block, measurement));
                    let (measured, contaminated) =
                        self.undisturbed(bed, measurement, &mut repetitions)?;
                    eprintln!("bench:   {}", one_line(&measured, contaminated));
                    self.runs.push(Run {
                        figure: block.figure,
                        load: block.load,
                        pods: block.pods,
                        round,
                        tool: **tool,
                        measured,
                        contaminated,
                    });
                }
            }
            progress.done(block.lasts());
        }
        Ok(())
    }

    /// Measures, and again where others used the CPU, as long as there are repetitions left.
    fn undisturbed(
        &mut self,
        bed: &Bed,
        measurement: Measurement,
        repetitions: &mut usize,
    ) -> Result<(Measured, bool)> {
        loop {
            let quiet = if self.quick { PATIENCE / 5 } else { PATIENCE };
            wait_until_quiet(bed, quiet)?;
            let measured = measurement.run(bed, &self.programs)?;
            let disturbed = measured.foreign > DISTURBED;
            if !disturbed || *repetitions == 0 {
                return Ok((measured, disturbed));
            }
            *repetitions -= 1;
            self.discarded += 1;
            eprintln!(
                "bench:   discarded: others used {:.0} % of the machine; again",
                measured.foreign * 100.0
            );
        }
    }

    /// The results.
    pub fn end(self, origin: Origin) -> Results {
        let _ = fs::remove_dir_all(&self.scratch);
        Results {
            origin,
            quick: self.quick,
            runs: self.runs,
            discarded: self.discarded,
        }
    }
}

/// Ctrl-C and SIGTERM remove what was made, then end the process.
fn interruptible() -> Result<()> {
    ctrlc::set_handler(|| {
        eprintln!("bench: interrupted; removing namespaces and processes");
        let code = match sweep() {
            Ok(()) => 130,
            Err(error) => {
                eprintln!("error: not all removed: {error:#}");
                2
            }
        };
        std::process::exit(code);
    })
    .context("the handler for Ctrl-C")
}

fn wait_until_quiet(bed: &Bed, patience: Duration) -> Result<()> {
    const STEP: Duration = Duration::from_millis(200);
    let deadline = Instant::now() + patience;
    loop {
        let before = bed.usage()?;
        sleep(STEP);
        let foreign = bed.usage()?.since(before).foreign();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let share = foreign.as_secs_f64() / (STEP.as_secs_f64() * processors as f64);
        if share < DISTURBED || Instant::now() > deadline {
            return Ok(());
        }
    }
}

fn title(block: &Block, measurement: Measurement) -> String {
    format!(
        "{:?}: {}, {} q/s, {}",
        block.figure,
        block.load.mix.name(),
        block.load.rate,
        measurement.tool.name()
    )
}

fn one_line(measured: &Measured, contaminated: bool) -> String {
    let recorded = match measured.recorded.messages {
        0 => String::new(),
        messages => format!(
            ", {messages} recorded ({:.2} %), {:.2} us/message",
            100.0 * measured.share_recorded(),
            measured.us_per_message()
        ),
    };
    format!(
        "{:.0} q/s answered, {} lost, {} messages on the wire{recorded}, others {:.1} %{}",
        measured.answered.per_second,
        measured.answered.lost,
        measured.wire,
        measured.foreign * 100.0,
        if contaminated { ", contaminated" } else { "" }
    )
}
