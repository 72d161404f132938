//! The observer of an operation.

use super::Failure;

/// Receives requests, bytes, and notes before the report.
pub trait Observer: compat_oci::Observer {
    /// Receives a warning: the user should know it, but nothing failed.
    fn warn(&self, text: &str);

    /// Receives the failure of one of several requested items. The others continue.
    fn failed(&self, failure: &Failure);

    /// Called when a registry task has ended: no data is transferred for now.
    fn finish(&self);
}
