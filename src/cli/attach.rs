//! `compat attach`: a specification becomes a referrer of an image.

use std::path::PathBuf;

use serde::Serialize;

use super::image::{self, DeriveOptions};
use super::registry_options::RegistryOptions;
use super::source::{parse_location, parse_platform};
use super::{Context, Exit, OutputFormat, document};
use crate::app::carried;
use crate::app::derive::{Choice, derive};
use crate::app::{Failure, Session};
use compat_image::Source;
use compat_oci::manifest::CREATED;
use compat_oci::referrers::ListedBy;
use compat_oci::text::shown;
use compat_oci::{
    Access, Attached, Descriptor, Digest, Error, Location, Outcome, PackOptions, Platform, Selector, Store,
    attach_specification, discover,
};

/// Attach a specification to an image
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # attach compat.json
  compat attach ghcr.io/org/app:1.0
  compat attach --platform linux/arm64 ghcr.io/org/app:1.0 arm64.json
  compat gen ./app | compat attach oci:images:app -
  # derive it from the image; of an index, one for each platform
  compat attach --generate ghcr.io/org/app:1.0

Of an index of several platforms, the specification is attached to the index itself unless --platform \
names one of its manifests. The image is not changed. The command succeeds only once the registry lists \
what was attached. The same attachment twice is one; another one is dated after those that are there, and \
counts from then on.")]
pub struct AttachArguments {
    /// The image: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The specification; - is standard input
    #[arg(value_name = "FILE", default_value = "compat.json", conflicts_with = "generate")]
    file: PathBuf,

    /// Derive the specification from the image itself; of an index, one for the manifest of each platform
    #[arg(long)]
    generate: bool,

    /// Attach to this platform's manifest of an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    platform: Option<Platform>,

    /// Add an annotation to the artifact; may be given more than once
    #[arg(long, short = 'a', value_name = "KEY=VALUE", value_parser = document::parse_annotation)]
    annotation: Vec<(String, String)>,

    /// Let a recording (`compat record`) travel with it, compressed; - is standard input; may be given more than once
    #[arg(long, value_name = "RUN", conflicts_with = "generate")]
    recording: Vec<PathBuf>,

    /// Remove the compatibility artifacts that are attached to the same manifest already
    #[arg(long)]
    replace: bool,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    derive: DeriveOptions,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// What an attach did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct AttachReport {
    /// The image as it was understood.
    pub image: String,
    /// What is attached now: one artifact, or one for each platform that it was derived for.
    pub attached: Vec<Attachment>,
    /// Why the command failed after the first ones: the other platforms have none, or an older artifact could not be
    /// removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One artifact that is attached.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Attachment {
    /// The digest of the manifest that the artifact is attached to.
    pub subject: String,
    /// The digest of the artifact's manifest.
    pub digest: String,
    /// The size of the artifact's manifest in bytes.
    pub size: u64,
    /// Whether anything had to be sent: false where the same artifact was attached already.
    pub sent: bool,
    /// How it is found: `referrers` (the registry lists it) or `fallback-tag`.
    pub listed_by: String,
    /// The digests of the artifacts that were removed (`--replace`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// The digest of the artifact that counts all the same, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overruled_by: Option<String>,
}

/// Runs `compat attach`.
///
/// # Errors
///
/// Where the document or image is none, or the registry does not list what was attached.
pub fn run(arguments: &AttachArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.image)?;
    let annotations = document::annotations(&arguments.annotation)?;
    let session = arguments.registry.session(context);
    // The password is read before a document may be.
    session.connect(location.host())?;
    if arguments.generate {
        return generate(&location, arguments, &annotations, &session, context);
    }
    arguments.derive.expect_none("--generate")?;
    let specification = document::read_specification(&arguments.file, session.stdin())?;
    let platform = arguments.platform.as_ref();
    let recordings = carried::read(&arguments.recording, &arguments.file)?;
    let options = PackOptions { subject: None, annotations, recordings };
    let mut task = Task { arguments, session: &session, context, attached: Vec::new() };
    let done = task.attach(&location, &location, platform, &specification, options);
    task.finish(&location, done)
}

/// Derives what each platform of an image needs, and attaches it to the manifest of that platform.
fn generate(
    location: &Location,
    arguments: &AttachArguments,
    annotations: &compat_oci::manifest::Annotations,
    session: &Session,
    context: &Context,
) -> Result<Exit, Failure> {
    let options = image::options(&arguments.derive, [], false);
    let choice = arguments.platform.clone().map_or(Choice::All, Choice::Named);
    let source = Source::Location(location.clone());
    let mut task = Task { arguments, session, context, attached: Vec::new() };
    let derived = derive(&source, &choice, &options, session, |derived| {
        let place = derived.location.unwrap_or_else(|| location.clone());
        let specification = derived.specification.to_canonical_json();
        let options = PackOptions { annotations: annotations.clone(), ..PackOptions::default() };
        task.attach(location, &place, None, &specification, options)
    });
    task.finish(location, derived)
}

