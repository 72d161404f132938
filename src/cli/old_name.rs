//! The command lines of compat-lib's programs, parsed by Go's `flag` package: long options have one dash or two, switches
//! can have a value (`-read-only=false`), and the options end at the first word that is not an option.

use std::ffi::OsString;

use clap::{Args as _, Command};

use super::context::GlobalOptions;
use super::{record, spindle};

/// The names of the program, as in busybox, each with the subcommand that it stands for.
const PROGRAM_NAMES: &[(&str, &str)] =
    &[("compat-gen", "gen"), ("compat-cli", "check"), ("fs-record", "record"), ("spindle", "spindle")];

/// Returns the subcommand that a name of the program stands for.
pub(super) fn subcommand_of(name: &std::ffi::OsStr) -> Option<&'static str> {
    PROGRAM_NAMES.iter().find(|(known, _)| name == *known).map(|(_, subcommand)| *subcommand)
}

/// Rewrites the options before the command in our form, if the subcommand runs one: `-out FILE`, `-out=FILE`, `-mpi`,
/// `-read-only=true`. The first argument is the name of the program.
pub(super) fn with_long_options(arguments: &mut Vec<OsString>, subcommand: &str) {
    let command = match subcommand {
        "record" => record::Arguments::augment_args(Command::new("")),
        "spindle" => spindle::Arguments::augment_args(Command::new("")),
        _ => return,
    };
    // clap itself adds these two when it parses.
    let own = |name: &str| matches!(name, "help" | "version").then_some(false);
    let command = GlobalOptions::augment_args(command);
    let takes_value = |name: &str| takes_value(&command, name).or_else(|| own(name));
    rewrite(arguments, takes_value);
}

/// Whether the option of this name has a value. `None` if the option does not exist.
fn takes_value(command: &Command, name: &str) -> Option<bool> {
    let is_named = |option: &&clap::Arg| {
        let is_short = |short: char| name.strip_prefix(short).is_some_and(str::is_empty);
        option.get_long() == Some(name) || option.get_short().is_some_and(is_short)
    };
    command.get_arguments().find(is_named).map(|option| option.get_action().takes_values())
}

fn rewrite(arguments: &mut Vec<OsString>, takes_value: impl Fn(&str) -> Option<bool>) {
    let mut position = 1;
    while let Some(text) = arguments.get(position).and_then(|argument| argument.to_str()) {
        let Some(option) = text.strip_prefix('-').filter(|option| !matches!(*option, "" | "-")) else {
            return;
        };
        let option = option.strip_prefix('-').unwrap_or(option);
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let dashes = if name.len() == 1 { "-" } else { "--" };
        let rewritten = match (takes_value(name), value.map(is_true)) {
            (Some(false), Some(Some(false))) => None,
            (Some(false), Some(Some(true))) => Some(format!("{dashes}{name}")),
            (Some(_), _) => Some(format!("{dashes}{option}")),
            (None, _) => Some(text.to_owned()),
        };
        let takes_next = value.is_none() && takes_value(name) == Some(true);
        match rewritten {
            Some(rewritten) => {
                arguments[position] = rewritten.into();
                position += 1 + usize::from(takes_next);
            }
            None => {
                arguments.remove(position);
            }
        }
    }
}

/// Parses a value like Go's `strconv.ParseBool`.
fn is_true(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(arguments: &[&str]) -> Vec<String> {
        let mut arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        let subcommand = subcommand_of(&arguments[0]).expect("an old name");
        with_long_options(&mut arguments, subcommand);
        arguments.into_iter().map(|argument| argument.into_string().expect("text")).collect()
    }

    #[test]
    fn the_old_options_have_one_dash_or_two() {
        let old =
            ["fs-record", "-mount-path", "/m", "-out", "x", "--out-dir=d", "-mpi", "-mount", "ls", "-out"];
        let new = [
            "fs-record",
            "--mount-path",
            "/m",
            "--out",
            "x",
            "--out-dir=d",
            "--mpi",
            "--mount",
            "ls",
            "-out",
        ];
        assert_eq!(rewritten(&old), new);
    }

    #[test]
    fn switches_may_have_a_value() {
        let old = ["fs-record", "-read-only=false", "-mpi=T", "--read-only=true", "-mount=x", "ls"];
        assert_eq!(rewritten(&old), ["fs-record", "--mpi", "--read-only", "--mount=x", "ls"]);
    }

    #[test]
    fn the_options_of_the_original_spindle_have_one_dash() {
        let old = [
            "spindle",
            "-v",
            "-mount-path=/m",
            "-workdir",
            "/w",
            "-wait=true",
            "-keep",
            "-out",
            "x",
            "ls",
            "-v",
        ];
        let new = [
            "spindle",
            "-v",
            "--mount-path=/m",
            "--workdir",
            "/w",
            "--wait",
            "--keep",
            "--out",
            "x",
            "ls",
            "-v",
        ];
        assert_eq!(rewritten(&old), new);
        let switches = ["spindle", "-v=true", "-read-only=false", "-cache-size=2G", "ls"];
        assert_eq!(rewritten(&switches), ["spindle", "-v", "--cache-size=2G", "ls"]);
        let session = ["spindle", "session", "start", "-idle", "5m"];
        assert_eq!(rewritten(&session), session);
    }

    #[test]
    fn what_belongs_to_the_command_stays() {
        for kept in [
            &["fs-record", "ls", "-out", "-read-only=false"][..],
            &["fs-record", "-o", "-out", "ls", "-format"],
            &["fs-record", "--", "-out"],
            &["fs-record", "-x", "-la", "ls"],
        ] {
            assert_eq!(rewritten(kept), kept);
        }
    }
}
