//! What a run consists of. Which comparisons a run consists of, and in which order: rounds of tools, one after the other, so that
//! neighbours share the machine's state.

use std::time::Duration;

use testbed::bench::{
    Load, Measurement, Mix, Output, Packets, Rate, Source, Tool, Tracer, Transport,
};

use super::curve::RATES;
use super::figure::Figure;
use super::steps::Step;

/// A timeout is reported six seconds after the query; a run that looks for false ones lasts longer.
const UNTIL_TIMEOUTS: Duration = Duration::from_millis(6500);

/// Tools under one load, in rounds.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it is measured for.
    pub figure: Figure,
    /// The load.
    pub load: Load,
    /// The pods that send it.
    pub pods: usize,
    /// The tools, in the order of a round.
    pub tools: Vec<Tool>,
    /// How often.
    pub rounds: u32,
    /// How long the tracer runs on after it has drained.
    pub settle: Duration,
}

impl Block {
    /// One tool's measurement.
    pub fn measurement(&self, tool: Tool) -> Measurement {
        let settle = match tool {
            Tool::Tracer(_) => self.settle,
            _ => Duration::ZERO,
        };
        Measurement {
            tool,
            load: self.load,
            settle,
        }
    }

    /// About how long it takes.
    pub fn lasts(&self) -> Duration {
        let each = |tool: &Tool| {
            let overhead = match tool {
                Tool::None => Duration::from_millis(200),
                Tool::Tshark | Tool::Suricata => Duration::from_secs(8),
                _ => Duration::from_millis(2500),
            };
            overhead
                + self.measurement(*tool).settle
                + Duration::from_secs(self.load.seconds.into())
        };
        self.tools.iter().map(each).sum::<Duration>() * self.rounds
    }
}

/// The blocks of these figures.
pub fn blocks(figures: &[Figure], quick: bool, rounds: Option<u32>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for figure in figures {
        blocks.extend(match figure {
            Figure::Cpu => cpu(quick),
            Figure::Inventory => inventory(quick),
            Figure::Loss => loss(quick),
            Figure::Curve if quick => Vec::new(),
            Figure::Curve => curve(),
            Figure::Packet | Figure::Bulk | Figure::Rest | Figure::Delay | Figure::Sources => {
                Vec::new()
            }
        });
    }
    for block in &mut blocks {
        block.rounds = rounds.unwrap_or(block.rounds);
    }
    blocks
}

/// The steps of these figures, each as often as it is measured.
pub fn steps(figures: &[Figure], quick: bool, rounds: Option<u32>) -> Vec<Step> {
    let seconds = |few: u64, many: u64| Duration::from_secs(if quick { few } else { many });
    let mut steps: Vec<Step> = Vec::new();
    for figure in figures {
        let (rounds_planned, round) = match figure {
            Figure::Packet => (
                if quick { 1 } else { 3 },
                vec![
                    Step::Packets(Packets::KnownFlow, seconds(2, 4)),
                    Step::Packets(Packets::NewFlow, seconds(2, 2)),
                    Step::Packets(Packets::Bulk, seconds(1, 4)),
                ],
            ),
            Figure::Bulk => (if quick { 1 } else { 5 }, vec![Step::Bulk(seconds(2, 4))]),
            Figure::Rest => {
                // A quick run of all figures has no time for it.
                let sources: &[Source] = match quick && figures.len() > 1 {
                    true => &[],
                    false => &Source::ALL,
                };
                (
                    if quick { 1 } else { 3 },
                    vec![Step::Rest(sources, seconds(5, 60))],
                )
            }
            Figure::Delay => (
                if quick { 1 } else { 3 },
                vec![
                    Step::Delay(false, seconds(2, 10)),
                    Step::Delay(true, seconds(2, 10)),
                ],
            ),
            Figure::Sources => (
                if quick { 1 } else { 3 },
                vec![Step::Sources(seconds(1, 5))],
            ),
            Figure::Cpu | Figure::Inventory | Figure::Loss | Figure::Curve => continue,
        };
        for _ in 0..rounds.unwrap_or(rounds_planned) {
            steps.extend(&round);
        }
    }
    // A bed is raised once for all that need as many pods.
    steps.sort_by_key(|step| step.pods());
    steps
}

const JSON: Tool = tracer(Output::Json, false);
const AGENT: Tool = tracer(Output::Agent, false);

const fn tracer(output: Output, inventory: bool) -> Tool {
    Tool::Tracer(Tracer { output, inventory })
}

fn load(mix: Mix, rate: Rate, quick: bool) -> Load {
    Load {
        mix,
        rate,
        transport: Transport::Udp,
        seconds: if quick { 2 } else { 5 },
    }
}

