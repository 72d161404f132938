//! `compat host`: a host -> profile.

use std::path::{Path, PathBuf};

use crate::app::host::profile;
use crate::app::{Failure, output};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit};
use compat_loader::generate::ProfileOptions;

const EXAMPLES: &str = "\
Examples:
  # this machine
  compat host -o node.json.zst
  # a verdict for it, anywhere
  compat check ghcr.io/org/app:1 --host node.json.zst
  # only the core libraries
  compat host --minimal -o node.json";

/// Save what this machine provides, to check against it elsewhere
///
/// The profile has the libraries of the directories that the loader searches, with their versions,
/// symbols and own needs, the loader's cache, the CPU and the kernel. A verdict from it is the verdict on
/// the machine; what it does not record is undecided.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Write to FILE instead of standard output; compressed when its name ends with .zst
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Save the root file system in DIR instead of this machine's
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Only the libraries that come with the C library and the compiler
    #[arg(long)]
    minimal: bool,

    /// Record the libraries in DIR too; may be repeated
    #[arg(long = "directory", value_name = "DIR")]
    directories: Vec<String>,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the root cannot be looked at, or the profile not be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let options = ProfileOptions { minimal: arguments.minimal, directories: arguments.directories.clone() };
    let profile = profile(arguments.root.as_deref(), &options, &Display::new(context))?;
    let bytes = profile.to_json();
    match arguments.output.as_deref() {
        None => context.print(&String::from_utf8_lossy(&bytes))?,
        Some(path) if path == Path::new("-") => context.print(&String::from_utf8_lossy(&bytes))?,
        Some(path) => {
            let is_compressed = path.extension().is_some_and(|extension| extension == "zst");
            let bytes = if is_compressed {
                zstd::bulk::compress(&bytes, 19).map_err(|error| Failure::undecided(&error))?
            } else {
                bytes
            };
            output::write_file(path, &bytes)?;
        }
    }
    Ok(Exit::Success)
}
