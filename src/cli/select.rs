//! `compat select`: an index x host -> the manifest that runs best.

use serde::Serialize;

use super::host_options::{HostOptions, StartOptions, oci_platform};
use super::source::{SourceOptions, find_specification};
use super::{Context, Exit, Failure, OutputFormat};
use crate::app::Session;
use compat_image::{Limits, Listing, Source};
use compat_loader::check::{self, Host, Impact, Verdict};
use compat_loader::spec::{self, attribute};
use compat_oci::{Location, Platform};

/// Print the image of an index that runs best on this machine
///
/// Looks at the manifest of every platform that this machine's CPU could run, best level first, and prints
/// the first whose attached artifact says that it will run here. Of equal levels the one with the higher
/// weight comes first (attribute org.compatlib.weight). No layer is pulled.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  docker pull \"$(compat select ghcr.io/org/app:1.0)\"
  compat select ghcr.io/org/app:1.0 --host node.json.zst

Exit code: 0 found, 1 nothing in the index runs here, 2 wrong usage, 3 could not decide (no artifacts, or a \
registry or I/O error).")]
pub struct Arguments {
    /// The index: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "INDEX")]
    index: String,

    /// Let what would start and fail later pass
    #[arg(long)]
    accept_risk: bool,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    host: HostOptions,

    #[command(flatten)]
    fetch: SourceOptions,
}

/// What was selected.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SelectReport {
    /// The image by its digest; absent where none runs.
    pub selected: Option<String>,
    /// Every image of the index that was looked at, the best first.
    pub candidates: Vec<Candidate>,
}

/// One image of the index.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Candidate {
    /// The image by its digest.
    pub image: String,
    /// Its platform.
    pub platform: String,
    /// Its weight.
    pub weight: i64,
    /// The verdict; absent where it has no artifact.
    pub verdict: Option<Verdict>,
}

/// An image with what orders it.
struct Ranked {
    candidate: Candidate,
    rank: u32,
    accepted: bool,
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where the index cannot be had, or an artifact of it.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let host = arguments.host.open(&StartOptions::default())?;
    let wanted = arguments.fetch.platform.clone().unwrap_or_else(|| oci_platform(&host));
    let location = arguments.fetch.target.location(&arguments.index)?;
    let session = arguments.fetch.session(context);
    let mut ranked = Vec::new();
    for (place, platform) in images(&location, &session)? {
        if let Some(rank) = platform.suits(&wanted) {
            ranked.push(judge(&place, &platform, rank, &host, arguments, &session)?);
        }
    }
    ranked.sort_by_key(|image| std::cmp::Reverse((image.rank, image.candidate.weight)));
    let selected = ranked.iter().find(|image| image.accepted).map(|image| image.candidate.image.clone());
    let undecided =
        ranked.iter().any(|image| !matches!(image.candidate.verdict, Some(Verdict::Incompatible)));
    let candidates: Vec<Candidate> = ranked.into_iter().map(|image| image.candidate).collect();
    let exit = match &selected {
        Some(_) => Exit::Success,
        None if undecided => Exit::Undecided,
        None => Exit::Incompatible,
    };
    match arguments.format {
        OutputFormat::Json => context.print_json(&SelectReport { selected, candidates })?,
        OutputFormat::Text => match selected {
            Some(image) => context.print(&format!("{image}\n"))?,
            None => return Err(nothing(&location, &wanted, &candidates, exit)),
        },
    }
    Ok(exit)
}

/// The images of an index by their digests.
fn images(location: &Location, session: &Session) -> Result<Vec<(Location, Platform)>, Failure> {
    let connection = session.connect(location.host())?;
    let source = Source::Location(location.clone());
    let listing = connection
        .run_any(Listing::open(&connection.client, &source, &Limits::default()))
        .map_err(|error| super::image::failed(&error))?;
    let of_entry = |entry| Some((listing.location_of(entry)?, entry.platform.clone()?));
    Ok(listing.images.iter().filter_map(of_entry).collect())
}

fn judge(
    place: &Location,
    platform: &Platform,
    rank: u32,
    host: &Host,
    arguments: &Arguments,
    session: &Session,
) -> Result<Ranked, Failure> {
    let (image, platform_name) = (place.to_string(), platform.to_string());
    let found = find_specification(&image, &arguments.fetch, platform, true, session)?;
    let Some(found) = found else {
        let candidate = Candidate { image, platform: platform_name, weight: 0, verdict: None };
        return Ok(Ranked { candidate, rank, accepted: false });
    };
    let specification = spec::parse(&found.bytes).map_err(|error| {
        Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)).about(&image)
    })?;
    let report = check::check(&specification, host);
    let weight = specification.attributes.get(attribute::WEIGHT).and_then(|weight| weight.parse().ok());
    let refuses = report.findings.iter().any(|finding| finding.impact == Impact::DoesNotStart);
    let accepted = match report.verdict {
        Verdict::Compatible => true,
        Verdict::Incompatible => arguments.accept_risk && !refuses,
        Verdict::Undecided => false,
    };
    let verdict = Some(report.verdict);
    let candidate = Candidate { image, platform: platform_name, weight: weight.unwrap_or(0), verdict };
    Ok(Ranked { candidate, rank, accepted })
}

/// Why nothing was selected.
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
            Some("`compat check IMAGE@DIGEST` says why; `--format json` lists what was looked at".to_owned()),
        ),
    };
    let exit = if candidates.is_empty() { Exit::Incompatible } else { exit };
    Failure { exit, ..Failure::usage(message) }.with_hint(hint)
}
