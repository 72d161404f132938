//! A suite: the data that its cases share, and the runner.

use std::io::Write as _;
use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::Case;

/// Prints a measurement of a case. The result of the case does not depend on it.
pub fn print_figure(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A suite of cases. [`suite!`](crate::suite!) makes one.
#[derive(Debug)]
pub struct Suite {
    /// The path of the program under test.
    pub binary: &'static str,
    /// The script that installs the cases' requirements.
    pub setup: &'static str,
    /// A directory for files that outlive their case.
    pub kept: &'static str,
}

/// Returns the suite of the calling test: `suite!("registry-tests/setup")`, with the script that installs the
/// requirements of its cases.
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
    /// Runs the cases that the command line selects.
    pub fn run(&'static self, cases: Vec<Case>) -> ExitCode {
        let arguments = Arguments::from_args();
        let trials = cases.into_iter().map(|case| case.into_trial(self)).collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}
