//! `compat tree`: which file every needed name resolves to and why, and where the trouble is.

mod document;
mod listing;
mod place;
mod printable;
mod render;
mod why;

use std::path::{Path, PathBuf};

use crate::app::in_root::{self, file_of};
use crate::app::target::{is_startable, refuse_image};
use crate::cli::context::OutputFormat;
use crate::cli::host_options::{HostOptions, StartOptions};
use crate::cli::{Context, Exit, Failure};
use compat_loader::check::{Host, Verdict};
use compat_loader::generate;
use compat_loader::host::Root;
use compat_loader::loader::{Load, ScopeFiles, Start, start};
use compat_sys::raw;

pub use document::{
    Available, FailedPath, IDENTIFIER, Place, Tree, TreeBinding, TreeEdge, TreeObject, TreeProblem,
    TreeReport,
};
pub use why::Why;

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
/// Where a file or the root cannot be looked at.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let host = arguments.host.open(&arguments.start)?;
    let mut report = TreeReport {
        schema: IDENTIFIER.to_owned(),
        host: host.summary(),
        trees: Vec::new(),
        failed: Vec::new(),
    };
    let mut failed = None;
    for path in &arguments.paths {
        match tree(path, arguments, &host) {
            Ok(tree) => report.trees.push(tree),
            // One of many that cannot be read does not keep the others from being shown.
            Err(failure) if arguments.paths.len() > 1 => {
                failure.print();
                let path = path.display().to_string();
                report.failed.push(FailedPath { path, reason: failure.message });
                failed = Some(Exit::Undecided);
            }
            Err(failure) => return Err(failure),
        }
    }
    let exit = exit(&report, failed);
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            report.trees.iter_mut().for_each(printable::make);
            context.print(&text(&report, arguments))?;
        }
    }
    Ok(exit)
}

fn tree(path: &Path, arguments: &Arguments, host: &Host) -> Result<Tree, Failure> {
    let load = |subject: &str, load: &Load| {
        let mut tree = Tree::new(subject, load, arguments.bindings);
        tree.why = arguments.why.as_ref().map(|name| why::find(&tree, name));
        tree
    };
    refuse_image(path, "check")?;
    let shown = raw::of_path(path);
    match inside(path, arguments) {
        Some((root, place)) => {
            let file = file_of(path, &place, &root)?;
            refuse_what_is_no_program(path, &file)?;
            let subject = if arguments.host.root.is_some() { &place } else { &*shown };
            Ok(load(
                subject,
                &start(&Start { path: &place, shown: subject }, host.files.as_ref(), &host.environment),
            ))
        }
        None => {
            refuse_what_is_no_program(path, path)?;
            carried(path, host, load)
        }
    }
}

/// The root that a file is to be started in where it lies, and its path there; `None` when it lies
/// outside, or the host is not made of files.
fn inside(path: &Path, arguments: &Arguments) -> Option<(Root, String)> {
    if arguments.host.host.is_some() {
        return None;
    }
    let absolute = std::path::absolute(path).ok()?;
    let Some(typed) = &arguments.host.root else {
        return Some((Root::of_this_machine(), raw::of_path(absolute)));
    };
    in_root::inside(path, typed)
}

fn refuse_what_is_no_program(path: &Path, file: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(file)
        .map_err(|source| Failure::undecided(&generate::Error::Read { path: path.to_owned(), source }))?;
    if metadata.is_dir() {
        let hint = "name a program in it; compat check takes whole directories";
        let message = format!("{} is a folder", path.display());
        return Err(Failure { exit: Exit::Undecided, message, hint: Some(hint.to_owned()) });
    }
    match is_startable(file) {
        true => Ok(()),
        false => Err(Failure::undecided(&generate::Error::neither(path))),
    }
}

/// A file from outside the root, as if it were brought there.
fn carried(path: &Path, host: &Host, load: impl Fn(&str, &Load) -> Tree) -> Result<Tree, Failure> {
    let options = generate::Options { paths: vec![path.to_owned()], ..generate::Options::default() };
    let mut read = generate::read(&options)
        .map_err(|error| Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)))?;
    in_root::settle(&mut read, &options, host);
    let files = ScopeFiles::new(&read.application, host.files.as_ref());
    let mut tree = None;
    read.application.start_all(&files, &host.environment, false, |subject, started| {
        tree = Some(load(subject, started));
    });
    tree.ok_or_else(|| Failure::undecided(&generate::Error::neither(path)))
}

fn text(report: &TreeReport, arguments: &Arguments) -> String {
    let many = report.trees.len() > 1;
    let render = |tree: &Tree| match () {
        () if arguments.flat => listing::flat(tree, many),
        () if arguments.bindings => listing::bindings(tree),
        () => match &tree.why {
            Some(why) => listing::chains(tree, why),
            None => render::tree(tree, arguments.depth.unwrap_or(usize::MAX)),
        },
    };
    let separator = if many && !arguments.flat { "\n" } else { "" };
    report.trees.iter().map(render).collect::<Vec<_>>().join(separator)
}

fn exit(report: &TreeReport, failed: Option<Exit>) -> Exit {
    let has = |verdict| report.trees.iter().any(|tree| tree.verdict == verdict);
    match () {
        () if has(Verdict::Incompatible) => Exit::Incompatible,
        () if has(Verdict::Undecided) => Exit::Undecided,
        () => failed.unwrap_or(Exit::Success),
    }
}
