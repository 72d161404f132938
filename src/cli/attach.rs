//! `compat attach`: a specification becomes a referrer of an image.

use std::path::PathBuf;

use serde::Serialize;

use super::image::{self, Choice, DeriveOptions};
use super::registry_options::{RegistryOptions, Session};
use super::source::{parse_location, parse_platform};
use super::{Context, Exit, Failure, OutputFormat, carried, document};
use crate::image::Source;
use crate::registry::referrers::ListedBy;
use crate::registry::{
    Access, Attached, Descriptor, Error, Location, PackOptions, Platform, Store, attach, discover, pack,
};

/// Attach a specification to an image
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat attach ghcr.io/org/app:1.0                 attach compat.json
  compat attach --platform linux/arm64 ghcr.io/org/app:1.0 arm64.json
  compat gen ./app | compat attach oci:images:app -
  compat attach --generate ghcr.io/org/app:1.0      derive it from the image; of an index, one for each platform

Of an index of several platforms, the specification is attached to the index itself unless --platform
names one of its manifests. The image is not changed. The command succeeds only once the registry lists
what was attached; the same attachment twice is one.")]
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
    /// Why the other platforms have none: the command failed after the first ones.
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
}

/// Runs `compat attach`.
///
/// # Errors
///
/// Where the document or image is none, or the registry does not list what was attached.
pub fn run(arguments: &AttachArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.image)?;
    let annotations = document::annotations(&arguments.annotation)?;
    let session = arguments.registry.session(location.host(), context)?;
    if arguments.generate {
        return generate(&location, arguments, &annotations, &session, context);
    }
    arguments.derive.expect_none("--generate")?;
    let specification = document::read_specification(&arguments.file)?;
    let platform = arguments.platform.as_ref();
    let recordings = carried::read(&arguments.recording, &arguments.file)?;
    let options = PackOptions { subject: None, annotations, recordings };
    let (subject, attached) = work(&session, &location, platform, &specification, options)?;
    let attachment = tell(&location, &subject, &attached, arguments.format, context)?;
    print(&location, vec![attachment], None, arguments.format, context)?;
    Ok(Exit::Success)
}

/// Derives what each platform of an image needs, and attaches it to the manifest of that platform.
fn generate(
    location: &Location,
    arguments: &AttachArguments,
    annotations: &crate::registry::manifest::Annotations,
    session: &Session,
    context: &Context,
) -> Result<Exit, Failure> {
    let options = image::options(&arguments.derive, [], false);
    let choice = arguments.platform.clone().map_or(Choice::All, Choice::Named);
    let source = Source::Location(location.clone());
    let mut all = Vec::new();
    let derived = image::derive(&source, &choice, &options, session, context, |derived| {
        let place = derived.location.unwrap_or_else(|| location.clone());
        let specification = derived.specification.to_canonical_json();
        let options = PackOptions { annotations: annotations.clone(), ..PackOptions::default() };
        let (subject, attached) = work(session, &place, None, &specification, options)?;
        all.push(tell(location, &subject, &attached, arguments.format, context)?);
        Ok(())
    });
    match derived {
        Err(failure) if arguments.format == OutputFormat::Json && !all.is_empty() => {
            failure.print();
            print(location, all, Some(failure.message), arguments.format, context)?;
            Ok(failure.exit)
        }
        derived => {
            derived?;
            print(location, all, None, arguments.format, context)?;
            Ok(Exit::Success)
        }
    }
}

/// Prints the document about all that was attached.
fn print(
    location: &Location,
    attached: Vec<Attachment>,
    error: Option<String>,
    format: OutputFormat,
    context: &Context,
) -> Result<(), Failure> {
    match format {
        OutputFormat::Json => {
            context.print_json(&AttachReport { image: location.to_string(), attached, error })
        }
        OutputFormat::Text => Ok(()),
    }
}

/// Tells people about an artifact as soon as it is attached; what a document says of it.
fn tell(
    location: &Location,
    subject: &Descriptor,
    attached: &Attached,
    format: OutputFormat,
    context: &Context,
) -> Result<Attachment, Failure> {
    let report = Attachment {
        subject: subject.digest.to_string(),
        digest: attached.descriptor.digest.to_string(),
        size: attached.descriptor.size,
        sent: attached.sent,
        listed_by: match attached.listed_by {
            ListedBy::Registry => "referrers".to_owned(),
            ListedBy::FallbackTag => "fallback-tag".to_owned(),
        },
    };
    if format == OutputFormat::Text {
        let note = if report.sent { "" } else { " (it was there already: nothing was sent)" };
        let (artifact, subject) =
            (location.with_digest(&attached.descriptor.digest), location.with_digest(&subject.digest));
        context.print(&format!("attached {artifact}\nto {subject}{note}\n"))?;
    }
    Ok(report)
}

fn work(
    session: &Session,
    location: &Location,
    platform: Option<&Platform>,
    specification: &[u8],
    options: PackOptions,
) -> Result<(Descriptor, Attached), Failure> {
    let store = Store::new(&session.client, &location.place, Access::Push);
    let task = async {
        let subject = discover::subject(&store, location, platform).await?;
        let packed = pack(specification, PackOptions { subject: Some(subject.clone()), ..options })?;
        let attached = attach(&store, &subject, &packed).await?;
        Ok::<_, Error>((subject, attached))
    };
    session.run(task)
}

#[cfg(test)]
mod tests {
    use super::super::registry_options::failure;
    use super::*;

    #[test]
    fn an_artifact_that_is_not_listed_is_a_failure_with_a_way_out() {
        let subject = Descriptor::empty();
        let error = Error::NotListed {
            artifact: subject.digest.clone(),
            subject: "h/a@sha256:1".into(),
            reason: "its referrers API does not list it".into(),
        };
        let failure = failure(&error);
        insta::assert_snapshot!(failure.message, @"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a was pushed, but the referrers of h/a@sha256:1 do not show it: its referrers API does not list it");
        assert_eq!(failure.exit, Exit::Undecided);
        assert!(failure.hint.is_some());
    }
}
