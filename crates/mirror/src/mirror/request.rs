//! A request, and actions with its caller's credentials.
//!
//! The underlying file system decides about an action at that moment and by its own rules. Two kinds of
//! callers may natively have more rights than this process can see. The first have capabilities in another
//! user namespace, which apply to files of that namespace's users. The groups of the second cannot be read.
//! If an action of these callers is refused, the mirror checks whether they have the missing right. If so, it
//! tries the action once more with that right.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::arguments::RequestMessage;
use super::caller_status::IdMaps;
use super::identity::{Assumed, CallerIdentity, Credentials, Standing};
use super::node::{AccessAttributes, Node};
use super::observer::Caller;
use super::volume::{Volume, self_path};
use super::wire::Header;

/// One request that is being answered.
pub(super) struct Request<'a> {
    pub header: Header,
    /// The caller's group that matters for a creation.
    supplementary: Option<u32>,
    credentials: &'a Credentials,
    identity: OnceCell<CallerIdentity>,
}

/// The subject of an action: the nodes with the attributes that decide whether the action is allowed.
#[derive(Clone, Copy, Default)]
pub(super) struct Subject<'a> {
    nodes: [Option<&'a Arc<Node>>; 4],
    owned: Option<&'a Arc<Node>>,
    mask: Option<u32>,
    gives_away: bool,
    reads: bool,
}

impl<'a> Subject<'a> {
    /// The action changes this node or its content.
    pub(super) fn of(node: &'a Arc<Node>) -> Self {
        Self { nodes: [Some(node), None, None, None], ..Self::default() }
    }

    /// The action changes nothing.
    pub(super) fn reading(node: &'a Arc<Node>) -> Self {
        Self { reads: true, ..Self::of(node) }
    }

    /// This node decides as well.
    pub(super) fn and(mut self, node: Option<&'a Arc<Node>>) -> Self {
        if let Some(free) = self.nodes.iter_mut().find(|other| other.is_none()) {
            *free = node;
        }
        self
    }

    /// The owner of this node is allowed to do the action.
    pub(super) fn owned(mut self, node: Option<&'a Arc<Node>>) -> Self {
        self.owned = node;
        self.and(node)
    }

    /// The action creates a file with this creation mask.
    pub(super) fn making(mut self, mask: u32) -> Self {
        self.mask = Some(mask);
        self
    }

    /// The action changes the owner.
    pub(super) fn giving_away(mut self) -> Self {
        self.gives_away = true;
        self
    }

    fn nodes(&self) -> impl Iterator<Item = &'a Arc<Node>> {
        self.nodes.into_iter().flatten()
    }
}

impl<'a> Request<'a> {
    /// Creates a request from its message.
    pub(super) fn new(message: &RequestMessage<'_>, credentials: &'a Credentials) -> Self {
        let RequestMessage { header, supplementary, .. } = *message;
        Self { header, supplementary, credentials, identity: OnceCell::new() }
    }

    /// Returns the caller, as events name it.
    pub(super) fn caller(&self) -> Caller {
        Caller { thread: self.header.thread, user: self.header.user, group: self.header.group }
    }

    /// Returns the caller's credentials, which are determined at the first call.
    pub(super) fn identity(&self) -> &CallerIdentity {
        self.identity.get_or_init(|| self.credentials.identify(&self.header, self.supplementary))
    }

