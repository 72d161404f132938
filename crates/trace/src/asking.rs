//! Finds the name under which a program looked for a file. A recording contains the path that is reached in the end,
//! but the loader often searches for the name of a link (`libz.so.1` leads to `libz.so.1.2.13`). The same thread then
//! reads the link, looks up its target, and opens the target.

use std::collections::HashMap;

use super::document::{Event, EventKind};
use super::name::Name;

/// The links that threads are following.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    following: HashMap<u32, Following>,
}

#[derive(Debug)]
struct Following {
    /// The last component of the first link.
    name: Name,
    /// The path that was looked up after the link. `None` if the kernel had it in its cache.
    target: Option<Name>,
}

impl Asking {
    /// Returns the name under which a program looked for an opened library or executed program, if that was a link.
    pub(crate) fn name_of(&mut self, event: &Event) -> Option<Name> {
        match (event.event, &event.error) {
            (EventKind::ReadLink, None) => self.link(event),
            (EventKind::Lookup, None) => self.found(event),
            (EventKind::Open, None) => return self.opened(event),
            (EventKind::Close | EventKind::CloseDirectory | EventKind::FirstRead, _) => {}
            _ => {
                self.following.remove(&event.tid);
            }
        }
        None
    }

    fn link(&mut self, event: &Event) {
        let (tid, name) = (event.tid, Name::from(last_part(&event.path.0)));
        match self.following.get_mut(&tid) {
            // A link to a link.
            Some(following) if following.target.as_ref() == Some(&event.path) => following.target = None,
            _ => {
                self.following.insert(tid, Following { name, target: None });
            }
        }
    }

    fn found(&mut self, event: &Event) {
        let Some(following) = self.following.get_mut(&event.tid) else { return };
        match &following.target {
            None => following.target = Some(event.path.clone()),
            Some(target) if *target == event.path => {}
            // A link to a directory, or a different path.
            Some(target) if is_within(&event.path.0, &target.0) => {
                following.target = Some(event.path.clone())
            }
            Some(_) => {
                self.following.remove(&event.tid);
            }
        }
    }

    fn opened(&mut self, event: &Event) -> Option<Name> {
        let following = self.following.remove(&event.tid)?;
        let is_reached = following.target.as_ref() == Some(&event.path);
        let is_meant = if is_library(&event.path.0) {
            is_library(&following.name.0) && (is_reached || following.target.is_none())
        } else {
            event.exec && is_reached && !is_library(&following.name.0)
        };
        let is_other = following.name.0 != last_part(&event.path.0);
        (is_meant && is_other).then_some(following.name)
    }
}

/// Whether a path is inside a directory.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

/// The part after the last slash.
pub(crate) fn last_part(path: &[u8]) -> &[u8] {
    &path[memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1)..]
}

/// The part before the last slash: the directory of the path.
pub(crate) fn directory(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', path) {
        None | Some(0) => b"/",
        Some(slash) => &path[..slash],
    }
}

/// Whether a path has the name of a shared object: it ends with `.so`, or with `.so.` and a version.
pub fn is_library(path: &[u8]) -> bool {
    let name = last_part(path);
    let Some(end) = memchr::memmem::rfind(name, b".so") else { return false };
    let version = &name[end + 3..];
    let is_version = |rest: &[u8]| {
        rest.first().is_some_and(u8::is_ascii_digit)
            && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
    };
    end > 0 && (version.is_empty() || version.strip_prefix(b".").is_some_and(is_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_objects_are_recognised_by_name() {
        for name in ["/a/libz.so", "libz.so.1", "libstdc++.so.6.0.30", "_ssl.cpython-311-x86_64-linux-gnu.so"]
        {
            assert!(is_library(name.as_bytes()), "{name}");
        }
        for name in
            ["/etc/ld.so.cache", "ld.so.conf", ".so", "a.so/b", "libstdc++.so.6.0.30-gdb.py", "a.sock"]
        {
            assert!(!is_library(name.as_bytes()), "{name}");
        }
        assert_eq!(
            (directory(b"/a"), directory(b"/a/b"), directory(b"a")),
            (&b"/"[..], &b"/a"[..], &b"/"[..])
        );
    }

    fn asked(steps: &[(EventKind, &str)]) -> Option<String> {
        let mut asking = Asking::default();
        let mut last = None;
        for (kind, path) in steps {
            let text = format!(
                r#"{{"t":1,"event":"{}","path":"{path}","pid":1,"tid":1,"ppid":1,"exe":"/a","uid":0}}"#,
                kind.word()
            );
            last = asking.name_of(&serde_json::from_str(&text).expect("an event"));
        }
        last.map(|name| name.text().into_owned())
    }

    #[test]
    fn the_name_is_that_of_the_first_link() {
        use EventKind::{Lookup, Open, ReadLink};
        let one = [(ReadLink, "/l/libz.so.1"), (Lookup, "/l/libz.so.1.2"), (Open, "/l/libz.so.1.2")];
        assert_eq!(asked(&one).as_deref(), Some("libz.so.1"));
        let remembered = [(ReadLink, "/l/libz.so.1"), (Open, "/l/libz.so.1.2")];
        assert_eq!(asked(&remembered).as_deref(), Some("libz.so.1"));
        let chain = [
            (ReadLink, "/l/libb.so.3"),
            (Lookup, "/alt"),
            (Lookup, "/alt/libb.so.3"),
            (ReadLink, "/alt/libb.so.3"),
            (Lookup, "/o/libopenb.so"),
            (Open, "/o/libopenb.so"),
        ];
        assert_eq!(asked(&chain).as_deref(), Some("libb.so.3"));
        let other = [(ReadLink, "/l/liba.so.1"), (Lookup, "/l/liba.so.1.2"), (Open, "/l/libz.so.1.2")];
        assert_eq!(asked(&other), None);
        let directory = [(ReadLink, "/lib"), (Lookup, "/usr/lib"), (Open, "/usr/lib/libz.so.1.2")];
        assert_eq!(asked(&directory), None);
    }
}
