//! The other parts of findings: the loader's messages, the origin of the files, and hints.

use base64::Engine as _;

use crate::check::directory_tests::{GLIBC_LOADER, MUSL_LOADER, document, library, needing, profile};
use crate::check::{Host, Options, Report, check};
use crate::host::Profile;
use crate::spec::{LibraryNeed, Object, ObjectKind, Provision, Specification, Symbols, VersionNeed};

/// Returns a program with the test's needs, next to other objects.
fn application(program: Object, others: Vec<Object>) -> Specification {
    let app = Object { kind: ObjectKind::Executable, soname: None, path: "app".to_owned(), ..program };
    let interpreter = app.interpreter.clone().or(Some(GLIBC_LOADER.to_owned()));
    let app = Object { interpreter, ..app };
    let objects = [vec![app], others].concat();
    Specification { subjects: vec!["app".to_owned()], ..document(objects) }
}

/// Returns the findings on a host that the test changed, as text.
fn told(specification: &Specification, change: impl FnOnce(&mut Profile), options: &Options) -> String {
    let mut profile = profile(GLIBC_LOADER, &[]);
    change(&mut profile);
    let report = check(specification, &Host::of_profile(profile, "made.json".to_owned(), options));
    lines(&report)
}

fn lines(report: &Report) -> String {
    let json = serde_json::to_string(report).unwrap();
    assert!(!json.contains("/.compat/"), "{json}");
    let each = report
        .findings
        .iter()
        .flat_map(|finding| finding.message.iter().chain(&finding.hints).cloned().collect::<Vec<_>>());
    each.collect::<Vec<_>>().join("\n")
}

fn wants(library: &str, version: &str) -> LibraryNeed {
    let version = VersionNeed { version: version.to_owned(), optional: false, symbols: Symbols::default() };
    LibraryNeed { library: library.to_owned(), versions: vec![version] }
}

fn with_versions(path: &str, versions: &[&str]) -> Object {
    let versions = Some(versions.iter().map(|version| (*version).to_owned()).collect());
    Object { provides: Some(Provision { versions, ..Provision::default() }), ..library(path) }
}

#[test]
fn a_library_that_a_list_led_to_is_told_when_the_systems_own_would_do() {
    let app = Object { wants: vec![wants("libz.so", "Z_2")], ..needing("app", &["libz.so"]) };
    let options = Options { library_path: Some("/opt/old".to_owned()), ..Options::default() };
    let change = |own: &'static [&'static str]| {
        move |profile: &mut Profile| {
            profile.directories.insert("/opt/old".to_owned());
            profile.libraries.push(with_versions("/opt/old/libz.so", &["Z_1"]));
            profile.libraries.push(with_versions("/lib/libz.so", own));
        }
    };
    insta::assert_snapshot!(told(&application(app.clone(), vec![]), change(&["Z_1", "Z_2"]), &options), @"
    /opt/old/libz.so: version `Z_2' not found (required by app)
    /opt/old/libz.so was found through LD_LIBRARY_PATH, but the system's /lib/libz.so would work
    ");
    insta::assert_snapshot!(told(&application(app, vec![]), change(&["Z_1"]), &options), @"
    /opt/old/libz.so: version `Z_2' not found (required by app)
    /opt/old/libz.so was found through LD_LIBRARY_PATH
    ");
}

