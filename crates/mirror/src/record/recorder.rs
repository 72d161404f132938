//! Turns the mirror's notifications into events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use globset::GlobSet;

use super::bounded::Bounded;
use super::log::Queue;
use super::process::{Membership, ProcessTable, Purpose, RecordedProcess};
use crate::mirror::{Action, Observer, Traffic};
use compat_trace::{Cut, Event, EventKind, error_name};

/// Selects the paths to record: those that an inclusion matches, or all without inclusions, except for excluded ones.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only paths that match one of these. All paths if absent.
    pub include: Option<GlobSet>,
    /// No paths that match one of these.
    pub exclude: Option<GlobSet>,
}

impl Selection {
    fn takes(&self, path: &[u8]) -> bool {
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(path);
        let included = self.include.as_ref().is_none_or(|globs| globs.is_match(path));
        included && !self.exclude.as_ref().is_some_and(|globs| globs.is_match(path))
    }
}

/// The thread and process that opened a file, and whether that is recorded.
#[derive(Clone, Debug)]
struct OpenedBy {
    thread: u32,
    process: Arc<RecordedProcess>,
    recorded: bool,
}

/// Turns requests into events and queues them.
#[derive(Debug)]
pub(super) struct Recorder {
    queue: Arc<Queue>,
    selection: Selection,
    processes: ProcessTable,
    /// The opener of each open file, because a FUSE_RELEASE request does not contain it.
    openers: Mutex<HashMap<u64, OpenedBy>>,
    /// Whether the command has started. Earlier actions of its process belong to the recorder.
    begun: AtomicBool,
}

impl Recorder {
    /// Creates a recorder that waits for the command to begin.
    pub(super) fn new(queue: Arc<Queue>, selection: Selection) -> Self {
        Self {
            queue,
            selection,
            processes: ProcessTable::new(),
            openers: Mutex::default(),
            begun: AtomicBool::new(false),
        }
    }

    /// Starts recording.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Sets the external mount point of the mirror.
    pub(super) fn mounted_at(&self, directory: &std::path::Path) {
        self.processes.mounted_at(directory.as_os_str().as_encoded_bytes().to_vec());
    }

    /// Excludes the descendants of this process until they have joined.
    pub(super) fn joining(&self, process: u32) {
        self.processes.set_rank(process, Membership::Joining);
    }

    /// Assigns the descendants of this process to a rank.
    pub(super) fn joined(&self, process: u32, rank: u32) {
        self.processes.set_rank(process, Membership::Rank(rank));
    }

    /// Returns the process of the calling thread, and notes an execution.
    fn process(&self, event: &crate::mirror::Event<'_>, now: Instant) -> Arc<RecordedProcess> {
        let thread = event.caller.thread;
        let asking = match event.action {
            Action::Open { flags, .. } if flags & Action::EXECUTE != 0 => Purpose::Execution,
            Action::Open { .. } | Action::Create { .. } => Purpose::Open,
            _ => Purpose::Other,
        };
        let process = self.processes.of(thread, now, asking);
        if asking == Purpose::Execution && event.error.is_none() {
            self.processes.executes(thread, process.pid, event.path);
        }
        process
    }

    /// Returns the opener for an event, and whether the event is recorded. Returns `None` if the event concerns a file
    /// that was opened before the beginning.
    fn judge(&self, event: &crate::mirror::Event<'_>, names: &EventNames, now: Instant) -> Option<OpenedBy> {
        let openers = || self.openers.lock().unwrap_or_else(PoisonError::into_inner);
        match event.action {
            // A close is recorded if the open was, regardless of the current process and name of the file.
            Action::Close { open, .. } | Action::CloseDirectory { open } => return openers().remove(&open),
            Action::FirstRead { open } => return openers().get(&open).cloned(),
            _ => {}
        }
        let thread = event.caller.thread;
        let process = self.process(event, now);
        let ours = process.membership == Some(Membership::Joining);
        let selected = || {
            let takes = |bounded: &Bounded| self.selection.takes(&bounded.name.0);
            takes(&names.path) || names.other.as_ref().filter(|_| names.is_path).is_some_and(takes)
        };
        let opener = OpenedBy { thread, recorded: !ours && selected(), process };
        if let Some(open) = open_of(&event.action).filter(|_| event.error.is_none()) {
            openers().insert(open, opener.clone());
        }
        Some(opener)
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &crate::mirror::Event<'_>) {
        if !self.begun.load(Ordering::Acquire) {
            return;
        }
        let names = EventNames::of(event);
        if let Some(opener) = self.judge(event, &names, Instant::now()).filter(|opener| opener.recorded) {
            self.queue.put(to_event(event, names, opener.thread, &opener.process));
        }
    }
}

