//! `cargo xtask e2e`: the deployment and the scenario on a real Kubernetes cluster.
//!
//! Installs Tracer as a user does, makes the scenario's pods and Services, does its five steps with
//! `kubectl exec`, and compares what `tracer observe` reports, through the API server, with what the tools in
//! the pods report themselves. It removes everything that it created and checks that nothing is left. Without
//! --kubeconfig it takes the cluster of `cargo xtask cluster up`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{build, image, setup};
use testbed::cluster::{DEFAULT_NAME, images};
use testbed::debian;
use testbed::watch::{Events, Watch};

mod audit;
mod collector;
mod exports;
mod faults;
mod relays;
mod scene;
mod steps;
mod target;
mod watches;

use collector::Collector;
use scene::{Install, Scene};
use steps::Step;
use target::Target;

/// Test the deployment and the scenario on a real cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  the cluster of this machine (cargo xtask cluster up):
    cargo xtask e2e
  kind:
    kind get kubeconfig > kind.config
    cargo xtask e2e --kubeconfig kind.config --load 'kind load image-archive {}'
  microk8s:
    microk8s config > microk8s.config
    cargo xtask e2e --kubeconfig microk8s.config --load 'microk8s ctr image import {}'
  k3s:
    cargo xtask e2e --kubeconfig /etc/rancher/k3s/k3s.yaml --load 'k3s ctr images import {}'
  one node with containerd:
    cargo xtask e2e --kubeconfig FILE --load 'ctr --namespace k8s.io images import {}'
  images that the nodes have already, or can pull:
    cargo xtask e2e --kubeconfig FILE --image REGISTRY/tracer:0.1.0 --tools-image REGISTRY/tools:1

--load runs in a shell, once for each archive; afterwards every node must have the image. The archive of the tools' \
image is target/e2e/tools.tar, and its name tracer.invalid/tools:1: --tools-image can name it once it is loaded.

With --kubeconfig it uses the kubectl on the PATH and the rights of an administrator. It needs the namespaces tracer \
and myns and a few names in the namespace default, refuses to start if they exist, and removes them afterwards.

Exit code 0: every step was reported correctly, and nothing is left; 1: something was reported wrongly; 2: it could \
not run.")]
pub struct Arguments {
    /// Use this cluster instead of the one of `cargo xtask cluster up`
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Name of the cluster of `cargo xtask cluster up`
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME, conflicts_with = "kubeconfig")]
    cluster: String,
    /// Command that loads an image archive ({}) onto the nodes
    #[arg(long, value_name = "COMMAND", requires = "kubeconfig")]
    load: Option<String>,
    /// An agent image that the nodes have or can pull [default: build and load it]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// An image with nslookup, curl, ping, sh and busybox's httpd that they have or can pull [default: build
    /// and load it]
    #[arg(long, value_name = "IMAGE")]
    tools_image: Option<String>,
    /// Use this static program for the agents' image instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How to install Tracer
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    install: Install,
    /// Leave everything in the cluster for inspection
    #[arg(long)]
    keep: bool,
}

/// A ping run is reported 3 s after its last request; what a cluster adds is the way through the API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the test. Exit code 0: every step was reported correctly, and nothing is left in the cluster.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let target = match &arguments.kubeconfig {
        Some(file) => Target::kubeconfig(file, arguments.load.as_deref())?,
        None => Target::local(&arguments.cluster)?,
    };
    // Before anything is built: that takes minutes.
    ensure!(
        arguments.kubeconfig.is_none() || debian::program("kubectl").is_some(),
        "no kubectl on the PATH, by which --kubeconfig's cluster is talked to"
    );
    if arguments.image.is_none() || arguments.tools_image.is_none() {
        target.ensure_loads()?;
    }
    note(&format!("the cluster: {}", target.describe()?));
    scene::ensure_free(&target)?;
    let agent = match (&arguments.image, &arguments.program) {
        (Some(_), _) => None,
        (None, Some(program)) => Some(
            program
                .canonicalize()
                .with_context(|| format!("--program {}", program.display()))?,
        ),
        (None, None) => Some(image::static_program()?),
    };
    // The agents' program reads no kubeconfig.
    setup::ensure(setup::Needs::Probes)?;
    let client = build::tracer()?;
    let tools = give_images(arguments, &target, agent.as_deref())?;

    let outcome = play(arguments, &target, &client, &tools);
    if arguments.keep {
        note("everything stays in the cluster (--keep)");
    } else {
        let removed = scene::remove(&target, arguments.install);
        // The first failure is the relevant one.
        if outcome.is_ok() {
            removed?;
            note("everything is removed");
        } else if let Err(error) = removed {
            eprintln!("e2e: not all is removed: {error:#}");
        }
    }
    let failures = outcome?;
    if failures.is_empty() {
        note("passed");
        return Ok(ExitCode::SUCCESS);
    }
    for failure in &failures {
        eprintln!("FAILED {failure}");
    }
    Ok(ExitCode::FAILURE)
}

fn note(text: &str) {
    eprintln!("e2e: {text}");
}

