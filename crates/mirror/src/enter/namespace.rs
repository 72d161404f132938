//! The namespace of the mirror's mounts, which vanishes with its last process.

use std::fs;
use std::io::{self, Read as _, Write as _};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{getegid, geteuid};

use super::capability;
use super::error::Error;

/// The users that the mirror can act as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Any user.
    Many,
    /// Only this user and group, in a user namespace without other users.
    One {
        /// The user number, inside and outside.
        user: u32,
        /// The group number.
        group: u32,
    },
}

/// The namespaces that [`enter`] created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub users: Users,
    /// Whether a user namespace had to be created. Nothing can be mounted outside from it.
    pub as_user: bool,
}

/// Moves this process into a new mount namespace, and into a new user namespace if necessary. This process must have no
/// other threads. Mounts that are made later in the original namespace appear in the new one only if `follows` is set.
///
/// # Errors
///
/// If both are forbidden.
pub(super) fn enter(follows: bool) -> Result<Entered, Error> {
    let entered = match compat_sys::unshare_mounts(false) {
        Ok(()) => {
            if let Some(name) = capability::missing(capability::TO_ENTER).first() {
                return Err(Error::Capability(name));
            }
            Entered { users: users_here(), as_user: false }
        }
        Err(_) => Entered { users: enter_user_namespace()?, as_user: true },
    };
    set_propagation(if follows {
        MountPropagationFlags::DOWNSTREAM
    } else {
        MountPropagationFlags::PRIVATE
    })?;
    Ok(entered)
}

/// Makes all mounts private, so that mounts that are made later in the original namespace do not appear here.
///
/// # Errors
///
/// Those of mount(2).
pub(super) fn follow_no_longer() -> Result<(), Error> {
    set_propagation(MountPropagationFlags::PRIVATE)
}

fn set_propagation(flags: MountPropagationFlags) -> Result<(), Error> {
    let all = flags | MountPropagationFlags::REC;
    mount_change("/", all).map_err(|error| Error::Namespace(error.into()))
}

/// Whether the current user namespace has more than one user.
fn users_here() -> Users {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if is_single(&map) {
        Users::One { user: geteuid().as_raw(), group: getegid().as_raw() }
    } else {
        Users::Many
    }
}

fn is_single(map: &str) -> bool {
    let counts: Vec<&str> = map.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    counts == ["1"]
}

fn enter_user_namespace() -> Result<Users, Error> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let ranges = |file| fs::read_to_string(file).map(|map| identity_of(&map));
    let maps = (ranges("/proc/self/uid_map"), ranges("/proc/self/gid_map"));
    let writer = match maps {
        (Ok(users), Ok(groups)) if user == 0 => IdMapWriter::start(&users, &groups).ok(),
        _ => None,
    };
    compat_sys::unshare_mounts(true).map_err(Error::Namespace)?;
    if writer.is_some_and(|writer| writer.write().is_ok()) {
        return Ok(Users::Many);
    }
    fs::write("/proc/self/setgroups", "deny").map_err(Error::Ids)?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1")).map_err(Error::Ids)?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1")).map_err(Error::Ids)?;
    Ok(Users::One { user, group })
}

/// Returns an id map with the same numbers inside and outside.
fn identity_of(map: &str) -> String {
    let mut identity = String::new();
    for line in map.lines() {
        let mut fields = line.split_whitespace();
        if let (Some(first), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) {
            identity.push_str(&format!("{first} {first} {count}\n"));
        }
    }
    identity
}

/// A process that stays outside. Only a process there can map the ids of all users into the new namespace.
struct IdMapWriter {
    pid: rustix::process::Pid,
    go: io::PipeWriter,
}

impl IdMapWriter {
    fn start(users: &str, groups: &str) -> io::Result<Self> {
        let (mut wait, go) = io::pipe()?;
        let parent = std::process::id();
        if let Some(pid) = compat_sys::fork()? {
            return Ok(Self { pid, go });
        }
        drop(go);
        let mut byte = [0];
        let written = wait.read_exact(&mut byte).and_then(|()| {
            fs::write(format!("/proc/{parent}/uid_map"), users)?;
            fs::write(format!("/proc/{parent}/gid_map"), groups)
        });
        std::process::exit(i32::from(written.is_err()));
    }

    /// Lets the process write the maps, and waits for the result.
    fn write(mut self) -> io::Result<()> {
        self.go.write_all(b"g")?;
        drop(self.go);
        let options = rustix::process::WaitOptions::empty();
        match rustix::process::waitpid(Some(self.pid), options)? {
            Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
            _ => Err(io::Error::other("the id maps were refused")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_keeps_the_number() {
        assert_eq!(identity_of("         0     100000      65536\n"), "0 0 65536\n");
        assert_eq!(identity_of("0 0 4294967295\n"), "0 0 4294967295\n");
    }

    #[test]
    fn a_namespace_of_one_user_is_told_from_others() {
        assert!(is_single("         0       1000          1\n"));
        assert!(!is_single("0 0 4294967295\n") && !is_single("0 1000 1\n1 100000 65536\n"));
    }
}
