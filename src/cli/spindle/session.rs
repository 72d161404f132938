//! `compat spindle session`: one cache for many commands.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compat_mirror::enter::session::Id;
use compat_mirror::enter::{ExternalPlace, Task};
use compat_mirror::spindle;

use super::options::CacheArguments;
use super::text::count;
use super::{command, figures, news, prometheus};
use crate::app::Failure;
use crate::app::spindle::foresight::Foresight;
use crate::app::spindle::session::{self, SessionEntry, SessionList};
use crate::cli::quantity::parse_duration;
use crate::cli::report::printable;
use crate::cli::{Context, Exit, OutputFormat};

const EXAMPLES: &str = "\
Examples:
  id=$(compat spindle session start --preload @run.jsonl)
  compat spindle --session \"$id\" -- ./app
  compat spindle session stats \"$id\"
  compat spindle session end \"$id\"";

/// Keep a mirror and its cache for many commands
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct SessionArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Start a session in the background and print its name
    Start(Box<StartArguments>),
    /// List the sessions of this user on this node
    List {
        /// Set the output format
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: OutputFormat,
    },
    /// End sessions
    ///
    /// Commands that are running in them receive SIGTERM, and SIGKILL after five seconds.
    End {
        /// The names of the sessions
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Id>,
    },
    /// Print the figures of sessions, by default of all sessions of this user
    Stats {
        /// The names of the sessions
        #[arg(value_name = "ID")]
        ids: Vec<Id>,

        /// Set the output format
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: StatsFormat,
    },
}

#[derive(clap::Args, Debug)]
struct StartArguments {
    /// Give the session this name, such as job-4711, instead of one that is chosen
    #[arg(long, value_name = "ID")]
    id: Option<Id>,

    /// End the session when no command was running in it for this time: a number with s, m, h or d
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    idle: Duration,

    #[command(flatten)]
    cache: CacheArguments,
}

/// The format of figures.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StatsFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document for programs, with a schema in schemas/
    Json,
    /// The text format of Prometheus
    Prometheus,
}

/// Runs `compat spindle session`.
///
/// # Errors
///
/// If a session cannot be started or reached, or the result cannot be written.
pub(super) fn run(arguments: &SessionArguments, context: &Context) -> Result<Exit, Failure> {
    match &arguments.action {
        Action::Start(arguments) => start(arguments, context)?,
        Action::List { format } => {
            let report = session::list()?;
            match format {
                OutputFormat::Json => context.print_json(&report)?,
                OutputFormat::Text => context.print(&listing(&report, SystemTime::now()))?,
            }
        }
        Action::End { ids } => session::end(ids)?,
        Action::Stats { ids, format } => stats(ids, *format, context)?,
    }
    Ok(Exit::Success)
}

fn start(arguments: &StartArguments, context: &Context) -> Result<(), Failure> {
    let cache = &arguments.cache;
    let (mirrored, shares) = cache.shares(context)?;
    if shares.is_empty() {
        let failure = Failure::undecided(&NothingToCache);
        return Err(failure.with_hint("name a directory with --share".to_owned()));
    }
    let place = cache.mount_path.clone().map_or(ExternalPlace::Nowhere, ExternalPlace::At);
    let options = cache.options(Task::Wait, None, mirrored, place, context)?;
    news::shares(&shares, options.coherence, context);
    let foresight = Arc::new(Foresight::of_this_process());
    let id = spindle::start(arguments.id.clone(), &options, arguments.idle, Some(foresight), &mut |news| {
        news::print(news, false, context);
    });
    let id = id.map_err(|error| command::not_run(&error))?;
    context.print(&format!("{id}\n"))
}

#[derive(Debug, thiserror::Error)]
#[error("nothing is to be cached: no network file system is mounted")]
struct NothingToCache;

fn stats(ids: &[Id], format: StatsFormat, context: &Context) -> Result<(), Failure> {
    let report = session::figures(ids)?;
    match format {
        StatsFormat::Json => context.print_json(&report),
        StatsFormat::Text => {
            let sessions = report.sessions.iter();
            let text: String =
                sessions.map(|session| figures::render(&session.id, &session.figures)).collect();
            context.print(&text)
        }
        StatsFormat::Prometheus => {
            let sessions = report.sessions.into_iter().map(|session| (session.id, session.figures));
            context.print(&prometheus::render(&sessions.collect::<Vec<_>>()))
        }
    }
}

/// One line for each session.
fn listing(report: &SessionList, now: SystemTime) -> String {
    let mut text = String::new();
    for SessionEntry { id, status } in &report.sessions {
        let Some(status) = status else {
            let _ = writeln!(text, "{id}  does not answer");
            continue;
        };
        let since = UNIX_EPOCH + Duration::from_secs(status.since);
        let age = now.duration_since(since).unwrap_or_default().as_secs();
        let shares: Vec<&str> = status.shares.iter().map(|share| share.path.as_str()).collect();
        let _ = writeln!(
            text,
            "{id}  {}, {} old, process {}, caches {}",
            count(status.members.into(), "command"),
            shown_age(age),
            status.process,
            printable(&shares.join(" "))
        );
    }
    text
}

/// An age in its largest unit: `45s`, `12m`, `3h`, `2d`.
fn shown_age(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=86_399 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use crate::app::spindle::session::{SessionStatus, ShareEntry};

    use super::*;

    #[test]
    fn each_session_is_one_line() {
        let share = |path: &str| ShareEntry {
            path: path.to_owned(),
            kind: "nfs4".to_owned(),
            source: "server:/x".to_owned(),
        };
        let status = SessionStatus {
            process: 4711,
            since: 1000,
            members: 1,
            shares: vec![share("/home"), share("/a\u{1b}b")],
        };
        let sessions = vec![
            SessionEntry { id: "job-1".to_owned(), status: Some(status) },
            SessionEntry { id: "k7q2mx".to_owned(), status: None },
        ];
        let now = UNIX_EPOCH + Duration::from_secs(1000 + 7300);
        insta::assert_snapshot!(listing(&SessionList { sessions }, now), @r"
        job-1  1 command, 2h old, process 4711, caches /home /a\u{1b}b
        k7q2mx  does not answer
        ");
    }
}
