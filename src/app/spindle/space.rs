//! The free space for the cache.

use std::path::{Path, PathBuf};

use crate::app::Failure;

/// Returns this many percent of the free space for a cache in `directory`, or in the default place.
///
/// # Errors
///
/// If the file system does not report its free space.
pub fn percent_of_free(directory: Option<&Path>, percent: u64) -> Result<u64, Failure> {
    let temporary = || std::env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let directory = directory.map(Path::to_owned).or_else(temporary).unwrap_or_else(|| "/tmp".into());
    // The directory is created later, in the one above it.
    let existing = directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let space = rustix::fs::statvfs(existing)
        .map_err(|source| Failure::undecided(&SpaceError { path: existing.to_owned(), source }))?;
    let free = u128::from(space.f_bavail) * u128::from(space.f_frsize) * u128::from(percent) / 100;
    Ok(u64::try_from(free).unwrap_or(u64::MAX))
}

#[derive(Debug, thiserror::Error)]
#[error("could not determine the free space of {}", path.display())]
struct SpaceError {
    path: PathBuf,
    source: rustix::io::Errno,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_still_missing_has_the_space_of_the_one_above() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("cache/objects");
        let (whole, tenth) = (percent_of_free(Some(&missing), 100), percent_of_free(Some(&missing), 10));
        let (whole, tenth) = (whole.unwrap(), tenth.unwrap());
        assert!(tenth > 0 && tenth < whole && tenth > whole / 20, "{tenth} of {whole}");
        assert_eq!(percent_of_free(Some(&missing), 0).unwrap(), 0);
    }
}