fn block(figure: Figure, load: Load, tools: &[Tool], rounds: u32) -> Block {
    Block {
        figure,
        load,
        pods: 1,
        tools: tools.to_vec(),
        rounds,
        settle: Duration::ZERO,
    }
}

/// 20,000 queries a second: every tool keeps up with them.
const STEADY: Rate = Rate::PerSecond(20_000);

fn cpu(quick: bool) -> Vec<Block> {
    let rounds = if quick { 2 } else { 5 };
    [Mix::Nxdomain, Mix::Search]
        .map(|mix| {
            let tools: &[Tool] = match mix {
                Mix::Search if quick => &[Tool::TcpdumpLines, JSON],
                _ => &[Tool::TcpdumpLines, JSON, AGENT],
            };
            block(Figure::Cpu, load(mix, STEADY, quick), tools, rounds)
        })
        .to_vec()
}

fn inventory(quick: bool) -> Vec<Block> {
    let rounds = if quick { 1 } else { 3 };
    [Mix::Nxdomain, Mix::Search]
        .map(|mix| {
            let tools = [JSON, tracer(Output::Json, true)];
            block(Figure::Inventory, load(mix, STEADY, quick), &tools, rounds)
        })
        .to_vec()
}

fn loss(quick: bool) -> Vec<Block> {
    let rounds = if quick { 1 } else { 3 };
    let rates = [Rate::PerSecond(50_000), Rate::Limit, Rate::Open];
    let blocks = rates.map(|rate| {
        let tools: &[Tool] = match rate {
            Rate::Limit => &[
                Tool::None,
                Tool::TcpdumpWrite,
                Tool::TcpdumpLines,
                JSON,
                AGENT,
            ],
            _ if quick => &[JSON],
            _ => &[Tool::None, Tool::TcpdumpLines, JSON],
        };
        Block {
            settle: UNTIL_TIMEOUTS,
            ..block(
                Figure::Loss,
                load(Mix::Nxdomain, rate, quick),
                tools,
                rounds,
            )
        }
    });
    blocks.to_vec()
}

/// Each rate with each tool, once: the curve shows a shape, the goals have rounds of their own. Then the other
/// mixes, 50 pods, TCP, and the inventory, beside the same load without a tool.
fn curve() -> Vec<Block> {
    let inventory = tracer(Output::Json, true);
    let text = tracer(Output::Text, false);
    let every = [
        Tool::None,
        Tool::TcpdumpWrite,
        Tool::TcpdumpLines,
        Tool::Tshark,
        Tool::Suricata,
        JSON,
        text,
        AGENT,
        inventory,
    ];
    let mut blocks: Vec<Block> = RATES
        .map(|rate| block(Figure::Curve, load(Mix::Nxdomain, rate, false), &every, 1))
        .to_vec();
    let few = [Tool::None, Tool::TcpdumpLines, JSON, AGENT, inventory];
    // tcpdump captures on one interface or on all, so it does not see the pods' ends of many pods alone.
    let without_tcpdump = [Tool::None, JSON, AGENT, inventory];
    for rate in [STEADY, Rate::PerSecond(50_000), Rate::Limit] {
        for mix in [Mix::Ok, Mix::Search] {
            blocks.push(block(Figure::Curve, load(mix, rate, false), &few, 1));
        }
        let tcp = Load {
            transport: Transport::Tcp,
            ..load(Mix::Nxdomain, rate, false)
        };
        blocks.push(block(Figure::Curve, tcp, &few, 1));
        blocks.push(Block {
            pods: 50,
            ..block(
                Figure::Curve,
                load(Mix::Nxdomain, rate, false),
                &without_tcpdump,
                1,
            )
        });
    }
    // A bed is raised once for all that need as many pods.
    blocks.sort_by_key(|block| block.pods);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_ends_in_three_minutes() {
        let lasts: Duration = blocks(&Figure::ALL, true, None)
            .iter()
            .map(Block::lasts)
            .sum();
        let steps: Duration = steps(&Figure::ALL, true, None)
            .into_iter()
            .map(Step::lasts)
            .sum();
        let lasts = lasts + steps;
        // A few repetitions come on top.
        assert!(lasts < Duration::from_secs(175), "{lasts:?}");
    }

    #[test]
    fn a_tracer_is_compared_with_tcpdump_in_the_same_round() {
        for block in blocks(&[Figure::Cpu], true, None) {
            assert!(block.tools.contains(&Tool::TcpdumpLines));
            assert!(block.tools.contains(&JSON));
        }
    }
}
