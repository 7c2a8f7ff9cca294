//! A session: makes the bed, takes the measurements of the plan, repeats those that others disturbed, and
//! removes everything at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::bench::tool::Programs;
use testbed::bench::{Bed, Measured, Measurement, sweep};

use super::figure::Figure;
use super::plan::Block;
use super::progress::Progress;
use super::results::{Origin, Results, Run, Sample};
use super::steps::Step;

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
    samples: Vec<Sample>,
    missing: Vec<(Figure, String)>,
    discarded: usize,
    /// How many more disturbed runs may be repeated. Repetitions cost time; a quarter of the runs is what a
    /// bench may take, an eighth if it is quick.
    repetitions: usize,
    bed: Option<Bed>,
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
            samples: Vec::new(),
            missing: Vec::new(),
            discarded: 0,
            repetitions: 0,
            bed: None,
            _lock: lock,
        })
    }

    /// Takes the measurements. A tool that is not installed is left out.
    pub fn measure(&mut self, blocks: &[Block], steps: &[Step]) -> Result<()> {
        let planned = blocks.iter().map(Block::lasts).sum::<Duration>()
            + steps.iter().map(|step| step.lasts()).sum::<Duration>();
        let mut progress = Progress::new(planned);
        let runs = blocks
            .iter()
            .map(|block| block.tools.len() * block.rounds as usize);
        let share = if self.quick { 8 } else { 4 };
        self.repetitions = (runs.sum::<usize>() + steps.len()) / share;
        for block in blocks {
            self.rounds(block, &progress)?;
            progress.done(block.lasts());
        }
        for step in steps {
            progress.note(&step.title());
            if let Err(error) = self.step(*step) {
                self.miss(step.figure(), &error);
            }
            progress.done(step.lasts());
        }
        self.bed = None;
        Ok(())
    }

    /// A figure that cannot be measured does not stop the others.
    fn miss(&mut self, figure: Figure, error: &anyhow::Error) {
        eprintln!("bench:   not measured: {error:#}");
        self.missing.push((figure, format!("{error:#}")));
    }

    /// The bed with that many pods.
    fn bed(&mut self, pods: usize) -> Result<Bed> {
        match self.bed.take() {
            Some(bed) if bed.addresses().len() == pods => Ok(bed),
            other => {
                drop(other);
                Bed::raise(pods, &self.scratch)
            }
        }
    }

    fn rounds(&mut self, block: &Block, progress: &Progress) -> Result<()> {
        let bed = self.bed(block.pods)?;
        let tools: Vec<_> = block.tools.iter().filter(|tool| tool.available()).collect();
        for round in 0..block.rounds {
            for tool in &tools {
                let measurement = block.measurement(**tool);
                progress.note(&title(block, measurement));
                let outcome = self.undisturbed(
                    &bed,
                    |bed, programs| measurement.run(bed, programs),
                    |measured: &Measured| measured.foreign,
                );
                let (measured, contaminated) = match outcome {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        self.miss(block.figure, &error);
                        continue;
                    }
                };
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
        self.bed = Some(bed);
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<()> {
        let bed = self.bed(step.pods())?;
        let worst = |samples: &Vec<Sample>| {
            let shares = samples.iter().map(|sample| sample.foreign);
            shares.fold(0.0, f64::max)
        };
        let (samples, contaminated) =
            self.undisturbed(&bed, |bed, programs| step.run(bed, programs), worst)?;
        for sample in samples {
            eprintln!(
                "bench:   {:?} {:.6}, others {:.1} %{}",
                sample.name,
                sample.value,
                sample.foreign * 100.0,
                if contaminated { ", contaminated" } else { "" }
            );
            self.samples.push(Sample {
                contaminated,
                ..sample
            });
        }
        self.bed = Some(bed);
        Ok(())
    }

    /// Measures, and again where others used the CPU, as long as there are repetitions left. Returns whether
    /// the result is contaminated.
    fn undisturbed<T>(
        &mut self,
        bed: &Bed,
        measure: impl Fn(&Bed, &Programs) -> Result<T>,
        foreign: impl Fn(&T) -> f64,
    ) -> Result<(T, bool)> {
        loop {
            let quiet = if self.quick { PATIENCE / 5 } else { PATIENCE };
            wait_until_quiet(bed, quiet)?;
            let measured = measure(bed, &self.programs)?;
            let share = foreign(&measured);
            let disturbed = share > DISTURBED;
            if !disturbed || self.repetitions == 0 {
                return Ok((measured, disturbed));
            }
            self.repetitions -= 1;
            self.discarded += 1;
            eprintln!(
                "bench:   discarded: others used {:.0} % of the machine; again",
                share * 100.0
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
            samples: self.samples,
            missing: self.missing,
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
