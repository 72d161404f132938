//! Subjects that a host passes over: those for another machine, C library or version of Python, if the subjects
//! include an equivalent for this host.
//!
//! A subject is passed over only because of its target, never because the host lacks something, and its
//! equivalent is checked instead. So a host without any matching subject is still incompatible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::elf::{Class, Machine};
use crate::host::DynamicLoader;
use crate::loader::{Application, Context, Environment, Facts, Family, Files};
use crate::spec::Distinction;

/// The reason why a file of a directory is not a subject on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PassedFor {
    /// The file is for another machine, and an equivalent for this machine is a subject.
    Machine,
    /// The file is for another C library, and an equivalent for the host's C library is a subject.
    Libc,
    /// The file is for another version of Python, and an equivalent for the host's version is a subject.
    Python,
    /// The file is test data for another machine or C library.
    TestData,
    /// The file is a script outside of the directories for programs.
    Script,
}

/// Files of a directory that are not subjects on this host, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// The reason.
    pub why: PassedFor,
    /// The machine, the C library or the version of Python that the files are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_for: Option<String>,
    /// The paths of the files in the scope.
    pub paths: Vec<String>,
}

impl PassedOver {
    /// Groups paths by the reason why they were passed over.
    pub(super) fn grouped(all: BTreeMap<String, (PassedFor, String)>) -> Vec<Self> {
        let mut groups: BTreeMap<(PassedFor, String), Vec<String>> = BTreeMap::new();
        for (path, reason) in all {
            groups.entry(reason).or_default().push(path);
        }
        let group = |((why, made_for), paths)| Self { why, made_for: Some(made_for), paths };
        groups.into_iter().map(group).collect()
    }

    /// Returns a sentence that lists the files and the reason.
    pub fn sentence(&self) -> String {
        const MOST: usize = 3;
        let count = self.paths.len();
        let shown = self.paths[..count.min(MOST)].join(", ");
        let more = if count > MOST { format!(" and {} more", count - MOST) } else { String::new() };
        let made_for = self.made_for.as_deref().unwrap_or("another host");
        let are = if count == 1 { "is" } else { "are" };
        match self.why {
            PassedFor::Machine | PassedFor::Libc | PassedFor::Python => format!(
                "{shown}{more} {are} for {made_for}: passed over because the directory has an equivalent for this host"
            ),
            PassedFor::TestData => format!("{shown}{more} {are} test data for {made_for}: passed over"),
            PassedFor::Script => {
                let are = if count == 1 { "is a script" } else { "are scripts" };
                format!(
                    "{shown}{more} {are} outside the directories for programs: passed over (name a script to check it)"
                )
            }
        }
    }
}

impl Application {
    /// Returns the subjects that this host passes over, by path, with the reason and the target that they are
    /// for.
    pub(super) fn passed_over(&self, context: Context<'_>) -> BTreeMap<String, (PassedFor, String)> {
        let mut passed = BTreeMap::new();
        if self.alternatives.is_empty() {
            return passed;
        }
        let target = LoadableHere::of(self, context);
        let objects: HashMap<&str, &Facts> =
            self.objects.iter().map(|(path, facts)| (path.as_str(), &**facts)).collect();
        let foreign: HashMap<&str, &str> =
            self.foreign.iter().map(|(path, machine)| (path.as_str(), machine.as_str())).collect();
        let mismatch = |path: &str, by| match (objects.get(path), foreign.get(path)) {
            (Some(facts), _) => target.mismatch(path, facts, by),
            (None, Some(machine)) if by == Distinction::Machine => Some((*machine).to_owned()),
            _ => None,
        };
        let fits = |path: &&String| {
            let is_known = objects.contains_key(path.as_str());
            is_known && DISTINCTIONS.iter().all(|by| mismatch(path, *by).is_none())
        };
        for group in &self.alternatives {
            let by: &[(Distinction, PassedFor)] = match group.by {
                Distinction::Machine => &[(Distinction::Machine, PassedFor::Machine)],
                Distinction::Libc => &[(Distinction::Libc, PassedFor::Libc)],
                Distinction::Python => &[(Distinction::Python, PassedFor::Python)],
                Distinction::TestData => {
                    &[(Distinction::Machine, PassedFor::TestData), (Distinction::Libc, PassedFor::TestData)]
                }
                Distinction::Unknown => &[],
            };
            if group.by != Distinction::TestData && !group.subjects.iter().any(|path| fits(&path)) {
                continue;
            }
            for path in &group.subjects {
                let reason = by.iter().find_map(|(by, why)| Some((*why, mismatch(path, *by)?)));
                if let Some(reason) = reason {
                    passed.entry(path.clone()).or_insert(reason);
                }
            }
        }
        passed
    }

