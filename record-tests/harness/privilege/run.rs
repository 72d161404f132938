//! Runs combinations, many at a time so that their delays overlap, and compares their results.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::time::Instant;

use super::combination::Combination;
use super::world::World;

/// The kinds of differences between the mirror and the native run, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// An action succeeded that fails natively.
    More,
    /// Both succeeded, or both failed, but left different files.
    State,
    /// An action failed that succeeds natively.
    Less,
    /// Both succeeded with different output.
    Content,
    /// Both failed, with different errors.
    Error,
}

/// A difference.
pub struct Difference {
    pub class: Class,
    pub name: String,
    /// The operation and the change, or another key by which failures are counted.
    pub kind: (String, String),
    pub details: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}\n{}", self.class, self.name, self.details)
    }
}

/// The outcomes and the states of both sides.
pub struct Outcome {
    pub native: Vec<String>,
    pub mirrored: Vec<String>,
    pub states: [String; 2],
}

impl Outcome {
    /// Returns the kind of difference, if any.
    pub fn class(&self) -> Option<Class> {
        let failed = |outcome: &str| !outcome.starts_with("ok");
        let pairs = self.native.iter().zip(&self.mirrored);
        let first = pairs.clone().find(|(native, mirrored)| native != mirrored);
        let step = first.map(|(native, mirrored)| match (failed(native), failed(mirrored)) {
            (true, false) => Class::More,
            (false, true) => Class::Less,
            // A program printed that it runs as root.
            (false, false) if mirrored == "ok 0" => Class::More,
            (false, false) => Class::Content,
            (true, true) => Class::Error,
        });
        let state = (self.states[0] != self.states[1]).then_some(Class::State);
        match (step, state) {
            // A file is missing in the mirror because its creation was refused there.
            (Some(Class::Less), Some(_)) => Some(Class::Less),
            (step, state) => step.into_iter().chain(state).min(),
        }
    }

    /// Returns both outcomes and the differences between the states.
    pub fn details(&self) -> String {
        let mut text = format!("  natively:  {:?}\n  in mirror: {:?}\n", self.native, self.mirrored);
        let [native, mirrored] = self.states.each_ref().map(|state| state.lines().collect::<Vec<_>>());
        for line in native.iter().filter(|line| !mirrored.contains(line)) {
            text += &format!("  only natively:  {line}\n");
        }
        for line in mirrored.iter().filter(|line| !native.contains(line)) {
            text += &format!("  only in mirror: {line}\n");
        }
        text
    }
}

/// Runs all combinations and returns the differences.
pub fn all(world: &mut World, combinations: &[Combination]) -> Vec<Difference> {
    let mut differences = Vec::new();
    // Combinations that still wait for their delay, the next one first.
    let mut waiting: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    let mut next = 0;
    while next < combinations.len() || !waiting.is_empty() {
        let due = waiting.peek().map(|Reverse((moment, _))| *moment);
        let is_due = due.is_some_and(|moment| moment <= Instant::now());
        if !is_due && next < combinations.len() {
            prepare(world, &combinations[next], next);
            let moment = Instant::now() + combinations[next].delay;
            waiting.push(Reverse((moment, next)));
            next += 1;
        } else if let Some(Reverse((moment, number))) = waiting.pop() {
            std::thread::sleep(moment.saturating_duration_since(Instant::now()));
            differences.extend(act(world, &combinations[number], number));
        }
    }
    differences
}

fn directory(number: usize) -> String {
    format!("c{number}")
}

/// Runs all steps up to the delay, and natively all steps.
fn prepare(world: &mut World, combination: &Combination, number: usize) {
    let (name, identity) = (directory(number), combination.identity());
    world.root(&name, &combination.setup());
    let (who, look) = combination.look();
    world.both(who, &name, &look, true);
    world.both(identity, &name, &combination.before(), true);
    world.root(&name, &combination.change());
}

fn act(world: &mut World, combination: &Combination, number: usize) -> Option<Difference> {
    let (name, identity) = (directory(number), combination.identity());
    let [native, mirrored] = world.both(identity, &name, &combination.act(), false);
    world.both(identity, &name, "end", false);
    let outcome = Outcome { native, mirrored, states: world.states(&name) };
    let class = outcome.class()?;
    if combination.inherent(class).is_some() {
        return None;
    }
    let scripts = format!(
        "  prepared: {}\n  looked: {:?}\n  first: {}\n  changed: {}\n  done: {}\n",
        combination.setup(),
        combination.look(),
        combination.before(),
        combination.change(),
        combination.act()
    );
    Some(Difference {
        class,
        name: combination.name(),
        kind: (combination.operation.name.to_owned(), combination.change.name.to_owned()),
        details: scripts + &outcome.details(),
    })
}

/// The number of differences that are shown in full.
const SHOWN: usize = 12;

/// Fails if anything differs. Lists all differences by name, and the worst in full.
pub fn assert_none(mut differences: Vec<Difference>, count: usize) {
    assert!(count > 0, "there are no combinations to compare");
    differences.sort_by_key(|difference| difference.class);
    let mut kinds: BTreeMap<(Class, &str), BTreeMap<&str, usize>> = BTreeMap::new();
    let mut classes: BTreeMap<Class, usize> = BTreeMap::new();
    for difference in &differences {
        *classes.entry(difference.class).or_default() += 1;
        let operations = kinds.entry((difference.class, &difference.kind.1)).or_default();
        *operations.entry(&difference.kind.0).or_default() += 1;
    }
    let mut text = String::new();
    for ((class, change), operations) in &kinds {
        text += &format!("{class:?}: {change}: {operations:?}\n");
    }
    for difference in &differences {
        text += &format!("{:?}: {}\n", difference.class, difference.name);
    }
    for difference in differences.iter().take(SHOWN) {
        text += &format!("\n{difference}");
    }
    assert!(differences.is_empty(), "{} of {count} differ: {classes:?}\n{text}", differences.len());
}
