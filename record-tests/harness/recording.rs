//! A recording as sets of paths.

use std::collections::BTreeSet;
use std::path::Path;

use compat_trace::{End, Ending, Event, EventKind, Header, Reader};

/// A complete recording.
pub struct Recording {
    pub header: Header,
    pub events: Vec<Event>,
    pub end: End,
}

/// Reads a log, which must be complete.
pub fn read(path: &Path) -> Recording {
    let bytes = std::fs::read(path).expect("a log");
    assert!(bytes.ends_with(b"\n"), "the last line is incomplete");
    let mut reader = Reader::new(path.display().to_string(), &bytes[..]).expect("a header");
    let events: Vec<Event> = reader.by_ref().collect::<Result<_, _>>().expect("events");
    let Some(Ending::Whole(end)) = reader.ending().cloned() else { panic!("no end") };
    assert_eq!(reader.unknown(), 0);
    Recording { header: reader.header().clone(), events, end }
}

impl Recording {
    /// Returns the paths of successful events of these kinds for which `wanted` holds.
    pub fn paths(&self, kinds: &[EventKind], wanted: impl Fn(&Event) -> bool) -> BTreeSet<String> {
        let taken = self.events.iter().filter(|event| kinds.contains(&event.event) && event.error.is_none());
        taken.filter(|event| wanted(event)).map(|event| event.path.text().into_owned()).collect()
    }

    /// Returns the number of opens that were read and written through the mirror. Their written bytes are
    /// known. They are unknown if the kernel bypassed the mirror.
    pub fn served(&self) -> usize {
        self.events.iter().filter(|event| event.written.is_some()).count()
    }

    /// Returns the paths that were looked up and not found, except those that the same thread created at
    /// once.
    pub fn missed(&self, wanted: impl Fn(&Event) -> bool) -> BTreeSet<String> {
        let mut missed = BTreeSet::new();
        for (position, event) in self.events.iter().enumerate() {
            if event.event != EventKind::Lookup || event.error.as_deref() != Some("ENOENT") || !wanted(event)
            {
                continue;
            }
            // A close is recorded when the kernel reports it, whatever its thread does by then.
            let closes = |next: &&Event| matches!(next.event, EventKind::Close | EventKind::CloseDirectory);
            let mut following = self.events[position + 1..].iter().filter(|next| !closes(next));
            let next = following.find(|next| next.tid == event.tid);
            let made = next.is_some_and(|next| {
                let makes = matches!(
                    next.event,
                    EventKind::Create
                        | EventKind::MakeDirectory
                        | EventKind::SymbolicLink
                        | EventKind::HardLink
                        | EventKind::MakeNode
                );
                let moves = next.event == EventKind::Rename && next.other.as_ref() == Some(&event.path);
                (makes && next.path == event.path) || moves
            });
            if !made {
                missed.insert(event.path.text().into_owned());
            }
        }
        missed
    }
}
