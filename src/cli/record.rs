//! `compat record`: runs a command in a mirror of the root and logs the files that it touches.

mod news;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::app::{Failure, output};
use crate::cli::in_mirror::{ending, globs, node, place, refused, with_node};
use crate::cli::{Context, Exit, failure};
use compat_mirror::enter::{self, LeadSocket, Rank, RankRole, Task};
use compat_mirror::record::{self, Options, Selection, rank};
use compat_trace::Format;
pub(super) use news::print as print_news;

const EXAMPLES: &str = "\
Examples:
  compat record -o run.jsonl -- ./app --input data
  compat record --out-dir runs --exclude '/home/**' make test
  mpirun -n 4 compat record --mpi --out-dir runs -- ./app
  compat record --mount -o run.jsonl
  docker run --rm --device /dev/fuse --cap-add SYS_ADMIN \\
      -v \"$(command -v compat):/compat:ro\" -v \"$PWD:/out\" \\
      --entrypoint /compat IMAGE record -o /out/run.jsonl app

Requires /dev/fuse and permission to mount: run as root, in a container with the two options above, or with \
unprivileged user namespaces. The exit code is that of the command, or 128 plus the signal number if a signal \
killed it.";

/// Run a command and record which files it touches
///
/// The command runs in a mirror of the root (FUSE, in its own mount namespace) and sees the same files as outside. The
/// log contains each lookup (including misses), open, creation, close, rename and removal.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, override_usage = "compat record [OPTIONS] -- COMMAND...\n       compat record [OPTIONS] --mount")]
pub struct Arguments {
    /// The command and its arguments
    #[arg(required_unless_present = "mount", trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Write the log to FILE, replacing an older one
    #[arg(short, long, value_name = "FILE", conflicts_with = "out_dir")]
    out: Option<PathBuf>,

    /// Write the log to a new file in DIR, creating DIR if necessary
    ///
    /// Without --out and --out-dir, the new file is in the current directory.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,

    /// Write the log in FORMAT: JSON lines, the text log of compat-lib, or a trace for Perfetto's viewer
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: LogFormat,

    /// Also mount the mirror at DIR, for other processes
    ///
    /// DIR must be empty, or must not exist.
    #[arg(long, value_name = "DIR")]
    mount_path: Option<PathBuf>,

    /// Run no command, and let other processes enter the mirror until SIGTERM or SIGINT
    #[arg(long, conflicts_with_all = ["command", "mpi"])]
    mount: bool,

    /// Make one recording for all ranks of a parallel job on this node
    ///
    /// Local rank 0 creates the mirror and the log. The other ranks join it.
    #[arg(long)]
    mpi: bool,

    /// Let ranks wait at most SECONDS for each other
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "mpi")]
    mpi_wait: u64,

    /// Let the ranks of a node meet in DIR, a private directory of this user
    ///
    /// DIR is created if necessary. The default is the user's runtime directory or a directory in /tmp.
    #[arg(long, value_name = "DIR", requires = "mpi")]
    mpi_dir: Option<PathBuf>,

    /// Mount the mirrored file systems read-only
    #[arg(long)]
    read_only: bool,

    /// Count every byte that is read and written
    ///
    /// Reads and writes take longer, because all of them pass through the recorder.
    #[arg(long)]
    count_bytes: bool,

    /// Run the command in DIR
    #[arg(long, value_name = "DIR")]
    workdir: Option<PathBuf>,

    /// Print a summary on standard error at the end, as `compat trace summary` does
    #[arg(long)]
    summary: bool,

    /// Record only paths that match GLOB (can be repeated)
    ///
    /// "*" matches within a directory, "**" across directories.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Do not record paths that match GLOB (can be repeated)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

/// The value of `--format`, see [`Format`].
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(super) enum LogFormat {
    Jsonl,
    CompatLib,
    Perfetto,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Jsonl => Self::Jsonl,
            LogFormat::CompatLib => Self::CompatLib,
            LogFormat::Perfetto => Self::Perfetto,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the mirror or the log cannot be created, or the command cannot be executed.
pub(super) fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    if arguments.summary && !matches!(arguments.format, LogFormat::Jsonl) {
        return Err(Failure::usage("--summary requires --format jsonl: it is made from the log"));
    }
    let rank = arguments.mpi.then(|| own_rank(&arguments)).transpose()?;
    let socket = match rank.as_ref().map(enter::meet).transpose().map_err(|error| refused(&error))? {
        None => None,
        Some(RankRole::Lead(socket)) => Some(socket),
        Some(RankRole::Guest(access)) => {
            let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
            let directory = arguments.workdir.unwrap_or(here);
            let outcome =
                enter::join(&arguments.command, &directory, access).map_err(|error| refused(&error))?;
            let (exit, failure) = ending(outcome, arguments.command.first(), rank.as_ref());
            failure.iter().for_each(failure::print);
            return Ok(exit);
        }
    };
    record(arguments, rank.as_ref(), socket, context)
}