/// What every attach of one command has in common.
struct Task<'a> {
    arguments: &'a AttachArguments,
    session: &'a Session,
    context: &'a Context,
    /// What was attached so far.
    attached: Vec<Attachment>,
}

impl Task<'_> {
    /// Prints the document about all that was attached, if one is wanted.
    fn finish(self, location: &Location, done: Result<(), Failure>) -> Result<Exit, Failure> {
        let nothing = done.is_err() && self.attached.is_empty();
        if self.arguments.format == OutputFormat::Text || nothing {
            return done.map(|()| Exit::Success);
        }
        let (exit, error) = match done {
            Ok(()) => (Exit::Success, None),
            Err(failure) => {
                super::failure::print(&failure);
                (Exit::from(failure.cause), Some(failure.message))
            }
        };
        let report = AttachReport { image: location.to_string(), attached: self.attached, error };
        self.context.print_json(&report).map(|()| exit)
    }

    /// Attaches to the manifest at `place`, and reports it as `location`, which the user typed.
    fn attach(
        &mut self,
        location: &Location,
        place: &Location,
        platform: Option<&Platform>,
        specification: &[u8],
        options: PackOptions,
    ) -> Result<(), Failure> {
        let replace = self.arguments.replace;
        let access = if replace { Access::Delete } else { Access::Push };
        let connection = self.session.connect(location.host())?;
        let store = Store::new(&connection.client, &place.place, access);
        let now = jiff::Timestamp::now();
        let done = connection.run_any(async {
            let subject = discover::subject(&store, place, platform).await?;
            let wanted = compat_oci::Attachment { specification, options, replace, now };
            let outcome = attach_specification(&store, &subject, wanted).await?;
            Ok((subject, outcome))
        });
        let (subject, outcome) = done.map_err(|error| self.refusal(location, &error))?;
        self.tell(location, &subject, &outcome)?;
        match outcome.kept.first() {
            Some((digest, error)) => Err(not_removed(&outcome, digest, error)),
            None => Ok(()),
        }
    }

    /// Prints what an attach did.
    fn tell(&mut self, location: &Location, subject: &Descriptor, outcome: &Outcome) -> Result<(), Failure> {
        let Attached { descriptor, sent, listed_by } = &outcome.attached;
        let report = Attachment {
            subject: subject.digest.to_string(),
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
            sent: *sent,
            listed_by: match listed_by {
                ListedBy::Registry => "referrers".to_owned(),
                ListedBy::FallbackTag => "fallback-tag".to_owned(),
            },
            replaced: outcome.replaced.iter().map(ToString::to_string).collect(),
            overruled_by: outcome.overruled_by.as_ref().map(|other| other.digest.to_string()),
        };
        outcome.doubts.iter().for_each(|doubt| self.session.observer().warn(doubt));
        if let Some(other) = &outcome.overruled_by {
            let date = other.annotations.get(CREATED).map(|date| format!(", of {}", shown(date, 40)));
            self.session.observer().warn(&format!(
                "{}{} still counts, because its date is not before this one's; --replace removes it",
                other.digest,
                date.unwrap_or_default()
            ));
        }
        let note = if report.sent { "" } else { " (it was there already: nothing was sent)" };
        let (artifact, subject) =
            (location.with_digest(&descriptor.digest), location.with_digest(&subject.digest));
        let mut text = format!("attached {artifact}\nto {subject}{note}\n");
        report.replaced.iter().for_each(|digest| text.push_str(&format!("removed {digest}\n")));
        self.attached.push(report);
        match self.arguments.format {
            OutputFormat::Json => Ok(()),
            OutputFormat::Text => self.context.print(&text),
        }
    }

    /// The failure of an attach; where the registry keeps nothing that is attached, with the commands that will do.
    fn refusal(&self, location: &Location, error: &Error) -> Failure {
        let failure = Failure::from(error);
        if !matches!(error, Error::CannotKeep { .. }) {
            return failure;
        }
        let tag = match &location.selector {
            Selector::Tag(tag) => format!("{}-compat", tag.chars().take(121).collect::<String>()),
            Selector::Digest(digest) => format!("compat-{}", &digest.hex()[..12]),
            Selector::Only => "compat".to_owned(),
        };
        let own = format!("{}:{tag}", location.place);
        let file = self.arguments.file.display().to_string();
        let hint = if self.arguments.generate {
            format!(
                "give it a tag of its own: `compat gen --image {location} -o compat.json`, `compat push {own} \
                 compat.json`; then `compat check {own}` takes it"
            )
        } else {
            let file = if file == "-" { "FILE" } else { &file };
            format!(
                "give it a tag of its own: `compat push {own} {file}`; then `compat check {own}` takes it"
            )
        };
        failure.with_hint(hint)
    }
}

/// The failure of `--replace` on a registry that keeps what was to be removed.
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
        insta::assert_snapshot!(failure.message, @"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a was pushed, but the referrers of h/a@sha256:1 do not show it: its referrers API does not list it");
        assert_eq!(failure.cause, crate::app::Cause::Undecided);
        assert!(failure.hint.is_some());
    }
}
