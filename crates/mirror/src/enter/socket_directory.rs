//! Directories of sockets, which are bound unchanged. A mirrored socket would not connect to processes outside.
//!
//! They are checked before a user namespace is entered, because all other users share one number in it. Each directory
//! is recognised by its identity, so that the directory that was checked is the one that is bound later.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Statx};

use super::walk;

/// Directories in a parent that everyone can write to.
const KNOWN: &[&str] = &["/tmp/.X11-unix", "/tmp/.ICE-unix"];

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketDirectory {
    pub place: PathBuf,
    /// The identity of the directory, regardless of its name.
    pub identity: walk::WalkedIdentity,
}

/// Returns the existing directories: the known ones and those named in the environment (the runtime directory of the
/// user, the directory of the SSH agent's socket).
pub(super) fn directories() -> Vec<SocketDirectory> {
    let known = KNOWN.iter().map(PathBuf::from);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    let agent = agent.and_then(|socket| socket.parent().map(Path::to_owned));
    let named = runtime.into_iter().chain(agent).filter_map(|directory| directory.canonicalize().ok());
    // A socket directly in a home directory or in /tmp must not exclude that whole directory from the mirror.
    let named = named.filter(|directory| directory.components().count() > 2);
    known.chain(named).filter_map(look).collect()
}

/// Returns a directory if it exists and no other user can have created it.
fn look(place: PathBuf) -> Option<SocketDirectory> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = walk::look(walk::open_trusted(root, place.as_os_str().as_bytes()).ok()?).ok()?;
    let is_directory = walk::kind(&stat) == FileType::Directory;
    is_directory.then(|| SocketDirectory { place, identity: walk::identity(&stat) })
}

/// Whether an opened place can be bound: it is still the directory that was checked.
pub(super) fn is_same(directories: &[SocketDirectory], place: &[u8], stat: &Statx) -> bool {
    let place = Path::new(OsStr::from_bytes(place));
    let known = directories.iter().find(|directory| directory.place == place);
    known.is_none_or(|directory| directory.identity == walk::identity(stat))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_directory_is_known_and_neither_a_link_nor_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().canonicalize().expect("it is there");
        fs::create_dir(real.join("sockets")).expect("a directory");
        fs::write(real.join("file"), "").expect("a file");
        symlink("sockets", real.join("link")).expect("a link");
        assert!(look(real.join("sockets")).is_some());
        assert_eq!(
            [look(real.join("link")), look(real.join("file")), look(real.join("none"))],
            [const { None }; 3]
        );
    }

    #[test]
    fn anothers_in_a_directory_of_everybody_is_left_out() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().canonicalize().expect("it is there");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o1777)).expect("it is ours");
        fs::create_dir(real.join("sockets")).expect("a directory");
        let found = look(real.join("sockets"));
        assert!(found.is_some());
        std::os::unix::fs::chown(real.join("sockets"), Some(1234), None).expect("it is ours");
        assert_eq!(look(real.join("sockets")), None);
    }

    #[test]
    fn one_that_was_exchanged_is_not_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().canonicalize().expect("it is there").join("sockets");
        fs::create_dir(&place).expect("a directory");
        let known = vec![look(place.clone()).expect("it is there")];
        let same = || {
            let file = fs::File::open(&place).expect("it is there");
            let stat = walk::look(file).expect("facts");
            is_same(&known, place.as_os_str().as_bytes(), &stat)
        };
        assert!(same());
        fs::rename(&place, directory.path().join("before")).expect("it is ours");
        fs::create_dir(&place).expect("a directory");
        assert!(!same());
    }
}
