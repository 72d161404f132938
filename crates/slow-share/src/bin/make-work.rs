//! Generates work for benchmarks: `make-work libraries DIRECTORY`. Prints its description as JSON.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use slow_share::workload::{Error, Libraries, Modules, Programs, Work};

/// Generates work in an empty directory. Prints its command and its expected output as JSON.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// A program with many libraries.
    Libraries {
        /// The number of libraries.
        #[arg(long, default_value_t = Libraries::default().count)]
        count: usize,
        /// The number of directories.
        #[arg(long, default_value_t = Libraries::default().directories)]
        directories: usize,
        /// The bytes of all libraries.
        #[arg(long, default_value_t = Libraries::default().bytes)]
        bytes: u64,
        directory: PathBuf,
    },
    /// A Python program with many modules.
    Python {
        /// The entries of `sys.path`, each with 70 modules.
        #[arg(long, default_value_t = Modules::default().entries)]
        entries: usize,
        directory: PathBuf,
    },
    /// A script that starts many programs.
    Programs {
        /// The number of different programs.
        #[arg(long, default_value_t = Programs::default().count)]
        count: usize,
        /// The number of directories in `PATH`.
        #[arg(long, default_value_t = Programs::default().directories)]
        directories: usize,
        /// The number of starts.
        #[arg(long, default_value_t = Programs::default().starts)]
        starts: usize,
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    match generate(&Arguments::parse().kind) {
        Ok(work) => {
            let _ = writeln!(std::io::stdout(), "{}", serde_json::json!(work));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let _ = writeln!(std::io::stderr(), "make-work: {error}{}", cause.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn generate(kind: &Kind) -> Result<Work, Error> {
    match *kind {
        Kind::Libraries { count, directories, bytes, ref directory } => {
            Libraries { count, directories, bytes }.generate(directory)
        }
        Kind::Python { entries, ref directory } => Modules { entries }.generate(directory),
        Kind::Programs { count, directories, starts, ref directory } => {
            Programs { count, directories, starts }.generate(directory)
        }
    }
}