    /// Whether the caller's capabilities belong to another user namespace.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.identity().standing, Standing::Foreign(_))
    }

    /// Runs `act` with the caller's credentials. After a refusal that is not final, `act` is called again.
    ///
    /// # Errors
    ///
    /// If `act` fails, if the kernel decided with old attributes (`ESTALE`), if this process cannot act for
    /// the caller (`EPERM`), or if only root may write (`EROFS`, [`Volume::is_closed_to_others`]).
    pub(super) fn act<T>(
        &self,
        volume: &Volume,
        subject: Subject<'_>,
        mut act: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let identity = self.identity();
        if identity.standing != Standing::Full {
            self.notice(volume, &subject)?;
        }
        let result = {
            let _assumed = self.credentials.assume(identity, subject.mask)?;
            act()
        };
        match result {
            Err(refusal @ (Errno::ACCESS | Errno::PERM)) => match self.beyond(volume, &subject)? {
                Some(more) => {
                    let _assumed = self.credentials.assume(&more, subject.mask)?;
                    act()
                }
                None => Err(refusal),
            },
            other => other,
        }
    }

    /// Records an action of a caller without all rights.
    fn notice(&self, volume: &Volume, subject: &Subject<'_>) -> Result<(), Errno> {
        let (options, standing) = (&volume.options, self.identity().standing);
        if options.only_user.is_some() {
            return Ok(());
        }
        volume.noticed();
        if standing == Standing::Unseen {
            return Ok(());
        }
        if !subject.reads && volume.is_closed_to_others() {
            return Err(Errno::ROFS);
        }
        if options.sharing.is_new() {
            subject.nodes().try_for_each(|node| self.check_way(volume, node))
        } else {
            Ok(())
        }
    }

    /// Checks that the kernel has not let the caller pass a directory above the node that was closed since.
    /// If the caller may search the directory now, it may have been allowed to search it before.
    fn check_way(&self, volume: &Volume, node: &Arc<Node>) -> Result<(), Errno> {
        let changed = volume.changed_above(node)?;
        if changed.is_empty() {
            return Ok(());
        }
        let _assumed = self.credentials.assume(self.identity(), None)?;
        let may_search = |directory: &Arc<OwnedFd>| {
            rustix::fs::accessat(CWD, self_path(directory), rustix::fs::Access::EXEC_OK, AtFlags::EACCESS)
                .is_ok()
        };
        if changed.iter().all(may_search) { Ok(()) } else { Err(Errno::STALE) }
    }

    /// Returns the credentials with a right that the caller has natively and that was not visible at first.
    fn beyond(&self, volume: &Volume, subject: &Subject<'_>) -> Result<Option<CallerIdentity>, Errno> {
        if volume.options.only_user.is_some() {
            return Ok(self.credentials.raised(&self.header));
        }
        let identity = self.identity();
        match identity.standing {
            Standing::Full | Standing::Unseen | Standing::Known => Ok(None),
            Standing::Foreign(capabilities) => self.in_namespace(volume, subject, capabilities),
            Standing::Unknown => {
                let mut groups = identity.groups.clone();
                for node in subject.nodes() {
                    groups.push(volume.confirm(node)?.group);
                }
                Ok(Some(CallerIdentity { groups, ..identity.clone() }))
            }
        }
    }

    /// Returns the credentials for a caller with capabilities in its user namespace. They apply to files of
    /// users and groups that the namespace maps (`capable_wrt_inode_uidgid`).
    fn in_namespace(
        &self,
        volume: &Volume,
        subject: &Subject<'_>,
        capabilities: CapabilitySet,
    ) -> Result<Option<CallerIdentity>, Errno> {
        let Some(maps) = IdMaps::read(self.header.thread) else { return Ok(None) };
        let mut owners = Vec::new();
        for node in subject.nodes() {
            owners.push((node, volume.owner(node)?));
        }
        if !owners.iter().all(|(_, owner)| maps.has(*owner)) {
            return Ok(None);
        }
        let mut over = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        over.set(CapabilitySet::CHOWN, subject.gives_away);
        let mut identity = CallerIdentity { capabilities: capabilities & over, ..self.identity().clone() };
        // The owner was read before. If the file has another owner by now, nothing is done.
        let owned = subject.owned.filter(|_| capabilities.contains(CapabilitySet::FOWNER));
        if let Some((_, owner)) =
            owned.and_then(|owned| owners.iter().find(|(node, _)| Arc::ptr_eq(node, owned)))
        {
            (identity.user, identity.group) = *owner;
        }
        Ok(Some(identity))
    }

    /// Takes on the credentials that limit writes to this open file, until the result is dropped.
    ///
    /// # Errors
    ///
    /// If this process cannot act for the caller (`EPERM`).
    pub(super) fn as_writer(&self, node: &Node) -> Result<Assumed<'_>, Errno> {
        let mut writer = self.credentials.identify_writer(&self.header);
        if node.told().is_some_and(AccessAttributes::depends_on_groups) {
            writer.groups.clone_from(&self.identity().groups);
        }
        self.credentials.assume(&writer, None)
    }

    /// Like [`Self::as_writer`], but for writeback of pages that were stored through a mapping: the opener's
    /// limits apply. Writeback leaves set-id bits as they are.
    ///
    /// # Errors
    ///
    /// If this process cannot act for the opener (`EPERM`).
    pub(super) fn as_mapper(&self, opener: Caller) -> Result<Assumed<'_>, Errno> {
        let identity = self.credentials.identify_mapper((opener.user, opener.group));
        self.credentials.assume(&identity, None)
    }

    /// Takes on the credentials of the owner of a file that is registered for passthrough.
    ///
    /// # Errors
    ///
    /// If this process cannot act for that user (`EPERM`).
    pub(super) fn as_owner(&self, owner: (u32, u32)) -> Result<Assumed<'_>, Errno> {
        self.credentials.assume_owner(owner)
    }
}
