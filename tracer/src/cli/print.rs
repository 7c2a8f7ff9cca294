//! `tracer completions` and `tracer man`: other forms of the command line's definition.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;
use clap_complete::Shell;

use super::Exit;

/// Arguments of `tracer completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(tracer completions bash)
  tracer completions zsh > \"${fpath[1]}/_tracer\"
  tracer completions fish > ~/.config/fish/completions/tracer.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `tracer man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tracer man | man -l -
  tracer man observe > /usr/local/share/man/man1/tracer-observe.1")]
pub struct ManArgs {
    /// The command [default: tracer itself]
    command: Option<String>,
}

pub(super) fn completions(args: &CompletionsArgs, out: &mut impl Write) -> anyhow::Result<Exit> {
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "tracer", &mut script);
    out.write_all(&script).context("cannot write the script")?;
    Ok(Exit::Fine)
}

pub(super) fn man(args: &ManArgs, out: &mut impl Write) -> anyhow::Result<Exit> {
    // Unlike the help, the page shows each option's variable.
    let mut root = super::definition();
    root.build();
    let page = match &args.command {
        None => root,
        Some(name) => match root.find_subcommand(name) {
            Some(sub) => sub.clone(),
            None => {
                let names: Vec<_> = root.get_subcommands().map(|sub| sub.get_name()).collect();
                bail!(
                    "there is no command '{name}'; there are pages for {}",
                    names.join(", ")
                );
            }
        },
    };
    clap_mangen::Man::new(page)
        .render(out)
        .context("cannot write the page")?;
    Ok(Exit::Fine)
}
