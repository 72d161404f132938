//! Creations happen as the caller: with the caller's user, group, supplementary group and creation mask,
//! so that owner, set-group-id folders and default access control lists come out as natively. The
//! kernel has checked by then that the caller may; what is left to the thread is the right to write in
//! the folder, so the check is not made a second time with fewer groups than the caller has.

use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::protocol::Header;
use crate::sys;

/// What one serving thread may do, and how it takes on a caller's identity.
#[derive(Debug)]
pub struct Credentials {
    /// Nothing where the session has one user only, and every file is touched as that one.
    full: Option<CapabilitySets>,
}

/// The caller's identity, until it is dropped.
#[derive(Debug)]
pub struct Assumed<'a> {
    credentials: &'a Credentials,
    ids: bool,
    groups: bool,
    capabilities: bool,
}

impl Credentials {
    /// Those of this thread, which gets a working directory and creation mask of its own.
    ///
    /// # Errors
    ///
    /// Where the thread's sets cannot be read.
    pub fn of_thread(many_users: bool) -> std::io::Result<Self> {
        sys::unshare_folder_and_mask()?;
        rustix::process::umask(Mode::empty());
        if !many_users {
            return Ok(Self { full: None });
        }
        // Where it is not allowed nobody can have groups of another.
        let _ = sys::set_groups(&[]);
        Ok(Self { full: Some(rustix::thread::capabilities(None)?) })
    }

    /// Becomes the caller, for a creation with this mask.
    pub fn assume(&self, caller: &Header, supplementary: Option<u32>, mask: u32) -> Assumed<'_> {
        rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
        let Some(full) = self.full else {
            return Assumed { credentials: self, ids: false, groups: false, capabilities: false };
        };
        let groups = supplementary.filter(|group| *group != caller.group);
        if let Some(group) = groups {
            // Only the set-group-id bit of the new file depends on it.
            let _ = sys::set_groups(&[group]);
        }
        let ids = caller.user != 0 || caller.group != 0;
        if ids {
            sys::set_file_system_ids(caller.user, caller.group);
        }
        let capabilities = caller.user != 0;
        if capabilities {
            let mut sets = full;
            sets.effective.remove(CapabilitySet::FSETID);
            let _ = rustix::thread::set_capabilities(None, sets);
        }
        Assumed { credentials: self, ids, groups: groups.is_some(), capabilities }
    }

    /// Does without the right to keep set-id bits, as an ordinary user's write does.
    pub fn without_set_id(&self) -> Assumed<'_> {
        let capabilities = self.full.is_some();
        if let Some(mut sets) = self.full {
            sets.effective.remove(CapabilitySet::FSETID);
            let _ = rustix::thread::set_capabilities(None, sets);
        }
        Assumed { credentials: self, ids: false, groups: false, capabilities }
    }
}

impl Drop for Assumed<'_> {
    fn drop(&mut self) {
        if self.ids {
            sys::set_file_system_ids(0, 0);
        }
        if self.capabilities
            && let Some(full) = self.credentials.full
        {
            let _ = rustix::thread::set_capabilities(None, full);
        }
        if self.groups {
            let _ = sys::set_groups(&[]);
        }
        rustix::process::umask(Mode::empty());
    }
}
