//! Attaches a specification to an image as a referrer: the work of `compat attach`.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::derive::{Choice, derive, refuse_options};
use super::{Failure, Session, carried, document};
use compat_image::{ImageOptions, Source};
use compat_oci::manifest::{Annotations, CREATED};
use compat_oci::referrers::ListedBy;
use compat_oci::text::shown;
use compat_oci::{
    Access, Attached, Descriptor, Digest, Error, Location, Outcome, PackOptions, Platform, Selector, Store,
    attach_specification, discover,
};

/// The options of an attach.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// The specification, unless it is derived (`-` for standard input).
    pub file: PathBuf,
    /// Recordings to include (`-` for standard input).
    pub recordings: Vec<PathBuf>,
    /// Whether the specification is derived from the image: for an index, one per platform.
    pub generate: bool,
    /// How the specification is derived.
    pub image: ImageOptions,
    /// The platform of the manifest in an index. Without it, the specification is attached to the index
    /// itself, or derived specifications to all its manifests.
    pub platform: Option<Platform>,
    /// Annotations of the artifact: keys with their values.
    pub annotations: Vec<(String, String)>,
    /// Whether compatibility artifacts that are already attached to the same manifest are removed.
    pub replace: bool,
}

/// The result of an attach.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct AttachReport {
    /// The image, as it was understood.
    pub image: String,
    /// The attached artifacts: one, or one for each platform of a derived specification.
    pub attached: Vec<Attachment>,
    /// Why the command failed after the first artifacts: the other platforms have none, or an older artifact
    /// could not be removed.
    #[serde(rename = "error", serialize_with = "message", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub failure: Option<Failure>,
}

/// An attached artifact.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Attachment {
    /// The digest of the manifest that the artifact is attached to.
    #[schemars(with = "String")]
    pub subject: Digest,
    /// The digest of the artifact's manifest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The size of the artifact's manifest in bytes.
    pub size: u64,
    /// Whether anything was sent: false if the same artifact was already attached.
    pub sent: bool,
    /// How the artifact is found: `referrers` (the registry lists it) or `fallback-tag`.
    pub listed_by: String,
    /// The digests of the artifacts that `--replace` removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub replaced: Vec<Digest>,
    /// The digest of the artifact that takes precedence, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub overruled_by: Option<Digest>,
}

fn message<S: Serializer>(failure: &Option<Failure>, serializer: S) -> Result<S::Ok, S::Error> {
    failure.as_ref().map(|failure| &failure.message).serialize(serializer)
}

/// Attaches a specification to an image, or one to each of its platforms. `done` receives each artifact as
/// soon as it is attached.
///
/// # Errors
///
/// If nothing was attached: the document or image is invalid, or the registry does not list the artifact.
/// Later failures are part of the report.
pub fn attach(
    location: &Location,
    options: &AttachOptions,
    session: &Session,
    mut done: impl FnMut(&Attachment) -> Result<(), Failure>,
) -> Result<AttachReport, Failure> {
    let annotations = document::annotations(&options.annotations)?;
    // The password is read before the document, because both may come from standard input.
    session.connect(location.host())?;
    let mut task = Task { location, options, session, done: &mut done, attached: Vec::new() };
    let outcome = if options.generate { task.generate(annotations) } else { task.document(annotations) };
    match outcome {
        Err(failure) if task.attached.is_empty() => Err(failure),
        outcome => {
            Ok(AttachReport { image: location.to_string(), attached: task.attached, failure: outcome.err() })
        }
    }
}

/// The common state of all attaches in one run.
struct Task<'a> {
    /// The image of the command line.
    location: &'a Location,
    options: &'a AttachOptions,
    session: &'a Session,
    done: &'a mut dyn FnMut(&Attachment) -> Result<(), Failure>,
    /// The artifacts attached so far.
    attached: Vec<Attachment>,
}

