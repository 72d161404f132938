//! Runs a command: in a session, in the mirror of its job, in a mirror of its own, or without one.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use compat_mirror::enter::session::{self, Id};
use compat_mirror::enter::{self, LeadSocket, Outcome, Rank, RankRole, Task, launcher};
use compat_mirror::spindle::figures::Figures;
use compat_mirror::spindle::{self, Log, Run};

use super::{RunArguments, figures, news};
use crate::app::spindle::foresight::Foresight;
use crate::app::spindle::session::FiguresReport;
use crate::app::spindle::share;
use crate::app::{Cause, Failure, output};
use crate::cli::in_mirror::{ending, node, place, refused, with_node};
use crate::cli::{Context, Exit, OutputFormat, failure};

/// Runs the command of `compat spindle`.
///
/// # Errors
///
/// If the command was not run.
pub(super) fn run(arguments: &RunArguments, context: &Context) -> Result<Exit, Failure> {
    if let Some(id) = &arguments.session {
        return in_session(arguments, id);
    }
    let (mirrored, shares) = arguments.cache.shares(context)?;
    if shares.is_empty() {
        context.warn("nothing is cached: no network file system is mounted, and --share names no directory");
        return directly(arguments);
    }
    news::never_cached(&share::never_cached()?, context);
    let rank = launcher::rank("spindle", Duration::from_secs(arguments.mpi_wait), arguments.mpi_dir.clone());
    // A batch script has a rank, too, but nobody else comes. A rank that is too late makes a mirror of its own.
    let alone = |rank: Rank| Rank { leads: None, expected: rank.expected.or(Some(1)), ..rank };
    let rank = rank.filter(|_| !arguments.no_mpi).map(alone);
    let socket = match rank.as_ref().map(enter::meet).transpose().map_err(|error| refused(&error))? {
        None => None,
        Some(RankRole::Lead(socket)) => Some(socket),
        Some(RankRole::Guest(access)) => {
            let joined = enter::join(&arguments.command, &arguments.directory(), access);
            return Ok(ended(joined.map_err(|error| refused(&error))?, arguments, rank.as_ref()));
        }
    };
    let task = if arguments.wait { Task::CommandThenWait } else { Task::Command };
    let mut options = arguments.cache.options(
        task(arguments.command.clone()),
        arguments.workdir.clone(),
        mirrored,
        place(arguments.cache.mount_path.as_deref(), arguments.wait),
        context,
    )?;
    options.rank = rank.as_ref().map(|rank| rank.number);
    options.log = log(arguments, rank.is_some());
    news::shares(&shares, options.coherence, context);
    in_own_mirror(arguments, &options, rank.as_ref(), socket, context)
}

/// Creates the mirror and the cache, and runs the command.
fn in_own_mirror(
    arguments: &RunArguments,
    options: &spindle::Options,
    rank: Option<&Rank>,
    socket: Option<LeadSocket>,
    context: &Context,
) -> Result<Exit, Failure> {
    let foresight = Arc::new(Foresight::of_this_process());
    let waits = arguments.wait;
    let ran = spindle::run(options, socket, Some(foresight), &mut |news| news::print(news, waits, context));
    let Run { outcome, figures, unwritten, .. } = ran.map_err(|error| not_run(&error))?;
    let is_executed = !matches!(outcome, Outcome::NotExecuted { .. });
    let mut exit = ended(outcome, arguments, rank);
    let mut faults = Vec::new();
    if let Some(figures) = figures.filter(|_| is_executed) {
        faults.extend(report(arguments, figures, context).err());
    }
    if let (Some(source), Some(log)) = (unwritten, &options.log) {
        let error = compat_mirror::record::Error::Log { path: log.out.clone(), source };
        let hint = "the command finished; the part of the log that was written can be read".to_owned();
        faults.push(Failure::undecided(&error).with_hint(hint));
    }
    faults.iter().for_each(failure::print);
    // A failed command keeps its exit code. Only success is replaced.
    if !faults.is_empty() && exit == Exit::Command(0) {
        exit = Exit::Undecided;
    }
    Ok(exit)
}

/// Prints and writes the figures.
fn report(arguments: &RunArguments, figures: Figures, context: &Context) -> Result<(), Failure> {
    match arguments.format {
        OutputFormat::Text => context.warn(&figures::line(&figures)),
        OutputFormat::Json => {}
    }
    let report = FiguresReport { figures, sessions: Vec::new() };
    let mut text = serde_json::to_string_pretty(&report).map_err(|error| Failure::undecided(&error))?;
    text.push('\n');
    if arguments.format == OutputFormat::Json {
        anstream::eprint!("{text}");
    }
    match &arguments.stats {
        Some(file) => output::write_file(file, text.as_bytes()),
        None => Ok(()),
    }
}

/// The log, with the node in its name in a parallel job.
fn log(arguments: &RunArguments, is_rank: bool) -> Option<Log> {
    let out = arguments.out.as_ref()?;
    let out = if is_rank { with_node(out, &node()) } else { out.clone() };
    Some(Log { out, format: arguments.log_format.into() })
}

/// Runs the command as a member of a session.
fn in_session(arguments: &RunArguments, id: &Id) -> Result<Exit, Failure> {
    let outcome = session::join(id, &arguments.command, &arguments.directory());
    match outcome.map_err(|error| refused(&error))? {
        Outcome::LeadKilled => {
            let message = format!("session {id} ended, so the command was killed");
            failure::print(&Failure { cause: Cause::Undecided, message, hint: None });
            Ok(Exit::Undecided)
        }
        outcome => Ok(ended(outcome, arguments, None)),
    }
}

/// Becomes the command, without a mirror.
fn directly(arguments: &RunArguments) -> Result<Exit, Failure> {
    if let Some(file) = &arguments.stats {
        let report = serde_json::to_vec_pretty(&FiguresReport::default());
        let report = report.map_err(|error| Failure::undecided(&error))?;
        output::write_file(file, &[report.as_slice(), b"\n"].concat())?;
    }
    if let Some(directory) = &arguments.workdir {
        std::env::set_current_dir(directory)
            .map_err(|source| Failure::undecided(&DirectoryError { path: directory.clone(), source }))?;
    }
    let Some((program, rest)) = arguments.command.split_first() else {
        return Err(Failure::usage("the command is missing"));
    };
    let error = compat_sys::execute(Command::new(program).args(rest));
    let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Ok(ended(Outcome::NotExecuted { code, error }, arguments, None))
}

#[derive(Debug, thiserror::Error)]
#[error("could not enter the working directory {}", path.display())]
struct DirectoryError {
    path: PathBuf,
    source: std::io::Error,
}

/// The exit code. Prints the reason if the command did not finish.
fn ended(outcome: Outcome, arguments: &RunArguments, rank: Option<&Rank>) -> Exit {
    let (exit, failure) = ending(outcome, arguments.command.first(), rank);
    failure.iter().for_each(failure::print);
    exit
}

/// The failure of a run in which no command was executed.
pub(super) fn not_run(error: &spindle::Error) -> Failure {
    Failure::undecided(error).with_hint(error.hint())
}
