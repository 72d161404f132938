//! Verdicts on directories, on test hosts: the libraries that are subjects, and the files that are skipped.

use std::collections::BTreeSet;

use crate::check::{
    Finding, Host, Impact, Matter, Options, Remark, Report, Verdict, check, check_application,
};
use crate::elf::Machine;
use crate::host::{DynamicLoader, Platform, Profile};
use crate::loader::{Application, Libc, PassedFor, Problem};
use crate::spec::{
    Alternatives, Distinction, Flavour, LibraryNeed, Object, ObjectKind, Provision, Specification, Symbols,
    VersionNeed,
};

pub(super) const GLIBC_LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
pub(super) const MUSL_LOADER: &str = "/lib/ld-musl-x86_64.so.1";

pub(super) fn library(path: &str) -> Object {
    let soname = path.rsplit('/').next().map(str::to_owned);
    Object { soname, ..Object::new(path, ObjectKind::Library, "x86_64", 64) }
}

pub(super) fn needing(path: &str, needed: &[&str]) -> Object {
    Object { needed: needed.iter().map(|name| (*name).to_owned()).collect(), ..library(path) }
}

/// Returns a loader of glibc 2.36 or newer, or of musl, that searches these directories last.
pub(super) fn loader(path: &str, flavour: Flavour, directories: &[&str]) -> DynamicLoader {
    DynamicLoader {
        path: path.to_owned(),
        flavour,
        default_directories: directories.iter().map(|directory| (*directory).to_owned()).collect(),
        cache_path: "/etc/ld.so.cache".to_owned(),
        lib_token: "lib".to_owned(),
        searches_hwcaps: true,
        searches_legacy_hwcaps: false,
        checks_isa: true,
        knows_relr: true,
    }
}

/// Returns a host whose shell uses glibc or musl. Both are installed, and no other library.
pub(super) fn profile(shell: &str, programs: &[&str]) -> Profile {
    let platform = Platform { machine: Machine::X86_64, ..Platform::default() };
    let program = |path: &str, interpreter: Option<&str>| Object {
        interpreter: interpreter.map(str::to_owned),
        ..Object::new(path, ObjectKind::Executable, "x86_64", 64)
    };
    let mut all = vec![program("/bin/sh", Some(shell))];
    all.extend(programs.iter().map(|path| program(path, None)));
    let directories = [
        "/lib",
        "/lib64",
        "/usr/local/lib64",
        "/musl",
        "/bin",
        "/usr/bin",
        "/sbin",
        "/usr/sbin",
        "/usr/local/bin",
    ];
    Profile {
        complete: true,
        directories: directories.into_iter().chain(["/usr/local/sbin"]).map(str::to_owned).collect(),
        loaders: vec![
            loader(GLIBC_LOADER, Flavour::Glibc { version: Some((2, 36)) }, &["/lib"]),
            loader(MUSL_LOADER, Flavour::Musl, &["/musl"]),
        ],
        libraries: vec![library(GLIBC_LOADER), library(MUSL_LOADER), library("/lib/libc.so.6")],
        programs: all,
        ..Profile::new(&platform)
    }
}

fn host(shell: &str, programs: &[&str]) -> Host {
    Host::of_profile(profile(shell, programs), "made.json".to_owned(), &Options::default())
}

pub(super) fn glibc_host() -> Host {
    host(GLIBC_LOADER, &[])
}

pub(super) fn document(objects: Vec<Object>) -> Specification {
    let mut objects = objects;
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    Specification { objects, ..Specification::new() }
}

/// Returns a directory with these objects. None of them was named by the user.
pub(super) fn directory(objects: Vec<Object>) -> Application {
    Application::of_specification(&document(objects))
}

fn subjects(report: &Report) -> Vec<&str> {
    report.subjects.iter().map(|subject| subject.path.as_str()).collect()
}

