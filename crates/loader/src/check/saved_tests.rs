//! Verdicts for saved hosts. If a profile does not record a file, the file is neither present nor missing.

use std::collections::BTreeMap;

use crate::check::directory_tests::loader;
use crate::check::{Finding, Host, Matter, Options, Report, Verdict, check};
use crate::elf::{IsaLevel, Machine};
use crate::host::{Platform, Profile};
use crate::loader::Problem;
use crate::spec::{
    Definitions, DynamicLoader, Flavour, LibraryNeed, Object, ObjectFlag, ObjectKind, Provision, Script,
    Specification, Symbols, VersionNeed,
};

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

fn library(path: &str, versions: &[&str]) -> Object {
    let soname = path.rsplit('/').next().map(str::to_owned);
    let versions = Some(versions.iter().map(|version| (*version).to_owned()).collect());
    let provides = Some(Provision { versions, symbol_versions: true, definitions: Vec::new() });
    Object { soname, provides, ..Object::new(path, ObjectKind::Library, "x86_64", 64) }
}

/// Returns a host with `/lib64`, `/usr/lib` and `/usr/bin`, and the test's additions.
fn profile(change: impl FnOnce(&mut Profile)) -> Profile {
    let platform =
        Platform { machine: Machine::X86_64, isa: Some(IsaLevel::up_to(3)), ..Platform::default() };
    let glibc = Flavour::Glibc { version: Some((2, 36)) };
    let loader =
        DynamicLoader { lib_token: "lib64".to_owned(), ..loader(LOADER, glibc, &["/lib64", "/usr/lib"]) };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut profile = Profile {
        directories: names(&["/", "/lib64", "/usr", "/usr/lib", "/usr/bin"]).into_iter().collect(),
        loaders: vec![loader],
        libraries: vec![library(LOADER, &[]), library("/usr/lib/libx.so.1", &["X_1"])],
        scripts: vec![Script {
            path: "/usr/bin/known".to_owned(),
            interpreter: LOADER.to_owned(),
            argument: None,
            body: None,
            not_executable: false,
        }],
        unrecorded: Some(BTreeMap::from([
            ("/".to_owned(), names(&["etc", "home", "opt"])),
            ("/usr/lib".to_owned(), names(&["private", "libtext"])),
            ("/usr/bin".to_owned(), names(&["odd"])),
        ])),
        ..Profile::new(&platform)
    };
    change(&mut profile);
    profile
}

/// Returns a host for tests, independent of this machine: its C library has a few versions, and it has `libm.so.6`
/// and `/usr/bin/env`.
pub(super) fn made_host(options: &Options) -> Host {
    let function = |version: &str, symbols: &[&str]| Definitions {
        version: Some(version.to_owned()),
        symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
        ..Definitions::default()
    };
    let profile = profile(|profile| {
        let mut libc = library("/usr/lib/libc.so.6", &["GLIBC_2.2.5", "GLIBC_2.34"]);
        if let Some(provides) = &mut libc.provides {
            provides.definitions = vec![
                function("GLIBC_2.2.5", &["malloc", "printf"]),
                function("GLIBC_2.34", &["__libc_start_main"]),
            ];
        }
        profile.libraries.push(libc);
        profile.libraries.push(library("/usr/lib/libm.so.6", &[]));
        profile.programs.push(Object {
            interpreter: Some(LOADER.to_owned()),
            needed: vec!["libc.so.6".to_owned()],
            ..Object::new("/usr/bin/env", ObjectKind::Executable, "x86_64", 64)
        });
        profile.kernel = Some("6.1.0".to_owned());
        profile.drivers = Some(crate::host::Drivers::default());
    });
    Host::of_profile(profile, "made".to_owned(), options)
}

fn program(needed: &str, change: impl FnOnce(&mut Object)) -> Specification {
    let mut object = Object {
        interpreter: Some(LOADER.to_owned()),
        needed: vec![needed.to_owned()],
        ..Object::new("app", ObjectKind::Executable, "x86_64", 64)
    };
    change(&mut object);
    Specification { subjects: vec!["app".to_owned()], objects: vec![object], ..Specification::new() }
}

fn report(specification: &Specification, profile: Profile) -> Report {
    let profile = Profile::parse(&profile.to_json()).unwrap();
    check(specification, &Host::of_profile(profile, "saved".to_owned(), &Options::default()))
}

fn verdict(needed: &str, run_path: &str, profile: Profile) -> Verdict {
    let set = |object: &mut Object| object.runpath = Some(run_path.to_owned()).filter(|p| !p.is_empty());
    report(&program(needed, set), profile).verdict
}

fn wants(version: &str) -> LibraryNeed {
    let versions = vec![VersionNeed {
        version: version.to_owned(),
        optional: false,
        symbols: Symbols { symbols: vec!["f".to_owned()], ..Symbols::default() },
    }];
    LibraryNeed { library: "libx.so.1".to_owned(), versions }
}

