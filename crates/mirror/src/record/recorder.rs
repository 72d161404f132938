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

/// Which paths are recorded: those that an inclusion matches, or all without one, less the excluded.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only paths that one of these matches; all paths if it is absent.
    pub include: Option<GlobSet>,
    /// No paths that one of these matches.
    pub exclude: Option<GlobSet>,
}

impl Selection {
    fn takes(&self, path: &[u8]) -> bool {
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(path);
        let included = self.include.as_ref().is_none_or(|globs| globs.is_match(path));
        included && !self.exclude.as_ref().is_some_and(|globs| globs.is_match(path))
    }
}

/// The thread and process that opened something, and whether that is recorded.
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
    /// The opener of each open file: a release does not name it.
    openers: Mutex<HashMap<u64, OpenedBy>>,
    /// Whether the command has been started; what its process does before is ours.
    begun: AtomicBool,
}

impl Recorder {
    /// A recorder that waits for the command to begin.
    pub(super) fn new(queue: Arc<Queue>, selection: Selection) -> Self {
        Self {
            queue,
            selection,
            processes: ProcessTable::default(),
            openers: Mutex::default(),
            begun: AtomicBool::new(false),
        }
    }

    /// From now on everything is recorded.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// The mirror is mounted at this directory besides.
    pub(super) fn mounted_at(&self, directory: &std::path::Path) {
        self.processes.mounted_at(directory.as_os_str().as_encoded_bytes().to_vec());
    }

    /// Descendants of this process are not recorded until they have joined.
    pub(super) fn joining(&self, process: u32) {
        self.processes.set_rank(process, Membership::Joining);
    }

    /// Descendants of this process belong to this rank.
    pub(super) fn joined(&self, process: u32, rank: u32) {
        self.processes.set_rank(process, Membership::Rank(rank));
    }

    /// The process of the thread that asks, and what it executes from now on.
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

    /// The opener behind an event, and whether it is recorded; nothing for what is about an open that came before
    /// the beginning.
    fn judge(&self, event: &crate::mirror::Event<'_>, names: &EventNames, now: Instant) -> Option<OpenedBy> {
        let openers = || self.openers.lock().unwrap_or_else(PoisonError::into_inner);
        match event.action {
            // As the open was, whoever has the file now and whatever it is called by now.
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
    /// The other path of what has two, or what a symbolic link holds.
    other: Option<Bounded>,
    /// Whether that is a path of the mirror.
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

/// The number of the open that an action is about.
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
