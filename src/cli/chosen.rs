//! Parses the command line with the arguments of the chosen subcommand only: building those of the other
//! twenty would slow down every start.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::{ArgMatches, Args, Command};

use super::context::GlobalOptions;
use super::{
    attach, cache, check, copy, delete, discover, explain, r#gen, host, inspect, manual, pull, push, record,
    schema, select, spindle, trace, tree, validate,
};

/// Returns the matches if a subcommand was typed with valid arguments. Help, versions and mistakes need the
/// whole command.
pub(super) fn matches(arguments: &[OsString]) -> Option<ArgMatches> {
    if arguments.iter().any(|argument| HELP.iter().any(|help| argument == help)) {
        return None;
    }
    // No option before the subcommand has a value.
    let name = arguments.iter().skip(1).find(|argument| !argument.as_bytes().starts_with(b"-"))?;
    let (name, augment) = SUBCOMMANDS.iter().find(|(own, _)| name == own)?;
    let subcommand = augment(Command::new(*name));
    let command = GlobalOptions::augment_args(Command::new("compat")).subcommand_required(true);
    command.subcommand(subcommand).try_get_matches_from(arguments).ok()
}

/// The options that request help or a version, unless they belong to the command of a recording.
const HELP: &[&str] = &["-h", "--help", "-V", "--version"];

/// Adds a subcommand's arguments.
type Augment = fn(Command) -> Command;

/// The subcommands with their arguments, as in [`super::Command`].
const SUBCOMMANDS: &[(&str, Augment)] = &[
    ("gen", r#gen::Arguments::augment_args),
    ("check", check::Arguments::augment_args),
    ("tree", tree::Arguments::augment_args),
    ("explain", explain::Arguments::augment_args),
    ("push", push::PushArguments::augment_args),
    ("pull", pull::PullArguments::augment_args),
    ("attach", attach::AttachArguments::augment_args),
    ("discover", discover::DiscoverArguments::augment_args),
    ("inspect", inspect::InspectArguments::augment_args),
    ("select", select::Arguments::augment_args),
    ("copy", copy::CopyArguments::augment_args),
    ("delete", delete::DeleteArguments::augment_args),
    ("cache", cache::CacheArguments::augment_args),
    ("host", host::Arguments::augment_args),
    ("record", record::Arguments::augment_args),
    ("spindle", spindle::Arguments::augment_args),
    ("trace", trace::Arguments::augment_args),
    ("validate", validate::Arguments::augment_args),
    ("schema", schema::Arguments::augment_args),
    ("completions", manual::CompletionArguments::augment_args),
    ("man", manual::ManArguments::augment_args),
];

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::cli::{Arguments, wants_document};

    fn typed(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn every_subcommand_has_the_same_arguments_as_in_the_whole_command() {
        let whole = Arguments::command();
        let names: Vec<_> = whole.get_subcommands().map(Command::get_name).collect();
        assert_eq!(SUBCOMMANDS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        for ((name, augment), subcommand) in SUBCOMMANDS.iter().zip(whole.get_subcommands()) {
            assert!(parts(&augment(Command::new(*name))) == parts(subcommand), "{name}");
        }
        let globals = GlobalOptions::augment_args(Command::new("compat"));
        assert!(globals.get_arguments().map(Arg::get_id).eq(whole.get_arguments().map(Arg::get_id)));
    }

    fn parts(command: &Command) -> String {
        let arguments: Vec<_> = command.get_arguments().collect();
        let groups: Vec<_> = command.get_groups().collect();
        let subcommands: Vec<_> = command.get_subcommands().collect();
        format!("{arguments:?} {groups:?} {subcommands:?}")
    }

    #[test]
    fn what_is_typed_right_is_the_same_as_of_the_whole_command() {
        for text in [
            "compat check a b --format json -v",
            "compat -v check a --root /r --retries 5",
            "compat -q cache list --format json",
            "compat cache --format json prune --older-than 1d",
            "compat trace diff a b",
            "compat record -o x.jsonl -- ls -la",
            "compat spindle -o x.jsonl --keep -- ls -la",
            "compat spindle ls session",
            "compat spindle -- session list",
            "compat spindle session list --format json",
            "compat spindle session start --id a --share /usr --idle 5m",
            "compat spindle session stats a b --format prometheus",
            "compat spindle --dry-run a --dry-run b --format json",
            "compat gen --from-recording a b -o c",
            "compat explain symbol-missing",
        ] {
            let short = matches(&typed(text)).expect(text);
            let whole = Arguments::command().try_get_matches_from(typed(text)).expect(text);
            assert_eq!(wants_document(&short), wants_document(&whole), "{text}");
            let [short, whole] =
                [short, whole].map(|matches| Arguments::from_arg_matches(&matches).expect(text));
            assert_eq!(format!("{short:?}"), format!("{whole:?}"), "{text}");
        }
    }

    #[test]
    fn help_versions_and_mistakes_are_for_the_whole_command() {
        for text in [
            "compat",
            "compat -v",
            "compat --version",
            "compat help check",
            "compat chek a",
            "compat check",
            "compat check --help",
            "compat check -V",
            "compat check a --nonsense",
            "compat -- check a",
            "compat -qv check a",
            "compat cache",
        ] {
            assert!(matches(&typed(text)).is_none(), "{text}");
        }
    }
}