#[test]
fn what_a_recorded_directory_does_not_have_is_missing_and_what_is_not_recorded_may_be_there() {
    let cases = [
        ("liby.so.1", "", Verdict::Incompatible),
        ("libx.so.1", "", Verdict::Compatible),
        // A subdirectory that exists but is not recorded, and one that does not exist.
        ("liby.so.1", "/usr/lib/private", Verdict::Undecided),
        ("liby.so.1", "/usr/lib/nowhere", Verdict::Incompatible),
        ("liby.so.1", "/usr/lib/private/deep", Verdict::Undecided),
        ("liby.so.1", "/home/me/lib", Verdict::Undecided),
        ("liby.so.1", "/srv/lib", Verdict::Incompatible),
        ("/usr/lib/private/liby.so.1", "", Verdict::Undecided),
        ("/usr/lib/libx.so.1", "", Verdict::Compatible),
        ("/usr/lib/liby.so.1", "", Verdict::Incompatible),
        ("libtext", "", Verdict::Undecided),
        // The path leads through a possible link, and through a missing directory.
        ("/usr/lib/private/../libx.so.1", "", Verdict::Undecided),
        ("/usr/lib/nowhere/../libx.so.1", "", Verdict::Incompatible),
        ("/usr/bin/../lib/libx.so.1", "", Verdict::Compatible),
        ("/usr/lib/libx.so.1/../libx.so.1", "", Verdict::Incompatible),
    ];
    for (needed, run_path, expected) in cases {
        assert_eq!(verdict(needed, run_path, profile(|_| {})), expected, "{needed} {run_path}");
    }
}