#[test]
fn subjects_are_the_libraries_that_nothing_else_loads_whatever_the_directories_are_called() {
    for libraries in ["alibs", "pkg.libs", "zlibs"] {
        let extension =
            Object { rpath: Some(format!("$ORIGIN/../{libraries}")), ..needing("pkg/ext.so", &["liba.so"]) };
        let a = needing(&format!("{libraries}/liba.so"), &["libb.so"]);
        let b = library(&format!("{libraries}/libb.so"));
        let report = check_application(&directory(vec![extension, a, b]), &glibc_host());
        assert_eq!(
            (report.verdict, subjects(&report)),
            (Verdict::Compatible, vec!["pkg/ext.so"]),
            "{report:?}"
        );
    }
}

#[test]
fn of_libraries_that_load_one_another_the_one_that_gets_furthest_stands_for_all() {
    for (one, other) in [("a", "b"), ("b", "a")] {
        // Only the first one finds the additional need of the second.
        let first = Object {
            rpath: Some("$ORIGIN:$ORIGIN/deps".to_owned()),
            ..needing(&format!("{one}.so"), &[&format!("{other}.so")])
        };
        let second = Object {
            rpath: Some("$ORIGIN".to_owned()),
            ..needing(&format!("{other}.so"), &[&format!("{one}.so"), "deep.so"])
        };
        let report =
            check_application(&directory(vec![first, second, library("deps/deep.so")]), &glibc_host());
        assert_eq!(report.verdict, Verdict::Compatible, "{report:?}");
        assert_eq!(subjects(&report), [format!("{one}.so")]);
    }
}

#[test]
fn what_only_a_library_that_is_no_subject_would_load_is_judged_all_the_same() {
    // Without top.so, mid.so finds low.so by its RPATH. Loaded by top.so, it no longer searches for low.so.
    let other = Object { soname: Some("low.so".to_owned()), ..library("other/low.so") };
    let top = Object {
        runpath: Some("$ORIGIN:$ORIGIN/other".to_owned()),
        ..needing("top.so", &["low.so", "mid.so"])
    };
    let mid = Object { runpath: Some("$ORIGIN/low".to_owned()), ..needing("mid.so", &["low.so"]) };
    let low = needing("low/low.so", &["missing.so"]);
    let report = check_application(&directory(vec![other, top, mid, low]), &glibc_host());
    assert_eq!(subjects(&report), ["top.so", "low/low.so"]);
    assert_eq!(report.verdict, Verdict::Incompatible);
}

/// Returns a pseudorandom sequence (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap_or_default()
    }
}

/// Returns a report as text, without the names of directories.
fn essence(report: &Report) -> (Verdict, BTreeSet<String>, BTreeSet<String>) {
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let said = |finding: &Finding| {
        let mut of: Vec<String> = finding.subjects.iter().map(|subject| base(subject)).collect();
        of.sort_unstable();
        match &finding.matter {
            Matter::Problem(Problem::LibraryMissing { library, wanted_by, .. }) => {
                format!("{library} for {} in {of:?}", base(wanted_by))
            }
            Matter::Remark(Remark::LeftToSearch { library, .. }) => format!("{library} elsewhere in {of:?}"),
            other => format!("{other:?}"),
        }
    };
    let subjects = report.subjects.iter().map(|subject| base(&subject.path)).collect();
    (report.verdict, subjects, report.findings.iter().map(said).collect())
}

