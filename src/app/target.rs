//! Classifies the text that a user typed: as a file, program, image or reference.
//!
//! Only the files that decide the class are read. [`compat_image::Source`] parses the forms of images
//! (`docker-archive:FILE`, `dir:PATH`, …), and [`compat_oci::Location`] parses references and layouts.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Cause, Failure, in_root};
use compat_image::{Source, has_archive_name};
use compat_oci::location::LAYOUT_PREFIX;
use compat_oci::{Location, transport};

/// The class of a text that a user typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A document from standard input.
    StandardInput,
    /// A document in a file or pipe.
    Document(PathBuf),
    /// A program, library, script or directory of them.
    Application(PathBuf),
    /// A local image. No artifact can be attached to it, so its layers are read.
    Image(Source),
    /// A manifest in a registry or an image layout.
    Location(Location),
}

/// The classes that are accepted.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// Whether only references that name their registry are accepted. Then no file is read.
    pub references_only: bool,
    /// Whether a directory or archive is an image, unless it is a program.
    pub generate: bool,
    /// The root file system that is checked. Links in it are resolved inside it.
    pub root: Option<PathBuf>,
}

impl Target {
    /// Classifies a text of any class.
    ///
    /// # Errors
    ///
    /// If the text belongs to no class.
    pub fn parse(text: &str, options: &TargetOptions) -> Result<Self, Failure> {
        if options.references_only {
            return remote(text).map(Self::Location);
        }
        if let Some(image) = image_of_this_machine(text, options.generate)? {
            return Ok(Self::Image(image));
        }
        if is_application(text, options.root.as_deref()) {
            return Ok(Self::Application(text.into()));
        }
        if text == "-" {
            return Ok(Self::StandardInput);
        }
        if !text.starts_with(LAYOUT_PREFIX) && is_file(text) {
            return Ok(Self::Document(text.into()));
        }
        if looks_like_path(text) {
            return Err(no_location(text, true));
        }
        Location::parse(text).map(Self::Location).map_err(|error| Failure::from(&error))
    }
}

/// Parses a text that must name a manifest in a registry or an image layout. The error for a path has a hint.
///
/// # Errors
///
/// If it is not a reference.
pub fn location(text: &str, references_only: bool) -> Result<Location, Failure> {
    if references_only {
        return remote(text);
    }
    if looks_like_path(text) {
        return Err(no_location(text, false));
    }
    Location::parse(text).map_err(|error| Failure::from(&error))
}

/// Returns whether a text is a path or the name of a file instead of a reference.
fn looks_like_path(text: &str) -> bool {
    let path = text.starts_with(['/', '.', '~']) || Path::new(text).exists();
    let file_name = text.ends_with(".json") || text.ends_with(".sif") || has_archive_name(text);
    path || (file_name && !text.contains('/') && transport::split(text).is_none())
}

/// Adds a hint to the failure of a text that was read as a reference but names no registry. The text may be a
/// mistyped file name. `takes_files` states whether the command accepts files.
pub fn of_short_name(text: &str, location: &Location, takes_files: bool, failure: Failure) -> Failure {
    let is_short = Location::parse_remote(text).is_err() && transport::split(text).is_none();
    // Not about a local file, such as a specification to push.
    let is_about_registry = failure.message.contains(&location.to_string())
        && (failure.message.starts_with("could not ") || failure.message.ends_with("was not found"));
    if failure.cause == Cause::Usage || location.host().is_none() || !is_short || !is_about_registry {
        return failure;
    }
    let mut hint = if takes_files {
        format!(
            "there is no file {text}, so it was read as the image {location}: check the spelling of the file, or \
             write docker-daemon:{text} for a local image"
        )
    } else {
        format!(
            "{text} names no registry, so docker.io was used: write HOST/{text} for another registry, or oci:DIR:TAG \
             for an image layout"
        )
    };
    if let Some(login) = failure.hint.as_deref().filter(|hint| hint.starts_with("log in ")) {
        hint = format!("{hint}; if the image is private, {login}");
    }
    failure.with_hint(hint)
}

/// Parses a text that must name an image.
///
/// # Errors
///
/// If it is not an image.
pub fn image(text: &str) -> Result<Source, Failure> {
    Source::parse(text).map_err(|error| Failure::from(&error))
}

/// Returns whether a text begins with the transport of a local image.
pub fn names_image(text: &str) -> bool {
    transport::split(text).is_some_and(|(transport, _)| transport.is_local_image())
}

