//! Output files, each written as a whole.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Failure;
use compat_mirror::record::{Refusal, out::open_special};

/// Replaces a file as a whole: readers see the old or the new content, never a part.
///
/// # Errors
///
/// If the file cannot be written. The old content then remains.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source: std::io::Error| {
        let hint = hint(&source).map(str::to_owned);
        Failure::undecided(&WriteError { path: path.to_owned(), source }).with_hint(hint)
    };
    // A device or pipe cannot be replaced, only written to.
    if let Some(mut special) = open_special(path).map_err(failed)? {
        return special.write_all(bytes).map_err(failed);
    }
    let directory =
        path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The permissions of another user's file, or of a link's target, are not kept.
    let own =
        |found: &std::fs::Metadata| found.is_file() && found.uid() == rustix::process::geteuid().as_raw();
    let permissions = std::fs::symlink_metadata(path).ok().filter(own).map(|found| found.permissions());
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new()
        .prefix(".compat-")
        .permissions(permissions.unwrap_or(readable))
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Creates a directory for output files if it does not exist.
///
/// # Errors
///
/// If it cannot be created.
pub fn make_directory(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|source| {
        let hint = hint(&source).map(str::to_owned);
        Failure::undecided(&WriteError { path: path.to_owned(), source }).with_hint(hint)
    })
}

/// Returns a hint for a file that cannot be written.
pub fn hint(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    match (Refusal::of(error), error.kind()) {
        (Some(refusal), _) => Some(refusal.hint()),
        (None, PermissionDenied | ReadOnlyFilesystem) => {
            Some("choose a file in a directory that you can write to")
        }
        (None, NotFound) => Some("create the directory first, or choose another file"),
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
struct WriteError {
    path: PathBuf,
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Cause;

    #[test]
    fn the_mode_is_not_that_of_what_a_link_leads_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("other"), "other").unwrap();
        std::fs::set_permissions(at("other"), std::fs::Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink("other", at("link")).unwrap();
        write_file(&at("link"), b"{}").unwrap();
        let found = std::fs::symlink_metadata(at("link")).unwrap();
        assert_eq!((found.is_file(), found.mode() & 0o7777), (true, 0o644));
        assert_eq!(std::fs::read(at("other")).unwrap(), b"other");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let failure = write_file(Path::new("/nowhere/compat.json"), b"{}").unwrap_err();
        assert!(failure.message.starts_with("could not write /nowhere/compat.json: "), "{}", failure.message);
        assert_eq!(failure.cause, Cause::Undecided);
        assert_eq!(failure.hint.as_deref(), Some("create the directory first, or choose another file"));
        assert!(failure.message.ends_with("No such file or directory"), "{}", failure.message);
    }
}