/// Creates the mirror and the log, and runs the command.
fn record(
    arguments: Arguments,
    rank: Option<&Rank>,
    socket: Option<LeadSocket>,
    context: &Context,
) -> Result<Exit, Failure> {
    if arguments.out.as_deref() == Some(Path::new("-")) {
        let hint = "name a file, or use ./- for a file named -".to_owned();
        let failure = Failure::usage("cannot write the log to standard output: the command uses it");
        return Err(failure.with_hint(Some(hint)));
    }
    if let Some(directory) = &arguments.out_dir {
        record::out::make_directories(directory)
            .map_err(|source| not_recorded(&record::Error::Log { path: directory.clone(), source }))?;
    }
    let out = out(&arguments);
    if arguments.out.as_ref() != Some(&out) {
        context.warn(&format!("recording to {}", out.display()));
    }
    let options = options(&arguments, rank, out)?;
    let waits = arguments.mount;
    let recorded = record::record(&options, socket, &mut |news| news::print(news, waits, context));
    let recorded = recorded.map_err(|error| not_recorded(&error))?;
    if arguments.summary {
        super::trace::summary::print(&options.out, &recorded.log, context);
    }
    let (mut exit, mut failure) = ending(recorded.outcome, arguments.command.first(), rank);
    if let Some(source) = recorded.unwritten {
        // A failed command keeps its exit code. Only success is replaced.
        exit = if exit == Exit::Command(0) { Exit::Undecided } else { exit };
        failure = Some(unwritten(options.out, source));
    }
    failure.iter().for_each(failure::print);
    Ok(exit)
}

/// This process's rank.
fn own_rank(arguments: &Arguments) -> Result<Rank, Failure> {
    let (patience, directory) = (Duration::from_secs(arguments.mpi_wait), arguments.mpi_dir.clone());
    rank::of_environment(patience, directory).ok_or_else(|| {
        let message = format!("--mpi: no launcher set a rank ({})", rank::variables());
        Failure::usage(message)
            .with_hint(Some("start compat with mpirun, srun or flux run, or omit --mpi".to_owned()))
    })
}

/// The options of the recorder.
fn options(arguments: &Arguments, rank: Option<&Rank>, out: PathBuf) -> Result<Options, Failure> {
    let selection = Selection {
        include: Some(globs(&arguments.include)?).filter(|globs| !globs.is_empty()),
        exclude: Some(globs(&arguments.exclude)?).filter(|globs| !globs.is_empty()),
    };
    Ok(Options {
        place: place(arguments.mount_path.as_deref(), arguments.mount),
        task: if arguments.mount { Task::Wait } else { Task::Command(arguments.command.clone()) },
        directory: arguments.workdir.clone(),
        read_only: arguments.read_only,
        counts_bytes: arguments.count_bytes,
        rank: rank.map(|rank| rank.number),
        out,
        format: arguments.format.into(),
        selection,
    })
}

/// A log that cannot be written has the hint of every output.
fn not_recorded(error: &record::Error) -> Failure {
    let hint = error.hint().or_else(|| match error {
        record::Error::Log { source, .. } => output::hint(source).map(str::to_owned),
        record::Error::Enter(_) => None,
    });
    Failure::undecided(error).with_hint(hint)
}

/// The failure for an incomplete log.
fn unwritten(path: PathBuf, source: std::io::Error) -> Failure {
    let hint = "the command finished; the part of the log that was written can be read".to_owned();
    Failure::undecided(&record::Error::Log { path, source }).with_hint(hint)
}

/// The path of the log: `--out`, with the node in its name in a parallel job, or a unique name.
fn out(arguments: &Arguments) -> PathBuf {
    match &arguments.out {
        None => own_name(arguments),
        Some(out) if arguments.mpi => with_node(out, &node()),
        Some(out) => out.clone(),
    }
}

/// A unique name: program, node, time and process.
fn own_name(arguments: &Arguments) -> PathBuf {
    let program = arguments.command.first().map(PathBuf::from).unwrap_or_else(|| "mirror".into());
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let extension = match arguments.format {
        LogFormat::Jsonl => "jsonl",
        LogFormat::CompatLib => "log",
        LogFormat::Perfetto => "json",
    };
    let name = format!("{program}-{}-{}-{}.{extension}", node(), now.as_nanos(), std::process::id());
    arguments.out_dir.clone().unwrap_or_else(|| PathBuf::from(".")).join(name)
}