#[test]
fn the_verdict_and_the_findings_do_not_depend_on_the_names_of_directories() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..150 {
        let count = 2 + random.below(7);
        let edges: Vec<Vec<usize>> =
            (0..count).map(|_| (0..random.below(3)).map(|_| random.below(count + 1)).collect()).collect();
        let paths: Vec<(usize, Vec<usize>)> = (0..count)
            .map(|_| (random.below(3), (0..random.below(4)).map(|_| random.below(count)).collect()))
            .collect();
        let made = |names: &[usize]| {
            let object = |number: usize| {
                let needed: Vec<String> = edges[number].iter().map(|to| format!("lib{to}.so")).collect();
                let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
                let list: Vec<String> =
                    paths[number].1.iter().map(|to| format!("$ORIGIN/../d{}", names[*to])).collect();
                let list = (!list.is_empty()).then(|| list.join(":"));
                let mut object = needing(&format!("d{}/lib{number}.so", names[number]), &needed);
                match paths[number].0 {
                    0 => object.rpath = list,
                    1 => object.runpath = list,
                    _ => {}
                }
                object
            };
            essence(&check_application(&directory((0..count).map(object).collect()), &glibc_host()))
        };
        let straight: Vec<usize> = (0..count).collect();
        let reversed: Vec<usize> = straight.iter().rev().copied().collect();
        let rotated: Vec<usize> = straight.iter().map(|number| (number + 1) % count).collect();
        let expected = made(&straight);
        for names in [reversed, rotated] {
            assert_eq!(made(&names), expected, "{edges:?} {paths:?}");
        }
    }
}

/// Returns builds of one library, given by path, machine and C library.
fn builds(all: &[(&str, &str, &str)]) -> Vec<Object> {
    let build = |(path, machine, libc): &(&str, &str, &str)| Object {
        machine: (*machine).to_owned(),
        ..needing(path, &[libc])
    };
    all.iter().map(build).collect()
}

const X64: (&str, &str, &str) = ("linux-x64/a.glibc.node", "x86_64", "libc.so.6");
const X64_MUSL: (&str, &str, &str) = ("linux-x64/a.musl.node", "x86_64", "libc.musl-x86_64.so.1");
const ARM64: (&str, &str, &str) = ("linux-arm64/a.glibc.node", "aarch64", "libc.so.6");

fn group(by: Distinction, builds: &[(&str, &str, &str)]) -> Alternatives {
    Alternatives { by, subjects: builds.iter().map(|(path, ..)| (*path).to_owned()).collect() }
}

fn with_alternatives(all: &[(&str, &str, &str)], groups: Vec<Alternatives>) -> Application {
    Application { alternatives: groups, ..directory(builds(all)) }
}

/// Returns the skipped files: the difference, the platform, and the number.
fn passed_over(report: &Report) -> Vec<(PassedFor, Option<&str>, usize)> {
    let passed = report.findings.iter().filter_map(|finding| match &finding.matter {
        Matter::Remark(Remark::PassedOver(passed)) => {
            assert_eq!(finding.impact, Impact::Note);
            Some((passed.why, passed.made_for.as_deref(), passed.paths.len()))
        }
        _ => None,
    });
    passed.collect()
}

#[test]
fn what_another_machine_or_c_library_would_load_is_passed_over_and_told() {
    let all = [X64, X64_MUSL, ARM64];
    let groups = || vec![group(Distinction::Machine, &all), group(Distinction::Libc, &all)];
    let report = check_application(&with_alternatives(&all, groups()), &glibc_host());
    assert_eq!((report.verdict, subjects(&report)), (Verdict::Compatible, vec![X64.0]), "{report:?}");
    let expected = [(PassedFor::Machine, Some("aarch64"), 1), (PassedFor::Libc, Some("musl"), 1)];
    assert_eq!(passed_over(&report), expected);
    // The same on a musl host, which takes the other file.
    let report = check_application(&with_alternatives(&all, groups()), &host(MUSL_LOADER, &[]));
    assert_eq!((report.verdict, subjects(&report)), (Verdict::Compatible, vec![X64_MUSL.0]), "{report:?}");
}

#[test]
fn nothing_is_passed_over_without_one_for_this_host() {
    let all = [X64_MUSL, ARM64];
    let groups = vec![group(Distinction::Machine, &all), group(Distinction::Libc, &all)];
    let report = check_application(&with_alternatives(&all, groups), &glibc_host());
    assert_eq!(report.verdict, Verdict::Incompatible, "{report:?}");
    assert_eq!(passed_over(&report), []);
    // A helper for another machine without an alternative for this host is a fault.
    let all = [X64, ("bin/helper", "aarch64", "libc.so.6")];
    let report = check_application(&with_alternatives(&all, Vec::new()), &glibc_host());
    assert_eq!(report.verdict, Verdict::Incompatible, "{report:?}");
}

