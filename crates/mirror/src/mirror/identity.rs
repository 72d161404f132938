//! Serves requests with the caller's credentials: user, group, supplementary groups and capabilities. So the
//! underlying file system decides as it does natively. The kernel has already checked permissions, but with
//! attributes that may have changed since.
//!
//! The request names user and group. Groups and capabilities are read while the caller waits for its reply,
//! so they cannot change meanwhile. The sources are capget(2) and `/proc/TID/status` (proc_pid_status(5)).

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::caller_status::CallerStatus;
use super::wire::Header;

/// The capabilities that affect access to files (capabilities(7)).
const OF_FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::LINUX_IMMUTABLE)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_RESOURCE);

/// The time for which the result "a thread of root with all rights is in this process's user namespace" stays
/// valid. A thread that leaves the namespace is still user 0, and the kernel itself checks permissions with
/// the thread's new namespace.
const NAMESPACE_KNOWN: Duration = Duration::from_millis(5);

/// The rights of one serving thread, and the means to take on a caller's credentials.
#[derive(Debug)]
pub(super) struct Credentials {
    own: CapabilitySets,
    own_user: u32,
    own_group: u32,
    /// Whether the session's user namespace has only one user.
    only_user: bool,
    /// Whether this process can act for others.
    may_switch: bool,
    /// The target of `/proc/self/ns/user`. `None` if `/proc` belongs to another pid namespace
    /// (pid_namespaces(7)).
    namespace: Option<Vec<u8>>,
    /// The thread of root that was last found in this namespace.
    neighbour: Cell<Option<(u32, Instant)>>,
}

/// A caller's credentials for access to files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallerIdentity {
    pub user: u32,
    pub group: u32,
    pub groups: Vec<u32>,
    pub capabilities: CapabilitySet,
    pub standing: Standing,
}

/// The knowledge about a caller's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The caller may do all that this process may.
    Full,
    /// The caller is root of a namespace that this process cannot see. It is treated as `Full`.
    Unseen,
    /// All rights are known.
    Known,
    /// These capabilities belong to another user namespace. They apply to files of that namespace's users.
    Foreign(CapabilitySet),
    /// The caller's groups cannot be read.
    Unknown,
}

impl CallerIdentity {
    /// Whether the caller may do all that this process may.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.standing, Standing::Full | Standing::Unseen)
    }

    /// Whether the caller's writes keep set-id bits.
    pub(super) fn keeps_set_id(&self) -> bool {
        self.is_full() || self.capabilities.contains(CapabilitySet::FSETID)
    }
}

/// The caller's credentials, in effect until this value is dropped.
#[derive(Debug)]
pub(super) struct Assumed<'a> {
    credentials: &'a Credentials,
    mask: bool,
    user: bool,
    group: bool,
    groups: bool,
    capabilities: bool,
}

