//! Counts of the actions of a program, a process or a rank.

use schemars::JsonSchema;
use serde::Serialize;

/// The counts of one program, process or rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Activity {
    /// The number of events.
    pub events: u64,
    /// Successful opens of files, including creations and executions.
    pub opened: u64,
    /// Created files, directories, links and nodes.
    pub created: u64,
    /// Lookups that found nothing.
    pub missed: u64,
    /// Bytes read, as far as known. Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written, as far as known. Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
}

impl Activity {
    /// Adds the counts of another activity.
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

/// Returns the sum of the known values.
pub(crate) fn sum(old: Option<u64>, new: Option<u64>) -> Option<u64> {
    match (old, new) {
        (Some(old), Some(new)) => Some(old.saturating_add(new)),
        (old, new) => old.or(new),
    }
}