#[test]
fn the_one_for_this_host_is_judged_and_its_fault_counts() {
    let broken = (X64.0, X64.1, "libmissing.so.1");
    let all = [broken, ARM64];
    let groups = vec![group(Distinction::Machine, &all)];
    let report = check_application(&with_alternatives(&all, groups), &glibc_host());
    assert_eq!((report.verdict, subjects(&report)), (Verdict::Incompatible, vec![X64.0]), "{report:?}");
}

#[test]
fn a_document_holds_all_and_each_host_picks_its_own() {
    let all = [X64, ARM64];
    let alternatives = vec![group(Distinction::Machine, &all)];
    let subjects_of = all.iter().map(|(path, ..)| (*path).to_owned()).collect();
    let document = Specification { alternatives, subjects: subjects_of, ..document(builds(&all)) };
    let report = check(&document, &glibc_host());
    assert_eq!((report.verdict, subjects(&report)), (Verdict::Compatible, vec![X64.0]), "{report:?}");
    assert_eq!(passed_over(&report), [(PassedFor::Machine, Some("aarch64"), 1)]);
    // Without a word that makes them alternatives, each file counts.
    let named = Specification { alternatives: Vec::new(), ..document };
    assert_eq!(check(&named, &glibc_host()).verdict, Verdict::Incompatible);
}

#[test]
fn extension_modules_for_a_python_that_is_not_here_are_passed_over() {
    let modules = ["m.cpython-39-x86_64-linux-gnu.so", "m.cpython-311-x86_64-linux-gnu.so"];
    let all = [(modules[0], "x86_64", "libpython3.9.so.1.0"), (modules[1], "x86_64", "libc.so.6")];
    let groups = || vec![group(Distinction::Python, &all)];
    let check = |host: &Host| check_application(&with_alternatives(&all, groups()), host);
    let report = check(&host(GLIBC_LOADER, &["/usr/bin/python3.11"]));
    assert_eq!((report.verdict, subjects(&report)), (Verdict::Compatible, vec![modules[1]]), "{report:?}");
    assert_eq!(passed_over(&report), [(PassedFor::Python, Some("Python 3.9"), 1)]);
    // The other Python needs the other module. Without any Python, all modules are checked.
    assert_eq!(check(&host(GLIBC_LOADER, &["/usr/bin/python3.9"])).verdict, Verdict::Incompatible);
    assert_eq!(subjects(&check(&glibc_host())).len(), 2);
}

#[test]
fn if_everything_was_passed_over_nothing_is_decided() {
    let all = [("tests/data/a.so", "aarch64", "libc.so.6")];
    let groups = vec![group(Distinction::TestData, &all)];
    let report = check_application(&with_alternatives(&all, groups), &glibc_host());
    assert_eq!(report.verdict, Verdict::Undecided, "{report:?}");
    assert_eq!(passed_over(&report), [(PassedFor::TestData, Some("aarch64"), 1)]);
}

/// Returns a library that needs one symbol from any library and one from a named library.
fn wanting(path: &str, needed: &[&str], symbol: &str) -> Object {
    let unversioned = Symbols { symbols: vec![symbol.to_owned()], ..Symbols::default() };
    Object { unversioned, rpath: Some("$ORIGIN".to_owned()), ..needing(path, needed) }
}

fn left(report: &Report) -> Vec<(&str, &[String])> {
    let remarks = report.findings.iter().filter_map(|finding| match &finding.matter {
        Matter::Remark(Remark::LeftToProgram { object, symbols }) => Some((object.as_str(), &symbols[..])),
        _ => None,
    });
    remarks.collect()
}

