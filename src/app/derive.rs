//! Derives specifications from images, for `gen --image`, `attach --generate` and `check --generate`.

use super::{Connection, Failure, Session};
use compat_image::{ImageOptions, Limits, ListedImage, Listing, Source, generate_image};
use compat_loader::spec::Specification;
use compat_oci::{Descriptor, Error, Location, Platform};

/// The selected images of an index.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The best image for a platform. If the source is not an index, its only image.
    Best(Platform),
    /// The image for a platform that the user named.
    Named(Platform),
    /// All images.
    All,
}

/// The result for one image.
#[derive(Debug)]
pub struct Derived {
    /// The location of the image by its digest, if it is in a registry or layout.
    pub location: Option<Location>,
    /// The manifest of the image.
    pub descriptor: Option<Descriptor>,
    /// The platform of the image.
    pub platform: Option<Platform>,
    /// The needs of the image.
    pub specification: Specification,
}

/// Derives the specifications of the chosen images. `take` receives each as soon as it is derived.
///
/// # Errors
///
/// If an image cannot be read, if nothing in it can be derived, or if `take` fails.
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

/// Rejects options that have no effect because no image is read.
///
/// # Errors
///
/// If such an option is given. The error is wrong usage and names the missing option.
pub fn refuse_options(options: &ImageOptions, lacking: &str) -> Result<(), Failure> {
    match given_options(options).first() {
        Some(option) => Err(Failure::usage(format!("{option} only applies to images: add {lacking}"))),
        None => Ok(()),
    }
}

/// Returns the names of the options that apply only if an image is read.
pub(super) fn given_options(options: &ImageOptions) -> Vec<&'static str> {
    let all = [
        (options.all, "--all"),
        (!options.executables.is_empty(), "--executable"),
        (!options.host_libraries.own.is_empty(), "--host-library"),
    ];
    all.into_iter().filter(|(is_given, _)| *is_given).map(|(_, option)| option).collect()
}

/// Returns the chosen images of a listing.
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
                    let (image, platform) = (source.to_string(), platform.to_string());
                    Err(Failure::from(&Error::NoPlatform { image, platform, offered: own.to_string() }))
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
