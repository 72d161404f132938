//! The shares of this host.

use std::path::{Path, PathBuf};

use compat_mirror::enter::{self, Mirrored, Share};

use crate::app::Failure;

/// The mount table of this process.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Returns the parts of the file system with links resolved, and the shares in them. Both are empty if nothing is to be
/// cached.
///
/// # Errors
///
/// If a further share does not exist, or the mount table cannot be read.
pub fn of_this_host(wanted: &Mirrored) -> Result<(Mirrored, Vec<Share>), Failure> {
    let resolved = wanted.resolved().map_err(|error| failure(&error))?;
    let shares = enter::shares(&mounts()?, &resolved).map_err(|error| failure(&error))?;
    Ok((resolved, shares))
}

/// Returns the network file systems of this host that are never cached.
///
/// # Errors
///
/// If the mount table cannot be read.
pub fn never_cached() -> Result<Vec<Share>, Failure> {
    Ok(enter::never_mirrored(&mounts()?))
}

/// Returns the directories of a dry run: those that the user named, and the network file systems of this host. A
/// directory of another machine stays as it is.
///
/// # Errors
///
/// If the mount table cannot be read.
pub fn of_dry_run(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let (_, network) = of_this_host(&Mirrored::Shares { network: true, further: Vec::new() })?;
    let mut all: Vec<PathBuf> = named.iter().map(|path| resolved(path)).collect();
    all.extend(network.into_iter().map(|share| share.place));
    let mut once = Vec::new();
    for path in all {
        if !once.contains(&path) {
            once.push(path);
        }
    }
    Ok(once)
}

fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn mounts() -> Result<Vec<u8>, Failure> {
    std::fs::read(MOUNTS)
        .map_err(|source| Failure::undecided(&MountsError { source }).with_hint("mount /proc".to_owned()))
}

fn failure(error: &enter::Error) -> Failure {
    Failure::undecided(error).with_hint(error.hint())
}

#[derive(Debug, thiserror::Error)]
#[error("could not read {MOUNTS}")]
struct MountsError {
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_directory_is_a_share_once_and_without_links() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        let named = [real.join("link"), real.clone(), "/nowhere/here".into()];
        let found = of_dry_run(&named).unwrap();
        assert_eq!(found[..2], [real.clone(), "/nowhere/here".into()]);
        let (mirrored, shares) =
            of_this_host(&Mirrored::Shares { network: false, further: vec![real.join("link")] }).unwrap();
        assert_eq!(mirrored, Mirrored::Shares { network: false, further: vec![real.clone()] });
        assert_eq!(shares.iter().map(|share| &share.place).collect::<Vec<_>>(), [&real]);
        let missing = of_this_host(&Mirrored::Shares { network: false, further: vec!["/nowhere".into()] });
        assert!(missing.unwrap_err().message.contains("/nowhere"));
    }
}
