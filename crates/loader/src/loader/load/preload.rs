//! Objects that `/etc/ld.so.preload` names (ld.so(8)).
//!
//! Source: `do_preload` and `handle_preload_list` in glibc's `elf/rtld.c`. musl does not read the file.

use super::Loading;
use crate::loader::search::Outcome;
use crate::loader::{Edge, EdgeKind, Problem, Reason, Rejection, Rule};
use compat_sys::raw;

impl Loading<'_> {
    /// Adds the objects that `/etc/ld.so.preload` names. A missing one is ignored (ld.so(8)).
    pub(super) fn add_preloads(&mut self) {
        if self.loader.is_musl() {
            return;
        }
        let Ok(data) = self.files().read("/etc/ld.so.preload") else { return };
        let text = raw::string(&data);
        let uncommented = text.split('\n').map(|line| line.split('#').next().unwrap_or_default());
        // A comma and a carriage return are part of the name.
        let names = uncommented.flat_map(|line| line.split([' ', '\t', ':'])).filter(|name| !name.is_empty());
        for name in names {
            let name = self.search.expand(name, &self.load.objects[0]);
            match self.search.find(&name, 0, &self.load.objects) {
                Outcome::Found(opened, path, _) => {
                    self.tell_unsure(&name, &path, "/etc/ld.so.preload");
                    let outcome = self.push(opened, path, vec![name.clone()], Some(0), Rule::Preload);
                    self.load.objects[0].edges.push(Edge { name, kind: EdgeKind::Preload, outcome });
                }
                Outcome::Stopped { reason, .. } => self.tell_ignored_preload(name, &reason.to_string(), &[]),
                Outcome::Missing { rejected, .. } | Outcome::NotInjected { rejected, .. } => {
                    self.tell_ignored_preload(name, "cannot open shared object file", &rejected);
                }
            }
        }
    }

    /// Records that a preload is ignored, unless a saved host may have it.
    fn tell_ignored_preload(&mut self, library: String, reason: &str, rejected: &[Rejection]) {
        let class = rejected.iter().find(|file| matches!(file.reason, Reason::WrongClass(_)));
        if !rejected.iter().any(|file| file.reason == Reason::Unrecorded) {
            let reason = class.map_or_else(|| reason.to_owned(), |file| file.reason.to_string());
            self.object_once(Problem::PreloadIgnored { library, reason });
        }
    }
}
