//! Finds files of a directory that are alternatives: builds of the same file for different machines, C libraries
//! or Python versions.
//!
//! Builders distinguish them by words in names: npm's `prebuilds/linux-arm64/x.glibc.node` (node-gyp-build),
//! `@img/sharp-linuxmusl-x64`, `native/Linux/aarch64/libx.so` in JNI archives, `lib32`, Python's
//! `x.cpython-311-aarch64-linux-gnu.so`. Two files are alternatives if their paths without such words are equal,
//! or if the paths of their directories are. A word counts only if the file agrees with it: a file in `linux-x64`
//! for another machine is a fault and not an alternative.

use std::collections::{BTreeMap, BTreeSet};

use crate::elf::Class;
use crate::generate::member;
use crate::loader::{Facts, Family, Form, python_of};
use crate::spec::{Alternatives, Distinction};

/// The builders' names of machines, with the names that `elf::Machine` prints.
const MACHINES: &[(&[&str], &[&str])] = &[
    (&["x64", "amd64", "x8664"], &["x86_64"]),
    (&["x86"], &["i386", "x86_64"]),
    (&["i386", "i486", "i586", "i686", "ia32", "386"], &["i386"]),
    (&["arm64", "aarch64", "armv9"], &["aarch64"]),
    (&["armv8"], &["aarch64", "arm"]),
    (&["arm", "arm32", "armv5", "armv6", "armv6l", "armv6hf", "armv7", "armv7a", "armv7l"], &["arm"]),
    (&["armv7hf", "armhf", "armel", "armeabi", "armv8l"], &["arm"]),
    (&["ppc64", "ppc64le", "ppc64el", "powerpc64", "powerpc64le"], &["ppc64"]),
    (&["ppc", "powerpc", "ppc32"], &["ppc"]),
    (&["s390x", "s390"], &["s390"]),
    (&["riscv64", "riscv", "riscv64gc"], &["riscv"]),
    (&["loong64", "loongarch64"], &["loongarch"]),
    (&["mips", "mipsel", "mips64", "mips64el", "mips64r6el", "mipsr6el"], &["mips"]),
    (&["sparc", "sparcv9", "sparc64"], &["sparc64", "machine-2", "machine-18"]),
    (&["ia64", "itanium"], &["ia64"]),
    (&["alpha"], &["machine-36902"]),
    (&["hppa", "parisc"], &["machine-15"]),
];

/// Words for operating systems and C libraries, with the family of their builds.
const LIBRARIES: &[(&[&str], Family)] = &[
    (&["glibc", "gnu", "gnueabi", "gnueabihf"], Family::Glibc),
    (&["musl", "muslc", "musleabi", "musleabihf", "alpine", "musllinux"], Family::Musl),
    (&["android"], Family::Bionic),
    (&["freebsd", "openbsd", "netbsd", "dragonflybsd", "sunos", "solaris", "illumos"], Family::Other),
];

/// Words that only mean a Linux or POSIX system.
const GENERAL: [&str; 7] = ["linux", "unix", "manylinux", "manylinux2014", "unknown", "pc", "abi3"];

/// The meaning of a word in a component of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// A machine or the width of addresses.
    Machine(bool),
    /// A C library or an operating system.
    Libc(bool),
    /// A version of Python.
    Python,
    /// A platform in general.
    General,
}

/// A path without the words that name platforms, and the meaning of these words.
struct Stripped {
    /// The rest of each component, and its words.
    components: Vec<(String, Vec<Word>)>,
}

/// Finds the groups among the objects of directories.
pub(super) fn groups(members: Vec<(&str, &Facts)>) -> Vec<Alternatives> {
    let mut found: BTreeMap<(Distinction, String), Vec<Member<'_>>> = BTreeMap::new();
    let mut data = Vec::new();
    for (path, facts) in members.into_iter().filter(|(_, facts)| facts.form != Form::Other) {
        let target = MadeFor::of(facts);
        let stripped = Stripped::of(path, &target);
        for by in [Distinction::Machine, Distinction::Libc, Distinction::Python] {
            let member = |names| Member { path, value: target.value(by, path), names };
            for (key, names) in stripped.keys(by) {
                found.entry((by, key)).or_default().push(member(names));
            }
        }
        if member::is_test_data(path) {
            data.push(path.to_owned());
        }
    }
    let alternatives = found.into_iter().filter_map(|((by, _), members)| alternatives(by, members));
    let data = (!data.is_empty()).then_some(Alternatives { by: Distinction::TestData, subjects: data });
    let mut seen: BTreeSet<(Distinction, Vec<String>)> = BTreeSet::new();
    alternatives.chain(data).filter(|group| seen.insert((group.by, group.subjects.clone()))).collect()
}

