//! `compat record`: a command in a mirror of the root, and a log of what it touched.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::cli::{Context, Exit, Failure};
use crate::enter::Outcome;
use crate::record::{self, Options, Selection};
use crate::trace::Format;

const EXAMPLES: &str = "\
Examples:
  compat record -o run.jsonl -- ./app --input data
  compat record --out-dir runs --exclude '/home/**' make test
  docker run --rm --device /dev/fuse --cap-add SYS_ADMIN -v \"$(command -v compat):/compat:ro\" \\
      -v \"$PWD:/out\" IMAGE /compat record -o /out/run.jsonl app

Needs /dev/fuse and the right to mount: root, a container with the two options above, or unprivileged user
namespaces. The exit code is the command's, 128 and the signal's number where a signal ended it.";

/// Run a command and record which files it touches
///
/// The command runs in a mirror of the root (FUSE, in a namespace of its own) and finds everything as it is;
/// each look-up, with its misses, open, creation, close, rename and removal is written to a log.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Write the log to FILE, which is replaced
    #[arg(short, long, value_name = "FILE", conflicts_with = "out_dir")]
    out: Option<PathBuf>,

    /// Write the log to a file of its own in DIR; the current directory where neither is given
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,

    /// The log's format: JSON lines, the text log of compat-lib, or a trace for Perfetto's viewer
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: LogFormat,

    /// Let the command write nothing to the mirrored file systems
    #[arg(long)]
    read_only: bool,

    /// Run the command in DIR
    #[arg(long, value_name = "DIR")]
    workdir: Option<PathBuf>,

    /// Summarise at the end on standard error what was touched, as `compat trace summary` does
    #[arg(long)]
    summary: bool,

    /// Record only paths that match GLOB ("*" stays within a folder, "**" does not); may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Do not record paths that match GLOB; may be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

/// [`Format`] as it is typed.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum LogFormat {
    Jsonl,
    CompatLib,
    Perfetto,
}

/// The options of the old program, which took them with one dash or two.
const OPTIONS: &[&str] = &[
    "out",
    "out-dir",
    "format",
    "read-only",
    "workdir",
    "summary",
    "include",
    "exclude",
    "help",
    "quiet",
    "verbose",
];

/// Gives the single-dash long options before the command their second dash: `-out FILE`, `-out=FILE`.
pub fn with_long_options(arguments: &mut [OsString]) {
    for argument in arguments.iter_mut().skip(1) {
        let Some(text) = argument.to_str() else { continue };
        if text == "--" {
            return;
        }
        let Some(name) = text.strip_prefix('-').filter(|name| !name.starts_with('-')) else { continue };
        let known = OPTIONS.contains(&name.split_once('=').map_or(name, |(name, _)| name));
        if known {
            *argument = format!("-{text}").into();
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where the mirror or the log cannot be made, or the command not be executed.
pub fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let summarised = arguments.summary;
    if summarised && !matches!(arguments.format, LogFormat::Jsonl) {
        return Err(Failure::usage("--summary is made from the log, which has to be --format jsonl"));
    }
    let out = arguments.out.clone().unwrap_or_else(|| own_name(&arguments));
    if arguments.out.is_none() {
        context.warn(&format!("recording to {}", out.display()));
    }
    let selection = Selection {
        include: Some(globs(&arguments.include)?).filter(|globs| !globs.is_empty()),
        exclude: Some(globs(&arguments.exclude)?).filter(|globs| !globs.is_empty()),
    };
    let program = arguments.command.first().cloned().unwrap_or_default();
    let options = Options {
        command: arguments.command,
        folder: arguments.workdir,
        read_only: arguments.read_only,
        out,
        format: match arguments.format {
            LogFormat::Jsonl => Format::Jsonl,
            LogFormat::CompatLib => Format::CompatLib,
            LogFormat::Perfetto => Format::Perfetto,
        },
        selection,
    };
    let outcome = record::record(&options);
    if summarised && outcome.is_ok() {
        super::trace::summary::tell(&options.out, context);
    }
    let outcome = outcome.map_err(|error| {
        let hint = if let record::Error::Enter(error) = &error { error.hint() } else { None };
        Failure::undecided(&error).with_hint(hint)
    })?;
    match outcome {
        Outcome::Ended(code) => Ok(Exit::Command(u8::try_from(code).unwrap_or(u8::MAX))),
        Outcome::NotExecuted { code, error } => Err(Failure {
            exit: Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
            message: format!("could not execute {}: {error}", program.display()),
            hint: None,
        }),
        Outcome::ServerKilled => Err(Failure {
            exit: Exit::Undecided,
            message: "the mirror's server was killed, and the command with it".to_owned(),
            hint: None,
        }),
    }
}

/// A name that no other run has: the program's, the time, the process.
fn own_name(arguments: &Arguments) -> PathBuf {
    let program = arguments.command.first().map(PathBuf::from).unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let extension = match arguments.format {
        LogFormat::Jsonl => "jsonl",
        LogFormat::CompatLib => "log",
        LogFormat::Perfetto => "json",
    };
    let name = format!("{program}-{host}-{}-{}.{extension}", now.as_nanos(), std::process::id());
    arguments.out_dir.clone().unwrap_or_else(|| PathBuf::from(".")).join(name)
}

/// A set of patterns, as `--include` and `--exclude` take them.
///
/// # Errors
///
/// Where one is no pattern.
pub fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let wrong = |error: globset::Error| Failure::usage(format!("not a pattern: {error}"));
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?);
    }
    builder.build().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_options_have_one_dash() {
        let mut arguments: Vec<OsString> =
            ["fs-record", "-out", "x", "-read-only", "-format=jsonl", "-o", "ls", "-la"]
                .map(OsString::from)
                .into();
        with_long_options(&mut arguments);
        assert_eq!(
            arguments,
            ["fs-record", "--out", "x", "--read-only", "--format=jsonl", "-o", "ls", "-la"]
        );
        let mut arguments: Vec<OsString> = ["fs-record", "--", "ls", "-out"].map(OsString::from).into();
        with_long_options(&mut arguments);
        assert_eq!(arguments[3], "-out");
    }

    #[test]
    fn a_wrong_pattern_is_wrong_usage() {
        let failure = globs(&["[".to_owned()]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with("not a pattern: "), "{}", failure.message);
    }
}
