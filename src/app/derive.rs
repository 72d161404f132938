//! Images become specifications: what `gen --image`, `attach --generate` and `check --generate` share.

use super::{Connection, Failure, Session};
use compat_image::{ImageOptions, Limits, ListedImage, Listing, Source, generate_image};
use compat_loader::spec::Specification;
use compat_oci::{Descriptor, Location, Platform};

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

/// Derives the specifications of the chosen images; `take` gets each as soon as it is there.
///
/// # Errors
///
/// If an image cannot be read, or names nothing that could be derived, or `take` fails.
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
    for entry in chosen(&listing, source, choice)? {
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

/// Refuses options that would have no effect, since nothing is derived from an image.
///
/// # Errors
///
/// Wrong usage, naming the option that is lacking.
pub fn refuse_options(options: &ImageOptions, lacking: &str) -> Result<(), Failure> {
    let given = [
        (options.all, "--all"),
        (!options.executables.is_empty(), "--executable"),
        (!options.host_libraries.own.is_empty(), "--host-library"),
    ];
    match given.into_iter().find(|(is_given, _)| *is_given) {
        Some((_, option)) => Err(Failure::usage(format!("{option} is for images: add {lacking}"))),
        None => Ok(()),
    }
}

/// The chosen images of a listing.
fn chosen<'a>(
    listing: &'a Listing,
    source: &Source,
    choice: &Choice,
) -> Result<Vec<&'a ListedImage>, Failure> {
    let best_for = |platform| listing.best_for(platform).map_err(|error| Failure::from(&error));
    match choice {
        Choice::All => Ok(listing.images.iter().collect()),
        Choice::Best(platform) => Ok(vec![best_for(platform)?]),
        Choice::Named(platform) => {
            let entry = best_for(platform)?;
            match &entry.platform {
                Some(own) if own.suits(platform).is_none() => {
                    let hint = "leave --platform out, or name another image".to_owned();
                    let message = format!("{source} is for {own}, not for {platform}");
                    Err(Failure::usage(message).with_hint(hint))
                }
                _ => Ok(vec![entry]),
            }
        }
    }
}

fn run<T>(
    connection: &Connection<'_>,
    task: impl Future<Output = compat_image::Result<T>>,
) -> Result<T, Failure> {
    connection.run_any(task).map_err(|error| Failure::from(&error))
}
