//! Random sequences of actions by users and root on a small tree, natively and in a mirror.

use std::path::Path;
use std::time::Duration;

use super::TOOLS;
use crate::harness::case::{Case, case};
use crate::harness::privilege::run::{self, Class, Difference, Outcome};
use crate::harness::privilege::world::{Options, Place, World};

/// The seed of the sequence: the same number yields the same steps.
const SEED: &str = "COMPAT_PRIVILEGE_SEED";

/// The number of steps.
const STEPS: &str = "COMPAT_PRIVILEGE_STEPS";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("privilege::random_steps_do_not_differ_between_native_runs", TOOLS, native),
        case("privilege::random_steps_do_not_differ_inside", TOOLS, inside),
        case("privilege::random_steps_do_not_differ_at_a_mount_path", TOOLS, mount_path),
    ]
}

/// Checks the comparison itself.
fn native(directory: &Path) {
    play(directory, Place::Native, (3, 300));
}

fn inside(directory: &Path) {
    play(directory, Place::Inside, (1, 1000));
}

fn mount_path(directory: &Path) {
    play(directory, Place::MountPath, (2, 1000));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Four directories: one for everybody, a sticky one, one of a user, and one of a group.
const TREE: &str = "dir . 0 0 755; dir d0 0 0 777; dir d1 0 0 1777; dir d2 1301 1301 755; dir d3 1302 1400 770;
    make d0/n0 1301 1301 644 a0; make d0/n1 1302 1302 666 b1; dir d0/n2 1301 1400 770; make d0/n2/n0 1301 1400 660 a0;
    points d0/n3 ../d1/n1; make d1/n0 1302 1302 644 b0; make d1/n1 1301 1301 600 a1; dir d1/n2 1302 1302 1777;
    make d1/n2/n1 1301 1301 755 a1; make d2/n0 1301 1301 644 a0; dir d2/n2 1301 1301 777; points d2/n3 ../d3/n0;
    make d3/n0 1302 1400 660 b0; make d3/n1 1301 1400 664 a1; dir d3/n2 1302 1400 2770; make d3/n3 0 0 666 r3";

/// The number of steps after which a new tree begins, in which root has not taken over everything yet.
const EACH: usize = 60;

/// A time longer than any tick of the kernel's clock, for which caches may be valid.
const TICKS: Duration = Duration::from_millis(25);

/// The maximum number of differences. Each begins a new tree.
const ENOUGH: usize = 8;

/// The number of previous steps that are shown with a difference.
const SHOWN: usize = 25;

/// Runs a sequence of that many steps, unless the environment selects another.
fn play(directory: &Path, place: Place, (seed, steps): (u64, u64)) {
    let seed = number(SEED).unwrap_or(seed);
    let steps = number(STEPS).unwrap_or(steps) as usize;
    let mut world = World::start(directory, Options { place, is_served: false, before: "" });
    let mut dice = Dice(fastrand::Rng::with_seed(seed));
    let (mut differences, mut done) = (Vec::new(), 0);
    while done < steps && differences.len() < ENOUGH {
        let name = format!("t{done}");
        world.root(&name, TREE);
        let mut story = Vec::new();
        for _ in 0..EACH.min(steps - done) {
            done += 1;
            let step = dice.step();
            let found = take(&mut world, &name, &step, &mut story);
            if let Some((class, details)) = found {
                let told = story.len().saturating_sub(SHOWN);
                differences.push(Difference {
                    class,
                    name: format!("step {done} of seed {seed} ({SEED}={seed} {STEPS}={done})"),
                    kind: (step.who.to_owned(), step.script.split(' ').next().unwrap_or_default().to_owned()),
                    details: format!("  {}\n{details}", story[told..].join("\n  ")),
                });
                break;
            }
        }
        for who in USERS {
            world.both(who, &name, "end", false);
        }
    }
    run::assert_none(differences, done);
}

/// Runs a step and returns the difference of the mirror.
fn take(world: &mut World, name: &str, step: &Step, story: &mut Vec<String>) -> Option<(Class, String)> {
    let [native, mirrored] = world.both(step.who, name, &step.script, false);
    story.push(format!("{}: {} {native:?}, then {} ms", step.who, step.script, step.pause.as_millis()));
    // Root acts outside on both sides. Users may act at once, before anybody looks at the result.
    let states = if step.who == "root" { Default::default() } else { world.states(name) };
    let outcome = Outcome { native, mirrored, states };
    std::thread::sleep(step.pause);
    match outcome.class()? {
        // Looks only fill the kernel's cache. If there are two reasons to refuse, either may be returned.
        _ if step.is_look && outcome.states[0] == outcome.states[1] => None,
        Class::Error => None,
        class => Some((class, outcome.details())),
    }
}

/// The actors in the mirror: two users, the first one also as a process that leaves and enters its group, and
/// also in a user namespace.
const USERS: [&str; 4] = ["a", "b", "g", "n"];

struct Step {
    who: &'static str,
    script: String,
    is_look: bool,
    pause: Duration,
}

struct Dice(fastrand::Rng);

impl Dice {
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())]
    }

    fn path(&mut self) -> String {
        let (directory, name) = (self.0.u8(..4), self.0.u8(..4));
        match self.0.u8(..12) {
            0 => format!("d{directory}"),
            1 | 2 => format!("d{directory}/n2/n{name}"),
            _ => format!("d{directory}/n{name}"),
        }
    }

    fn mode(&mut self) -> &'static str {
        self.one(&[
            "0", "444", "600", "644", "666", "700", "711", "755", "770", "777", "1777", "2775", "4755",
            "6777",
        ])
    }

    fn owner(&mut self) -> &'static str {
        self.one(&["0 0", "1301 1301", "1302 1302", "1301 1400", "1302 1400", "-1 1400", "0 1400"])
    }

    fn list(&mut self) -> &'static str {
        self.one(&[
            "u.7,U.7.1301,g.0,m.7,o.0",
            "u.6,U.0.1301,g.6,m.7,o.6",
            "u.7,U.7.1302,G.5.1400,g.5,m.7,o.5",
            "u.7,U.0.1302,g.7,m.7,o.7",
        ])
    }

    fn step(&mut self) -> Step {
        let turn = self.0.u8(..20);
        if turn < 4 {
            return self.taking();
        } else if turn < 7 {
            return self.giving();
        }
        let who = self.one(&USERS);
        let pause = Duration::from_millis(self.one(&[0, 0, 0, 0, 0, 0, 1, 2]));
        if turn < 11 {
            return Step { who, script: self.look(), is_look: true, pause };
        }
        let script = if who == "g" && self.0.u8(..3) == 0 {
            self.one(&["groups", "groups 1400"]).to_owned()
        } else if turn < 14 {
            self.through_open()
        } else if turn < 17 {
            self.by_name()
        } else {
            self.attribute()
        };
        Step { who, script, is_look: false, pause }
    }

    /// An action of root that gives nobody a right. Users may act at once.
    fn taking(&mut self) -> Step {
        let path = self.path();
        let script = match self.0.u8(..5) {
            0 => format!("lchown {path} 0 0"),
            1 => format!("chown {path} 0 0; chmod {path} {}", self.one(&["600", "700", "4700"])),
            2 => format!("chmod {path} 0"),
            3 => format!("replace make {path} 0 0 600 of-root"),
            _ => format!("replace make {path} 1303 1303 600 of-another"),
        };
        let pause = Duration::from_millis(self.one(&[0, 0, 0, 0, 0, 1, 1, 3, 3, 20, 20, 100, 400]));
        Step { who: "root", script, is_look: false, pause }
    }

    /// An action of root that may give somebody a right. The kernel gets the time to drop its cache.
    fn giving(&mut self) -> Step {
        let path = self.path();
        let script = match self.0.u8(..8) {
            0 => format!("chown {path} {}", self.owner()),
            1 | 2 => format!("chmod {path} {}", self.mode()),
            3 => format!("setacl {path} {}", self.list()),
            4 => format!("removeacl {path}"),
            5 => format!("rename {path} {}", self.path()),
            6 => format!("mkdir {path} {}", self.mode()),
            _ => format!("make {path} {} {} root", self.owner().replace("-1", "0"), self.mode()),
        };
        Step { who: "root", script, is_look: false, pause: TICKS }
    }

    fn look(&mut self) -> String {
        let path = self.path();
        match self.0.u8(..6) {
            0 | 1 => format!("stat {path}"),
            2 => format!("list d{}", self.0.u8(..4)),
            3 => format!("access {path} {}", self.one(&["r", "w", "x", "rw"])),
            4 => format!("getxattr {path} system.posix_acl_access"),
            _ => "stat d0; stat d1; stat d2; stat d3; list d0; list d1; list d2; list d3".to_owned(),
        }
    }

    fn through_open(&mut self) -> String {
        let (path, key) = (self.path(), self.one(&["h0", "h1"]));
        match self.0.u8(..14) {
            0 | 1 => format!("open {path} RDONLY; read"),
            2 | 3 => format!("open {path} RDWR 0 {key}; write W {key}"),
            4 => format!("open {path} WRONLY|TRUNC; write T"),
            5 => format!("open {path} WRONLY|CREAT {}; write C", self.mode()),
            6 | 7 => format!("open {path} RDWR|CREAT|EXCL {} {key}; write N {key}", self.mode()),
            8 => format!("open d{} RDWR|TMPFILE 600; write U; linkfd {path}", self.0.u8(..4)),
            9 => format!("write H {key}"),
            10 => format!("ftruncate 3 {key}"),
            11 => format!("fchmod {} {key}", self.mode()),
            12 => format!("fchown {} {key}", self.owner()),
            _ => format!("open @{key} RDWR; write R"),
        }
    }

    fn by_name(&mut self) -> String {
        let (path, other) = (self.path(), self.path());
        match self.0.u8(..11) {
            0 => format!("mkdir {path} {}", self.mode()),
            1 => format!("symlink {} {path}", self.one(&["n0", "../d1/n1", "../d2", "n3"])),
            2 => format!("link {path} {other}"),
            3 | 4 => format!("unlink {path}"),
            5 => format!("rmdir {path}"),
            6 | 7 => format!("rename {path} {other}"),
            8 => format!("exchange {path} {other}"),
            9 => format!("noreplace {path} {other}"),
            _ => format!("truncate {path} 2"),
        }
    }

    fn attribute(&mut self) -> String {
        let path = self.path();
        match self.0.u8(..8) {
            0 | 1 => format!("chmod {path} {}", self.mode()),
            2 => format!("chown {path} {}", self.owner()),
            3 => format!("setacl {path} {}", self.list()),
            4 => format!("removeacl {path}"),
            5 => format!("utimens {path} set"),
            6 => format!("setxattr {path} user.t {}", self.0.u8(..9)),
            _ => format!("removexattr {path} user.t"),
        }
    }
}
