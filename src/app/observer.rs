//! Whoever watches what is done.

use super::Failure;

/// Told of requests and bytes, and of what is worth saying before the report is there.
pub trait Observer: compat_oci::Observer {
    /// Something that the user should know and that is no failure.
    fn warn(&self, text: &str);

    /// One of several things that were asked about could not be looked at; the others are.
    fn failed(&self, failure: &Failure);

    /// A task of the registry has ended: nothing moves for now.
    fn finish(&self);
}
