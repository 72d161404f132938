//! `compat select`: an index x host -> the manifest that runs best.

use super::host_options::{HostOptions, StartOptions};
use super::source::SourceOptions;
use super::{Context, Exit, OutputFormat, failure};
use crate::app::select::{Candidate, SelectOptions, SelectReport, select};
use crate::app::target::of_short_name;
use crate::app::{Cause, Failure, host};
use compat_loader::check::Verdict;
use compat_oci::{Location, Platform};

/// Print the image of an index that runs best on this machine
///
/// Checks the manifests of all platforms that this machine's CPU can run, best level first. Prints the first one
/// that is compatible according to its attached artifact. Among equal levels, the higher weight comes first
/// (attribute org.compatlib.weight). No layer is pulled.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  docker pull \"$(compat select ghcr.io/org/app:1.0)\"
  compat select ghcr.io/org/app:1.0 --host node.json.zst

Exit code: 0 found, 1 no image in the index runs on this machine, 2 wrong usage, 3 undecided (no \
artifacts, or a registry or I/O error).")]
pub struct Arguments {
    /// The index: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "INDEX")]
    index: String,

    /// Also accept images that would start but fail later
    #[arg(long)]
    accept_risk: bool,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    host: HostOptions,

    #[command(flatten)]
    fetch: SourceOptions,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the index or one of its artifacts cannot be fetched.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let host = arguments.host.open(&StartOptions::default())?;
    let location = arguments.fetch.target.location(&arguments.index)?;
    let session = arguments.fetch.session(context);
    let find = arguments.fetch.find_options(|| host::platform(&host));
    let options = SelectOptions { find, accept_risk: arguments.accept_risk };
    let report = select(&location, &host, &options, &session)
        .map_err(|failure| of_short_name(&arguments.index, &location, false, failure))?;
    let exit = exit(&report);
    match (arguments.format, &report.selected) {
        (OutputFormat::Json, _) => context.print_json(&report)?,
        (OutputFormat::Text, Some(image)) => context.print(&format!("{image}\n"))?,
        (OutputFormat::Text, None) => {
            failure::print(&nothing(&location, &options.find.platform, &report.candidates, exit));
        }
    }
    Ok(exit)
}

fn exit(report: &SelectReport) -> Exit {
    let is_refused = |candidate: &Candidate| candidate.verdict == Some(Verdict::Incompatible);
    if report.selected.is_some() {
        Exit::Success
    } else if report.candidates.iter().all(is_refused) {
        Exit::Incompatible
    } else {
        Exit::Undecided
    }
}

/// Returns the command that shows why the first candidate was not selected.
fn reasons(candidates: &[Candidate]) -> String {
    let first = candidates.first().map_or("IMAGE@DIGEST", |first| first.image.as_str());
    format!(
        "run `compat check {first}` for the reasons, or use `--format json` to list the images that were checked"
    )
}

/// Returns the reason why no image was selected.
fn nothing(location: &Location, wanted: &Platform, candidates: &[Candidate], exit: Exit) -> Failure {
    let without: Vec<&str> = candidates
        .iter()
        .filter(|candidate| candidate.verdict.is_none())
        .map(|candidate| candidate.platform.as_str())
        .collect();
    let (message, hint) = match (candidates.is_empty(), without.is_empty()) {
        (true, _) => (format!("{location} has no image for {wanted}"), None),
        (false, false) => (
            format!("{location} has no artifact for {}", without.join(", ")),
            Some(format!("attach them with `compat attach --generate {location}`")),
        ),
        (false, true) => (
            match exit {
                Exit::Incompatible => format!("no image of {location} runs on this host"),
                _ => format!("no image of {location} is known to run on this host"),
            },
            Some(reasons(candidates)),
        ),
    };
    Failure { cause: Cause::Undecided, message, hint }
}
