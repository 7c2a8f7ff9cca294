//! How output looks, as options of every command that shows events.

use clap::{Args, ColorChoice, ValueEnum};

use super::Host;
use tracer_core::view::Format;
use tracer_core::view::text::{Color, use_color};

/// Form and colour of the output.
#[derive(Clone, Debug, Args)]
pub(super) struct FormArgs {
    /// Form of the output: text, wide (with node, workload, ports, identifiers, bytes, TTLs) or json (one object a line)
    #[arg(short, long, env = "TRACER_OUTPUT", value_name = "FORM", value_enum, default_value_t = FormatArg::Text)]
    output: FormatArg,

    #[command(flatten)]
    color: ColorArgs,
}

/// When there is colour.
#[derive(Clone, Debug, Args)]
pub(super) struct ColorArgs {
    /// Colour: auto colours a terminal unless NO_COLOR is set
    #[arg(long, env = "TRACER_COLOR", value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Text,
    Wide,
    Json,
}

impl FormArgs {
    /// The form.
    pub(super) fn format(&self) -> Format {
        match self.output {
            FormatArg::Text => Format::Text,
            FormatArg::Wide => Format::Wide,
            FormatArg::Json => Format::Json,
        }
    }

    /// Whether there is colour.
    pub(super) fn color(&self, host: &Host) -> bool {
        self.color.resolve(host)
    }
}

impl ColorArgs {
    /// Whether there is colour.
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
