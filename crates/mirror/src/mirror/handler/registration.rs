//! Files that the kernel reads and writes without this process (FUSE passthrough). Such writes use the
//! credentials of the registering thread, and all opens of a file share one registration. Root is not bound
//! by limits, so nobody else may write with root's credentials. Therefore a file is registered with its
//! owner's credentials: a user's file with the user's, and a file of root only if nobody else may write to
//! it. This process serves all other files.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::closing::wait_for_closes;
use crate::mirror::attribute;
use crate::mirror::node::{AccessAttributes, Node, Opens, Registrar};
use crate::mirror::open_file::{OpenFile, Uses, is_for_writing};
use crate::mirror::request::Request;
use crate::mirror::volume::Volume;

/// The file of an open that is to be counted.
pub(super) struct FileToRegister<'a> {
    /// The file that the kernel will read and write.
    pub file: BorrowedFd<'a>,
    /// A descriptor that reaches the file. The node keeps it while the file is open.
    pub handle: Option<&'a Arc<OwnedFd>>,
    /// The flags of open(2).
    pub flags: u32,
}

/// Counts an open of the node, by passthrough if possible, and returns the registration's number. All opens
/// of a file at one time are of the same sort, because the kernel refuses others.
///
/// # Errors
///
/// If a user opens for writing a file that root has open with root's credentials (`ETXTBSY`).
pub(super) fn register(
    volume: &Volume,
    request: &Request<'_>,
    node: &Node,
    opened: &FileToRegister<'_>,
) -> Result<Option<u32>, Errno> {
    let FileToRegister { file, handle, flags } = *opened;
    let is_own = node.identity().has_device_of(&volume.table.root.identity());
    let opener = BackingOpener::of(request, flags);
    // A writer depends on the current attributes.
    let access =
        if opener.writes { Some(AccessAttributes::of(&attribute::of_file(file)?)) } else { node.told() };
    if node.with_opens(None, |opens| opens.passes_original()) {
        let access = access.or_else(|| Some(AccessAttributes::of(&attribute::of_file(file).ok()?)));
        let own = opener.registrar(volume, access);
        wait_for_closes(node, |opens| opens.passes_original() && own != Some(opens.registrar));
    }
    node.with_opens(handle, |opens| {
        if opens.passes_original() {
            if !opener.may_share(opens.registrar)
                || opener.writes && access.is_some_and(|access| access.appends)
            {
                return Err(Errno::TXTBSY);
            }
            opens.passed += 1;
            return Ok(Some(opens.backing));
        }
        let possible = opens.served + opens.passed == 0 && volume.passthrough.load(Ordering::Relaxed);
        if possible && node.kind == libc::S_IFREG {
            let registered = opener.registrar(volume, access).and_then(|registrar| {
                let number = open_backing(volume, request, file, is_own, registrar)?;
                Some(Opens { passed: 1, backing: number, registrar, ..*opens })
            });
            if let Some(registered) = registered {
                *opens = registered;
                return Ok(Some(opens.backing));
            }
        }
        opens.served += 1;
        Ok(None)
    })
}

/// Checks that a file can be opened with the credentials of its existing registration.
///
/// # Errors
///
/// As for [`register`] (`ETXTBSY`), which may still meet a registration that is made in between.
pub(super) fn check_share(request: &Request<'_>, node: &Node, flags: u32) -> Result<(), Errno> {
    let opener = BackingOpener::of(request, flags);
    let meets = |opens: &Opens| opens.passes_original() && !opener.may_share(opens.registrar);
    if wait_for_closes(node, meets) { Err(Errno::TXTBSY) } else { Ok(()) }
}

/// The opener of a file, and its purpose.
#[derive(Clone, Copy)]
struct BackingOpener {
    writes: bool,
    is_root: bool,
    keeps_set_id: bool,
}

impl BackingOpener {
    fn of(request: &Request<'_>, flags: u32) -> Self {
        Self {
            writes: is_for_writing(flags),
            is_root: request.header.user == 0,
            keeps_set_id: request.identity().keeps_set_id(),
        }
    }

    /// Whether writing through such a registration gives the opener no additional rights. Reading never does.
    /// The reserved blocks of a file system are available to user 0, with or without capabilities.
    fn may_share(self, registrar: Registrar) -> bool {
        let is_roots = matches!(registrar, Registrar::Root | Registrar::Owner { user: 0, .. });
        !self.writes || !is_roots || self.is_root
    }

    /// Returns the credentials with which the file is registered, or `None` if it is not registered.
    fn registrar(self, volume: &Volume, told: Option<AccessAttributes>) -> Option<Registrar> {
        self.registrar_of(told, volume.options.read_only, volume.options.sharing.is_shared())
    }

    fn registrar_of(
        self,
        told: Option<AccessAttributes>,
        read_only: bool,
        is_shared: bool,
    ) -> Option<Registrar> {
        let Some(access) = told else {
            return read_only.then_some(Registrar::Root);
        };
        let AccessAttributes { mode, user, group, appends } = access;
        if appends {
            // The kernel would permit mapping and overwriting it, because it does not know this flag of the
            // mirror's file.
            return None;
        }
        if access.depends_on_groups() && !read_only {
            // The owner of the registration is in the file's group, or has the right to keep the bit.
            return None;
        }
        let registrar = match user {
            0 if is_shared => Registrar::Owner { user, group },
            0 => Registrar::Root,
            _ => Registrar::Owner { user, group },
        };
        let by_others = user == 0 && mode & 0o022 != 0 && !read_only;
        // A writer with `CAP_FSETID` keeps set-id bits, but the owner does not.
        let set_id = mode & 0o6000 != 0 && registrar != Registrar::Root;
        let keeps_bits = self.writes && self.keeps_set_id && set_id;
        (!by_others && !keeps_bits && self.may_share(registrar)).then_some(registrar)
    }
}

