//! `compat tree`: the file that each needed name resolves to, the reason, and the problems.

mod listing;
mod printable;
mod render;

use std::path::PathBuf;

use crate::app::Failure;
use crate::app::tree::{Tree, TreeOptions, TreeReport, trees};
use crate::cli::context::OutputFormat;
use crate::cli::host_options::{HostOptions, StartOptions};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit};
use compat_loader::check::Verdict;

const EXAMPLES: &str = "\
Examples:
  # show the libraries of git, their files, and the rule that found each
  compat tree /usr/bin/git
  # print the same as a list, as ldd does
  compat tree --flat ./app
  # show every dependency chain to a library
  compat tree --why libz.so.1 /usr/bin/git
  # show the library that each symbol would be bound to
  compat tree --bindings ./app
  # check this program on another root file system
  compat tree --root /srv/node ./app
  # check a program in that root
  compat tree --root /srv/node /srv/node/bin/sh

With --root, a path inside DIR is a program of that root. A program outside DIR is checked as if it \
were copied to the root.

Exit code: 0 loads, 1 does not load or misbehaves, 2 wrong usage, 3 undecided.";

/// Show how each needed library name resolves, and why
///
/// Nothing is executed: the command predicts the dynamic loader's behaviour from the files. A library that several
/// objects need is expanded at the first object that needs it, and marked as already loaded at the others.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Programs, libraries and scripts
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// List the libraries in load order, as ldd does
    #[arg(long, conflicts_with_all = ["why", "bindings"])]
    flat: bool,

    /// Show every dependency chain to the library NAME
    #[arg(long, value_name = "NAME", conflicts_with = "bindings")]
    why: Option<String>,

    /// Show the object that each symbol would be bound to
    #[arg(long)]
    bindings: bool,

    /// Show at most N levels
    #[arg(long, value_name = "N", conflicts_with_all = ["flat", "why", "bindings"])]
    depth: Option<usize>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    host: HostOptions,

    #[command(flatten)]
    start: StartOptions,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If a file or the root cannot be read.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let host = arguments.host.open(&arguments.start)?;
    let options = TreeOptions {
        root: arguments.host.root.clone(),
        is_saved: arguments.host.host.is_some(),
        bindings: arguments.bindings,
        why: arguments.why.clone(),
    };
    let mut report = trees(&arguments.paths, &host, &options, &Display::new(context))?;
    let exit = exit(&report);
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            report.trees.iter_mut().for_each(printable::make);
            context.print(&text(&report, arguments))?;
        }
    }
    Ok(exit)
}

fn text(report: &TreeReport, arguments: &Arguments) -> String {
    let many = report.trees.len() > 1;
    let render = |tree: &Tree| {
        if arguments.flat {
            listing::flat(tree, many)
        } else if arguments.bindings {
            listing::bindings(tree)
        } else if let Some(why) = &tree.why {
            listing::chains(tree, why)
        } else {
            render::tree(tree, arguments.depth.unwrap_or(usize::MAX))
        }
    };
    let separator = if many && !arguments.flat { "\n" } else { "" };
    report.trees.iter().map(render).collect::<Vec<_>>().join(separator)
}

fn exit(report: &TreeReport) -> Exit {
    let has = |verdict| report.trees.iter().any(|tree| tree.verdict == verdict);
    if has(Verdict::Incompatible) {
        Exit::Incompatible
    } else if has(Verdict::Undecided) || !report.failed.is_empty() {
        Exit::Undecided
    } else {
        Exit::Success
    }
}
