//! Access rules that this process cannot check for callers: those of security modules that label files and
//! processes. The server's label would decide, not the caller's.

use std::fs;

/// The file in which SELinux states whether it enforces its policy (selinux(8)).
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// The file of Smack's rules, if Smack is in use (`Documentation/admin-guide/LSM/Smack.rst`).
const SMACK: &str = "/sys/fs/smackfs/load2";

/// Whether this system has such rules.
pub(crate) fn has_further_rules() -> bool {
    is_enforcing(fs::read(SELINUX).ok().as_deref()) || fs::metadata(SMACK).is_ok()
}

fn is_enforcing(answer: Option<&[u8]>) -> bool {
    answer.is_some_and(|answer| answer.trim_ascii() != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_policy_that_is_enforced_counts() {
        assert!(is_enforcing(Some(b"1\n")) && is_enforcing(Some(b"")));
        assert!(!is_enforcing(Some(b"0")) && !is_enforcing(None));
    }
}