/// Registers a file.
fn open_backing(
    volume: &Volume,
    request: &Request<'_>,
    file: BorrowedFd<'_>,
    is_own: bool,
    registrar: Registrar,
) -> Option<u32> {
    let assumed = match registrar {
        Registrar::Owner { user, group } => request.as_owner((user, group)).map(Some),
        Registrar::Root => Ok(None),
    };
    let _assumed = assumed.ok()?;
    match compat_sys::open_backing(volume.device.as_fd(), file) {
        Ok(number) => Some(number),
        Err(error) => {
            if is_never_possible(&error, is_own) {
                volume.give_up_passthrough();
            }
            // This file cannot be registered, or not now.
            None
        }
    }
}

/// Whether no file of the volume can be registered: the right is missing (`EPERM`), or its file system is
/// stacked too deep (`ELOOP`). A file of another file system proves nothing. For example, `/proc` counts as
/// deep and is visible below the root until it is bound there.
fn is_never_possible(error: &std::io::Error, is_own: bool) -> bool {
    match error.raw_os_error() {
        Some(libc::EPERM) => true,
        Some(libc::ELOOP) => is_own,
        _ => false,
    }
}

/// Takes an open back. The last one by passthrough ends the registration.
pub(super) fn unregister(volume: &Volume, open: &OpenFile) {
    open.node.with_opens(None, |opens| {
        opens.copied -= u32::from(open.is_copied());
        if count_close(opens, open.passed, open.uses()) {
            // It fails only if the connection is gone, and the registration with it.
            let _ = compat_sys::close_backing(volume.device.as_fd(), opens.backing);
            if volume.cached.is_some() {
                open.node.facts().state().registered = None;
            }
        }
    });
}

/// Counts a close of an open. `passed` says whether it used passthrough. Returns whether it was the last one
/// by passthrough.
pub(super) fn count_close(opens: &mut Opens, passed: bool, uses: Uses) -> bool {
    let was_executed = opens.executed > 0;
    uses.end(opens);
    if passed {
        opens.passed -= 1;
    } else {
        opens.served -= 1;
    }
    let is_last = passed && opens.passed == 0;
    if is_last || was_executed && opens.executed == 0 {
        opens.held = false;
    }
    is_last
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: BackingOpener = BackingOpener { writes: true, is_root: true, keeps_set_id: true };
    const USER: BackingOpener = BackingOpener { writes: true, is_root: false, keeps_set_id: false };

    fn file(mode: u16, user: u32) -> Option<AccessAttributes> {
        Some(AccessAttributes { mode, user, group: 7, appends: false })
    }

    #[test]
    fn a_file_is_registered_in_its_owners_name() {
        let theirs = Some(Registrar::Owner { user: 5, group: 7 });
        for opener in [ROOT, USER] {
            assert_eq!(opener.registrar_of(file(0o100_666, 5), false, false), theirs);
        }
        assert_eq!(ROOT.registrar_of(file(0o100_644, 0), false, false), Some(Registrar::Root));
        let without_rights = Some(Registrar::Owner { user: 0, group: 7 });
        assert_eq!(ROOT.registrar_of(file(0o100_644, 0), false, true), without_rights);
    }

    #[test]
    fn nobody_writes_in_the_name_of_root() {
        for mode in [0o100_664, 0o100_646] {
            assert_eq!(ROOT.registrar_of(file(mode, 0), false, false), None, "{mode:o}");
            assert_eq!(ROOT.registrar_of(file(mode, 0), true, false), Some(Registrar::Root), "read-only");
        }
        assert_eq!(USER.registrar_of(file(0o100_644, 0), false, true), None);
        for registrar in [Registrar::Root, Registrar::Owner { user: 0, group: 0 }] {
            assert!(!USER.may_share(registrar));
            assert!(BackingOpener { writes: false, ..USER }.may_share(registrar));
        }
        assert!(
            BackingOpener { is_root: true, ..USER }.may_share(Registrar::Root),
            "root without capabilities"
        );
        assert!(USER.may_share(Registrar::Owner { user: 5, group: 5 }));
    }

    #[test]
    fn set_id_bits_stay_where_root_writes() {
        assert_eq!(ROOT.registrar_of(file(0o104_755, 5), false, false), None);
        assert!(USER.registrar_of(file(0o104_755, 5), false, false).is_some());
        assert_eq!(ROOT.registrar_of(None, false, false), None, "its attributes are unknown");
    }

    #[test]
    fn what_keeps_its_set_group_id_bit_by_the_writers_groups_is_served() {
        for mode in [0o102_644, 0o102_666, 0o106_646] {
            for opener in [ROOT, USER, BackingOpener { writes: false, ..USER }] {
                assert_eq!(opener.registrar_of(file(mode, 5), false, false), None, "{mode:o}");
            }
            let reader = BackingOpener { writes: false, ..USER };
            assert!(reader.registrar_of(file(mode, 5), true, false).is_some(), "{mode:o} read-only");
        }
        assert!(USER.registrar_of(file(0o102_755, 5), false, false).is_some());
    }

    #[test]
    fn what_may_only_be_appended_to_is_not_mapped_past_this_process() {
        let log = Some(AccessAttributes { mode: 0o100_600, user: 5, group: 7, appends: true });
        assert_eq!(USER.registrar_of(log, false, true), None);
        assert_eq!(BackingOpener { writes: false, ..USER }.registrar_of(log, false, true), None);
    }
}