/// The platform that a file was built for.
struct MadeFor {
    machine: String,
    class: Class,
    family: Option<Family>,
}

/// One file under a key.
struct Member<'a> {
    path: &'a str,
    /// The platform of the file.
    value: Option<String>,
    /// Whether the path names the platform.
    names: bool,
}

impl MadeFor {
    fn of(facts: &Facts) -> Self {
        Self { machine: facts.machine.to_string(), class: facts.class, family: Family::of(facts) }
    }

    /// Returns the platform of the file at a path, as far as the alternatives differ by it.
    fn value(&self, by: Distinction, path: &str) -> Option<String> {
        match by {
            Distinction::Machine => Some(format!("{} {}", self.machine, self.class.bits())),
            Distinction::Libc => self.family.map(|family| family.name().to_owned()),
            Distinction::Python => python_of(path),
            Distinction::TestData | Distinction::Unknown => None,
        }
    }
}

/// Returns the group of the files under one key. Files whose paths name no platform belong to it if all of them
/// are for the same platform, because they are the default.
fn alternatives(by: Distinction, members: Vec<Member<'_>>) -> Option<Alternatives> {
    let unnamed = members.iter().filter(|member| !member.names);
    let takes_unnamed =
        unnamed.filter_map(|member| member.value.as_ref()).collect::<BTreeSet<_>>().len() <= 1;
    let is_part = |member: &&Member<'_>| member.names || takes_unnamed;
    let values: BTreeSet<_> = members.iter().filter(is_part).map(|member| &member.value).collect();
    let is_named = members.iter().any(|member| member.names);
    let subjects: BTreeSet<_> = members.iter().filter(is_part).map(|member| member.path.to_owned()).collect();
    (values.len() > 1 && is_named).then(|| Alternatives { by, subjects: subjects.into_iter().collect() })
}

impl Stripped {
    fn of(path: &str, target: &MadeFor) -> Self {
        Self { components: path.split('/').map(|component| stripped(component, target)).collect() }
    }

    /// Returns the keys under which a file can be an alternative to others, and whether the words of its path name
    /// its platform. Keys are the whole path, and each directory that names the platform. A file that contradicts
    /// its name has no keys.
    fn keys(&self, by: Distinction) -> Vec<(String, bool)> {
        let all = self.components.iter().flat_map(|(_, words)| words);
        let says = |words: &[Word]| words.iter().any(|word| word.agrees(by));
        if all.clone().any(|word| word.contradicts(by)) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        let mut prefix = String::new();
        let last = self.components.len() - 1;
        for (at, (rest, words)) in self.components.iter().enumerate() {
            if !rest.is_empty() {
                prefix.push('/');
                prefix.push_str(rest);
            }
            if at < last && says(words) {
                keys.push((format!("{prefix}/*"), true));
            }
        }
        let names = all.clone().any(|word| word.agrees(by));
        keys.push((prefix, names));
        keys
    }
}

impl Word {
    fn agrees(self, by: Distinction) -> bool {
        matches!(
            (self, by),
            (Self::Machine(true), Distinction::Machine)
                | (Self::Libc(true), Distinction::Libc)
                | (Self::Python, Distinction::Python)
        )
    }

    fn contradicts(self, by: Distinction) -> bool {
        matches!(
            (self, by),
            (Self::Machine(false), Distinction::Machine) | (Self::Libc(false), Distinction::Libc)
        )
    }
}

