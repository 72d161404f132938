//! A request, and how something is done for its caller.
//!
//! What is done as the caller is decided by the file system below, at that moment and by its own rules. Two kinds of
//! callers may natively do more than this process can see: those with capabilities in another user namespace, which
//! count for files of that namespace's users, and those whose groups cannot be read. What is refused to these is tried
//! once more with the right that is missing, after it was checked that they have it.

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

/// One request while it is answered.
pub(super) struct Request<'a> {
    pub header: Header,
    /// The caller's group that matters for a creation.
    supplementary: Option<u32>,
    credentials: &'a Credentials,
    identity: OnceCell<CallerIdentity>,
}

/// What an action is about: whose attributes decide whether it is allowed.
#[derive(Clone, Copy, Default)]
pub(super) struct Subject<'a> {
    nodes: [Option<&'a Arc<Node>>; 4],
    owned: Option<&'a Arc<Node>>,
    mask: Option<u32>,
    gives_away: bool,
    reads: bool,
}

impl<'a> Subject<'a> {
    /// Something is changed in or of this node.
    pub(super) fn of(node: &'a Arc<Node>) -> Self {
        Self { nodes: [Some(node), None, None, None], ..Self::default() }
    }

    /// Nothing is changed.
    pub(super) fn reading(node: &'a Arc<Node>) -> Self {
        Self { reads: true, ..Self::of(node) }
    }

    /// This one decides, too.
    pub(super) fn and(mut self, node: Option<&'a Arc<Node>>) -> Self {
        if let Some(free) = self.nodes.iter_mut().find(|other| other.is_none()) {
            *free = node;
        }
        self
    }

    /// The owner of this node may do it.
    pub(super) fn owned(mut self, node: Option<&'a Arc<Node>>) -> Self {
        self.owned = node;
        self.and(node)
    }

    /// Something is made, with this creation mask.
    pub(super) fn making(mut self, mask: u32) -> Self {
        self.mask = Some(mask);
        self
    }

    /// The owner is changed.
    pub(super) fn giving_away(mut self) -> Self {
        self.gives_away = true;
        self
    }

    fn nodes(&self) -> impl Iterator<Item = &'a Arc<Node>> {
        self.nodes.into_iter().flatten()
    }
}

impl<'a> Request<'a> {
    /// A request as its message has it.
    pub(super) fn new(message: &RequestMessage<'_>, credentials: &'a Credentials) -> Self {
        let RequestMessage { header, supplementary, .. } = *message;
        Self { header, supplementary, credentials, identity: OnceCell::new() }
    }

    /// The caller, as events name it.
    pub(super) fn caller(&self) -> Caller {
        Caller { thread: self.header.thread, user: self.header.user, group: self.header.group }
    }

    /// The caller's identity, which is found out at the first use.
    pub(super) fn identity(&self) -> &CallerIdentity {
        self.identity.get_or_init(|| self.credentials.identify(&self.header, self.supplementary))
    }

    /// Whether the caller's capabilities are those of another user namespace.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.identity().standing, Standing::Foreign(_))
    }

    /// Does something as the caller.
    ///
    /// # Errors
    ///
    /// Those of `act`, which is called again where the first refusal was not the last word; `ESTALE` where the
    /// kernel's decision came from old attributes; `EPERM` where this process cannot act for the caller; `EROFS`
    /// where others than root may not write ([`Volume::is_closed_to_others`]).
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

    /// A caller without all rights does something.
    fn notice(&self, volume: &Volume, subject: &Subject<'_>) -> Result<(), Errno> {
        let (options, standing) = (&volume.options, self.identity().standing);
        if options.only_user.is_some() {
            return Ok(());
        }
        options.sharing.noticed();
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

    /// Sees to it that the kernel has not let the caller pass a directory above the node that was closed since. What the
    /// caller may search now it might have searched before.
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

    /// The identity with a right that the caller has natively and that was not seen at first.
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

    /// In its own user namespace the caller has these capabilities over what belongs to users and groups that the
    /// namespace has (`capable_wrt_inode_uidgid`).
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
        // As the owner that was looked at: where somebody else has it by then, nothing is done.
        let owned = subject.owned.filter(|_| capabilities.contains(CapabilitySet::FOWNER));
        if let Some((_, owner)) =
            owned.and_then(|owned| owners.iter().find(|(node, _)| Arc::ptr_eq(node, owned)))
        {
            (identity.user, identity.group) = *owner;
        }
        Ok(Some(identity))
    }

    /// Becomes the one whose limits count where this file, which is open, is written, as long as what is returned lives.
    ///
    /// # Errors
    ///
    /// `EPERM` where this process cannot act for the caller.
    pub(super) fn as_writer(&self, node: &Node) -> Result<Assumed<'_>, Errno> {
        let mut writer = self.credentials.identify_writer(&self.header);
        if node.told().is_some_and(AccessAttributes::depends_on_groups) {
            writer.groups.clone_from(&self.identity().groups);
        }
        self.credentials.assume(&writer, None)
    }

    /// The same where the kernel writes back what was stored through a mapping, for the one who opened the file. It leaves
    /// set-id bits as they are.
    ///
    /// # Errors
    ///
    /// As above.
    pub(super) fn as_mapper(&self, opener: Caller) -> Result<Assumed<'_>, Errno> {
        let identity = self.credentials.identify_mapper((opener.user, opener.group));
        self.credentials.assume(&identity, None)
    }

    /// Becomes the owner of a file that is registered for passthrough.
    ///
    /// # Errors
    ///
    /// `EPERM` where this process cannot act for that user.
    pub(super) fn as_owner(&self, owner: (u32, u32)) -> Result<Assumed<'_>, Errno> {
        self.credentials.assume_owner(owner)
    }
}
