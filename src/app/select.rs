//! An index x host -> the manifest that runs best: `compat select`.

use serde::Serialize;

use super::source::find_specification;
use super::{Failure, Session};
use compat_image::{Limits, Listing, Source};
use compat_loader::check::{self, Host, Impact, Verdict};
use compat_loader::spec::{self, attribute};
use compat_oci::{FindOptions, Location, Platform};

/// The options of a selection.
#[derive(Clone, Debug)]
pub struct SelectOptions {
    /// The platform of the images, and the options to find their artifacts.
    pub find: FindOptions,
    /// Whether images that would start but fail later are accepted.
    pub accept_risk: bool,
}

/// The selected image and the candidates.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SelectReport {
    /// The image by its digest. Absent if no image runs.
    pub selected: Option<String>,
    /// Every image of the index that was checked, the best first.
    pub candidates: Vec<Candidate>,
}

/// One image of the index.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Candidate {
    /// The image by its digest.
    pub image: String,
    /// The platform of the image.
    pub platform: String,
    /// The weight from its artifact (attribute `org.compatlib.weight`).
    pub weight: i64,
    /// The verdict. Absent if the image has no artifact.
    pub verdict: Option<Verdict>,
}

/// An image with its rank.
struct Ranked {
    candidate: Candidate,
    rank: u32,
    accepted: bool,
}

/// Checks each image of an index that the host's CPU can run.
///
/// # Errors
///
/// If the index or one of its artifacts cannot be fetched.
pub fn select(
    index: &Location,
    host: &Host,
    options: &SelectOptions,
    session: &Session,
) -> Result<SelectReport, Failure> {
    let mut ranked = Vec::new();
    for (place, platform) in images(index, session)? {
        if let Some(rank) = platform.suits(&options.find.platform) {
            ranked.push(judge(&place, &platform, rank, host, options, session)?);
        }
    }
    ranked.sort_by_key(|image| std::cmp::Reverse((image.rank, image.candidate.weight)));
    let selected = ranked.iter().find(|image| image.accepted).map(|image| image.candidate.image.clone());
    Ok(SelectReport { selected, candidates: ranked.into_iter().map(|image| image.candidate).collect() })
}

/// Returns the images of an index by their digests.
fn images(location: &Location, session: &Session) -> Result<Vec<(Location, Platform)>, Failure> {
    let connection = session.connect(location.host())?;
    let source = Source::Location(location.clone());
    let listing = connection
        .run_any(Listing::open(&connection.client, &source, &Limits::default()))
        .map_err(|error| Failure::from(&error))?;
    let of_entry = |entry| Some((listing.location_of(entry)?, entry.platform.clone()?));
    Ok(listing.images.iter().filter_map(of_entry).collect())
}

fn judge(
    place: &Location,
    platform: &Platform,
    rank: u32,
    host: &Host,
    options: &SelectOptions,
    session: &Session,
) -> Result<Ranked, Failure> {
    let (image, platform_name) = (place.to_string(), platform.to_string());
    // The index has stated the platform, so the configuration of the image is not read.
    let find = FindOptions { platform: platform.clone(), platform_named: false, ..options.find.clone() };
    let Some(found) = find_specification(place, &find, session)? else {
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
        Verdict::Incompatible => options.accept_risk && !refuses,
        Verdict::Undecided => false,
    };
    let verdict = Some(report.verdict);
    let candidate = Candidate { image, platform: platform_name, weight: weight.unwrap_or(0), verdict };
    Ok(Ranked { candidate, rank, accepted })
}
