//! Nobody may do more in a mirror of root than natively, and everybody may do as much.

mod point;
mod random;
mod table;

use std::path::Path;
use std::time::Duration;

use crate::harness::case::{Case, case};
use crate::harness::privilege::combination::{A, Actor, Combination, DELAYS, LOOKS};
use crate::harness::privilege::run;
use crate::harness::privilege::world::{Options, Place, World};
use crate::harness::recorder::log;
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut all = point::cases();
    all.extend(random::cases());
    all.extend(tables());
    all
}

/// The tools that all cases need.
const TOOLS: &[&str] = &["python3", "unshare", "nsenter"];

fn tables() -> Vec<Case> {
    let tools = TOOLS;
    vec![
        case("privilege::two_native_runs_do_not_differ", tools, native),
        case("privilege::nobody_gets_more_inside", tools, inside),
        case("privilege::nobody_gets_more_at_a_mount_path", tools, mount_path),
        case("privilege::nobody_gets_more_in_a_waiting_mirror", tools, waiting),
        case(
            "privilege::nobody_gets_more_without_passthrough",
            &["python3", "unshare", "nsenter", "strace"],
            served,
        ),
        case(
            "privilege::nobody_gets_more_in_a_container",
            &["python3", "unshare", "docker", "dockerd", "tar"],
            container,
        ),
    ]
}

/// Selects the combinations whose names contain this text.
const ONLY: &str = "COMPAT_PRIVILEGE_ONLY";

/// Sets another delay for all combinations, in milliseconds.
const DELAY: &str = "COMPAT_PRIVILEGE_DELAY";

/// An ordinary user with a supplementary group.
const USER: Actor = Actor { identity: "a", user: A };

/// Root without its capabilities, root without those that override permissions, a user in a separate user
/// namespace, and a user with some of root's capabilities.
const SPECIAL: [Actor; 4] = [
    Actor { identity: "r", user: 0 },
    Actor { identity: "d", user: 0 },
    Actor { identity: "n", user: A },
    Actor { identity: "c", user: A },
];

/// Returns all pairs of operations and changes, each with the next delay, look and actor in turn. Only every
/// `stride`th pair is taken, beginning with `first`.
fn combinations(actors: &[Actor], stride: usize, first: usize) -> Vec<Combination> {
    let pairs = table::OPERATIONS
        .iter()
        .flat_map(|operation| table::CHANGES.iter().map(move |change| (*operation, *change)));
    let chosen = pairs.enumerate().filter(|(number, _)| number % stride == first % stride);
    let made = chosen.map(|(number, (operation, change))| {
        let turn = number / stride + first;
        Combination {
            operation,
            change,
            actor: actors[turn % actors.len()],
            delay: Duration::from_millis(DELAYS[(turn + turn / 50) % DELAYS.len()]),
            look: LOOKS[(turn / 3 + turn / 50) % LOOKS.len()],
        }
    });
    made.filter(Combination::is_sensible).collect()
}

fn compare(directory: &Path, place: Place, is_served: bool, mut combinations: Vec<Combination>) {
    if let Ok(delay) = std::env::var(DELAY) {
        let delay = Duration::from_millis(delay.parse().expect("a number"));
        combinations.iter_mut().for_each(|combination| combination.delay = delay);
    }
    if let Ok(only) = std::env::var(ONLY) {
        combinations.retain(|combination| combination.name().contains(&only));
    }
    let mut world = World::start(directory, Options { place, is_served, before: "" });
    let differences = run::all(&mut world, &combinations);
    drop(world);
    if is_served {
        assert!(read(&log(directory)).served() > 1, "reads do not go through the server");
    }
    run::assert_none(differences, combinations.len());
}

/// Checks the comparison itself: without a mirror, it finds no differences.
fn native(directory: &Path) {
    let mut all = combinations(&[USER], 4, 2);
    all.extend(combinations(&SPECIAL, 12, 5));
    compare(directory, Place::Native, false, all);
}

fn inside(directory: &Path) {
    let mut all = combinations(&[USER], 1, 0);
    all.extend(combinations(&SPECIAL, 3, 1));
    compare(directory, Place::Inside, false, all);
}

fn mount_path(directory: &Path) {
    let mut all = combinations(&[USER], 3, 1);
    all.extend(combinations(&SPECIAL, 9, 2));
    compare(directory, Place::MountPath, false, all);
}

fn waiting(directory: &Path) {
    let mut all = combinations(&[USER], 5, 2);
    all.extend(combinations(&SPECIAL, 15, 3));
    compare(directory, Place::Waiting, false, all);
}

fn served(directory: &Path) {
    let mut all = combinations(&[USER], 4, 3);
    all.extend(combinations(&SPECIAL, 12, 4));
    compare(directory, Place::Inside, true, all);
}

fn container(directory: &Path) {
    let mut all = combinations(&[USER], 10, 4);
    all.extend(combinations(&SPECIAL, 25, 5));
    // A container has no further rights of root to keep, and no user namespaces.
    all.retain(|combination| ["a", "r", "c"].contains(&combination.actor.identity));
    compare(directory, Place::Container, false, all);
}
