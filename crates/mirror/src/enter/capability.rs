//! Capabilities that a container was started without (capabilities(7)), by the names that container engines use.

use rustix::thread::{CapabilitySet, capabilities};

/// The capabilities that entering a mirror needs besides the right to mount (chroot(2)).
pub(super) const TO_ENTER: &[(CapabilitySet, &str)] = &[(CapabilitySet::SYS_CHROOT, "SYS_CHROOT")];

/// The capabilities that serving other users than root needs: their requests are served as them (setfsuid(2),
/// setgroups(2)).
pub(super) const TO_SERVE_OTHERS: &[(CapabilitySet, &str)] =
    &[(CapabilitySet::SETUID, "SETUID"), (CapabilitySet::SETGID, "SETGID")];

/// Those of the wanted ones that this thread does not have, by name. None if it cannot be asked.
pub(super) fn missing(wanted: &[(CapabilitySet, &'static str)]) -> Vec<&'static str> {
    let Ok(sets) = capabilities(None) else { return Vec::new() };
    wanted.iter().filter(|(one, _)| !sets.effective.contains(*one)).map(|(_, name)| *name).collect()
}
