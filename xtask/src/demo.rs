//! `cargo xtask demo`: plays the scenario in the lab and shows what the tracer reports.
//!
//! Set-up, build, lab, tracer on two nodes, the five steps with the tools that a person would use, what the
//! two findings say to try, lab removed. It succeeds only if the tracer reported every step as the tools
//! report it themselves, found both causes, and its remedies worked.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{build, setup};
use testbed::lab::{Inventory, Lab, Options, ProxyMode};
use testbed::scenario::{NODES, Output, REMEDIES, Remedy, STEPS, Step};
use testbed::watch::{Events, Watch};

/// Play the scenario in the lab and show what the tracer reports
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Output format; json prints only the tracer's JSON lines on standard output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// kube-proxy's mode on the lab's nodes
    #[arg(long, value_enum, default_value_t = ProxyMode::Iptables)]
    proxy_mode: ProxyMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A ping run is reported 3 s after its last request; everything else sooner.
const PATIENCE: Duration = Duration::from_secs(8);

/// Runs the demo. Exit code 0: every step was reported correctly, and the findings' remedies worked.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(setup::Needs::Everything)?;
    let program = build::tracer()?;
    note("raising the lab: 4 nodes, 10 pods, DNS, Services");
    let lab = Lab::up(Options {
        name: "tracer-demo".to_owned(),
        proxy_mode: arguments.proxy_mode,
        inventory: Inventory::scenario()?,
    })?
    .temporary();
    let mut stage = Stage::new(&lab, &program, arguments.output)?;
    let mut failures = Vec::new();
    for (number, step) in (1..).zip(&STEPS) {
        if let Err(error) = stage.play(&lab, number, step) {
            failures.push(format!("step {number} ({}): {error:#}", step.title));
        }
    }
    for (number, remedy) in (STEPS.len() + 1..).zip(&REMEDIES) {
        if let Err(error) = stage.remedy(&lab, number, remedy) {
            failures.push(format!("step {number} ({}): {error:#}", remedy.rule));
        }
    }
    stage.close()?;
    drop(lab);
    if failures.is_empty() {
        note(&format!(
            "the tracer and the tools agree on all {} steps, both findings were reported, and their suggested commands work",
            STEPS.len()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    for failure in &failures {
        eprintln!("FAILED {failure}");
    }
    Ok(ExitCode::FAILURE)
}

fn note(text: &str) {
    eprintln!("demo: {text}");
}

/// The tracers and their output.
struct Stage {
    events: Events,
    /// Text tracers with their nodes; none with `-o json`.
    narrators: Vec<(&'static str, Watch)>,
}

impl Stage {
    fn new(lab: &Lab, program: &Path, output: Format) -> Result<Stage> {
        note(&format!("tracing {}", NODES.join(" and ")));
        let watches = NODES.map(|node| {
            Watch::start(
                lab,
                program,
                node,
                &["-o", "json", "--instance", "demo-json"],
            )
        });
        let events = Events::new(watches.into_iter().collect::<Result<_>>()?);
        let mut narrators = Vec::new();
        if output == Format::Text {
            let color = if io::stdout().is_terminal() {
                "always"
            } else {
                "never"
            };
            for node in NODES {
                let options = ["-o", "text", "--instance", "demo-text", "--color", color];
                narrators.push((node, Watch::start(lab, program, node, &options)?));
            }
        }
        Ok(Stage { events, narrators })
    }

    fn play(&mut self, lab: &Lab, number: usize, step: &Step) -> Result<()> {
        self.events.next_step();
        self.say(&format!("\n{number}. {}", step.title))?;
        let mut outputs = Vec::new();
        for argv in step.commands {
            let output = Step::run(lab, argv)?;
            self.show(&output)?;
            outputs.push(output);
        }
        self.reported(|events| step.check(&outputs, events.of_step()))
    }

    /// Runs the commands that a finding suggests.
    fn remedy(&mut self, lab: &Lab, number: usize, remedy: &Remedy) -> Result<()> {
        self.events.next_step();
        self.say(&format!("\n{number}. what {} says to try", remedy.rule))?;
        let finding = remedy.finding(self.events.all())?.clone();
        let outputs = remedy.run(lab, &finding)?;
        outputs.iter().try_for_each(|output| self.show(output))?;
        self.reported(|events| remedy.check(&finding, &outputs, events.of_step(), events.all()))
    }

    /// A command and what it printed.
    fn show(&self, output: &Output) -> Result<()> {
        self.say(&format!("   $ {}", output.command))?;
        let mut lines = output.text.lines().filter(|line| !line.trim().is_empty());
        lines.try_for_each(|line| self.say(&format!("   {line}")))
    }

    /// Waits until the tracers have reported the step.
    fn reported(&mut self, check: impl Fn(&Events) -> Result<()>) -> Result<()> {
        self.say("   the tracer:")?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.poll()?;
            let reported = check(&self.events);
            if reported.is_ok() || Instant::now() > deadline {
                // What belongs to the step may still be on its way: the lookup after its exchanges, the other
                // node.
                let settled = Instant::now() + Duration::from_millis(300);
                while Instant::now() < settled {
                    self.poll()?;
                }
                return reported;
            }
        }
    }

    /// Reads the tracers' events; with `-o json` they are the output.
    fn poll(&mut self) -> Result<()> {
        let new = self.events.poll()?;
        if self.narrators.is_empty() {
            let mut stdout = io::stdout().lock();
            for line in new {
                writeln!(stdout, "{line}")?;
            }
            return Ok(());
        }
        let mut lines = VecDeque::new();
        for (node, narrator) in &mut self.narrators {
            while let Some(line) = narrator.line(Duration::ZERO)? {
                lines.push_back(format!("   {node:<12} │ {line}"));
            }
        }
        lines.iter().try_for_each(|line| self.say(line))
    }

    /// Prints a line of the demo, but not with `-o json`.
    fn say(&self, line: &str) -> Result<()> {
        if !self.narrators.is_empty() {
            writeln!(io::stdout().lock(), "{line}").context("cannot write to standard output")?;
        }
        Ok(())
    }

    fn close(mut self) -> Result<()> {
        for ended in self.events.stop()? {
            if self.narrators.is_empty() {
                ended.lines.iter().for_each(|line| println!("{line}"));
            }
        }
        for (node, narrator) in self.narrators.drain(..) {
            let ended = narrator.stop()?;
            println!();
            let summary = ended
                .log
                .iter()
                .filter(|line| !line.starts_with("tracing "));
            for line in ended.lines.iter().chain(summary) {
                println!("   {node:<12} │ {line}");
            }
        }
        Ok(())
    }
}