    /// The subjects that are equivalents of one another.
    pub(super) fn alternative_paths(&self) -> HashSet<&str> {
        self.alternatives.iter().flat_map(|group| &group.subjects).map(String::as_str).collect()
    }
}

const DISTINCTIONS: [Distinction; 3] = [Distinction::Machine, Distinction::Libc, Distinction::Python];

/// The objects that a host, or the program that loads the libraries, can load.
struct LoadableHere<'a> {
    files: &'a dyn Files,
    environment: &'a Environment,
    /// The program that loads the libraries, if one was named.
    program: Option<Arc<Facts>>,
    /// The C library of the host's programs.
    family: Option<Family>,
    /// The versions of Python. Empty if no version is known.
    pythons: HashSet<String>,
}

impl<'a> LoadableHere<'a> {
    fn of(application: &Application, context: Context<'a>) -> Self {
        let Context { files, environment } = context;
        let opened = environment.host_program.as_deref().and_then(|path| files.open(path).ok());
        let program = opened.map(|opened| opened.facts).filter(|facts| facts.is_program());
        let mut target = Self { files, environment, program, family: None, pythons: HashSet::new() };
        target.family = target.family_of_host();
        if application.alternatives.iter().any(|group| group.by == Distinction::Python) {
            target.pythons = target.pythons(application);
        }
        target
    }

    /// Returns the C library of the program that loads the libraries. Without such a program, the host's shell
    /// decides, because it shows which C library the programs use if several are installed. Otherwise, it is
    /// the C library whose loader exists.
    fn family_of_host(&self) -> Option<Family> {
        if let Some(program) = &self.program {
            return Family::of(program);
        }
        let machine = self.environment.platform.machine;
        let shell = self.files.open("/bin/sh").ok().and_then(|shell| Family::of(&shell.facts));
        let is_there = |family: &Family| {
            [Class::Elf64, Class::Elf32].iter().any(|class| self.has_loader(machine, *class, Some(*family)))
        };
        shell.or_else(|| [Family::Glibc, Family::Musl].into_iter().find(is_there))
    }

    /// Returns whether the usual loader of a C library exists.
    fn has_loader(&self, machine: Machine, class: Class, family: Option<Family>) -> bool {
        let is_loader = |path: &str| self.files.dynamic_loader(path, machine, class).is_some();
        let glibc = || {
            let path = DynamicLoader::usual_path(machine, class, cfg!(target_endian = "big"));
            path.is_some_and(is_loader)
        };
        let musl = || is_loader(&DynamicLoader::usual_musl_path(machine));
        match family {
            Some(Family::Glibc) => glibc(),
            Some(Family::Musl) => musl(),
            Some(Family::Bionic | Family::Other) => false,
            None => glibc() || musl(),
        }
    }

    /// Returns the target of an object if it is not this host.
    fn mismatch(&self, path: &str, facts: &Facts, by: Distinction) -> Option<String> {
        match by {
            Distinction::Machine => self.is_other_machine(facts).then(|| facts.machine_name()),
            Distinction::Libc => {
                let family = Family::of(facts)?;
                let is_usable = facts.is_program() && self.has_own_loader(facts);
                let is_other = self.family.is_some_and(|own| own != family) && !is_usable;
                is_other.then(|| family.name().to_owned())
            }
            Distinction::Python => {
                let wanted = python_of(path)?;
                let is_other = !self.pythons.is_empty() && !self.pythons.contains(&wanted);
                is_other.then(|| format!("Python {wanted}"))
            }
            Distinction::TestData | Distinction::Unknown => None,
        }
    }

    fn is_other_machine(&self, facts: &Facts) -> bool {
        if let Some(program) = self.program.as_ref().filter(|_| !facts.is_program()) {
            return (program.machine, program.class, program.big_endian)
                != (facts.machine, facts.class, facts.big_endian);
        }
        let platform = &self.environment.platform;
        let is_usual = facts.machine == platform.machine
            && (facts.machine != Machine::X86_64 || facts.class == Class::Elf64);
        match () {
            () if !platform.runs(facts.machine, facts.big_endian) => true,
            () if is_usual => false,
            // The kernel runs such programs. The loader shows whether the rest of their environment exists.
            () if facts.is_program() => !self.has_own_loader(facts),
            // The program that loads it is unknown. Most programs are for the host's own machine.
            () => true,
        }
    }