#[test]
fn what_a_library_loads_leaves_symbols_to_the_program_as_it_does_itself() {
    let objects = vec![
        wanting("a.so", &["libx.so"], "h"),
        wanting("b.so", &["libx.so"], "h"),
        wanting("libx.so", &[], "h"),
    ];
    let report = check_application(&directory(objects), &glibc_host());
    assert_eq!((report.verdict, subjects(&report)), (Verdict::Compatible, vec!["a.so", "b.so"]));
    let h = ["h".to_owned()];
    let mut told = left(&report);
    told.sort_unstable();
    assert_eq!(told, [("a.so", &h[..]), ("b.so", &h), ("libx.so", &h)], "one finding for each object");
}

#[test]
fn a_symbol_that_a_loaded_library_is_named_for_is_not_left_to_the_program() {
    let symbols = Symbols { symbols: vec!["f".to_owned()], ..Symbols::default() };
    let versions = vec![VersionNeed { version: "X_1".to_owned(), optional: false, symbols }];
    let wants = vec![LibraryNeed { library: "libx.so".to_owned(), versions }];
    let user = Object { wants, ..wanting("a.so", &["libx.so"], "h") };
    let provides = Some(Provision {
        versions: Some(vec!["X_1".to_owned()]),
        symbol_versions: true,
        definitions: Vec::new(),
    });
    let report =
        check_application(&directory(vec![user, Object { provides, ..library("libx.so") }]), &glibc_host());
    assert_eq!(report.verdict, Verdict::Incompatible, "{report:?}");
    assert_eq!(left(&report), [("a.so", &["h".to_owned()][..])]);
}

/// Returns a host that has the loader of only one C library.
fn host_of_one(path: &str, flavour: Flavour) -> Host {
    let platform = Platform { machine: Machine::X86_64, ..Platform::default() };
    let profile = Profile {
        complete: true,
        directories: ["/lib", "/lib64"].map(str::to_owned).into_iter().collect(),
        loaders: vec![loader(path, flavour, &["/lib"])],
        libraries: vec![library(path)],
        ..Profile::new(&platform)
    };
    Host::of_profile(profile, "made.json".to_owned(), &Options::default())
}

#[test]
fn a_library_on_its_own_is_loaded_by_the_loader_that_the_host_has() {
    let musl = || host_of_one(MUSL_LOADER, Flavour::Musl);
    let check = |objects: Vec<Object>, host: &Host| check_application(&directory(objects), host);
    // It needs no symbol of a C library.
    assert_eq!(check(vec![library("liba.so")], &musl()).verdict, Verdict::Compatible);
    // musl provides libc.so.6, but has no such symbol.
    let wants = |symbol: &str| {
        let symbols = Symbols { symbols: vec![symbol.to_owned()], ..Symbols::default() };
        let versions = vec![VersionNeed { version: "GLIBC_2.2.5".to_owned(), optional: false, symbols }];
        vec![LibraryNeed { library: "libc.so.6".to_owned(), versions }]
    };
    let glibcs = Object { wants: wants("__only_glibc"), ..needing("liba.so", &["libc.so.6"]) };
    let report = check(vec![glibcs.clone()], &musl());
    assert_eq!(report.verdict, Verdict::Incompatible, "{report:?}");
    let cause = Problem::OtherLibc {
        object: "liba.so".to_owned(),
        made_for: Libc::Glibc,
        host: Libc::Musl,
        loads: false,
    };
    assert_eq!(report.findings[0].matter, Matter::Problem(cause));
    assert!(report.findings.iter().any(|finding| matches!(
        &finding.matter,
        Matter::Problem(Problem::SymbolMissing { symbol, .. }) if symbol == "__only_glibc"
    )));
    let nothing = Object { wants: Vec::new(), ..glibcs };
    assert_eq!(check(vec![nothing], &musl()).verdict, Verdict::Compatible);
    let musls = needing("liba.so", &["libc.musl-x86_64.so.1"]);
    let report = check(vec![musls], &host_of_one(GLIBC_LOADER, Flavour::Glibc { version: Some((2, 36)) }));
    assert!(
        matches!(
            &report.findings[0].matter,
            Matter::Problem(Problem::OtherLibc { made_for: Libc::Musl, .. })
        ),
        "{report:?}"
    );
}
