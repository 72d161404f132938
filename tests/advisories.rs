//! Security advisories about the dependencies, from the RustSec database.
//!
//! The database is a git repository, so a machine without the internet cannot ask it. The check is then ignored with
//! its reason, and the closing line of this test counts it. It is never shown as passed.

use std::process::{Command, ExitCode};
use std::time::Duration;

use compat_harness::process::{Ended, Program};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

const DATABASE: &str = "https://github.com/rustsec/advisory-db.git";

/// The time limit for the database's server, and for the check.
const ANSWER: Duration = Duration::from_secs(20);
const CHECK: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let trial = Trial::ignorable_test("no_dependency_has_a_security_advisory", check);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn check() -> Result<Completion, Failed> {
    let mut git = Command::new("git");
    git.args(["ls-remote", "--quiet", DATABASE, "HEAD"]).env("GIT_TERMINAL_PROMPT", "0");
    if !is_success(&Program::start(&mut git, None, ANSWER).wait()) {
        return Ok(Completion::ignored_with(
            "NOT CHECKED: the advisory database cannot be reached from this machine",
        ));
    }
    let mut version = Command::new("cargo");
    version.args(["audit", "--version"]);
    if !is_success(&Program::start(&mut version, None, ANSWER).wait()) {
        let reason =
            "NOT CHECKED: cargo-audit is not installed (`cargo install --locked cargo-audit` installs it)";
        // On machines that reach the database, a missing cargo-audit can be installed.
        return if std::env::var("CI").is_ok_and(|value| value == "true") {
            Err(Failed::from(reason))
        } else {
            Ok(Completion::ignored_with(reason))
        };
    }
    let mut audit = Command::new("cargo");
    audit.args(["audit", "--deny", "warnings"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let ended = Program::start(&mut audit, None, CHECK).wait();
    if is_success(&ended) {
        return Ok(Completion::Completed);
    }
    let output = [ended.output.stdout, ended.output.stderr].concat();
    Err(Failed::from(String::from_utf8_lossy(&output).into_owned()))
}

fn is_success(ended: &Ended) -> bool {
    ended.in_time && ended.output.status.success()
}