/// The names of an event.
struct EventNames {
    path: Bounded,
    /// The second path of a rename or link, or the content of a symbolic link.
    other: Option<Bounded>,
    /// Whether `other` is a path in the mirror.
    is_path: bool,
}

impl EventNames {
    fn of(event: &crate::mirror::Event<'_>) -> Self {
        let (other, is_path) = match event.action {
            Action::Rename { to: other, .. } | Action::HardLink { from: other } => (Some(other), true),
            Action::SymbolicLink { target } => (Some(target), false),
            _ => (None, false),
        };
        Self { path: Bounded::from(event.path), other: other.map(Bounded::from), is_path }
    }
}

/// Returns the number of the open that an action concerns.
fn open_of(action: &Action<'_>) -> Option<u64> {
    match action {
        Action::Open { open, .. }
        | Action::Create { open, .. }
        | Action::OpenDirectory { open }
        | Action::FirstRead { open }
        | Action::Close { open, .. }
        | Action::CloseDirectory { open } => Some(*open),
        _ => None,
    }
}

fn to_event(
    event: &crate::mirror::Event<'_>,
    names: EventNames,
    tid: u32,
    process: &RecordedProcess,
) -> Event {
    let traffic = match event.action {
        Action::Close { traffic, .. } => traffic,
        _ => None,
    };
    let cut = Cut {
        path: names.path.cut,
        other: names.other.as_ref().and_then(|other| other.cut),
        exe: process.exe.cut,
    };
    Event {
        t: 0,
        event: kind_of(&event.action),
        path: names.path.name,
        error: event.error.map(|error| error_name(error.raw_os_error()).into_owned()),
        open: open_of(&event.action).filter(|_| event.error.is_none()),
        flags: flags_of(&event.action),
        exec: matches!(event.action, Action::Open { flags, .. } if flags & Action::EXECUTE != 0),
        other: names.other.map(|other| other.name),
        mode: mode_of(&event.action),
        size: if let Action::Truncate { size } = event.action { Some(size) } else { None },
        read: traffic.and_then(|Traffic { read, .. }| read),
        written: traffic.map(|Traffic { written, .. }| written),
        pid: process.pid,
        tid,
        ppid: process.ppid,
        exe: process.exe.name.clone(),
        uid: event.caller.user,
        rank: match process.membership {
            Some(Membership::Rank(rank)) => Some(rank),
            Some(Membership::Joining) | None => None,
        },
        cut: Some(cut).filter(|cut| *cut != Cut::default()),
    }
}

fn flags_of(action: &Action<'_>) -> Option<u32> {
    match *action {
        Action::Open { flags, .. } | Action::Create { flags, .. } => Some(flags & !Action::EXECUTE),
        Action::Rename { flags, .. } => Some(flags).filter(|flags| *flags != 0),
        _ => None,
    }
}

fn mode_of(action: &Action<'_>) -> Option<u32> {
    match *action {
        Action::Create { mode, .. } | Action::MakeDirectory { mode } | Action::MakeNode { mode } => {
            Some(mode)
        }
        _ => None,
    }
}

fn kind_of(action: &Action<'_>) -> EventKind {
    match action {
        Action::Lookup => EventKind::Lookup,
        Action::Open { .. } => EventKind::Open,
        Action::Create { .. } => EventKind::Create,
        Action::OpenDirectory { .. } => EventKind::OpenDirectory,
        Action::FirstRead { .. } => EventKind::FirstRead,
        Action::Close { .. } => EventKind::Close,
        Action::CloseDirectory { .. } => EventKind::CloseDirectory,
        Action::ReadLink => EventKind::ReadLink,
        Action::SymbolicLink { .. } => EventKind::SymbolicLink,
        Action::HardLink { .. } => EventKind::HardLink,
        Action::MakeDirectory { .. } => EventKind::MakeDirectory,
        Action::MakeNode { .. } => EventKind::MakeNode,
        Action::Unlink => EventKind::Unlink,
        Action::RemoveDirectory => EventKind::RemoveDirectory,
        Action::Rename { .. } => EventKind::Rename,
        Action::Truncate { .. } => EventKind::Truncate,
    }
}
