//! The command line: one file per subcommand, arguments in two stages (as typed, then ready to run),
//! rendering, and the mapping of errors to exit codes. Nothing below this module prints.

mod annotation;
mod attach;
mod cache;
mod check;
mod chosen;
mod context;
mod copy;
mod delete;
mod discover;
mod explain;
mod failure;
mod r#gen;
mod host;
mod host_options;
mod image;
mod in_mirror;
mod inspect;
mod manual;
mod old_name;
mod progress;
mod pull;
mod push;
mod quantity;
mod record;
mod registry_options;
pub mod report;
pub mod schema;
mod select;
mod source;
mod spindle;
mod start;
mod trace;
mod tree;
mod validate;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use context::{Context, OutputFormat};
pub use failure::Exit;

use crate::app::Failure;

/// Report whether an application or image will run on a machine, before anything large is pulled.
#[derive(Parser, Debug)]
#[command(name = "compat", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub global: context::GlobalOptions,

    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands. Each has its own file in this directory.
#[derive(Subcommand, Debug)]
pub enum Command {
    Gen(r#gen::Arguments),
    Check(check::Arguments),
    Tree(tree::Arguments),
    Explain(explain::Arguments),
    Push(push::PushArguments),
    Pull(pull::PullArguments),
    Attach(attach::AttachArguments),
    Discover(discover::DiscoverArguments),
    Inspect(inspect::InspectArguments),
    Select(select::Arguments),
    Copy(copy::CopyArguments),
    Delete(delete::DeleteArguments),
    Cache(cache::CacheArguments),
    Host(host::Arguments),
    Record(record::Arguments),
    Spindle(spindle::Arguments),
    Trace(trace::Arguments),
    Validate(validate::Arguments),
    Schema(schema::Arguments),
    Completions(manual::CompletionArguments),
    Man(manual::ManArguments),
}

/// Runs the program with the given arguments, of which the first is the name of the program, and returns its
/// exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (arguments, old_name) = with_subcommand_of_name(arguments.into_iter().collect());
    if arguments.len() == 1 {
        // As for every other use without a required argument, the text goes to standard error.
        let _ = std::io::stderr().write_all(start::TEXT.as_bytes());
        return Exit::Usage.into();
    }
    let matches = match chosen::matches(&arguments) {
        Some(matches) => Ok(matches),
        None => Arguments::command().try_get_matches_from(&arguments),
    };
    let parsed =
        matches.and_then(|matches| Ok((wants_document(&matches), Arguments::from_arg_matches(&matches)?)));
    let (wants_document, arguments) = match parsed {
        Ok(arguments) => arguments,
        Err(mut error) => {
            keep_nearest_suggestion(&mut error);
            suggest_for_file(&mut error);
            without_options_of_environment(&mut error, &arguments);
            // Help and version go to standard output and are not errors. Everything else is wrong usage.
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            let _ = error.print();
            return code.into();
        }
    };
    let context = Context { old_name, ..Context::new(&arguments.global) };
    match run(arguments.command, &context) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure::print(&failure);
            let exit = Exit::from(failure.cause);
            // Wrong usage concerns the person at the terminal. Any other failure also concerns the reader of
            // the document.
            if wants_document && exit != Exit::Usage {
                // If standard output cannot be written, the exit code already reports it.
                let _ = context.print_json(&failure::document(&failure, exit));
            }
            exit.into()
        }
    }
}

/// Returns whether the subcommand has `--format json`. Standard output is then always one document.
fn wants_document(matches: &clap::ArgMatches) -> bool {
    let format = matches.try_get_raw("format").ok().flatten();
    let own = format.is_some_and(|mut format| format.any(|format| format == "json"));
    own || matches.subcommand().is_some_and(|(_, matches)| wants_document(matches))
}

/// Keeps only the nearest subcommand as the suggestion for a mistyped one.
fn keep_nearest_suggestion(error: &mut clap::Error) {
    // clap lists them from the least to the most similar.
    if let Some(ContextValue::Strings(similar)) = error.get(ContextKind::SuggestedSubcommand)
        && let Some(nearest) = similar.last().cloned()
    {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![nearest]));
    }
}

/// Suggests a subcommand if the word in its place is a file or directory.
fn suggest_for_file(error: &mut clap::Error) {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return };
    if !Path::new(word).exists() {
        return;
    }
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let tip = if usage.contains("compat trace") {
        format!("to read a recording, run `compat trace summary {word}`")
    } else {
        format!("to check a file or directory, run `compat check {word}`")
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

/// Replaces the usage line if it shows options that were not typed as if they were required. clap treats an option
/// from an environment variable as typed.
fn without_options_of_environment(error: &mut clap::Error, typed: &[OsString]) {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return };
    let usage = usage.to_string();
    let mut command = Arguments::command();
    command.build();
    for word in typed.iter().skip(1) {
        if let Some(subcommand) = command.find_subcommand(word).cloned() {
            command = subcommand;
        }
    }
    let is_typed = |option: &str| typed.iter().any(|word| word.to_string_lossy().starts_with(option));
    let is_untyped = |argument: &clap::Arg| {
        let option = format!("--{}", argument.get_long().unwrap_or_default());
        argument.get_env().is_some() && usage.contains(&option) && !is_typed(&option)
    };
    if command.get_arguments().any(is_untyped) {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
    }
}

