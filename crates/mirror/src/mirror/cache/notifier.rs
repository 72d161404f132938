//! Expires names in the kernel. A thread of its own sends the notifications, because the kernel locks the directory for
//! them: a request that holds that lock may wait for this process.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::facts::Outdated;
use crate::mirror::number::NodeId;
use crate::mirror::wire::write_expired_entry;

/// The longest wait for the kernel. A request that itself holds the lock of the directory waits that long in vain.
const PATIENCE: Duration = Duration::from_millis(50);

/// The notifications of one volume.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Notifier {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(NodeId, Outdated)>,
    /// The directory whose names are being expired.
    current: Option<NodeId>,
    has_thread: bool,
}

impl Queue {
    fn concerns(&self, directory: NodeId) -> bool {
        self.current == Some(directory) || self.waiting.iter().any(|(other, _)| *other == directory)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier {
    /// Lets the kernel look up these names of a directory again before it uses them.
    pub(in crate::mirror) fn expire(&self, device: &Arc<OwnedFd>, directory: NodeId, names: Outdated) {
        if names.is_empty() {
            return;
        }
        let mut state = self.shared.state();
        if !state.has_thread {
            let (shared, device) = (Arc::clone(&self.shared), Arc::clone(device));
            let started = std::thread::Builder::new()
                .name("notifier".to_owned())
                .spawn(move || serve(&shared, &device));
            state.has_thread = started.is_ok();
            if !state.has_thread {
                drop(state);
                // The kernel then uses these names until their time is over.
                return;
            }
        }
        state.waiting.push_back((directory, names));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until the expired names of a directory are no longer used, but not for long.
    pub(in crate::mirror) fn settle(&self, directory: NodeId) {
        let mut state = self.shared.state();
        if !state.concerns(directory) {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        while state.concerns(directory) {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            state = self.shared.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn serve(shared: &Shared, device: &OwnedFd) {
    let mut message = Vec::new();
    let mut state = shared.state();
    loop {
        let Some((directory, names)) = state.waiting.pop_front() else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.current = Some(directory);
        drop(state);
        for name in names {
            message.clear();
            write_expired_entry(&mut message, directory, &name);
            // A failure means that the kernel does not know the name or has unmounted the volume.
            let _ = rustix::io::write(device, &message);
        }
        state = shared.state();
        state.current = None;
        shared.changed.notify_all();
    }
}
