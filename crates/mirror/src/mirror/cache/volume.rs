//! A volume that is cached.

use std::sync::Arc;

use rustix::io::Errno;

use super::{Cache, CachedVolume};
use crate::mirror::attribute;
use crate::mirror::node::Node;
use crate::mirror::volume::Volume;

impl Volume {
    /// Keeps what is known about the files of the volume, and reads copies of them. A volume of a single file is not
    /// cached: the kernel would not notice that the file has grown.
    ///
    /// # Errors
    ///
    /// If the attributes of the root cannot be read.
    pub fn cached_by(mut self, cache: Arc<dyn Cache>) -> Result<Self, Errno> {
        if !self.table.root.is_directory() {
            return Ok(self);
        }
        let root = self.reach(&self.table.root)?;
        attribute::ignore_uncertain_births(&root)?;
        self.table.became(&self.table.root, &attribute::of_file(&*root)?);
        self.cached = Some(CachedVolume::new(cache, attribute::of_file(&*root)?));
        self.table.keep_facts();
        Ok(self)
    }

    /// Makes the volume available to work in the background.
    pub(in crate::mirror) fn introduce(self: &Arc<Self>) {
        let _ = self.me.set(Arc::downgrade(self));
    }

    /// Does work in the background, with the rights of the threads that answer requests.
    pub fn later(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(cached) = &self.cached {
            let _ = cached.patience.later(self.options.only_user.is_some(), work);
        }
    }

    /// Returns this volume for work in the background.
    pub(in crate::mirror) fn itself(&self) -> Option<Arc<Self>> {
        self.me.get()?.upgrade()
    }

    /// Records that a file or directory is about to be changed through the mirror, or was changed just now.
    pub(in crate::mirror) fn change(&self, node: &Node) {
        if let Some(cached) = &self.cached {
            cached.change();
            node.facts().change();
        }
    }

    /// Records that a name in a directory is about to be changed through the mirror, or was changed just now.
    pub(in crate::mirror) fn change_name(&self, directory: &Node, name: &[u8]) {
        if let Some(cached) = &self.cached {
            cached.change();
            directory.facts().change_name(name);
        }
    }

    /// Records a request of a caller without all rights. When the first one comes, the kernel forgets the names that it
    /// keeps for a long time.
    pub(in crate::mirror) fn noticed(&self) {
        if !self.options.sharing.noticed() {
            return;
        }
        let Some(cached) = &self.cached else { return };
        for node in self.table.all().iter().filter(|node| node.is_directory()) {
            let names = node.facts().state().directory().long_names();
            cached.notifier.expire(&self.device, node.number, names);
        }
    }
}
