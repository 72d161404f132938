//! What a user typed, understood once: every decision about what a text names is here.
//!
//! Of the file system only what decides is looked at. An image's own forms (`docker-archive:FILE`, `dir:PATH`, …) are
//! parsed by [`compat_image::Source`], references and layouts by [`compat_oci::Location`].

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Cause, Failure, in_root};
use compat_image::{Source, has_archive_name};
use compat_oci::location::LAYOUT_PREFIX;
use compat_oci::{Location, transport};

/// What a user typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A document from standard input.
    StandardInput,
    /// A document in a file, which may be a pipe.
    Document(PathBuf),
    /// A program, library, script or directory of them.
    Application(PathBuf),
    /// An image of this machine: nothing can be attached to it, so its layers are read.
    Image(Source),
    /// A manifest in a registry or an image layout.
    Location(Location),
}

/// What may be meant.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// Nothing but references that name their registry; no file is looked at then.
    pub references_only: bool,
    /// A directory or archive is an image, unless it is a program.
    pub generate: bool,
    /// The root file system that is asked about: a link in it leads to where it leads inside it.
    pub root: Option<PathBuf>,
}

impl Target {
    /// Understands what was typed where anything may be.
    ///
    /// # Errors
    ///
    /// If it names nothing.
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
        location(text, false).map(Self::Location)
    }
}

/// Understands what was typed where only a manifest in a registry or an image layout may be; what looks like a path gets
/// a hint.
///
/// # Errors
///
/// If it is not a reference.
pub fn location(text: &str, references_only: bool) -> Result<Location, Failure> {
    if references_only {
        return remote(text);
    }
    let path = text.starts_with(['/', '.', '~']) || Path::new(text).exists();
    let file_name = text.ends_with(".json") || text.ends_with(".sif") || has_archive_name(text);
    let file_name = file_name && !text.contains('/') && transport::split(text).is_none();
    if path || file_name {
        return Err(no_location(text));
    }
    Location::parse(text).map_err(|error| Failure::from(&error))
}

/// Understands what was typed where only an image may be.
///
/// # Errors
///
/// If it is not an image.
pub fn image(text: &str) -> Result<Source, Failure> {
    Source::parse(text).map_err(|error| Failure::from(&error))
}

/// Whether a word says that a text names an image of this machine.
pub fn names_image(text: &str) -> bool {
    transport::split(text).is_some_and(|(transport, _)| transport.is_local_image())
}

/// Refuses an image, named with the word for where it lies, if a path is expected; `reader` is the subcommand that
/// takes it.
///
/// # Errors
///
/// Wrong usage.
pub fn refuse_image(path: &Path, reader: &str) -> Result<(), Failure> {
    let Some(text) = path.to_str().filter(|_| !path.exists()) else { return Ok(()) };
    if transport::split(text).is_none() {
        return Ok(());
    }
    let message = format!("{text} names an image, and a path is expected");
    Err(Failure::usage(message).with_hint(format!("`compat {reader} {text}` takes it")))
}

/// Whether a file is an ELF object or a script.
pub fn is_startable(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = compat_sys::open_regular(path).and_then(|mut file| file.read(&mut head));
    matches!(read, Ok(length) if head[..length].starts_with(b"\x7fELF") || head[..length].starts_with(b"#!"))
}

/// A reference that names its registry.
fn remote(text: &str) -> Result<Location, Failure> {
    let hint = "--references-only is given: files, layouts and short names are refused".to_owned();
    Location::parse_remote(text).map_err(|error| Failure::from(&error).with_hint(hint))
}

/// Why a text that looks like a path is no location.
fn no_location(text: &str) -> Failure {
    let found = Path::new(text);
    let (kind, hint) = if found.is_dir() {
        let hint = format!("write ./{text} for what is in it, {LAYOUT_PREFIX}{text} for an image layout");
        ("is a folder", Some(hint))
    } else if found.exists() {
        let hint = "a reference is HOST/NAME:TAG, HOST/NAME@sha256:… or oci:DIR:TAG";
        ("is a file, not a reference", Some(hint.to_owned()))
    } else {
        ("does not exist", None)
    };
    Failure { cause: Cause::Undecided, message: format!("{text} {kind}"), hint }
}

/// The image of this machine that a text is. A directory without a word before it is one only for `generate`;
/// otherwise it holds programs.
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

/// Whether a text is a program, library, script or directory rather than a document or a reference.
fn is_application(text: &str, root: Option<&Path>) -> bool {
    let path = Path::new(text);
    // A link of a root leads to where it leads inside it.
    let inside = root.and_then(|root| in_root::inside(path, root));
    let file = inside.and_then(|(root, place)| in_root::file_of(path, &place, &root).ok());
    let path = file.as_deref().unwrap_or(path);
    // A directory must look like a path: what a reference means must not depend on the working directory.
    let looks_like_path = text.starts_with(['/', '.', '~']) || text.ends_with('/');
    if path.is_dir() {
        return looks_like_path;
    }
    is_startable(path) || is_meant_to_start(path)
}

/// Whether a file is no document and is meant to be started: a script without `#!`, or with something in front
/// of it.
fn is_meant_to_start(path: &Path) -> bool {
    let mut head = Vec::new();
    let Ok(file) = compat_sys::open_regular(path) else { return false };
    let is_executable = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    let is_read = file.take(256).read_to_end(&mut head).is_ok();
    let is_document = head.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'['));
    is_read && !is_document && (is_executable || head.starts_with(b"\xef\xbb\xbf#!"))
}

/// Whether a text names a file to read: also a pipe, as shells make for `<(…)`.
fn is_file(text: &str) -> bool {
    std::fs::metadata(text).is_ok_and(|found| !found.is_dir())
}

#[cfg(test)]
mod tests;