impl Credentials {
    /// Returns the credentials of this thread. The thread stops sharing its working directory and its
    /// creation mask with others.
    ///
    /// # Errors
    ///
    /// If the thread's sets cannot be read.
    pub(super) fn of_thread(only_user: bool) -> std::io::Result<Self> {
        compat_sys::unshare_directory_and_mask()?;
        rustix::process::umask(Mode::empty());
        let mut own = rustix::thread::capabilities(None)?;
        let own_user = rustix::process::geteuid().as_raw();
        if only_user && own_user != 0 {
            // This process has all capabilities in its namespace, but the served callers have none.
            own.effective.remove(OF_FILES);
            rustix::thread::set_capabilities(None, own)?;
        }
        let may_switch = !only_user && own.effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID);
        if may_switch {
            compat_sys::set_groups(&[])?;
        }
        Ok(Self {
            own,
            own_user,
            own_group: rustix::process::getegid().as_raw(),
            only_user,
            may_switch,
            namespace: namespace_of("self").filter(|_| is_own_proc()),
            neighbour: Cell::new(None),
        })
    }

    /// Determines the caller's credentials. `supplementary` is the group that the kernel names with a
    /// creation.
    pub(super) fn identify(&self, caller: &Header, supplementary: Option<u32>) -> CallerIdentity {
        let (user, group) = (caller.user, caller.group);
        let with =
            |groups, capabilities, standing| CallerIdentity { user, group, groups, capabilities, standing };
        let own = self.own.effective & OF_FILES;
        let none = CapabilitySet::empty();
        let unknown = || {
            // Only the kernel itself, or root of a namespace that this process cannot see, has user 0 here.
            let standing = if user == 0 { Standing::Unseen } else { Standing::Unknown };
            with(supplementary.into_iter().collect(), none, standing)
        };
        let Some(effective) = effective_of(caller.thread) else { return unknown() };
        if self.only_user {
            let full = effective.contains(own);
            return with(Vec::new(), effective & own, if full { Standing::Full } else { Standing::Known });
        }
        if user == 0 && effective.contains(own) && self.is_known_neighbour(caller.thread) {
            return with(Vec::new(), own, Standing::Full);
        }
        if self.namespace.is_none() {
            return unknown();
        }
        let status = CallerStatus::read(caller.thread);
        let Some(status) = status.filter(|status| (status.user, status.group) == (user, group)) else {
            return unknown();
        };
        if (effective & OF_FILES).is_empty() {
            with(status.groups, none, Standing::Known)
        } else if self.is_neighbour(caller.thread) {
            with(status.groups, effective & own, Standing::Known)
        } else {
            with(status.groups, none, Standing::Foreign(effective & OF_FILES))
        }
    }

    /// Returns the additional capabilities of a caller in a namespace with one user. A caller has some in a
    /// nested namespace, for example.
    pub(super) fn raised(&self, caller: &Header) -> Option<CallerIdentity> {
        let more = self.own.permitted & OF_FILES & effective_of(caller.thread)?;
        let (user, group, groups) = (caller.user, caller.group, Vec::new());
        let identity = CallerIdentity { user, group, groups, capabilities: more, standing: Standing::Known };
        (!self.own.effective.contains(more)).then_some(identity)
    }

    /// Determines the credentials that limit writes to an open file. Permissions do not depend on groups
    /// then.
    pub(super) fn identify_writer(&self, caller: &Header) -> CallerIdentity {
        let own = self.own.effective & OF_FILES;
        let (user, thread) = (caller.user, caller.thread);
        let counts = |theirs: &CapabilitySet| {
            let has_all = user == 0 && theirs.contains(own);
            self.only_user || has_all && self.is_known_neighbour(thread) || self.is_neighbour(thread)
        };
        let capabilities = match effective_of(thread) {
            Some(theirs) if counts(&theirs) => theirs & own,
            None if user == 0 => own,
            _ => CapabilitySet::empty(),
        };
        self.writer((user, caller.group), capabilities)
    }

    /// Determines the credentials that limit writeback of pages stored through a mapping.
    pub(super) fn identify_mapper(&self, opener: (u32, u32)) -> CallerIdentity {
        let capabilities = if opener.0 == 0 { OF_FILES } else { CapabilitySet::FSETID };
        self.writer(opener, capabilities & self.own.effective)
    }

    fn writer(&self, (user, group): (u32, u32), capabilities: CapabilitySet) -> CallerIdentity {
        let full = capabilities == self.own.effective & OF_FILES && (user == 0 || self.only_user);
        let standing = if full { Standing::Full } else { Standing::Known };
        CallerIdentity { user, group, groups: Vec::new(), capabilities, standing }
    }

    /// Takes on the caller's credentials. Files are created with this creation mask.
    ///
    /// # Errors
    ///
    /// If this process cannot act for that user (`EPERM`).
    pub(super) fn assume(&self, identity: &CallerIdentity, mask: Option<u32>) -> Result<Assumed<'_>, Errno> {
        self.become_one(identity, mask, CapabilitySet::empty())
    }

    /// Takes on the credentials of a file's owner to register the file for passthrough. The kernel allows
    /// registration only with `CAP_SYS_ADMIN`. Writes that bypass this process use the credentials of the
    /// registering thread.
    ///
    /// # Errors
    ///
    /// As for [`Self::assume`].
    pub(super) fn assume_owner(&self, (user, group): (u32, u32)) -> Result<Assumed<'_>, Errno> {
        let (groups, capabilities) = (Vec::new(), CapabilitySet::empty());
        let identity = CallerIdentity { user, group, groups, capabilities, standing: Standing::Known };
        self.become_one(&identity, None, CapabilitySet::SYS_ADMIN)
    }

    fn become_one(
        &self,
        identity: &CallerIdentity,
        mask: Option<u32>,
        further: CapabilitySet,
    ) -> Result<Assumed<'_>, Errno> {
        let credentials = self;
        // Dropping this value restores everything that was changed before a failure.
        let mut assumed = Assumed {
            credentials,
            mask: false,
            user: false,
            group: false,
            groups: false,
            capabilities: false,
        };
        if let Some(mask) = mask {
            assumed.mask = true;
            rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
        }
        if self.may_switch {
            self.switch(identity, &mut assumed)?;
        } else if !self.only_user && (identity.user, identity.group) != (self.own_user, self.own_group) {
            return Err(Errno::PERM);
        }
        if !identity.is_full() {
            assumed.capabilities = true;
            let mut sets = self.own;
            let wanted = (identity.capabilities | further) & sets.permitted;
            sets.effective = (sets.effective - OF_FILES) | wanted;
            rustix::thread::set_capabilities(None, sets)?;
        }
        Ok(assumed)
    }

    fn switch<'a>(&'a self, identity: &CallerIdentity, assumed: &mut Assumed<'a>) -> Result<(), Errno> {
        if !identity.groups.is_empty() {
            assumed.groups = true;
            compat_sys::set_groups(&identity.groups).map_err(|_| Errno::PERM)?;
        }
        if identity.group != self.own_group {
            assumed.group = true;
            compat_sys::set_file_system_group(identity.group).map_err(|_| Errno::PERM)?;
        }
        if identity.user != self.own_user {
            assumed.user = true;
            compat_sys::set_file_system_user(identity.user).map_err(|_| Errno::PERM)?;
        }
        Ok(())
    }

    /// Whether a thread is in the user namespace of this process. Only there do its capabilities apply to all
    /// files.
    fn is_neighbour(&self, thread: u32) -> bool {
        let own = self.namespace.as_ref();
        own.is_some_and(|own| namespace_of(&thread.to_string()).is_some_and(|other| other == *own))
    }

    /// Like [`Self::is_neighbour`], but with a result from a moment ago. This suits root with all rights: if
    /// it has left since, it has left nothing behind.
    fn is_known_neighbour(&self, thread: u32) -> bool {
        let known = self.neighbour.get();
        if known.is_some_and(|(other, since)| other == thread && since.elapsed() < NAMESPACE_KNOWN) {
            return true;
        }
        let same = self.is_neighbour(thread);
        if same {
            self.neighbour.set(Some((thread, Instant::now())));
        }
        same
    }
}

