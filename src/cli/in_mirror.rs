//! Commands that run in a mirror: the parts that the subcommands which run one share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::app::failure::without_internals;
use crate::app::{Cause, Failure};
use crate::cli::Exit;
use compat_mirror::enter::{self, ExternalPlace, Outcome, Rank};

/// The place at which other processes reach the mirror: `--mount-path`, or if it waits without one, a directory in
/// the user's runtime directory.
pub(super) fn place(mount_path: Option<&Path>, waits: bool) -> ExternalPlace {
    match mount_path {
        Some(path) => ExternalPlace::At(path.to_owned()),
        None if waits => {
            let user = rustix::process::geteuid();
            let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let own = own.or_else(|| Some(format!("/run/user/{}", user.as_raw()).into()));
            let own = own.filter(|directory| directory.is_dir());
            let directory = own.unwrap_or_else(|| if user.is_root() { "/run".into() } else { "/tmp".into() });
            ExternalPlace::Perhaps(directory.join(format!("compat-mirror-{}", std::process::id())))
        }
        None => ExternalPlace::Nowhere,
    }
}

/// The failure for a mirror that cannot be created or entered.
pub(super) fn refused(error: &enter::Error) -> Failure {
    Failure::undecided(error).with_hint(error.hint())
}

/// The exit code, and the reason if the command did not finish.
pub(super) fn ending(
    outcome: Outcome,
    program: Option<&OsString>,
    rank: Option<&Rank>,
) -> (Exit, Option<Failure>) {
    let program = program.map(PathBuf::from).unwrap_or_default();
    let code = |code: i32| Exit::Command(u8::try_from(code).unwrap_or(u8::MAX));
    let mut hint = None;
    let (exit, message) = match outcome {
        Outcome::Ended(ended) => return (code(ended), None),
        Outcome::NotExecuted { code: ended, error } => {
            hint = hint_for_command(&error).map(str::to_owned);
            (code(ended), format!("could not execute {}: {error}", program.display()))
        }
        Outcome::ServerKilled => {
            (Exit::Undecided, "the mirror's server was killed, so the command was killed too".to_owned())
        }
        Outcome::LeadKilled => {
            let number = rank.map_or(0, |rank| rank.number);
            let message =
                format!("the lead rank of this node ended, so the command of rank {number} was killed");
            (Exit::Undecided, message)
        }
    };
    (exit, Some(Failure { cause: Cause::Undecided, message: without_internals(&message), hint }))
}

/// Returns a hint for a command that could not be executed.
fn hint_for_command(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Some("check the name of the command, its interpreter and PATH"),
        std::io::ErrorKind::PermissionDenied => Some("make the file executable (chmod +x FILE)"),
        _ => None,
    }
}

/// The name of this node.
pub(super) fn node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Turns `run.jsonl` into `run.node1.jsonl`.
pub(super) fn with_node(out: &Path, node: &str) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default();
    let mut name = stem.to_owned();
    name.push(".");
    name.push(node);
    if let Some(extension) = out.extension() {
        name.push(".");
        name.push(extension);
    }
    out.with_file_name(name)
}

/// Compiles the patterns of `--include` and `--exclude`.
///
/// # Errors
///
/// If a pattern is invalid.
pub(super) fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let wrong = |error: globset::Error| Failure::usage(format!("invalid pattern: {error}"));
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        // Paths are absolute, so a relative pattern would silently match nothing.
        if !pattern.starts_with(['/', '*', '?', '[', '{']) {
            let failure = Failure::usage(format!("{pattern} matches nothing: paths are absolute"));
            return Err(failure.with_hint(Some(format!("start it with a slash, or use **/{pattern}"))));
        }
        builder.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?);
    }
    builder.build().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_its_node_in_its_name() {
        let named = |out: &str| with_node(Path::new(out), "node1").display().to_string();
        assert_eq!(named("/runs/a.b.jsonl"), "/runs/a.b.node1.jsonl");
        assert_eq!(named("run"), "run.node1");
    }

    #[test]
    fn a_wrong_pattern_is_wrong_usage() {
        let failure = globs(&["[".to_owned()]).unwrap_err();
        assert_eq!(failure.cause, Cause::Usage);
        assert!(failure.message.starts_with("invalid pattern: "), "{}", failure.message);
        let relative = globs(&["data/*".to_owned()]).unwrap_err();
        assert_eq!((relative.cause, relative.message.contains("absolute")), (Cause::Usage, true));
        assert!(globs(&["/a/*".to_owned(), "**/a".to_owned(), "{/a,/b}/**".to_owned()]).is_ok());
    }
}
