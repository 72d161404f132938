//! Capabilities that a container may lack (capabilities(7)), by the names that container engines use.

use rustix::thread::{CapabilitySet, capabilities};

/// The capabilities that entering a mirror requires in addition to permission to mount (chroot(2)).
pub(super) const TO_ENTER: &[(CapabilitySet, &str)] = &[(CapabilitySet::SYS_CHROOT, "SYS_CHROOT")];

/// The capabilities that are required to serve users other than root. Their requests are served with their credentials
/// (setfsuid(2), setgroups(2)).
pub(super) const TO_SERVE_OTHERS: &[(CapabilitySet, &str)] =
    &[(CapabilitySet::SETUID, "SETUID"), (CapabilitySet::SETGID, "SETGID")];

/// Returns the names of the `wanted` capabilities that this thread lacks. The list is empty if its capabilities cannot
/// be read.
pub(super) fn missing(wanted: &[(CapabilitySet, &'static str)]) -> Vec<&'static str> {
    let Ok(sets) = capabilities(None) else { return Vec::new() };
    wanted.iter().filter(|(one, _)| !sets.effective.contains(*one)).map(|(_, name)| *name).collect()
}
