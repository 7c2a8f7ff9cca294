//! The tools that are measured: how each is started on the node, when it captures, and what it recorded.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::bed::Bed;
use super::count;
use super::recorded::{Recorded, lost, number_before, of_metrics, total};
use crate::debian;
use crate::lab::shell::run;

/// How long a tool may take to start, or to end: it may have much to do still on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The host ends of all pods' links.
pub(super) const ALL_PODS: &str = "vc*";
/// These and the node's link to the server.
pub(super) const ALL_DEVICES: &str = "v*";

/// What captures on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// Nothing.
    None,
    /// `tcpdump -w`: packets to a file, undecoded.
    TcpdumpWrite,
    /// `tcpdump -l`: a line of text for each message.
    TcpdumpLines,
    /// tshark, a line of fields for each message.
    Tshark,
    /// Suricata, a JSON line for each message.
    Suricata,
    /// The tracer.
    Tracer(Tracer),
}

/// How the tracer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tracer {
    /// What it writes.
    pub output: Output,
    /// With the big inventory.
    pub inventory: bool,
}

/// What the tracer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Output {
    /// `observe -o json`, DNS only.
    Json,
    /// `observe -o text`, DNS only.
    Text,
    /// `agent` with its metrics; no client.
    Agent,
    /// The same with one source switched off.
    AgentWithout(Source),
}

/// What an agent reads beside the packets at the pods' interfaces, and can leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The node's translations.
    Conntrack,
    /// The node's own traffic.
    Node,
    /// The processes behind sockets.
    Processes,
    /// Packets that the kernel drops.
    Drops,
    /// TCP segments that pods send again.
    Retransmits,
}

impl Source {
    /// All.
    pub const ALL: [Source; 5] = [
        Source::Conntrack,
        Source::Node,
        Source::Processes,
        Source::Drops,
        Source::Retransmits,
    ];

    /// The option without its dashes: an agent's `--instance`, too.
    pub(super) fn switch(self) -> &'static str {
        match self {
            Source::Conntrack => "no-conntrack",
            Source::Node => "no-node",
            Source::Processes => "no-processes",
            Source::Drops => "no-drops",
            Source::Retransmits => "no-retransmits",
        }
    }
}

impl Output {
    fn is_agent(self) -> bool {
        matches!(self, Output::Agent | Output::AgentWithout(_))
    }

    /// Names the tracer among several that run at one time.
    pub(super) fn instance(self) -> &'static str {
        match self {
            Output::AgentWithout(source) => source.switch(),
            _ => "default",
        }
    }

    /// Where an agent serves its metrics.
    fn metrics(self) -> String {
        let port = match self {
            Output::AgentWithout(source) => 9096 + source as u16,
            _ => 9095,
        };
        format!("127.0.0.1:{port}")
    }
}

impl Tool {
    /// The tracer without an inventory.
    pub fn tracer(output: Output) -> Tool {
        Tool::Tracer(Tracer {
            output,
            inventory: false,
        })
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Tool::None => "none",
            Tool::TcpdumpWrite => "tcpdump -w",
            Tool::TcpdumpLines => "tcpdump -l",
            Tool::Tshark => "tshark",
            Tool::Suricata => "suricata",
            Tool::Tracer(Tracer { output, inventory }) => match (output, inventory) {
                (Output::Json, false) => "tracer json",
                (Output::Json, true) => "tracer json, inventory",
                (Output::Text, false) => "tracer text",
                (Output::Text, true) => "tracer text, inventory",
                (Output::Agent, false) => "tracer agent",
                (Output::Agent, true) => "tracer agent, inventory",
                (Output::AgentWithout(source), _) => match source {
                    Source::Conntrack => "tracer agent --no-conntrack",
                    Source::Node => "tracer agent --no-node",
                    Source::Processes => "tracer agent --no-processes",
                    Source::Drops => "tracer agent --no-drops",
                    Source::Retransmits => "tracer agent --no-retransmits",
                },
            },
        }
    }

    /// Whether its program is installed.
    pub fn available(self) -> bool {
        match self {
            Tool::None | Tool::Tracer(_) => true,
            Tool::TcpdumpWrite | Tool::TcpdumpLines => debian::program("tcpdump").is_some(),
            Tool::Tshark => debian::program("tshark").is_some(),
            Tool::Suricata => debian::program("suricata").is_some(),
        }
    }
}

