//! Verdicts on directories with libraries outside the search path of the files that need them.

use crate::check::directory_tests::{
    GLIBC_LOADER, directory, document, glibc_host, library, needing, profile,
};
use crate::check::{
    Finding, Host, Impact, Matter, Options, Remark, Report, Verdict, check, check_application,
};
use crate::loader::{Application, Problem};
use crate::spec::{Image, LibraryNeed, Object, ObjectKind, Provision, Specification, Symbols, VersionNeed};

/// A library that the loading program must provide, and the subjects that need it.
type Left = (String, Vec<String>);

/// Returns the verdict, the libraries that the loading program must provide, and the missing libraries.
fn elsewhere(objects: Vec<Object>) -> (Verdict, Vec<Left>, Vec<String>) {
    let report = check_application(&directory(objects), &glibc_host());
    let (mut left, mut missing) = (Vec::new(), Vec::new());
    for finding in &report.findings {
        match &finding.matter {
            Matter::Remark(Remark::LeftToSearch { path, .. }) => {
                left.push((path.clone(), finding.subjects.clone()))
            }
            Matter::Problem(Problem::LibraryMissing { library, .. }) => missing.push(library.clone()),
            _ => {}
        }
    }
    (report.verdict, left, missing)
}

#[test]
fn a_library_that_lies_where_only_its_program_looks_is_left_to_that_program() {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    // Java's libraries need a library that the launcher loads by its path.
    let java = || {
        vec![
            library("lib/server/libjvm.so"),
            needing("lib/libjava.so", &["libjvm.so"]),
            Object {
                runpath: Some("$ORIGIN".to_owned()),
                ..needing("lib/libnet.so", &["libjava.so", "libjvm.so"])
            },
            needing("lib/libnio.so", &["libjvm.so"]),
        ]
    };
    let left = vec![("lib/server/libjvm.so".to_owned(), texts(&["lib/libnet.so", "lib/libnio.so"]))];
    assert_eq!(elsewhere(java()), (Verdict::Compatible, left, Vec::new()));
    // A library that is missing everywhere is still missing, even as a need of a library that was found.
    let mut broken = java();
    broken[0].needed = texts(&["libgone.so"]);
    let (verdict, _, missing) = elsewhere(broken);
    assert_eq!((verdict, missing), (Verdict::Incompatible, texts(&["libgone.so", "libgone.so"])));
    // A file for another machine does not work.
    let mut foreign = java();
    foreign[0].machine = "aarch64".to_owned();
    assert_eq!(elsewhere(foreign).0, Verdict::Incompatible);
}

/// Returns a program that needs libraries.
fn program(path: &str, needed: &[&str]) -> Object {
    Object {
        interpreter: Some(GLIBC_LOADER.to_owned()),
        kind: ObjectKind::Executable,
        soname: None,
        ..needing(path, needed)
    }
}

/// Returns the report on a program that needs a library of another directory, with links to it.
fn report_on(path: &str, links: &[(&str, &str)]) -> Report {
    let objects = vec![program(path, &["libx.so"]), library("share/x/libx.so")];
    let links = links.iter().map(|(path, target)| ((*path).to_owned(), (*target).to_owned()));
    let subjects = vec![path.to_owned()];
    let application = Application { subjects, links: links.collect(), ..directory(objects) };
    check_application(&application, &glibc_host())
}

#[test]
fn a_program_that_people_start_finds_its_libraries_by_itself_and_a_helper_need_not() {
    for path in ["bin/app", "app", "tools/app"] {
        assert_eq!(report_on(path, &[]).verdict, Verdict::Incompatible, "{path}");
    }
    // The program that starts a helper can set its search path, which is not known.
    for path in ["lib/rustlib/bin/objcopy", "usr/libexec/helper"] {
        assert_eq!(report_on(path, &[]).verdict, Verdict::Undecided, "{path}");
    }
}

#[test]
fn what_a_program_and_a_library_need_is_undecided_whichever_comes_first() {
    for plugin in ["a/plugin.so", "z/plugin.so"] {
        let objects = vec![
            program("libexec/tool", &["libx.so"]),
            needing(plugin, &["libx.so"]),
            library("share/x/libx.so"),
        ];
        let subjects = vec!["libexec/tool".to_owned()];
        let report = check_application(&Application { subjects, ..directory(objects) }, &glibc_host());
        let impacts: Vec<Impact> = report.findings.iter().map(|finding| finding.impact).collect();
        assert_eq!((report.verdict, impacts), (Verdict::Undecided, vec![Impact::Undecided]), "{report:?}");
    }
}

