//! The parts of `compat spindle` that need more than the mirror.

pub mod foresight;
pub mod preload;
pub mod savings;
pub mod session;
pub mod share;
pub mod space;

/// An observer that ignores everything.
#[cfg(test)]
#[derive(Debug)]
struct Quiet;

#[cfg(test)]
impl compat_oci::Observer for Quiet {}

#[cfg(test)]
impl crate::app::Observer for Quiet {
    fn warn(&self, _: &str) {}
    fn failed(&self, _: &crate::app::Failure) {}
    fn finish(&self) {}
}