impl Task<'_> {
    /// Attaches the document of the options.
    fn document(&mut self, annotations: Annotations) -> Result<(), Failure> {
        let options = self.options;
        refuse_options(&options.image, "--generate")?;
        let hint = "name a specification file, or derive one from the image with --generate";
        let specification = document::read_specification(&options.file, self.session.stdin(), hint)?;
        let recordings = carried::read(&options.recordings, &options.file)?;
        let packing = PackOptions { subject: None, annotations, recordings };
        self.attach(self.location, options.platform.as_ref(), &specification, packing)
    }

    /// Derives the requirements of each platform of the image, and attaches them to the manifest of that
    /// platform.
    fn generate(&mut self, annotations: Annotations) -> Result<(), Failure> {
        let (location, options, session) = (self.location, self.options, self.session);
        let choice = options.platform.clone().map_or(Choice::All, Choice::Named);
        let source = Source::Location(location.clone());
        derive(&source, &choice, &options.image, session, |derived| {
            let place = derived.location.unwrap_or_else(|| location.clone());
            let specification = derived.specification.to_canonical_json();
            let packing = PackOptions { annotations: annotations.clone(), ..PackOptions::default() };
            self.attach(&place, None, &specification, packing)
        })
    }

    /// Attaches a specification to the manifest at `place`.
    fn attach(
        &mut self,
        place: &Location,
        platform: Option<&Platform>,
        specification: &[u8],
        options: PackOptions,
    ) -> Result<(), Failure> {
        let replace = self.options.replace;
        let access = if replace { Access::Delete } else { Access::Push };
        let connection = self.session.connect(self.location.host())?;
        let store = Store::new(&connection.client, &place.place, access);
        let now = jiff::Timestamp::now();
        let outcome = connection.run_any(async {
            let subject = discover::subject(&store, place, platform).await?;
            let wanted = compat_oci::Attachment { specification, options, replace, now };
            let outcome = attach_specification(&store, &subject, wanted).await?;
            Ok((subject, outcome))
        });
        let (subject, outcome) = outcome.map_err(|error| self.refusal(&error))?;
        self.add(&subject, &outcome)?;
        match outcome.kept.first() {
            Some((digest, error)) => Err(not_removed(&outcome, digest, error)),
            None => Ok(()),
        }
    }

    /// Adds an attached artifact to the report, with warnings about its date.
    fn add(&mut self, subject: &Descriptor, outcome: &Outcome) -> Result<(), Failure> {
        let observer = self.session.observer();
        outcome.doubts.iter().for_each(|doubt| observer.warn(doubt));
        if let Some(other) = &outcome.overruled_by {
            let date = other.annotations.get(CREATED).map(|date| format!(", of {}", shown(date, 40)));
            observer.warn(&format!(
                "{}{} still takes precedence, because its date is not earlier (remove it with --replace)",
                other.digest,
                date.unwrap_or_default()
            ));
        }
        let attachment = Attachment::new(subject, outcome);
        let done = (self.done)(&attachment);
        self.attached.push(attachment);
        done
    }

    /// Returns the failure of an attach. If the registry cannot keep referrers, its hint contains the
    /// commands to use instead.
    fn refusal(&self, error: &Error) -> Failure {
        let failure = Failure::from(error);
        if !matches!(error, Error::CannotKeep { .. }) {
            return failure;
        }
        let location = self.location;
        let tag = match &location.selector {
            Selector::Tag(tag) => format!("{}-compat", tag.chars().take(121).collect::<String>()),
            Selector::Digest(digest) => format!("compat-{}", &digest.hex()[..12]),
            Selector::Only => "compat".to_owned(),
        };
        let own = format!("{}:{tag}", location.place);
        let file = self.options.file.display().to_string();
        let hint = if self.options.generate {
            format!(
                "use a separate tag: `compat gen --image {location} -o compat.json`, `compat push {own} \
                 compat.json`, then `compat check {own}`"
            )
        } else {
            let file = if file == "-" { "FILE" } else { &file };
            format!("use a separate tag: `compat push {own} {file}`, then `compat check {own}`")
        };
        failure.with_hint(hint)
    }
}

impl Attachment {
    fn new(subject: &Descriptor, outcome: &Outcome) -> Self {
        let Attached { descriptor, sent, listed_by } = &outcome.attached;
        Self {
            subject: subject.digest.clone(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            sent: *sent,
            listed_by: match listed_by {
                ListedBy::Registry => "referrers".to_owned(),
                ListedBy::FallbackTag => "fallback-tag".to_owned(),
            },
            replaced: outcome.replaced.clone(),
            overruled_by: outcome.overruled_by.as_ref().map(|other| other.digest.clone()),
        }
    }
}

/// Returns the failure of `--replace` if the registry keeps artifacts that should be removed.
fn not_removed(outcome: &Outcome, digest: &Digest, error: &Error) -> Failure {
    let failure = Failure::from(error);
    let count = outcome.kept.len();
    let kept = match count {
        0 | 1 => format!("{digest} is"),
        _ => format!("{digest} and {} more are", count - 1),
    };
    let new = &outcome.attached.descriptor.digest;
    let message = format!("{new} is attached, but {kept} still there: {}", failure.message);
    Failure { message, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_that_is_not_listed_is_a_failure_with_a_way_out() {
        let subject = Descriptor::empty();
        let error = Error::NotListed {
            artifact: subject.digest.clone(),
            subject: "h/a@sha256:1".into(),
            reason: "its referrers API does not list it".into(),
        };
        let failure = Failure::from(&error);
        insta::assert_snapshot!(failure.message, @"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a was pushed, but is not among the referrers of h/a@sha256:1: its referrers API does not list it");
        assert_eq!(failure.cause, crate::app::Cause::Undecided);
        assert!(failure.hint.is_some());
    }
}