#[test]
fn a_program_that_a_link_for_people_leads_to_is_no_helper() {
    let all: [(&str, &[(&str, &str)]); 5] = [
        ("lib/tool", &[("bin/tool", "lib/tool")]),
        ("lib/tool", &[("tool", "lib/other"), ("lib/other", "lib/tool")]),
        ("lib/app/bin/tool", &[("bin", "lib/app/bin")]),
        ("lib/app/tool", &[("app", "lib/app")]),
        ("lib/app/tool", &[("app", "lib/other"), ("lib/other/name", "lib/app/tool")]),
    ];
    for (path, links) in all {
        assert_eq!(report_on(path, links).verdict, Verdict::Incompatible, "{path} {links:?}");
    }
    let all: [(&str, &[(&str, &str)]); 4] = [
        ("lib/tool", &[("libexec/tool", "lib/tool")]),
        ("usr/lib64/tool", &[("lib64", "usr/lib64")]),
        ("releases/1/lib/tool", &[("current", "releases/1")]),
        ("lib/tool", &[("bin/other", "lib/other")]),
    ];
    for (path, links) in all {
        assert_eq!(report_on(path, links).verdict, Verdict::Undecided, "{path} {links:?}");
    }
}

#[test]
fn an_image_says_all_that_its_subjects_are_started_with() {
    let objects = vec![
        program("usr/libexec/helper", &["libx.so"]),
        library("opt/x/libx.so"),
        library(GLIBC_LOADER.trim_start_matches('/')),
    ];
    let loaders = profile(GLIBC_LOADER, &[]).loaders;
    let image = Image { platform: "linux/amd64".to_owned(), loaders, ..Image::default() };
    let subjects = vec!["usr/libexec/helper".to_owned()];
    let specification = Specification { image: Some(image), subjects, ..document(objects) };
    let report = check(&specification, &glibc_host());
    assert_eq!(report.verdict, Verdict::Incompatible, "{report:?}");
}

/// Returns the need of one version of a library.
fn wanted(library: &str, version: &str) -> LibraryNeed {
    let need = VersionNeed { version: version.to_owned(), optional: false, symbols: Symbols::default() };
    let versions = vec![need];
    LibraryNeed { library: library.to_owned(), versions }
}

/// Returns a library that defines one version.
fn versioned(path: &str, version: &str) -> Object {
    let versions = Some(vec![version.to_owned()]);
    let provides = Provision { versions, symbol_versions: true, definitions: Vec::new() };
    Object { provides: Some(provides), ..library(path) }
}

#[test]
fn what_lies_beside_a_library_that_was_found_hides_no_fault_of_the_hosts_libraries() {
    let mut profile = profile(GLIBC_LOADER, &[]);
    profile.libraries.push(versioned("/lib/libz.so.1", "Z_1"));
    let host = Host::of_profile(profile, "made.json".to_owned(), &Options::default());
    let versions = |beside: Object, foo: Object, wants: Vec<LibraryNeed>| {
        let tool = Object { wants, ..program("libexec/tool", &["libfoo.so", "libz.so.1"]) };
        let subjects = vec!["libexec/tool".to_owned()];
        let application = Application { subjects, ..directory(vec![tool, foo, beside]) };
        let report = check_application(&application, &host);
        let of = |finding: &Finding| match &finding.matter {
            Matter::Problem(Problem::VersionMissing { path, version, .. }) => {
                Some(format!("{path} {version}"))
            }
            Matter::Problem(problem) => Some(format!("{problem:?}")),
            Matter::Remark(_) => None,
        };
        let tool = |finding: &&Finding| finding.subjects.iter().any(|subject| subject == "libexec/tool");
        report.findings.iter().filter(tool).filter_map(of).collect::<Vec<_>>()
    };
    let z9 = || vec![wanted("libz.so.1", "Z_9")];
    // With and without the version in the other file.
    for version in ["Z_9", "Z_2"] {
        let beside = versioned("share/x/libz.so.1", version);
        assert_eq!(versions(beside, library("share/x/libfoo.so"), z9()), ["/lib/libz.so.1 Z_9"], "{version}");
    }
    // The other file adds no problems either.
    let beside = Object { needed: vec!["libgone.so".to_owned()], ..versioned("share/x/libz.so.1", "Z_1") };
    assert!(versions(beside, library("share/x/libfoo.so"), Vec::new()).is_empty());
    // The file that was found can have a problem, or lack a version that is needed.
    let foo = Object { wants: z9(), ..needing("share/x/libfoo.so", &["libz.so.1"]) };
    assert_eq!(versions(library("share/y/other.so"), foo, Vec::new()), ["/lib/libz.so.1 Z_9"]);
    let foo = versioned("share/x/libfoo.so", "FOO_1");
    let wants = vec![wanted("libfoo.so", "FOO_2")];
    assert_eq!(versions(library("share/y/other.so"), foo, wants), ["share/x/libfoo.so FOO_2"]);
}
