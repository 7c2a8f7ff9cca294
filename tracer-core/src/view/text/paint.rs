//! Colour, and when to use it.

use std::ffi::OsString;

use anstyle::Style;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless the environment forbids it.
    #[default]
    Auto,
    /// Always, also in a file or pipe.
    Always,
    /// Never.
    Never,
}

/// Whether to use colour. `auto` means: on a terminal, unless NO_COLOR is set and not empty (no-color.org) or
/// TERM is `dumb`.
pub fn use_color(
    asked: Color,
    terminal: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> bool {
    match asked {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            terminal
                && variable("NO_COLOR").is_none_or(|value| value.is_empty())
                && variable("TERM").is_none_or(|value| value != "dumb")
        }
    }
}

/// The style of each part of a line.
pub(crate) mod styles {
    use anstyle::{AnsiColor, Style};

    pub(crate) const PLAIN: Style = Style::new();
    pub(crate) const FAINT: Style = Style::new().dimmed();
    pub(crate) const POD: Style = AnsiColor::Cyan.on_default();
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
    pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
}

/// Appends text, in its style if there is colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painter {
    color: bool,
}

impl Painter {
    pub(crate) fn new(color: bool) -> Painter {
        Painter { color }
    }

    pub(crate) fn put(self, out: &mut String, text: &str, style: Style) {
        if self.color && style != styles::PLAIN {
            out.push_str(&format!("{}{text}{}", style.render(), style.render_reset()));
        } else {
            out.push_str(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Color, use_color};

    #[test]
    fn colour_follows_the_option_then_the_environment_then_the_terminal() {
        for (asked, terminal, no_color, term, expected) in [
            (Color::Auto, true, None, Some("xterm"), true),
            (Color::Auto, false, None, Some("xterm"), false),
            (Color::Auto, true, Some("1"), Some("xterm"), false),
            (Color::Auto, true, Some(""), None, true),
            (Color::Auto, true, None, Some("dumb"), false),
            (Color::Always, false, Some("1"), Some("dumb"), true),
            (Color::Never, true, None, Some("xterm"), false),
        ] {
            let variable = |name: &str| match name {
                "NO_COLOR" => no_color.map(Into::into),
                "TERM" => term.map(Into::into),
                _ => None,
            };
            assert_eq!(
                use_color(asked, terminal, variable),
                expected,
                "{asked:?} {terminal} {no_color:?} {term:?}"
            );
        }
    }
}