#[test]
fn a_file_that_an_unrecorded_place_may_hide_is_not_taken_for_the_one() {
    let found =
        report(&program("libx.so.1", |object| object.runpath = Some("/opt/x".to_owned())), profile(|_| {}));
    let [Finding { matter: Matter::Problem(Problem::LibraryUncertain { path, rejected, .. }), .. }] =
        &found.findings[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!((found.verdict, path.as_str()), (Verdict::Undecided, "/usr/lib/libx.so.1"));
    assert_eq!(rejected[0].path, "/opt/x/glibc-hwcaps/x86-64-v3/libx.so.1");
    // The versions of an uncertain file are not reported.
    let newer = |run_path: &str| {
        program("libx.so.1", |object| {
            object.runpath = Some(run_path.to_owned());
            object.wants = vec![wants("X_2")];
        })
    };
    assert_eq!(report(&newer("/opt/x"), profile(|_| {})).verdict, Verdict::Undecided);
    assert_eq!(report(&newer("/srv/x"), profile(|_| {})).verdict, Verdict::Incompatible);
    // A symbol is not reported if a library that may exist may define it.
    let missing = program("liby.so.1", |object| {
        object.runpath = Some("/opt/x".to_owned());
        object.unversioned.symbols = vec!["f".to_owned()];
    });
    assert_eq!(report(&missing, profile(|_| {})).verdict, Verdict::Undecided);
}

#[test]
fn what_lies_beside_an_application_that_is_brought_along_is_not_the_hosts() {
    let carried = |needed: &str| Specification {
        location: Some("/home/me/app/bin".to_owned()),
        ..program(needed, |object| object.runpath = Some("$ORIGIN/../lib".to_owned()))
    };
    assert_eq!(report(&carried("libx.so.1"), profile(|_| {})).verdict, Verdict::Compatible);
    assert_eq!(report(&carried("liby.so.1"), profile(|_| {})).verdict, Verdict::Undecided);
    let installed = Specification { location: Some("/usr/bin".to_owned()), ..carried("liby.so.1") };
    assert_eq!(report(&installed, profile(|_| {})).verdict, Verdict::Incompatible);
}

#[test]
fn links_and_files_that_are_no_libraries_are_what_they_are_on_the_host() {
    let broken = |profile: &mut Profile| {
        profile.links.insert("/usr/lib/liby.so.1".to_owned(), "/usr/lib/liby.so.1".to_owned());
        profile.links.insert("/usr/lib/libz.so.1".to_owned(), "/usr/lib/libx.so.1".to_owned());
        profile.unusable.insert("/lib64/libt.so.1".to_owned(), "invalid ELF header".to_owned());
        profile.libraries.push(library("/usr/lib/libt.so.1", &[]));
    };
    assert_eq!(verdict("libz.so.1", "", profile(broken)), Verdict::Compatible);
    assert_eq!(verdict("liby.so.1", "", profile(broken)), Verdict::Incompatible);
    // The loader stops at the first file of the name.
    let stopped = report(&program("libt.so.1", |_| {}), profile(broken));
    assert!(matches!(
        &stopped.findings[0].matter,
        Matter::Problem(Problem::LibraryUnusable { reason, .. }) if reason == "invalid ELF header"
    ));
}

#[test]
fn interpreters_and_programs_that_are_not_recorded_leave_it_open() {
    let named = |interpreter: &str| {
        let set = |object: &mut Object| object.interpreter = Some(interpreter.to_owned());
        report(&program("libx.so.1", set), profile(|_| {})).verdict
    };
    assert_eq!(named("/opt/glibc/ld.so"), Verdict::Undecided);
    assert_eq!(named("/lib64/ld.so"), Verdict::Incompatible);
    // The same loader at another path.
    assert_eq!(named("/usr/../lib64/ld-linux-x86-64.so.2"), Verdict::Compatible);
    let script = |interpreter: &str, argument: Option<&str>| {
        let script = Script {
            path: "s".to_owned(),
            interpreter: interpreter.to_owned(),
            argument: argument.map(str::to_owned),
            body: None,
            not_executable: false,
        };
        let specification =
            Specification { subjects: vec!["s".to_owned()], scripts: vec![script], ..Specification::new() };
        let env = |profile: &mut Profile| {
            let flags = vec![ObjectFlag::Pie];
            let object = Object::new("/usr/bin/env", ObjectKind::Executable, "x86_64", 64);
            profile.programs.push(Object { interpreter: Some(LOADER.to_owned()), flags, ..object });
        };
        report(&specification, profile(env)).verdict
    };
    assert_eq!(script("/opt/bin/tool", None), Verdict::Undecided);
    assert_eq!(script("/usr/bin/nothing", None), Verdict::Incompatible);
    assert_eq!(script("/usr/bin/odd", None), Verdict::Undecided);
    assert_eq!(script("/usr/bin/env", Some("odd")), Verdict::Undecided);
    assert_eq!(script("/usr/bin/env", Some("nothing")), Verdict::Incompatible);
}

#[test]
fn a_minimal_profile_knows_the_core_libraries_and_directories_only() {
    let minimal = |needed: &str, run_path: &str| {
        let core = |profile: &mut Profile| {
            profile.complete = false;
            profile.libraries.push(library("/usr/lib/libm.so.6", &[]));
        };
        verdict(needed, run_path, profile(core))
    };
    assert_eq!(minimal("libm.so.6", ""), Verdict::Compatible);
    assert_eq!(minimal("liby.so.1", ""), Verdict::Undecided);
    assert_eq!(minimal("libgomp.so.1", ""), Verdict::Incompatible);
    assert_eq!(minimal("libm.so.6", "/usr/lib/nowhere"), Verdict::Compatible);
    assert_eq!(minimal("libm.so.6", "/usr/lib/private"), Verdict::Undecided);
}

#[test]
fn an_older_profile_tells_no_more_than_the_libraries_of_its_directories() {
    let older = |needed: &str, run_path: &str| {
        verdict(
            needed,
            run_path,
            profile(|profile| {
                profile.unrecorded = None;
                profile.directories.remove("/");
                profile.directories.remove("/usr");
                let levels = ["x86-64-v2", "x86-64-v3"];
                let of = |directory: &str| levels.map(|level| format!("{directory}/glibc-hwcaps/{level}"));
                profile.directories.extend([of("/lib64"), of("/usr/lib")].concat());
            }),
        )
    };
    assert_eq!(older("libx.so.1", ""), Verdict::Compatible);
    assert_eq!(older("liby.so.1", ""), Verdict::Incompatible);
    assert_eq!(older("liby.so.1", "/usr/lib/private"), Verdict::Undecided);
    assert_eq!(older("libtext", ""), Verdict::Undecided);
}

#[test]
fn definitions_of_a_recorded_library_are_found() {
    let defines = |profile: &mut Profile| {
        let provides = profile.libraries[1].provides.as_mut().unwrap();
        provides.definitions = vec![Definitions {
            version: Some("X_1".to_owned()),
            symbols: vec!["f".to_owned()],
            ..Definitions::default()
        }];
    };
    let wanting = program("libx.so.1", |object| object.wants = vec![wants("X_1")]);
    assert_eq!(report(&wanting, profile(defines)).verdict, Verdict::Compatible);
    assert_eq!(report(&wanting, profile(|_| {})).verdict, Verdict::Incompatible);
}

#[test]
fn a_link_of_a_document_that_leads_through_a_file_ends_the_list_before_glibc_2_39() {
    let verdict = |target: &str, version| {
        let mut document = program("libx.so", |program| {
            program.runpath = Some("$ORIGIN/a:$ORIGIN/b".to_owned());
        });
        document.objects.push(library("b/libx.so", &[]));
        document.links.insert("a/libx.so".to_owned(), target.to_owned());
        let profile = profile(|profile| {
            profile.loaders[0].flavour = Flavour::Glibc { version: Some(version) };
        });
        report(&document, profile).verdict
    };
    assert_eq!(verdict("app/x", (2, 38)), Verdict::Incompatible);
    assert_eq!(verdict("app/x", (2, 39)), Verdict::Compatible);
    assert_eq!(verdict("none/x", (2, 38)), Verdict::Compatible);
    assert_eq!(verdict(&"x".repeat(256), (2, 41)), Verdict::Incompatible);
    assert_eq!(verdict("a/libx.so", (2, 41)), Verdict::Incompatible);
}
