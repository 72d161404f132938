//! What `gen --image`, `attach --generate` and `check --generate` share: an image becomes specifications.

use super::Failure;
use crate::app::{self, Connection, Session};
use compat_image::{Entry, Limits, Listing, Source};
use compat_image::{HostLibraries, ImageOptions, generate_image};
use compat_loader::spec::Specification;
use compat_oci::{Descriptor, Location, Platform};

/// What is derived from an image.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Image options")]
pub struct DeriveOptions {
    /// Take every ELF object of the image, rather than what its command starts
    #[arg(long)]
    pub all: bool,

    /// Take this program of the image instead of its command; may be repeated
    #[arg(long, value_name = "PATH")]
    pub executable: Vec<String>,

    /// Expect libraries of this name from the host when the image lacks them; "*" stands for anything; may
    /// be repeated
    #[arg(long, value_name = "NAME=PROVIDER", value_parser = parse_host_library)]
    pub host_library: Vec<(String, String)>,
}

impl DeriveOptions {
    /// Refuses options that would have no effect, since nothing is derived from an image.
    ///
    /// # Errors
    ///
    /// Wrong usage, naming the option that is lacking.
    pub fn expect_none(&self, lacking: &str) -> Result<(), Failure> {
        let given = [
            (self.all, "--all"),
            (!self.executable.is_empty(), "--executable"),
            (!self.host_library.is_empty(), "--host-library"),
        ];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(Failure::usage(format!("{option} is for images: add {lacking}"))),
            None => Ok(()),
        }
    }
}

fn parse_host_library(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((pattern, provider)) if !pattern.is_empty() && !provider.is_empty() => {
            Ok((pattern.to_owned(), provider.to_owned()))
        }
        _ => Err("expected NAME=PROVIDER, such as libmpi.so.*=site MPI".to_owned()),
    }
}

/// Which images of an index are meant.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The best for a platform; the only image of what is no index, whatever it is for.
    Best(Platform),
    /// The one for a platform that the user named.
    Named(Platform),
    /// All of them.
    All,
}

/// What was derived from one image.
#[derive(Debug)]
pub struct Derived {
    /// Where the image lies, by its digest, when it is in a registry or layout.
    pub location: Option<Location>,
    /// Its manifest.
    pub descriptor: Option<Descriptor>,
    /// Its platform.
    pub platform: Option<Platform>,
    /// What it needs.
    pub specification: Specification,
}

/// A source as typed.
///
/// # Errors
///
/// Wrong usage where it names nothing.
pub fn parse_source(text: &str) -> Result<Source, Failure> {
    Source::parse(text).map_err(|error| failed(&error))
}

/// Derives the specifications of the chosen images; `take` gets each as soon as it is there.
///
/// # Errors
///
/// Where an image cannot be read, or names nothing that could be derived, or `take` fails.
pub fn derive(
    source: &Source,
    choice: &Choice,
    options: &ImageOptions,
    session: &Session,
    mut take: impl FnMut(Derived) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let limits = Limits::default();
    let connection = session.connect(source.location().and_then(Location::host))?;
    let listing = run(&connection, Listing::open(&connection.client, source, &limits))?;
    let chosen: Vec<&Entry> = match choice {
        Choice::All => listing.images.iter().collect(),
        Choice::Best(platform) => vec![listing.best_for(platform).map_err(|error| failed(&error))?],
        Choice::Named(platform) => {
            let entry = listing.best_for(platform).map_err(|error| failed(&error))?;
            match &entry.platform {
                Some(own) if own.suits(platform).is_none() => {
                    let hint = "leave --platform out, or name another image".to_owned();
                    let message = format!("{source} is for {own}, not for {platform}");
                    return Err(Failure::usage(message).with_hint(hint));
                }
                _ => vec![entry],
            }
        }
    };
    for entry in chosen {
        let image = run(&connection, compat_image::read(&listing, entry, &limits))?;
        let platform = image.platform.clone();
        image.notes.iter().for_each(|note| session.observer().warn(note));
        let size = image.descriptor.as_ref().map(|descriptor| descriptor.size + image.size.stored);
        let generated = generate_image(&image.tree, &image.config, size, options).map_err(|error| {
            Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)).about(source)
        })?;
        generated.notes.iter().for_each(|note| session.observer().warn(note));
        let specification = generated.specification;
        let (location, descriptor) = (listing.location_of(entry), image.descriptor);
        take(Derived { location, descriptor, platform, specification })?;
    }
    Ok(())
}

/// The options of a derivation.
pub fn options(
    derive: &DeriveOptions,
    attributes: impl IntoIterator<Item = (String, String)>,
    names_only: bool,
) -> ImageOptions {
    ImageOptions {
        all: derive.all,
        executables: derive.executable.clone(),
        attributes: attributes.into_iter().collect(),
        names_only,
        host_libraries: HostLibraries { own: derive.host_library.clone() },
        runs: None,
    }
}

fn run<T>(
    connection: &Connection<'_>,
    task: impl Future<Output = compat_image::Result<T>>,
) -> Result<T, Failure> {
    connection.run_any(task).map_err(|error| failed(&error))
}

/// What an image's error means for a subcommand.
pub fn failed(error: &compat_image::Error) -> Failure {
    app::Failure::from(error).into()
}
