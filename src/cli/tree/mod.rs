//! `compat tree`: which file every needed name resolves to and why, and where the trouble is.

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
  # what git loads, from where, and by which rule
  compat tree /usr/bin/git
  # the same as a list, as ldd prints it
  compat tree --flat ./app
  # every way that leads to a library
  compat tree --why libz.so.1 /usr/bin/git
  # which symbol would be bound from where
  compat tree --bindings ./app
  # this program on another root file system
  compat tree --root /srv/node ./app
  # a program of that root, where it lies
  compat tree --root /srv/node /srv/node/bin/sh

With --root, a path inside DIR is a program of that root; another one is carried over to it.

Exit code: 0 it loads, 1 it does not or misbehaves, 2 wrong usage, 3 it could not be told.";

/// Show how each needed name resolves, and why
///
/// Nothing is executed: the files alone tell what the dynamic loader would do. A library that several
/// objects ask for is shown where the loader first meets it, and marked everywhere else.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Programs, libraries and scripts
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// List the libraries in the order of loading, as ldd does
    #[arg(long, conflicts_with_all = ["why", "bindings"])]
    flat: bool,

    /// Show every way that leads to the library NAME
    #[arg(long, value_name = "NAME", conflicts_with = "bindings")]
    why: Option<String>,

    /// Show from which object each symbol would be bound
    #[arg(long)]
    bindings: bool,

    /// Show no more than N levels
    #[arg(long, value_name = "N", conflicts_with_all = ["flat", "why", "bindings"])]
    depth: Option<usize>,

    /// How to print the result
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
/// If a file or the root cannot be looked at.
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
