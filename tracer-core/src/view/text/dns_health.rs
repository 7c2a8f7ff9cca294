//! The health of DNS as one screen: what was seen, then servers, workloads, savings and failing names.

use jiff::Zoned;

use super::TextSettings;
use super::findings::date_and_time;
use super::paint::{Painter, styles};
use super::units::{count, duration};
use super::wrap;
use crate::model::exchange::Outcome;
use crate::model::flow::Role;
use crate::model::printable::safe;
use crate::view::WallClock;
use crate::view::dns_health::{
    DnsHealth, Latencies, Object, Savings, ServerStats, Totals, WorkloadStats, percent,
};
use crate::view::losses::sentence;

mod grid;
#[cfg(test)]
mod tests;

use self::grid::{Cell, Grid};

/// The indent of a sentence's further lines.
const MORE: &str = "  ";
/// Names that the savings list.
const MAX_EXAMPLES: usize = 2;

/// Writes the screen.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct DnsText<'a> {
    settings: &'a TextSettings,
    /// Rows of a table, at most.
    top: usize,
}

impl<'a> DnsText<'a> {
    pub(in crate::view) fn new(settings: &'a TextSettings, top: usize) -> DnsText<'a> {
        DnsText { settings, top }
    }

    /// The whole screen.
    pub(in crate::view) fn screen(self, health: &DnsHealth, clock: &dyn WallClock) -> String {
        let mut out = String::new();
        self.head(health, clock, &mut out);
        if health.period().is_some() {
            self.servers(health, &mut out);
            self.workloads(health, &mut out);
            self.savings(&health.savings(), &mut out);
            self.failing(health, &mut out);
        }
        out
    }

    fn head(self, health: &DnsHealth, clock: &dyn WallClock, out: &mut String) {
        let totals = health.totals();
        match health.period() {
            None => out.push_str("no DNS lookup was seen\n"),
            Some((first, last)) => {
                let local = |at| clock.wall(at).to_zoned(self.settings.time_zone.clone());
                let period = period(&local(first), &local(last));
                self.lines(&format!("DNS {period}: {}", seen(&totals)), "", out);
                self.lines(&ended(&totals), "  ", out);
            }
        }
        let incomplete = health.incomplete();
        if incomplete > 0 {
            let events = count(incomplete, "event");
            let line =
                format!("  {events} may lack records that were lost, and count as undecided");
            self.put(out, &line, styles::WARN);
        }
        for loss in health.losses().iter() {
            self.put(out, &format!("  {}", sentence(loss)), styles::WARN);
        }
        if health.losses().total() == 0 {
            out.push_str("  lost: nothing\n");
        }
    }

    fn servers(self, health: &DnsHealth, out: &mut String) {
        let servers = health.servers();
        let shown = &servers.rows[..servers.rows.len().min(self.top)];
        let mut all = servers.rows.iter().map(|(_, stats)| stats);
        let other = all.any(|stats| other(stats) > 0);
        let title = of_all(
            "SERVER (→ asked, ← itself)",
            shown.len(),
            servers.rows.len(),
        );
        let mut header = vec![
            title.as_str(),
            "QUERIES",
            "ANSWERED",
            "TIMEOUT",
            "SERVFAIL",
            "REFUSED",
            "AGAIN",
            "P50",
            "P99",
        ];
        if other {
            header.insert(6, "OTHER");
        }
        let mut grid = Grid::new(&header);
        let rows = shown.iter().map(|(server, stats)| {
            let arrow = match server.seen_at {
                Role::Client => "→",
                Role::Server => "←",
            };
            let name = match stats.answered_by() {
                Some(answered_by) => format!("{arrow} {answered_by} at {}", server.object),
                None => format!("{arrow} {}", server.object),
            };
            (name, *stats)
        });
        let others = servers.others.map(|stats| ("all others".to_owned(), stats));
        for (name, stats) in rows.chain(others) {
            grid.row(server_cells(name, stats, other));
        }
        self.table(&grid, out);
    }

    fn workloads(self, health: &DnsHealth, out: &mut String) {
        let workloads = health.workloads();
        let shown = &workloads.rows[..workloads.rows.len().min(self.top)];
        let title = of_all("WORKLOAD", shown.len(), workloads.rows.len());
        let mut grid = Grid::new(&[
            &title, "LOOKUPS", "FAILED", "QUERIES", "EACH", "WASTED", "AGAIN", "P50", "P99",
        ]);
        let name = |whose: &Object| match health.serves(whose) {
            true => format!("{} (DNS server)", with_kind(whose)),
            false => with_kind(whose),
        };
        let rows = shown.iter().map(|(whose, stats)| (name(whose), *stats));
        let others = workloads
            .others
            .map(|stats| ("all others".to_owned(), stats));
        for (name, stats) in rows.chain(others) {
            grid.row(workload_cells(name, stats));
        }
        self.table(&grid, out);
    }

    fn savings(self, savings: &Savings<'_>, out: &mut String) {
        out.push('\n');
        self.put(out, "SAVINGS", styles::FAINT);
        for line in saving_lines(savings) {
            self.lines(&line, "  ", out);
        }
        if let Some(best) = savings.ndots.first() {
            let ndots = best.ndots;
            out.push_str(&format!(
                "    dnsConfig: {{options: [{{name: ndots, value: \"{ndots}\"}}]}}   # in the pod's spec\n"
            ));
        }
    }

    fn failing(self, health: &DnsHealth, out: &mut String) {
        let (names, others) = health.failing_names();
        let shown = &names[..names.len().min(self.top)];
        if shown.is_empty() {
            return;
        }
        let title = of_all("FAILING NAME", shown.len(), names.len());
        let mut grid = Grid::new(&[&title, "LOOKUPS", "<OUTCOME", "<ASKED BY"]);
        for name in shown {
            grid.row(vec![
                Cell::plain(name.key.name.as_deref().unwrap_or("?")),
                Cell::bad(name.lookups),
                Cell::plain(name.key.outcome),
                Cell::plain(asked_by(&name.asked_by, name.by_others)),
            ]);
        }
        if others > 0 {
            grid.row(vec![Cell::plain("all others"), Cell::bad(others)]);
        }
        self.table(&grid, out);
    }

    fn table(self, grid: &Grid, out: &mut String) {
        out.push('\n');
        grid.write(self.settings.width, Painter::new(self.settings.color), out);
    }

    /// Writes a sentence, broken at the terminal's width.
    fn lines(self, sentence: &str, indent: &str, out: &mut String) {
        let sentence = safe(sentence);
        let lines = match self.settings.width {
            Some(width) => wrap(&sentence, width.saturating_sub(indent.len() + MORE.len())),
            None => vec![sentence.into_owned()],
        };
        for (number, line) in lines.iter().enumerate() {
            let more = if number > 0 { MORE } else { "" };
            out.push_str(&format!("{indent}{more}{line}\n"));
        }
    }

    fn put(self, out: &mut String, line: &str, style: anstyle::Style) {
        Painter::new(self.settings.color).put(out, &safe(line), style);
        out.push('\n');
    }
}

fn period(first: &Zoned, last: &Zoned) -> String {
    let to = match first.date() == last.date() {
        true => last.strftime("%H:%M:%S").to_string(),
        false => date_and_time(last),
    };
    format!("from {} to {to}", date_and_time(first))
}

/// `32 lookups of 3 workloads, 78 queries, 2.4 a lookup`.
fn seen(totals: &Totals) -> String {
    let mut seen = format!(
        "{} of {}, {}",
        count(totals.lookups, "lookup"),
        count(totals.workloads, "workload"),
        count(totals.queries, "query")
    );
    if totals.lookups > 0 {
        let each = ratio(totals.lookup_queries, totals.lookups);
        seen.push_str(&format!(", {each} a lookup"));
    }
    seen
}

/// How the lookups ended.
fn ended(totals: &Totals) -> String {
    let mut parts = vec![match share(totals.failed, totals.decided()) {
        Some(share) => format!("{} failed ({share})", count(totals.failed, "lookup")),
        None => "no lookup was decided".to_owned(),
    }];
    for (number, what) in [
        (totals.undecided, "undecided"),
        (totals.asked_again, "asked again"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    if !totals.waited.is_zero() {
        let waited = duration(totals.waited);
        parts.push(format!("{waited} waited for unanswered queries"));
    }
    parts.join(", ")
}

fn server_cells(name: String, stats: &ServerStats, with_other: bool) -> Vec<Cell> {
    let outcomes = &stats.outcomes;
    let answered = share(stats.responses, outcomes.decided());
    let mut cells = vec![
        Cell::plain(name),
        Cell::plain(stats.queries),
        Cell::plain(answered.unwrap_or_else(|| "-".to_owned())),
        Cell::bad(outcomes.count(Outcome::Timeout)),
        Cell::bad(outcomes.count(Outcome::Servfail)),
        Cell::bad(outcomes.count(Outcome::Refused)),
        Cell::warn(stats.repeated),
    ];
    if with_other {
        cells.insert(6, Cell::bad(other(stats)));
    }
    cells.extend(percentiles(&stats.latencies));
    cells
}

fn other(stats: &ServerStats) -> u64 {
    let others = [Outcome::Formerr, Outcome::IcmpError, Outcome::Other];
    others
        .iter()
        .map(|outcome| stats.outcomes.count(*outcome))
        .sum()
}

fn workload_cells(name: String, stats: &WorkloadStats) -> Vec<Cell> {
    let failed = match share(stats.failed, stats.decided()) {
        Some(share) if stats.failed > 0 => Cell::bad(format!("{} ({share})", stats.failed)),
        Some(_) => Cell::plain(0),
        None => Cell::plain("-"),
    };
    let each = match stats.lookups {
        0 => "-".to_owned(),
        lookups => ratio(stats.lookup_queries, lookups),
    };
    let mut cells = vec![
        Cell::plain(name),
        Cell::plain(stats.lookups),
        failed,
        Cell::plain(stats.queries),
        Cell::plain(each),
        Cell::plain(stats.wasted),
        Cell::warn(stats.asked_again),
    ];
    cells.extend(percentiles(&stats.latencies));
    cells
}

fn percentiles(latencies: &Latencies) -> [Cell; 2] {
    [50, 99].map(|percent| {
        let at = latencies.percentile(percent);
        Cell::plain(at.map_or_else(|| "-".to_owned(), duration))
    })
}

fn saving_lines(savings: &Savings<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    match percent(savings.saved, savings.of) {
        Some(_) if savings.saved > 0 => {
            let share = share(savings.saved, savings.of).unwrap_or_default();
            lines.push(format!(
                "Full names with a final dot would have saved {} of {} ({share}): {}",
                savings.saved,
                count(savings.of, "query"),
                examples(savings)
            ));
        }
        _ => lines
            .push("none: no lookup asked for another name before the one that it found".to_owned()),
    }
    if savings.unknown > 0 {
        lines.push(format!(
            "{} left out: the packets do not show which name the application asked for",
            count(savings.unknown, "lookup")
        ));
    }
    if let Some(best) = savings.ndots.first() {
        let more = match savings.ndots.len() - 1 {
            0 => String::new(),
            more => format!("; -o json has {}", count(more as u64, "more workload")),
        };
        lines.push(format!(
            "ndots {} would have saved {} of {} of {}{more}",
            best.ndots,
            best.saved,
            count(best.of, "query"),
            with_kind(best.workload)
        ));
    }
    lines
}

/// `www.example.com. 30, api.example.com. 12, 3 more names`.
fn examples(savings: &Savings<'_>) -> String {
    let (shown, rest) = savings
        .names
        .split_at(savings.names.len().min(MAX_EXAMPLES));
    let mut examples: Vec<String> = shown
        .iter()
        .map(|(name, saved)| format!("{name} {saved}"))
        .collect();
    if !rest.is_empty() || savings.other_names > 0 {
        let saved: u64 = rest.iter().map(|(_, saved)| saved).sum();
        examples.push(format!("others {}", saved + savings.other_names));
    }
    examples.join(", ")
}

/// `Deployment shop/web`; addresses need no kind.
fn with_kind(object: &Object) -> String {
    match object.is_address() {
        true => object.to_string(),
        false => format!("{} {object}", object.kind),
    }
}

/// The workload that asked most, and how many more there are.
fn asked_by(askers: &[(&Object, u64)], by_others: u64) -> String {
    let Some((first, _)) = askers.first() else {
        return "others".to_owned();
    };
    let more = askers.len() - 1;
    let at_least = if by_others > 0 { "at least " } else { "" };
    let more = more + usize::from(by_others > 0);
    match more {
        0 => with_kind(first),
        more => format!("{} and {at_least}{more} more", with_kind(first)),
    }
}

/// The title of a table that may not have all rows.
fn of_all(title: &str, shown: usize, all: usize) -> String {
    match shown == all {
        true => title.to_owned(),
        false => format!("{title}, {shown} of {all}"),
    }
}

/// `13 %`, `0.4 %`, `99.8 %`: with a digit where whole percents would hide something.
fn share(part: u64, whole: u64) -> Option<String> {
    let percent = percent(part, whole)?;
    Some(match part {
        0 => "0 %".to_owned(),
        part if part == whole => "100 %".to_owned(),
        _ if percent < 0.1 => "< 0.1 %".to_owned(),
        _ if percent > 99.9 => "> 99.9 %".to_owned(),
        _ if !(9.95..90.05).contains(&percent) => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    })
}

fn ratio(part: u64, whole: u64) -> String {
    let ratio = percent(part, whole).unwrap_or_default() / 100.0;
    format!("{ratio:.1}")
}