    /// Returns whether the loader that a program names exists.
    fn has_own_loader(&self, facts: &Facts) -> bool {
        facts.interpreter.as_deref().is_none_or(|path| self.files.open(path).is_ok())
    }

    /// Returns the versions of Python that the host or the application contains.
    fn pythons(&self, application: &Application) -> HashSet<String> {
        let version = |path: &str| {
            let name = path.rsplit('/').next()?;
            let version = name.strip_prefix("python").unwrap_or(name);
            is_version(version.trim_start_matches("pypy")).then(|| version.to_owned())
        };
        if let Some(path) = &self.environment.host_program {
            let real = self.files.real_path(path);
            return version(&real).or_else(|| version(path)).into_iter().collect();
        }
        let programs = application.objects.iter().filter(|(_, facts)| facts.is_program());
        let own: HashSet<String> = programs.filter_map(|(path, _)| version(path)).collect();
        if !own.is_empty() {
            return own;
        }
        let versions = (2..=40).flat_map(|minor| [format!("3.{minor}"), format!("3.{minor}t")]);
        let is_here = |version: &String| {
            let mut directories = self.environment.program_path.split(':');
            directories.any(|directory| self.files.is_executable(&format!("{directory}/python{version}")))
        };
        versions.filter(is_here).collect()
    }
}

/// Returns whether a text is a version such as 3.11 or 3.13t.
fn is_version(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor.trim_end_matches('t')))
}

/// Returns the version of Python that an extension module is for. The tag in its name decides (PEP 3149:
/// `cpython-311`, PEP 425: `cp311`), otherwise a directory such as `python3.11`.
pub fn python_of(path: &str) -> Option<String> {
    let mut components = path.rsplit('/');
    let name = components.next()?;
    let tagged = name.split(['.', '-', '_']).collect::<Vec<_>>();
    let of_tag = |tag: &str| {
        let digits = tag.trim_end_matches(['m', 'd', 'u']);
        let (major, minor) = (digits.get(..1)?, digits.get(1..)?);
        let version = format!("{major}.{minor}");
        is_version(&version).then_some(version)
    };
    let in_name = tagged.iter().enumerate().find_map(|(at, word)| match *word {
        "cpython" => of_tag(tagged.get(at + 1)?),
        word => match word.strip_prefix("pypy") {
            Some(tag) => of_tag(tag).map(|version| format!("pypy{version}")),
            None => of_tag(word.strip_prefix("cp")?),
        },
    });
    let is_stable = tagged.contains(&"abi3");
    let in_directory = || {
        components.find_map(|component| {
            let version = component.strip_prefix("python")?;
            is_version(version).then(|| version.to_owned())
        })
    };
    if is_stable { None } else { in_name.or_else(in_directory) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_python_is_in_the_tag_or_in_a_directory() {
        for (path, expected) in [
            ("a/b.cpython-311-x86_64-linux-gnu.so", Some("3.11")),
            ("b.cpython-37m-x86_64-linux-gnu.so", Some("3.7")),
            ("b.cpython-313t-x86_64-linux-gnu.so", Some("3.13t")),
            ("b.cp39-win_amd64.so", Some("3.9")),
            ("b.pypy39-pp73-x86_64-linux-gnu.so", Some("pypy3.9")),
            ("lib/python3.12/site-packages/b.so", Some("3.12")),
            ("lib/python3.12/site-packages/b.abi3.so", None),
            ("cpython/b.so", None),
            ("lib/python/b.so", None),
        ] {
            assert_eq!(python_of(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_was_passed_over_is_told_with_the_reason_and_how_many_more() {
        let paths = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let told = |why, made_for: Option<&str>, paths: &[String]| {
            PassedOver { why, made_for: made_for.map(str::to_owned), paths: paths.to_vec() }.sentence()
        };
        let machine = told(PassedFor::Machine, Some("aarch64"), &paths);
        insta::assert_snapshot!(machine, @"a, b, c and 2 more are for aarch64: passed over because the directory has an equivalent for this host");
        let data = told(PassedFor::TestData, Some("aarch64"), &paths[..1]);
        insta::assert_snapshot!(data, @"a is test data for aarch64: passed over");
        let script = told(PassedFor::Script, None, &paths[..1]);
        insta::assert_snapshot!(script, @"a is a script outside the directories for programs: passed over (name a script to check it)");
    }
}
