//! Differences that are inherent in a mirror, each with the reason. None of them lets anybody change or open
//! more.

use std::time::Duration;

use super::combination::Combination;
use super::run::Class;

/// An expected difference.
pub struct Inherent {
    pub reason: &'static str,
    applies: fn(&Combination, Class) -> bool,
}

/// The kernel measures the time of its caches in ticks of at most 10 ms. This limit selects the shorter
/// delays.
const TICK: Duration = Duration::from_millis(10);

/// Operations that neither open nor change anything. The kernel answers them without the server, or after it
/// has resolved the path by itself.
const LOOKS: &[&str] = &[
    "stat",
    "access",
    "change to the directory",
    "change to it and stat",
    "change to an open directory",
    "read a link",
    "statfs",
];

/// All expected differences.
const INHERENT: &[Inherent] = &[
    Inherent {
        reason: "the kernel answers operations that only look, and caches attributes and names for a tick",
        applies: |combination, _| combination.delay < TICK && LOOKS.contains(&combination.operation.name),
    },
    Inherent {
        reason: "a user who was let in is refused by the kernel while its cache is valid, for a tick",
        applies: |combination, class| {
            let name = combination.change.name;
            let lets_in = name == "lets anybody in" || name.starts_with("gives") && name.ends_with("away");
            class == Class::Less && combination.delay < TICK && lets_in
        },
    },
    Inherent {
        reason: "if there are two reasons to refuse, the kernel finds the cached one first",
        applies: |combination, class| class == Class::Error && combination.delay < TICK,
    },
    Inherent {
        reason: "the kernel executes a program without its new set-user-ID bit while its cache is valid",
        applies: |combination, class| {
            let is_given = combination.change.name.starts_with("takes it over and sets ");
            class == Class::Content
                && combination.delay < TICK
                && is_given
                && combination.operation.name == "execute"
        },
    },
    Inherent {
        reason: "access(2) ignores the flags of chattr(1), which open(2) respects",
        applies: |combination, _| {
            (combination.operation.name, combination.change.name) == ("access", "makes it immutable")
        },
    },
    Inherent {
        reason: "a mapping of an open file permits no more than write(2) through the same descriptor, which still works natively",
        applies: |combination, class| {
            let change = combination.change.name;
            let is_refused = change == "makes it immutable" && class == Class::Error;
            combination.operation.name == "write a mapped file"
                && (change == "lets it only be appended to" || is_refused)
        },
    },
    Inherent {
        reason: "the kernel opens a file once more for these ioctls, for reading (`fuse_priv_ioctl_prepare`)",
        applies: |combination, class| {
            let name = combination.operation.name;
            matches!(class, Class::Less | Class::Error) && name.starts_with("set flags of an open file")
        },
    },
    Inherent {
        reason: "access lists that the kernel does not know are refused before any other check",
        applies: |combination, class| {
            class == Class::Error && combination.operation.name == "set an NFSv4 list"
        },
    },
    Inherent {
        reason: "the server writes pages stored through a mapping, which removes a file's capabilities",
        applies: |combination, class| {
            let name = combination.operation.name;
            class == Class::State
                && combination.change.name == "gives it a capability"
                && matches!(name, "map and write" | "write a mapped file")
        },
    },
    Inherent {
        reason: "a file's capabilities belong to a user namespace, and the server is in another",
        applies: |combination, class| {
            let name = combination.operation.name;
            class == Class::Less && combination.actor.identity == "n" && name == "set a capability"
        },
    },
    Inherent {
        reason: "access through an O_PATH descriptor is decided with cached attributes until somebody looks the name up",
        applies: |combination, class| {
            let name = combination.operation.name;
            class == Class::Less
                && name.ends_with("held by path")
                && combination.change.name.ends_with("away")
        },
    },
    Inherent {
        reason: "the mirror keeps no descriptor of a file that is only held by path: without its name it cannot be found (ESTALE)",
        applies: |combination, class| {
            let change = combination.change.name;
            let is_without_name = change.starts_with("moves it away") || change.starts_with("replaces");
            class == Class::Less && combination.operation.name.ends_with("held by path") && is_without_name
        },
    },
];

impl Combination {
    /// Returns the reason if such a difference is expected here.
    pub fn inherent(&self, class: Class) -> Option<&'static str> {
        let found = INHERENT.iter().find(|inherent| (inherent.applies)(self, class));
        found.map(|inherent| inherent.reason)
    }
}
