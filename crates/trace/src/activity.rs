//! Counts of the actions of a program, a process or a rank.

use schemars::JsonSchema;
use serde::Serialize;

/// Counts of one program, process or rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Activity {
    /// All events.
    pub events: u64,
    /// Opens of files that succeeded, those of creations and executions included.
    pub opened: u64,
    /// Files, directories, links and nodes that were made.
    pub created: u64,
    /// Look-ups that found nothing.
    pub missed: u64,
    /// Bytes that were read, as far as they are known; absent if none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes that were written, as far as they are known; absent if none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
}

impl Activity {
    /// Adds what another did.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.opened += other.opened;
        self.created += other.created;
        self.missed += other.missed;
        self.add_bytes(other.read, other.written);
    }

    /// Adds the bytes of a close.
    pub(crate) fn add_bytes(&mut self, read: Option<u64>, written: Option<u64>) {
        self.read = sum(self.read, read);
        self.written = sum(self.written, written);
    }
}

/// The sum of what is known.
pub(crate) fn sum(old: Option<u64>, new: Option<u64>) -> Option<u64> {
    match (old, new) {
        (Some(old), Some(new)) => Some(old.saturating_add(new)),
        (old, new) => old.or(new),
    }
}