#[test]
fn a_runpath_that_does_not_apply_and_a_directory_that_is_not_searched_are_told() {
    let app = Object { runpath: Some("$ORIGIN/deep:$ORIGIN/lib".to_owned()), ..needing("app", &["mid.so"]) };
    let others = vec![needing("deep/mid.so", &["low.so"]), library("lib/low.so")];
    insta::assert_snapshot!(told(&application(app, others), |_| {}, &Options::default()), @"
    low.so: cannot open shared object file: No such file or directory
    lib/low.so is in the RUNPATH of app, which applies only to the libraries that app needs
    ");
    let app = needing("app", &["libz.so"]);
    let change = |profile: &mut Profile| profile.libraries.push(library("/usr/local/lib64/libz.so"));
    insta::assert_snapshot!(told(&application(app, vec![]), change, &Options::default()), @"
    libz.so: cannot open shared object file: No such file or directory
    /usr/local/lib64/libz.so exists, but the loader does not search /usr/local/lib64: add it to /etc/ld.so.conf and run ldconfig
    ");
}

#[test]
fn a_program_of_32_bits_is_told_to_need_libraries_of_its_own() {
    let app = Object {
        machine: "i386".to_owned(),
        class: 32,
        interpreter: Some("/lib/ld-linux.so.2".to_owned()),
        ..needing("app", &[])
    };
    insta::assert_snapshot!(told(&application(app, vec![]), |_| {}, &Options::default()), @"
    app: /lib/ld-linux.so.2: bad interpreter: No such file or directory
    app is a 32-bit program and needs 32-bit libraries: on Debian, dpkg --add-architecture i386 and install PACKAGE:i386, on Fedora PACKAGE.i686
    ");
}

#[test]
fn each_loader_is_quoted_in_its_own_words() {
    let app = Object { runpath: Some("$ORIGIN".to_owned()), ..needing("app", &["low.so"]) };
    let other_class = Object { machine: "i386".to_owned(), class: 32, ..library("low.so") };
    insta::assert_snapshot!(told(&application(app.clone(), vec![other_class]), |_| {}, &Options::default()),
        @"low.so: wrong ELF class: ELFCLASS32");
    let musl = Object { interpreter: Some(MUSL_LOADER.to_owned()), ..app };
    insta::assert_snapshot!(told(&application(musl, vec![]), |_| {}, &Options::default()),
        @"Error loading shared library low.so: No such file or directory (needed by app)");
}

#[test]
fn a_scope_that_lies_nowhere_is_shown_as_seen_from_itself() {
    let app = Object {
        runpath: Some("$ORIGIN/lib:$ORIGIN/other".to_owned()),
        ..needing("app", &["low.so", "$ORIGIN/x.so"])
    };
    let mut specification = application(app, vec![library("other/other.so")]);
    specification.unusable.insert("lib/low.so".to_owned(), "file too short".to_owned());
    insta::assert_snapshot!(told(&specification, |_| {}, &Options::default()), @"
    lib/low.so: file too short
    x.so: cannot open shared object file: No such file or directory
    ");
}

#[test]
fn a_broken_preload_is_a_warning_in_the_words_of_the_loader() {
    let change = |profile: &mut Profile| {
        let text = base64::engine::general_purpose::STANDARD.encode("/lib/nope.so\n");
        profile.files.insert("/etc/ld.so.preload".to_owned(), text);
    };
    insta::assert_snapshot!(told(&application(needing("app", &[]), vec![]), change, &Options::default()),
        @"ERROR: ld.so: object '/lib/nope.so' from /etc/ld.so.preload cannot be preloaded (cannot open shared object file): ignored.");
}

#[test]
fn a_preload_for_the_other_word_size_is_a_warning_in_the_words_of_the_loader() {
    for preload in ["/lib/libp.so", "libp.so"] {
        let change = |profile: &mut Profile| {
            let text = base64::engine::general_purpose::STANDARD.encode(preload);
            profile.files.insert("/etc/ld.so.preload".to_owned(), text);
            profile.libraries.push(narrow(library("/lib/libp.so")));
        };
        let told = told(&application(needing("app", &[]), vec![]), change, &Options::default());
        let object = format!("object '{preload}' from /etc/ld.so.preload");
        let expected =
            format!("ERROR: ld.so: {object} cannot be preloaded (wrong ELF class: ELFCLASS32): ignored.");
        assert_eq!(told, expected);
    }
}

/// An object for i386.
fn narrow(object: Object) -> Object {
    Object { machine: "i386".to_owned(), class: 32, ..object }
}

#[test]
fn a_library_that_an_rpath_or_a_runpath_led_to_is_told_with_the_systems_own() {
    let needs = Object { wants: vec![wants("libz.so", "Z_2")], ..needing("app", &["libz.so"]) };
    let told = |app: Object, own: &'static [&'static str]| {
        let change = |profile: &mut Profile| profile.libraries.push(with_versions("/lib/libz.so", own));
        let old = with_versions("deep/libz.so", &["Z_1"]);
        told(&application(app, vec![old]), change, &Options::default())
    };
    let by_rpath = Object { rpath: Some("$ORIGIN/deep".to_owned()), ..needs.clone() };
    insta::assert_snapshot!(told(by_rpath.clone(), &["Z_1", "Z_2"]), @"
    deep/libz.so: version `Z_2' not found (required by app)
    deep/libz.so was found through the RPATH of app, but the system's /lib/libz.so would work
    ");
    insta::assert_snapshot!(told(by_rpath, &["Z_1"]), @"
    deep/libz.so: version `Z_2' not found (required by app)
    deep/libz.so was found through the RPATH of app
    ");
    let by_runpath = Object { runpath: Some("$ORIGIN/deep".to_owned()), ..needs };
    insta::assert_snapshot!(told(by_runpath, &["Z_1", "Z_2"]), @"
    deep/libz.so: version `Z_2' not found (required by app)
    deep/libz.so was found through the RUNPATH of app, but the system's /lib/libz.so would work
    ");
}

#[test]
fn a_library_for_the_other_word_size_in_an_rpath_is_passed_over() {
    let app = Object { rpath: Some("$ORIGIN/deep".to_owned()), ..needing("app", &["libz.so"]) };
    let told = |app: Object, own: Option<Object>| {
        let change = |profile: &mut Profile| profile.libraries.extend(own);
        told(&application(app, vec![narrow(library("deep/libz.so"))]), change, &Options::default())
    };
    assert_eq!(told(app.clone(), Some(library("/lib/libz.so"))), "");
    insta::assert_snapshot!(told(app.clone(), None), @"libz.so: wrong ELF class: ELFCLASS32");
    // The system's library does not work either, and no search list led away from it.
    let wanting = Object { wants: vec![wants("libz.so", "Z_2")], ..app };
    insta::assert_snapshot!(told(wanting, Some(with_versions("/lib/libz.so", &["Z_1"]))), @"/lib/libz.so: version `Z_2' not found (required by app)");
}