/// The tracer's program and its inventories.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The tracer.
    pub tracer: PathBuf,
    /// A file with the inventory of a big cluster.
    pub inventory: PathBuf,
}

/// A tool that captures.
#[derive(Debug)]
pub(super) struct Running {
    tool: Tool,
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Running {
    /// Starts it and waits until it captures; nothing for [`Tool::None`].
    pub(super) fn start(bed: &Bed, programs: &Programs, tool: Tool) -> Result<Option<Running>> {
        Running::start_on(bed, programs, tool, ALL_PODS)
    }

    /// Starts it on the interfaces that match.
    pub(super) fn start_on(
        bed: &Bed,
        programs: &Programs,
        tool: Tool,
        interfaces: &str,
    ) -> Result<Option<Running>> {
        let mut running = Running::spawn_on(bed, programs, tool, interfaces, "tool")?;
        if let Some(running) = &mut running {
            running.wait_until_it_captures(bed)?;
        }
        Ok(running)
    }

    /// The same, without waiting. Its CPU time goes to `account`.
    pub(super) fn spawn_on(
        bed: &Bed,
        programs: &Programs,
        tool: Tool,
        interfaces: &str,
        account: &str,
    ) -> Result<Option<Running>> {
        let file = |kind| match tool {
            Tool::Tracer(Tracer { output, .. }) => format!("{kind}-{}", output.instance()),
            _ => format!("{kind}-tool"),
        };
        let output = bed.directory().join(file("output"));
        let log = bed.directory().join(file("log"));
        let Some(argv) = arguments(bed, programs, tool, interfaces, &output)? else {
            return Ok(None);
        };
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut command = bed.command("node", account, &argv)?;
        let writes_itself = matches!(tool, Tool::TcpdumpWrite | Tool::Suricata);
        let stdout = if writes_itself {
            Stdio::null()
        } else {
            File::create(&output).context("the output's file")?.into()
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", tool.name()))?;
        Ok(Some(Running {
            tool,
            child,
            output,
            log,
        }))
    }

    fn wait_until_it_captures(&mut self, bed: &Bed) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.captures(bed)? {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!(
                    "{} does not capture; it printed:\n{}",
                    self.tool.name(),
                    self.log()
                );
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn captures(&self, bed: &Bed) -> Result<bool> {
        Ok(match self.tool {
            Tool::Tracer(Tracer { output, .. }) if output.is_agent() => metrics(bed, output)
                .is_ok_and(|text| total(&text, "tracer_attached_interfaces") > 0.0),
            Tool::Tracer(_) => self.log().lines().any(|line| line.starts_with("tracing ")),
            // The others have a packet socket then; the first line is a heading.
            _ => {
                let mut command = bed.command("node", "load", &["cat", "/proc/net/packet"])?;
                run(&mut command)?.lines().count() > 1
            }
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Interrupts it, waits for its end and counts what it recorded.
    pub(super) fn stop(mut self, bed: &Bed) -> Result<Recorded> {
        let metrics = match self.tool {
            Tool::Tracer(Tracer { output, .. }) if output.is_agent() => metrics(bed, output)?,
            _ => String::new(),
        };
        kill_process(self.pid(), Signal::INT).context("the tool does not run any more")?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} does not end", self.tool.name());
            }
            sleep(Duration::from_millis(5));
        }
        let log = self.log();
        let recorded = match self.tool {
            Tool::None => Recorded::default(),
            Tool::TcpdumpWrite => Recorded {
                messages: number_before(&log, " packets captured").context("tcpdump's summary")?,
                lost: number_before(&log, " packets dropped by kernel"),
                ..Recorded::default()
            },
            Tool::TcpdumpLines => Recorded {
                messages: count::lines(&self.output)?,
                lost: number_before(&log, " packets dropped by kernel"),
                ..Recorded::default()
            },
            Tool::Tshark => Recorded {
                messages: count::lines(&self.output)?,
                lost: number_before(&log, " packets dropped"),
                ..Recorded::default()
            },
            Tool::Suricata => Recorded {
                messages: count::lines(&self.output.join("eve.json"))?,
                ..Recorded::default()
            },
            Tool::Tracer(tracer) => match tracer.output {
                Output::Json => {
                    let dns = count::dns(&self.output)?;
                    Recorded {
                        messages: dns.messages,
                        lost: Some(lost(&log)),
                        timeouts: Some(dns.timeouts),
                        undecided: Some(dns.undecided),
                        ..Recorded::default()
                    }
                }
                // A line of text may be a part of an event, so the summary counts.
                Output::Text => Recorded {
                    messages: number_before(&log, " records read").context("a summary")?,
                    lost: Some(lost(&log)),
                    ..Recorded::default()
                },
                Output::Agent | Output::AgentWithout(_) => of_metrics(&metrics),
            },
        };
        if self.output.is_dir() {
            fs::remove_dir_all(&self.output)?;
        } else if self.output.exists() {
            fs::remove_file(&self.output)?;
        }
        Ok(recorded)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The command line; `None` if no tool runs.
fn arguments(
    bed: &Bed,
    programs: &Programs,
    tool: Tool,
    interfaces: &str,
    output: &Path,
) -> Result<Option<Vec<String>>> {
    let file = utf8(output)?;
    Ok(Some(match tool {
        Tool::None => return Ok(None),
        Tool::TcpdumpWrite => {
            let mut argv = words("tcpdump -i vc0 -Z root -s 0 port 53 -w");
            argv.push(file);
            argv
        }
        Tool::TcpdumpLines => words("tcpdump -i vc0 -nn -l port 53"),
        Tool::Tshark => words(
            "tshark -n -i vc0 -Y dns -T fields -e frame.time_epoch -e ip.src -e ip.dst -e dns.id \
             -e dns.flags.response -e dns.qry.name -e dns.qry.type -e dns.flags.rcode",
        ),
        Tool::Suricata => {
            fs::create_dir_all(output)?;
            let configuration = bed.directory().join("suricata.yaml");
            fs::write(&configuration, SURICATA)?;
            let mut argv = words("suricata --af-packet=vc0 -k none -c");
            argv.extend([utf8(&configuration)?, "-l".to_owned(), file]);
            argv
        }
        Tool::Tracer(tracer) => observe(bed, programs, tracer, interfaces)?,
    }))
}

/// The tracer's command line.
pub(super) fn observe(
    bed: &Bed,
    programs: &Programs,
    tracer: Tracer,
    interfaces: &str,
) -> Result<Vec<String>> {
    let mut argv = vec![utf8(&programs.tracer)?];
    argv.extend(match tracer.output {
        Output::Json => words("observe --local --records-per-second 0 -o json --type dns"),
        Output::Text => words("observe --local --records-per-second 0 -o text --type dns"),
        Output::Agent | Output::AgentWithout(_) => {
            let instance = tracer.output.instance();
            let mut argv = words("agent --records-per-second 0 --health none --http");
            argv.extend([tracer.output.metrics(), "--instance".to_owned()]);
            argv.extend([instance.to_owned(), "--socket".to_owned()]);
            argv.push(utf8(&bed.directory().join(format!("{instance}.sock")))?);
            if let Output::AgentWithout(source) = tracer.output {
                argv.push(format!("--{}", source.switch()));
            }
            argv
        }
    });
    argv.extend(words("--node-name node --interface"));
    argv.push(interfaces.to_owned());
    if tracer.inventory || tracer.output.is_agent() {
        let none = bed.directory().join("no-inventory.yaml");
        fs::write(&none, "apiVersion: v1\nkind: List\nitems: []\n")?;
        let big = tracer.inventory.then_some(&programs.inventory);
        argv.extend(["--inventory".to_owned(), utf8(big.unwrap_or(&none))?]);
    }
    Ok(argv)
}

fn utf8(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.with_context(|| format!("the path {} is not UTF-8", path.display()))
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// DNS events only, no rules, no statistics.
const SURICATA: &str = "%YAML 1.1
---
vars:
  address-groups:
    HOME_NET: any
    EXTERNAL_NET: any
af-packet:
  - interface: default
    tpacket-v3: yes
    cluster-type: cluster_flow
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - dns:
            version: 2
app-layer:
  protocols:
    dns:
      udp:
        enabled: yes
        detection-ports:
          dp: 53
stats:
  enabled: no
";

/// The agent's metrics.
fn metrics(bed: &Bed, output: Output) -> Result<String> {
    let url = format!("http://{}/metrics", output.metrics());
    run(&mut bed.command("node", "load", &["curl", "-sSf", &url])?)
}