/// Runs one subcommand.
fn run(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Gen(arguments) => r#gen::run(arguments, context),
        Command::Check(arguments) => check::run(arguments, context),
        Command::Tree(arguments) => tree::run(&arguments, context),
        Command::Explain(arguments) => explain::run(&arguments, context),
        Command::Push(arguments) => push::run(&arguments, context),
        Command::Pull(arguments) => pull::run(&arguments, context),
        Command::Attach(arguments) => attach::run(&arguments, context),
        Command::Discover(arguments) => discover::run(&arguments, context),
        Command::Inspect(arguments) => inspect::run(&arguments, context),
        Command::Select(arguments) => select::run(&arguments, context),
        Command::Copy(arguments) => copy::run(&arguments, context),
        Command::Delete(arguments) => delete::run(&arguments, context),
        Command::Cache(arguments) => cache::run(&arguments, context),
        Command::Host(arguments) => host::run(&arguments, context),
        Command::Record(arguments) => record::run(arguments, context),
        Command::Spindle(arguments) => spindle::run(&arguments, context),
        Command::Trace(arguments) => trace::run(&arguments, context),
        Command::Validate(arguments) => validate::run(&arguments, context),
        Command::Schema(arguments) => schema::run(&arguments, context),
        Command::Completions(arguments) => manual::completions(&arguments, context),
        Command::Man(arguments) => manual::man(&arguments, context),
    }
}

/// Inserts the subcommand that the name of the program stands for: `compat-gen FILE` is `compat gen FILE`. Returns
/// whether there is one.
fn with_subcommand_of_name(mut arguments: Vec<OsString>) -> (Vec<OsString>, bool) {
    let called = arguments.first().and_then(|name| Path::new(name).file_name());
    let Some(called) = called.map(OsStr::to_owned) else {
        return (vec!["compat".into()], false);
    };
    let subcommand = old_name::subcommand_of(&called);
    if let Some(subcommand) = subcommand {
        old_name::with_long_options(&mut arguments, subcommand);
        arguments.insert(1, subcommand.into());
        arguments[0] = "compat".into();
    }
    (arguments, subcommand.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(arguments: &[&str]) -> String {
        let mut error = Arguments::command().try_get_matches_from(arguments).unwrap_err();
        keep_nearest_suggestion(&mut error);
        error.to_string()
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// The text after the options is wrapped only once, to the width of the terminal: examples fit into 80
    /// columns, and a paragraph is one line.
    #[test]
    fn what_follows_the_options_is_wrapped_once() {
        fn check(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            for pair in lines.windows(2) {
                let name = command.get_name();
                assert!(
                    !(is_prose(pair[0]) && is_prose(pair[1])),
                    "{name}: a paragraph of two lines: {}",
                    pair[1]
                );
            }
            for line in lines.iter().filter(|line| !is_prose(line)) {
                assert!(line.chars().count() <= 80, "{}: longer than 80: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn a_mistyped_subcommand_is_answered_with_the_nearest_one() {
        insta::assert_snapshot!(error(&["compat", "chek", "x"]), @"
        error: unrecognized subcommand 'chek'

          tip: a similar subcommand exists: 'check'

        Usage: compat [OPTIONS] <COMMAND>

        For more information, try '--help'.
        ");
        assert!(error(&["compat", "psuh"]).contains("'push'"));
    }

    #[test]
    fn a_file_in_place_of_a_subcommand_is_answered_with_one() {
        let tip = |arguments: &[&str]| {
            let mut error = Arguments::command().try_get_matches_from(arguments).unwrap_err();
            suggest_for_file(&mut error);
            error.to_string().lines().find_map(|line| line.trim().strip_prefix("tip: ").map(str::to_owned))
        };
        assert_eq!(tip(&["compat", "/"]).unwrap(), "to check a file or directory, run `compat check /`");
        let trace = tip(&["compat", "trace", "/dev/null"]);
        assert_eq!(trace.unwrap(), "to read a recording, run `compat trace summary /dev/null`");
        assert_eq!(tip(&["compat", "/none"]), None);
    }

    #[test]
    fn an_option_of_the_environment_does_not_look_required() {
        let usage = |typed: &[&str]| {
            let parsed = Arguments::command().try_get_matches_from(["compat", "check", "--cache-dir", "d"]);
            let mut error = parsed.unwrap_err();
            let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
            without_options_of_environment(&mut error, &typed);
            error.to_string().lines().find(|line| line.starts_with("Usage: ")).map(str::to_owned).unwrap()
        };
        assert_eq!(usage(&["compat", "check"]), "Usage: compat check [OPTIONS] <SOURCE>...");
        assert_eq!(
            usage(&["compat", "check", "--cache-dir", "d"]),
            "Usage: compat check --cache-dir <DIR> <SOURCE>..."
        );
    }

    #[test]
    fn the_old_names_stand_for_subcommands() {
        let expanded = |name: &str| with_subcommand_of_name(vec![name.into(), "x".into()]).0;
        assert_eq!(expanded("/usr/local/bin/compat-gen"), ["compat", "gen", "x"]);
        assert_eq!(expanded("compat-cli"), ["compat", "check", "x"]);
        assert_eq!(expanded("/usr/bin/compat"), ["/usr/bin/compat", "x"]);
    }
}
