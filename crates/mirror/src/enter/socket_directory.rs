//! Directories of sockets, which are bound through: a mirrored socket would not join what is outside.
//!
//! They are looked at before a user namespace is entered, in which all other users have one number. Each is known
//! by what it is, so that what is bound later is what was looked at.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Statx};

use super::walk;

/// Those that lie where everybody may write.
const KNOWN: &[&str] = &["/tmp/.X11-unix", "/tmp/.ICE-unix"];

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketDirectory {
    pub place: PathBuf,
    /// Its identity, wherever its name leads later.
    pub identity: walk::WalkedIdentity,
}

/// Those that are there: the known ones, and those that the environment names (a user's run-time directory, the
/// agent's).
pub(super) fn directories() -> Vec<SocketDirectory> {
    let known = KNOWN.iter().map(PathBuf::from);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    let agent = agent.and_then(|socket| socket.parent().map(Path::to_owned));
    let named = runtime.into_iter().chain(agent).filter_map(|directory| directory.canonicalize().ok());
    // A socket in a home or in /tmp must not take the whole of it out of the mirror.
    let named = named.filter(|directory| directory.components().count() > 2);
    known.chain(named).filter_map(look).collect()
}

/// A directory that is there, and that nobody else can have made.
fn look(place: PathBuf) -> Option<SocketDirectory> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = walk::look(walk::open_trusted(root, place.as_os_str().as_bytes()).ok()?).ok()?;
    let is_directory = walk::kind(&stat) == FileType::Directory;
    is_directory.then(|| SocketDirectory { place, identity: walk::identity(&stat) })
}

/// Whether what was opened at a place may be bound: what was looked at there still is it.
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
