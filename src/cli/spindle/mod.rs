//! `compat spindle`: runs commands with a cache of slow file systems.

mod command;
mod figures;
mod news;
mod options;
mod prometheus;
mod savings;
mod session;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;

use compat_mirror::enter::session::Id;

use crate::app::Failure;
use crate::app::spindle::savings::{SavingsOptions, saved_by_cache};
use crate::app::spindle::share;
use crate::cli::in_mirror::globs;
use crate::cli::progress::Display;
use crate::cli::record::LogFormat;
use crate::cli::{Context, Exit, OutputFormat};

const EXAMPLES: &str = "\
Examples:
  compat spindle -- ./app
  # cache a directory that is not on the network
  compat spindle --share /software -- ./app
  # read ahead what an earlier run used
  compat record -o run.jsonl -- ./app
  compat spindle --dry-run run.jsonl
  compat spindle --preload @run.jsonl -- ./app
  # one cache for all commands of a job
  compat spindle session start --id job-4711
  compat spindle --session job-4711 -- ./app

Requires /dev/fuse and permission to mount, as `compat record` does. The exit code is that of the command, or 128 plus \
the signal number if a signal killed it.";

/// Run a command with a cache of slow file systems on the node
///
/// Each file of a network file system is read once, whatever runs. Names that exist and names that do not are answered
/// without asking the share again. The program, its paths and its environment stay as they are. -v shows the cached
/// directories.
#[derive(clap::Args, Debug)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    override_usage = "compat spindle [OPTIONS] -- COMMAND...\n       compat spindle --dry-run RUN [OPTIONS]\n       compat spindle session start|list|end|stats"
)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    run: RunArguments,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Session(session::SessionArguments),
}

/// A command and its options.
#[derive(clap::Args, Debug)]
struct RunArguments {
    /// The command and its arguments
    #[arg(required_unless_present = "dry_run", trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Run the command in this session (`compat spindle session start`)
    ///
    /// The session has the options of its start.
    #[arg(long, value_name = "ID", conflicts_with_all = ["out", "wait", "stats", "dry_run"])]
    session: Option<Id>,

    /// Run the command in DIR
    #[arg(long, value_name = "DIR")]
    workdir: Option<PathBuf>,

    /// Write a log of all accesses to FILE, as `compat record` does
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write the log in FORMAT: JSON lines, the text log of compat-lib, or a trace for Perfetto's viewer
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    log_format: LogFormat,

    /// Keep the mirror after the command, for other processes, until SIGTERM or SIGINT
    #[arg(long)]
    wait: bool,

    /// Write the figures of the run to FILE, as a JSON document
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,

    /// Print the figures on standard error in FORMAT, and those of --dry-run on standard output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    /// Run nothing, and report from a recording of `compat record` what the cache would save (can be repeated)
    #[arg(long, value_name = "RUN", conflicts_with = "command")]
    dry_run: Vec<PathBuf>,

    /// Create an own mirror in a parallel job, instead of one for all ranks of the node
    #[arg(long)]
    no_mpi: bool,

    /// Let ranks wait at most SECONDS for each other
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    mpi_wait: u64,

    /// Let the ranks of a node meet in DIR, a private directory of this user
    ///
    /// DIR is created if necessary. The default is the user's runtime directory or a directory in /tmp.
    #[arg(long, value_name = "DIR")]
    mpi_dir: Option<PathBuf>,

    #[command(flatten)]
    cache: options::CacheArguments,
}

impl RunArguments {
    /// The working directory of the command.
    fn directory(&self) -> PathBuf {
        let here = || std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        self.workdir.clone().unwrap_or_else(here)
    }
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the command was not run, a recording cannot be read, or the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    match &arguments.action {
        Some(Action::Session(session)) => session::run(session, context),
        None if arguments.run.dry_run.is_empty() => command::run(&arguments.run, context),
        None => dry_run(&arguments.run, context),
    }
}

/// Reports the savings of a cache.
fn dry_run(arguments: &RunArguments, context: &Context) -> Result<Exit, Failure> {
    let mut shares = share::of_dry_run(&arguments.cache.share)?;
    if shares.is_empty() && context.old_name {
        shares.push("/".into());
    }
    let options = SavingsOptions {
        recordings: arguments.dry_run.clone(),
        shares,
        exclude: globs(&arguments.cache.exclude)?,
    };
    let report = saved_by_cache(&options, &Display::new(context))?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => context.print(&savings::render(&report))?,
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::cli::{Arguments as Whole, Command};

    fn parsed(words: &[&str]) -> Result<Arguments, clap::Error> {
        let matches = Whole::command().try_get_matches_from([&["compat", "spindle"], words].concat())?;
        match Whole::from_arg_matches(&matches)?.command {
            Command::Spindle(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_may_have_the_name_of_a_subcommand() {
        let command = parsed(&["--keep", "--", "session", "list"]).unwrap().run.command;
        assert_eq!(command, ["session", "list"]);
        let command = parsed(&["ls", "--keep", "session"]).unwrap().run.command;
        assert_eq!(command, ["ls", "--keep", "session"]);
        let session = parsed(&["session", "end", "a", "b"]).unwrap();
        assert!(session.action.is_some() && session.run.command.is_empty());
    }

    #[test]
    fn wrong_usage_is_refused() {
        for wrong in [
            &[][..],
            &["--dry-run", "a", "ls"],
            &["--session", "a", "--wait", "ls"],
            &["--session", "../a", "ls"],
            &["--cache-size", "5X", "ls"],
            &["--revalidate", "1", "ls"],
            &["session"],
            &["session", "end"],
            &["session", "start", "ls"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }
}