/// Rejects an image with a transport prefix where a path is expected. `reader` is the subcommand that accepts
/// images.
///
/// # Errors
///
/// If the text names an image (wrong usage).
pub fn refuse_image(path: &Path, reader: &str) -> Result<(), Failure> {
    let Some(text) = path.to_str().filter(|_| !path.exists()) else { return Ok(()) };
    if transport::split(text).is_none() {
        return Ok(());
    }
    let message = format!("{text} names an image, but a path is expected");
    Err(Failure::usage(message).with_hint(format!("to read an image, run `compat {reader} {text}`")))
}

/// Returns whether a file is an ELF object or a script.
pub fn is_startable(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = compat_sys::open_regular(path).and_then(|mut file| file.read(&mut head));
    matches!(read, Ok(length) if head[..length].starts_with(b"\x7fELF") || head[..length].starts_with(b"#!"))
}

/// Parses a reference that names its registry.
fn remote(text: &str) -> Result<Location, Failure> {
    let hint = "--references-only rejects files, layouts and short names".to_owned();
    Location::parse_remote(text).map_err(|error| Failure::from(&error).with_hint(hint))
}

/// Returns the error for a text that looks like a path instead of a location. `takes_files` states whether the command
/// accepts files.
fn no_location(text: &str, takes_files: bool) -> Failure {
    let found = Path::new(text);
    let (kind, hint) = if found.is_dir() && takes_files {
        (
            "is a directory",
            format!("write ./{text} for the programs in it, or {LAYOUT_PREFIX}{text} for an image layout"),
        )
    } else if found.is_dir() {
        let hint = format!(
            "write {LAYOUT_PREFIX}{text} for an image layout; to describe the programs in the directory, run \
             `compat gen {} -o compat.json`",
            as_path(text)
        );
        ("is a directory, not a reference", hint)
    } else if found.exists() {
        let hint = format!(
            "a reference is HOST/NAME:TAG, HOST/NAME@sha256:… or oci:DIR:TAG; to check a file, run `compat check {text}`"
        );
        ("is a file, not a reference", hint)
    } else {
        ("does not exist", format!("check the path; an image layout is written {LAYOUT_PREFIX}DIR:TAG"))
    };
    Failure { cause: Cause::Undecided, message: format!("{text} {kind}"), hint: Some(hint) }
}

/// Returns the text of a path that cannot be a reference.
fn as_path(text: &str) -> String {
    if text.starts_with(['/', '.', '~']) { text.to_owned() } else { format!("./{text}") }
}

/// Returns the local image that a text names. A directory without a transport prefix is an image only for
/// `generate`. Otherwise it contains programs.
fn image_of_this_machine(text: &str, generate: bool) -> Result<Option<Source>, Failure> {
    if names_image(text) || compat_image::is_sif(Path::new(text)) {
        return image(text).map(Some);
    }
    Ok(match Source::parse(text) {
        Ok(image @ Source::Archive { .. }) if has_archive_name(text) => Some(image),
        Ok(image) if generate && image.is_local() && !is_startable(Path::new(text)) => Some(image),
        _ => None,
    })
}

/// Returns whether a text is a program, library, script or directory instead of a document or a reference.
fn is_application(text: &str, root: Option<&Path>) -> bool {
    let path = Path::new(text);
    // Links in a root are resolved inside it.
    let inside = root.and_then(|root| in_root::inside(path, root));
    let file = inside.and_then(|(root, place)| in_root::file_of(path, &place, &root).ok());
    let path = file.as_deref().unwrap_or(path);
    // A directory must look like a path. The meaning of a reference must not depend on the working directory.
    let looks_like_path = text.starts_with(['/', '.', '~']) || text.ends_with('/');
    if path.is_dir() {
        return looks_like_path;
    }
    is_startable(path) || is_meant_to_start(path)
}

/// Returns whether a file is meant to be started and is not a document: a script without `#!`, or with a byte
/// order mark before it.
fn is_meant_to_start(path: &Path) -> bool {
    let mut head = Vec::new();
    let Ok(file) = compat_sys::open_regular(path) else { return false };
    let is_executable = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    let is_read = file.take(256).read_to_end(&mut head).is_ok();
    let is_document = head.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'['));
    is_read && !is_document && (is_executable || head.starts_with(b"\xef\xbb\xbf#!"))
}

/// Returns whether a text names a readable file or a pipe, such as a shell's `<(…)`.
fn is_file(text: &str) -> bool {
    std::fs::metadata(text).is_ok_and(|found| !found.is_dir())
}

#[cfg(test)]
mod tests;
