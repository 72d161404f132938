//! `compat host`: a host -> profile.

use std::path::{Path, PathBuf};

use crate::app::host::profile;
use crate::app::{Failure, output};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit};
use compat_loader::generate::ProfileOptions;

const EXAMPLES: &str = "\
Examples:
  # save this machine
  compat host -o node.json.zst
  # check against the saved machine, on any machine
  compat check ghcr.io/org/app:1 --host node.json.zst
  # save only the core libraries
  compat host --minimal -o node.json";

/// Save a profile of this machine, to check against it elsewhere
///
/// The profile contains the libraries in the directories that the loader searches, with their versions, symbols
/// and needs. It also contains the loader's cache, the CPU and the kernel. A check against the profile gives the
/// same verdict as on the machine. If the check needs a file that the profile does not record, it is undecided.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Write to FILE instead of standard output, compressed if the name ends with .zst
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Save the root file system in DIR instead of this machine's
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Save only the libraries that come with the C library and the compiler
    #[arg(long)]
    minimal: bool,

    /// Also save the libraries in DIR (can be repeated)
    #[arg(long = "directory", value_name = "DIR")]
    directories: Vec<String>,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the root cannot be read or the profile cannot be written.
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