/// Splits a component into the rest and its words for platforms.
fn stripped(component: &str, target: &MadeFor) -> (String, Vec<Word>) {
    if let Some(bits) =
        [("lib64", 64), ("lib32", 32), ("libx32", 32)].iter().find(|(name, _)| *name == component)
    {
        return ("lib".to_owned(), vec![Word::Machine(target.class.bits() == bits.1)]);
    }
    let mut rest: Vec<String> = Vec::new();
    let mut words = Vec::new();
    let text = joined_words(component);
    let mut after_cpython = false;
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let known = if after_cpython { Some(Word::Python) } else { known_word(word, target) };
        after_cpython = matches!(word, "cpython");
        match known {
            _ if after_cpython => {}
            Some(known) => words.push(known),
            None => rest.push(word.to_owned()),
        }
    }
    (rest.join("-"), words)
}

/// Returns a component in lower case, with names of two words joined.
fn joined_words(component: &str) -> String {
    const JOINED: &[(&str, &str)] = &[
        ("x86_64", "x64"),
        ("x86-64", "x64"),
        ("aarch_64", "aarch64"),
        ("linuxmusl", "linux-musl"),
        ("linux64", "linux-bits64"),
        ("linux32", "linux-bits32"),
        ("arm64-v8a", "arm64"),
        ("armeabi-v7a", "armeabi"),
        ("darwin-x64+arm64", "darwin"),
    ];
    let mut text = component.to_ascii_lowercase();
    if let Some(version) = text.strip_prefix("python").filter(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    {
        text = format!("cp{}", version.replace('.', ""));
    }
    for (from, to) in JOINED {
        text = text.replace(from, to);
    }
    text
}

fn known_word(word: &str, target: &MadeFor) -> Option<Word> {
    let is_digits = |text: &str| {
        let digits = text.trim_end_matches(['m', 'd', 't', 'u']);
        digits.len() > 1 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if ["cp", "pypy", "pp"].iter().any(|tag| word.strip_prefix(tag).is_some_and(is_digits)) {
        return Some(Word::Python);
    }
    match word {
        "bits64" => return Some(Word::Machine(target.class == Class::Elf64)),
        "bits32" => return Some(Word::Machine(target.class == Class::Elf32)),
        _ => {}
    }
    let mut named = MACHINES.iter().filter(|(words, _)| words.contains(&word)).peekable();
    if named.peek().is_some() {
        return Some(Word::Machine(named.any(|(_, machines)| machines.contains(&target.machine.as_str()))));
    }
    if let Some((_, named)) = LIBRARIES.iter().find(|(words, _)| words.contains(&word)) {
        // A file that needs no C library fits each.
        let agrees = target.family.is_none_or(|family| family == *named);
        return Some(Word::Libc(agrees));
    }
    GENERAL.contains(&word).then_some(Word::General)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Object, ObjectKind};

    /// Returns the groups of builds, each given by its path, its machine, and the C library that it needs.
    fn of(builds: &[(&str, &str, &str)]) -> Vec<(Distinction, Vec<String>)> {
        let facts: Vec<Facts> = builds
            .iter()
            .map(|(path, machine, libc)| {
                let class = if matches!(*machine, "i386" | "arm") { 32 } else { 64 };
                let needed = vec![(*libc).to_owned()];
                let object = Object { needed, ..Object::new(path, ObjectKind::Library, machine, class) };
                Facts::of_specified(&object).unwrap()
            })
            .collect();
        let members = builds.iter().zip(&facts).map(|((path, ..), facts)| (*path, facts)).collect();
        groups(members).into_iter().map(|group| (group.by, group.subjects)).collect()
    }

    const GLIBC: &str = "libc.so.6";
    const MUSL: &str = "libc.musl-x86_64.so.1";

    /// Returns whether two builds are alternatives.
    fn stand(by: Distinction, one: (&str, &str, &str), other: (&str, &str, &str)) -> bool {
        let is_both = |group: &(Distinction, Vec<String>)| {
            group.0 == by && [one.0, other.0].iter().all(|path| group.1.iter().any(|known| known == path))
        };
        of(&[one, other]).iter().any(is_both)
    }

    #[test]
    fn files_whose_names_differ_in_a_machine_only_stand_for_one_another() {
        for (one, other) in [
            ("prebuilds/linux-x64/a.node", "prebuilds/linux-arm64/a.node"),
            ("prebuilds/linux-x64/node.napi.glibc.node", "prebuilds/android-arm64/node.napi.armv8.node"),
            (
                "@img/sharp-linux-x64/lib/sharp-linux-x64.node",
                "@img/sharp-linux-arm64/lib/sharp-linux-arm64.node",
            ),
            ("@esbuild/linux-x64/bin/esbuild", "@esbuild/linux-arm64/bin/esbuild"),
            ("native/Linux/x86_64/libx.so", "native/Linux/aarch64/libx.so"),
            ("META-INF/native/libnetty_epoll_x86_64.so", "META-INF/native/libnetty_epoll_aarch_64.so"),
            ("librocksdbjni-linux64.so", "librocksdbjni-linux-aarch64.so"),
            ("lib/x86_64-linux-gnu/libx.so.1", "lib/aarch64-linux-gnu/libx.so.1"),
            ("com/sun/jna/linux-x86-64/libj.so", "com/sun/jna/linux-aarch64/libj.so"),
            ("m.cpython-311-x86_64-linux-gnu.so", "m.cpython-311-aarch64-linux-gnu.so"),
            ("lib/libx.so", "lib/aarch64/libx.so"),
            // A file that only the directory of another machine contains.
            ("bin/x64/a.node", "bin/arm64/libextra.so"),
        ] {
            let machines = ((one, "x86_64", GLIBC), (other, "aarch64", GLIBC));
            assert!(stand(Distinction::Machine, machines.0, machines.1), "{one} {other}");
        }
        assert!(stand(Distinction::Machine, ("lib64/a.so", "x86_64", GLIBC), ("lib32/a.so", "i386", GLIBC)));
    }

    #[test]
    fn what_no_name_tells_apart_stands_for_nothing() {
        for (one, other) in [
            ("bin/app", "bin/helper"),
            ("bin/app", "bin/helper-aarch64"),
            ("lib/libx.so", "lib/aarch64/liby.so"),
            // The name contradicts the file.
            ("prebuilds/linux-arm64/a.node", "prebuilds/linux-x64/a.node"),
        ] {
            assert_eq!(of(&[(one, "x86_64", GLIBC), (other, "aarch64", GLIBC)]), [], "{one} {other}");
        }
    }

    #[test]
    fn files_for_several_c_libraries_stand_for_one_another() {
        for (glibc, musl) in [
            ("linux-x64/a.glibc.node", "linux-x64/a.musl.node"),
            ("@img/sharp-linux-x64/a.node", "@img/sharp-linuxmusl-x64/a.node"),
            ("@parcel/watcher-linux-x64-glibc/w.node", "@parcel/watcher-linux-x64-musl/w.node"),
            ("native/Linux/x86_64/liba.so", "native/Linux-Musl/x86_64/liba.so"),
        ] {
            assert!(
                stand(Distinction::Libc, (glibc, "x86_64", GLIBC), (musl, "x86_64", MUSL)),
                "{glibc} {musl}"
            );
        }
        assert_eq!(of(&[("lib/liba.so", "x86_64", GLIBC), ("lib/libb.so", "x86_64", MUSL)]), []);
        // A file without such a word is not an alternative to another kind of file.
        let mixed = [("x64/a.glibc.node", "x86_64", GLIBC), ("x64/b.musl.node", "x86_64", MUSL)];
        assert_eq!(of(&mixed), []);
    }

    #[test]
    fn versions_of_python_and_test_data_are_groups_of_their_own() {
        let modules = [
            ("m.cpython-39-x86_64-linux-gnu.so", "x86_64", GLIBC),
            ("m.cpython-311-x86_64-linux-gnu.so", "x86_64", GLIBC),
        ];
        assert!(stand(Distinction::Python, modules[0], modules[1]));
        let data = of(&[("src/testdata/gcc-arm", "aarch64", GLIBC)]);
        assert_eq!(data, [(Distinction::TestData, vec!["src/testdata/gcc-arm".to_owned()])]);
    }
}
