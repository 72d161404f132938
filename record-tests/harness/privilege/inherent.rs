//! Differences that are inherent in a mirror: each with the reason. None lets anybody change or open anything.

use std::time::Duration;

use super::combination::Combination;
use super::run::Class;

/// A difference that is expected.
pub struct Inherent {
    pub reason: &'static str,
    applies: fn(&Combination, Class) -> bool,
}

/// The kernel counts the time for which it remembers in ticks, the longest of which are 10 ms; of the delays those
/// that are shorter.
const TICK: Duration = Duration::from_millis(10);

/// Operations that neither open nor change anything, and that the kernel answers without the server, or after it
/// has found the way by itself.
const LOOKS: &[&str] = &[
    "stat",
    "access",
    "change to the directory",
    "change to it and stat",
    "change to an open directory",
    "read a link",
    "statfs",
];

/// All that is expected.
const INHERENT: &[Inherent] = &[
    Inherent {
        reason: "what only looks is answered by the kernel, which remembers attributes and names for a tick",
        applies: |combination, _| combination.delay < TICK && LOOKS.contains(&combination.operation.name),
    },
    Inherent {
        reason: "who was let in is refused by the kernel as long as it remembers, for a tick",
        applies: |combination, class| {
            let name = combination.change.name;
            let lets_in = name == "lets anybody in" || name.starts_with("gives") && name.ends_with("away");
            class == Class::Less && combination.delay < TICK && lets_in
        },
    },
    Inherent {
        reason: "of two reasons to refuse something, the kernel finds the one that it remembers first",
        applies: |combination, class| class == Class::Error && combination.delay < TICK,
    },
    Inherent {
        reason: "a program that was given its set-user-ID bit is executed without it by a kernel that remembers",
        applies: |combination, class| {
            let is_given = combination.change.name.starts_with("takes it over and sets ");
            class == Class::Content
                && combination.delay < TICK
                && is_given
                && combination.operation.name == "execute"
        },
    },
    Inherent {
        reason: "access(2) knows no flags of chattr(1), which opening follows",
        applies: |combination, _| {
            (combination.operation.name, combination.change.name) == ("access", "makes it immutable")
        },
    },
    Inherent {
        reason: "a map of what is open gives no more than write(2) through the same descriptor, which goes on natively",
        applies: |combination, class| {
            let change = combination.change.name;
            let is_refused = change == "makes it immutable" && class == Class::Error;
            combination.operation.name == "write what is mapped"
                && (change == "lets it only be appended to" || is_refused)
        },
    },
    Inherent {
        reason: "the kernel opens a file once more for these ioctls, for reading (`fuse_priv_ioctl_prepare`)",
        applies: |combination, class| {
            let name = combination.operation.name;
            matches!(class, Class::Less | Class::Error) && name.starts_with("set flags of what is open")
        },
    },
    Inherent {
        reason: "access lists that the kernel does not know are refused before anything else is looked at",
        applies: |combination, class| {
            class == Class::Error && combination.operation.name == "set an NFSv4 list"
        },
    },
    Inherent {
        reason: "what is stored through a mapping is written by the server, which takes a file's capabilities away",
        applies: |combination, class| {
            let name = combination.operation.name;
            class == Class::State
                && combination.change.name == "gives it a capability"
                && matches!(name, "map and write" | "write what is mapped")
        },
    },
    Inherent {
        reason: "a file's capabilities are those of a user namespace, and the server is in another",
        applies: |combination, class| {
            let name = combination.operation.name;
            class == Class::Less && combination.actor.identity == "n" && name == "set a capability"
        },
    },
    Inherent {
        reason: "what is held by path is decided with what the kernel remembers until somebody looks the name up",
        applies: |combination, class| {
            let name = combination.operation.name;
            class == Class::Less
                && name.ends_with("held by path")
                && combination.change.name.ends_with("away")
        },
    },
    Inherent {
        reason: "no descriptor is kept of what is held by path only: without its name it cannot be found (ESTALE)",
        applies: |combination, class| {
            let change = combination.change.name;
            let is_without_name = change.starts_with("moves it away") || change.starts_with("replaces");
            class == Class::Less && combination.operation.name.ends_with("held by path") && is_without_name
        },
    },
];

impl Combination {
    /// Why such a difference is expected here, if it is.
    pub fn inherent(&self, class: Class) -> Option<&'static str> {
        let found = INHERENT.iter().find(|inherent| (inherent.applies)(self, class));
        found.map(|inherent| inherent.reason)
    }
}
