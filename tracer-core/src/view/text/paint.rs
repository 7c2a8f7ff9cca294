//! Colour, and when there is any.

use std::ffi::OsString;

use anstyle::Style;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless the environment says no.
    #[default]
    Auto,
    /// Also into a file.
    Always,
    /// Not at all.
    Never,
}

/// Whether to colour. For `auto`: only on a terminal, not if NO_COLOR is set to anything (no-color.org), not on a terminal
/// that calls itself dumb.
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

/// What the parts of a line look like.
pub(super) mod styles {
    use anstyle::{AnsiColor, Style};

    pub(in super::super) const PLAIN: Style = Style::new();
    pub(in super::super) const FAINT: Style = Style::new().dimmed();
    pub(in super::super) const POD: Style = AnsiColor::Cyan.on_default();
    pub(in super::super) const GOOD: Style = AnsiColor::Green.on_default();
    pub(in super::super) const WARN: Style = AnsiColor::Yellow.on_default();
    pub(in super::super) const BAD: Style = AnsiColor::Red.on_default().bold();
}

/// Puts text with a style, or plain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Painter {
    color: bool,
}

impl Painter {
    pub(super) fn new(color: bool) -> Painter {
        Painter { color }
    }

    pub(super) fn put(self, out: &mut String, text: &str, style: Style) {
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
    fn colour_is_for_terminals_unless_the_environment_or_the_option_says_otherwise() {
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
