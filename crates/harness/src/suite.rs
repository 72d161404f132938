//! A suite: what its cases share, and the runner.

use std::io::Write as _;
use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::Case;

/// Prints a figure that a case has measured. The case does not depend on it.
pub fn print_figure(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A suite of cases. [`suite!`](crate::suite!) makes one.
#[derive(Debug)]
pub struct Suite {
    /// The path of the program under test.
    pub binary: &'static str,
    /// The script that installs what the cases require.
    pub setup: &'static str,
    /// A directory for files that outlive the case that made them.
    pub kept: &'static str,
}

/// The suite of the test that this is expanded in: `suite!("registry-tests/setup")`, with the script that installs
/// what its cases require.
#[macro_export]
macro_rules! suite {
    ($setup:literal) => {
        $crate::Suite {
            binary: env!("CARGO_BIN_EXE_compat"),
            setup: $setup,
            kept: env!("CARGO_TARGET_TMPDIR"),
        }
    };
}

impl Suite {
    /// Runs the cases that the command line asks for.
    pub fn run(&'static self, cases: Vec<Case>) -> ExitCode {
        let arguments = Arguments::from_args();
        let trials = cases.into_iter().map(|case| case.into_trial(self)).collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}
