//! The loss curve as pictures: recorded share, CPU per message and the client's latency against the offered
//! rate, a line for each tool.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    ChartBuilder, Color as _, IntoDrawingArea as _, LineSeries, Palette as _, Palette99,
    PathElement, SVGBackend, SeriesLabelPosition, WHITE,
};
use testbed::bench::{Mix, Rate, Tool, Transport};

use super::results::{Median, Results, Run};

/// The offered rates, from left to right.
pub const RATES: [Rate; 6] = [
    Rate::PerSecond(1000),
    Rate::PerSecond(5000),
    Rate::PerSecond(20_000),
    Rate::PerSecond(50_000),
    Rate::Limit,
    Rate::Open,
];

/// A picture: its file's name, its title, and the value of a run, if it has one.
type Picture = (&'static str, &'static str, fn(&Run) -> Option<f64>);

const PICTURES: [Picture; 4] = [
    ("loss.svg", "DNS messages recorded, %", |run| {
        let share = run.measured.share_recorded() * 100.0;
        (run.tool != Tool::None).then_some(share)
    }),
    (
        "cpu.svg",
        "the tool's CPU time per DNS message, us",
        |run| (run.tool != Tool::None).then_some(run.measured.us_per_message()),
    ),
    ("latency.svg", "the client's mean latency, us", |run| {
        Some(run.measured.answered.latency.as_secs_f64() * 1e6)
    }),
    ("answered.svg", "answered queries per second", |run| {
        Some(run.measured.answered.per_second)
    }),
];

/// Writes the pictures of the mix with one pod over UDP; none if no run belongs to them.
pub fn write(directory: &Path, results: &Results) -> Result<()> {
    for (file, title, value) in PICTURES {
        let lines = lines(results, value);
        if !lines.is_empty() {
            let path = directory.join(file);
            draw(&path, title, &lines)
                .map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// For each tool the medians, at the index of their rate.
fn lines(results: &Results, value: fn(&Run) -> Option<f64>) -> BTreeMap<Tool, Vec<(f64, f64)>> {
    let mut lines: BTreeMap<Tool, Vec<(f64, f64)>> = BTreeMap::new();
    for (index, rate) in RATES.into_iter().enumerate() {
        let mut values: BTreeMap<Tool, Vec<(f64, bool)>> = BTreeMap::new();
        let runs = results.runs.iter().filter(|run| {
            run.load.rate == rate
                && run.load.mix == Mix::Nxdomain
                && run.load.transport == Transport::Udp
                && run.pods == 1
        });
        for run in runs {
            if let Some(value) = value(run) {
                let of_tool = values.entry(run.tool).or_default();
                of_tool.push((value, run.contaminated));
            }
        }
        for (tool, values) in values {
            if let Some(median) = Median::of(values) {
                lines
                    .entry(tool)
                    .or_default()
                    .push((index as f64, median.value));
            }
        }
    }
    lines
}

fn draw(
    path: &Path,
    title: &str,
    lines: &BTreeMap<Tool, Vec<(f64, f64)>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = lines.values().flatten();
    let top = points.map(|(_, value)| *value).fold(0.0, f64::max) * 1.05;
    let area = SVGBackend::new(path, (900, 500)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..RATES.len() as f64 - 1.0, 0.0..top.max(1.0))?;
    chart
        .configure_mesh()
        .x_labels(RATES.len())
        .x_label_formatter(&|index| {
            let rate = RATES.get(index.round() as usize);
            rate.map(Rate::to_string).unwrap_or_default()
        })
        .x_desc("offered queries per second")
        .draw()?;
    for (number, (tool, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(tool.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}

/// The curve as a table, for the page: recorded share and CPU per message.
pub fn table(results: &Results) -> String {
    let recorded = lines(results, PICTURES[0].2);
    let cpu = lines(results, PICTURES[1].2);
    if recorded.is_empty() {
        return String::new();
    }
    let mut text =
        "\nRecorded share, and CPU time per message, mix, one pod:\n\n| tool |".to_owned();
    for rate in RATES {
        text.push_str(&format!(" {rate} |"));
    }
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(RATES.len())));
    for (tool, shares) in &recorded {
        text.push_str(&format!("| {} |", tool.name()));
        for index in 0..RATES.len() {
            let at = |points: &[(f64, f64)]| {
                let point = points.iter().find(|(x, _)| *x == index as f64);
                point.map(|(_, value)| *value)
            };
            let cell = at(shares).zip(cpu.get(tool).and_then(|points| at(points)));
            text.push_str(&cell.map_or_else(
                || " |".to_owned(),
                |(share, us)| format!(" {share:.1} %, {us:.2} us |"),
            ));
        }
        text.push('\n');
    }
    text
}