/// Ensures that the nodes have, or can pull, both images. Returns the tools' name.
fn give_images(
    arguments: &Arguments,
    target: &Target,
    agent: Option<&std::path::Path>,
) -> Result<String> {
    let directory = build::root().join("target/e2e");
    std::fs::create_dir_all(&directory)?;
    if let Some(agent) = agent {
        let archive = directory.join("tracer.tar");
        let written = image::write(agent, &archive)?;
        note(&format!(
            "loading {} ({:.1} MB)",
            written.reference,
            written.bytes as f64 / 1e6
        ));
        target.load(&archive)?;
    }
    match &arguments.tools_image {
        Some(image) => Ok(image.clone()),
        None => {
            let archive = images::write_tools(&directory)?;
            target.load(&archive)?;
            Ok(images::TOOLS.to_owned())
        }
    }
}

/// Deploys, plays the scenario and lists the failures by step.
fn play(
    arguments: &Arguments,
    target: &Target,
    program: &std::path::Path,
    tools: &str,
) -> Result<Vec<String>> {
    let start = Instant::now();
    let mut collector = match collector::program() {
        Some(program) => Some(Collector::start(target, &program)?),
        None => {
            note(
                "no OpenTelemetry Collector: CONTRIBUTING.md shows how to build one; OTLP is not tested",
            );
            None
        }
    };
    let otlp = collector.as_ref().map(|collector| collector.url.as_str());
    scene::deploy(target, arguments.install, arguments.image.as_deref(), otlp)?;
    note(&format!(
        "Tracer is installed, and its agents and relays are ready ({:.1} s)",
        start.elapsed().as_secs_f64()
    ));
    let scene = Scene::make(target, tools)?;
    note(&format!("the scenario is there: {}", scene.describe()));

    let program = program.to_str().context("a program path that is UTF-8")?;
    let observe = target.observe(program)?;
    let mut events = Events::new(vec![Watch::spawn(observe)?]);
    begin(target, &mut events).context("no event of the client arrives")?;
    note("`tracer observe` reports what the client does");

    let mut failures = Vec::new();
    for (number, step) in (1..).zip(steps::all(&scene)) {
        match play_step(target, &mut events, &step, &scene) {
            Ok(()) => note(&format!(
                "step {number} is reported correctly: {}",
                step.title
            )),
            Err(error) => failures.push(format!("step {number} ({}): {error:#}", step.title)),
        }
    }
    let collected = collector.as_mut().map(Collector::check);
    let exported = [
        exports::events(target),
        exports::metrics(target, &scene),
        exports::alerts(),
    ];
    for exported in exported.into_iter().chain(collected) {
        match exported {
            Ok(said) => note(&said),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    for (what, checked) in [
        ("kubectl get findings", relays::findings(target)),
        ("lists of findings", watches::lists(target)),
        ("kubectl get --watch", watches::table(target)),
        ("a withdrawn permission", watches::withdrawn(target)),
        ("a watch over two relays", watches::replicas(target)),
        (
            "losing a relay and an agent",
            relays::survive(target, &mut events, &scene),
        ),
    ] {
        match checked {
            Ok(said) => note(&said),
            Err(error) => failures.push(format!("{what}: {error:#}")),
        }
    }
    match faults::paths(target, program, &scene) {
        Ok(Some(said)) => note(&said),
        Ok(None) => note("faults need a second node of this program's own cluster: not tested"),
        Err(error) => failures.push(format!("paths of findings: {error:#}")),
    }
    let ended = events.stop()?;
    for line in ended.iter().flat_map(|ended| &ended.log) {
        eprintln!("     tracer: {line}");
    }
    match relays::without_any(target) {
        Ok(said) => note(&said),
        Err(error) => failures.push(format!("without relays: {error:#}")),
    }
    match audit::check(target) {
        Ok(Some(said)) => note(&said),
        Ok(None) => note(
            "this cluster's audit log is not accessible: the agent's requests are not compared with its role",
        ),
        Err(error) => failures.push(format!("{error:#}")),
    }
    Ok(failures)
}

/// Streams start with a delay: the client repeats a query for a unique name until it is reported.
fn begin(target: &Target, events: &mut Events) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        scene::in_client(target, &["nslookup", "e2e-begins.invalid."])?;
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            events.poll()?;
            let reported =
                |event: &Value| event["type"] == "dns" && event["name"] == "e2e-begins.invalid.";
            if events.of_step().iter().any(reported) {
                return Ok(());
            }
        }
        ensure!(
            Instant::now() < deadline,
            "not within 120 s; reported:{}",
            testbed::watch::listed(events.of_step())
        );
    }
}

fn play_step(target: &Target, events: &mut Events, step: &Step, scene: &Scene) -> Result<()> {
    events.next_step();
    let mut outputs = Vec::new();
    for command in &step.commands {
        let argv: Vec<&str> = command.iter().map(String::as_str).collect();
        outputs.push(scene::in_client(target, &argv)?);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        events.poll()?;
        match step.check(&outputs, events.of_step(), scene) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                let commands: Vec<_> = outputs
                    .iter()
                    .map(|output| format!("$ {}\n{}", output.command, output.text))
                    .collect();
                bail!("{error:#}; the tools said:\n{}", commands.join("\n"));
            }
            Err(_) => {}
        }
    }
}
