//! Format and colour of the output, as options of every command that shows events.

use clap::{Args, ColorChoice};

use super::Host;
use super::values::choice;
use tracer_core::view::Format;
use tracer_core::view::text::{Color, use_color};

/// Format and colour.
#[derive(Clone, Debug, Args)]
pub(super) struct FormArgs {
    /// Output format: text, wide (adds node, workload, ports, IDs, bytes and TTLs) or json (one object per
    /// line)
    #[arg(short, long, value_name = "FORMAT", default_value = "text",
        value_parser = choice([("text", Format::Text), ("wide", Format::Wide), ("json", Format::Json)]))]
    pub output: Format,

    #[command(flatten)]
    pub color: ColorArgs,
}

/// When to use colour.
#[derive(Clone, Debug, Args)]
pub(super) struct ColorArgs {
    /// Use colour: auto means on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

impl ColorArgs {
    /// Whether to use colour.
    pub(super) fn resolve(&self, host: &Host) -> bool {
        let color = match self.color {
            ColorChoice::Auto => Color::Auto,
            ColorChoice::Always => Color::Always,
            ColorChoice::Never => Color::Never,
        };
        let variable = |name: &str| match name {
            "NO_COLOR" => host.no_color.clone(),
            "TERM" => host.term.clone(),
            _ => None,
        };
        use_color(color, host.terminal, variable)
    }
}