/// Whether `/proc` shows this process's pid namespace, to which the ids in requests belong.
fn is_own_proc() -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    rustix::fs::readlink("/proc/self", Vec::new()).is_ok_and(|link| link.as_bytes() == own.as_bytes())
}

/// Runs `act` with all capabilities that this thread may have, whatever credentials it has taken on. A file
/// that a caller reaches through a descriptor is reached here through directories that the caller may not
/// search.
pub(super) fn with_all_rights<T>(act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let now = rustix::thread::capabilities(None)?;
    let all = CapabilitySets { effective: now.permitted, ..now };
    rustix::thread::set_capabilities(None, all)?;
    let result = act();
    if rustix::thread::set_capabilities(None, now).is_err() {
        std::process::abort();
    }
    result
}

/// Returns the effective capabilities of a thread, in any namespace.
fn effective_of(thread: u32) -> Option<CapabilitySet> {
    let pid = i32::try_from(thread).ok().and_then(Pid::from_raw)?;
    rustix::thread::capabilities(Some(pid)).ok().map(|sets| sets.effective)
}

/// Returns the name of a process's user namespace. The link is read, not followed, because following it costs
/// far more.
fn namespace_of(process: &str) -> Option<Vec<u8>> {
    let link = rustix::fs::readlink(format!("/proc/{process}/ns/user"), Vec::new()).ok()?;
    Some(link.into_bytes())
}

impl Drop for Assumed<'_> {
    fn drop(&mut self) {
        let own = self.credentials;
        // A thread that cannot restore its credentials would serve the next caller with the rights of this
        // one.
        let restore = || -> std::io::Result<()> {
            // The user comes first, because this step restores most capabilities.
            if self.user {
                compat_sys::set_file_system_user(own.own_user)?;
            }
            if self.capabilities || self.user {
                rustix::thread::set_capabilities(None, own.own)?;
            }
            if self.group {
                compat_sys::set_file_system_group(own.own_group)?;
            }
            if self.groups {
                compat_sys::set_groups(&[])?;
            }
            Ok(())
        };
        if restore().is_err() {
            std::process::abort();
        }
        if self.mask {
            rustix::process::umask(Mode::empty());
        }
    }
}
