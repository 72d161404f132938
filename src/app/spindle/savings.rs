//! The savings of a cache, from recordings of runs.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use compat_trace::{Name, Requests, Savings, savings};
use globset::GlobSet;

use crate::app::{Failure, Observer, recording};

/// Options of [`saved_by_cache`].
#[derive(Debug)]
pub struct SavingsOptions {
    /// The recordings: files, or `-` for standard input.
    pub recordings: Vec<PathBuf>,
    /// The directories that are cached, as absolute paths without links.
    pub shares: Vec<PathBuf>,
    /// Paths that are left out.
    pub exclude: GlobSet,
}

/// Returns the requests and bytes that a cache would have saved in recorded runs. Sizes of files come from the file
/// system of this machine.
///
/// # Errors
///
/// If a recording cannot be read.
pub fn saved_by_cache(options: &SavingsOptions, observer: &dyn Observer) -> Result<Savings, Failure> {
    let mut requests = Requests::default();
    for path in &options.recordings {
        let reader = recording::open(path)?;
        let (ending, unknown) = requests.add(reader).map_err(|error| recording::failure(&error))?;
        recording::warn_of_missing(path, &ending, unknown, observer);
    }
    let shares: Vec<Name> =
        options.shares.iter().map(|share| Name::from(share.as_os_str().as_bytes())).collect();
    let takes = |path: &Name| !options.exclude.is_match(path_of(path));
    Ok(savings(&requests, &shares, takes, size))
}

/// The size of a regular file.
fn size(path: &Name) -> Option<u64> {
    let facts = std::fs::symlink_metadata(path_of(path)).ok()?;
    facts.is_file().then_some(facts.len())
}

fn path_of(name: &Name) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(&name.0))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::app::spindle::Quiet;

    #[test]
    fn sizes_come_from_this_machine_and_excluded_paths_are_outside() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(at("app"), [0; 1000]).unwrap();
        std::fs::write(at("skipped"), [0; 1000]).unwrap();
        let mut log = String::from(
            r#"{"compat_recording":1,"command":["a"],"folder":"/","host":"n","kernel":"6","started":0}"#,
        );
        for (number, name) in ["app", "app", "app", "gone", "skipped"].iter().enumerate() {
            let path = at(name);
            let _ = write!(
                log,
                "\n{{\"t\":{number},\"event\":\"open\",\"path\":\"{path}\",\"open\":{number},\"pid\":1,\"tid\":1,\"ppid\":0,\"exe\":\"/a\",\"uid\":0}}"
            );
        }
        std::fs::write(at("run.jsonl"), log + "\n").unwrap();
        let glob = globset::Glob::new("**/skipped").unwrap();
        let options = SavingsOptions {
            recordings: vec![at("run.jsonl").into()],
            shares: vec![directory.path().to_owned()],
            exclude: globset::GlobSetBuilder::new().add(glob).build().unwrap(),
        };
        let savings = saved_by_cache(&options, &Quiet).unwrap();
        let share = &savings.shares[0];
        assert_eq!((share.opens, share.files, savings.outside), (4, 2, 1));
        assert_eq!((share.bytes, share.bytes_once, share.sizes.unknown), (3000, 1000, 1));
    }
}
