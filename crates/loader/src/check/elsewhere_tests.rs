//! Verdicts on directories whose libraries lie where the files that need them do not look.

use crate::check::directory_tests::{
    GLIBC_LOADER, directory, document, glibc_host, library, needing, profile,
};
use crate::check::{Impact, Matter, Remark, Report, Verdict, check, check_application};
use crate::loader::{Application, Problem};
use crate::spec::{Image, Object, ObjectKind, Specification};

/// A library that is left to a program to find, and the subjects that need it.
type Left = (String, Vec<String>);

/// The verdict, what is left to a program to find, and what is missing.
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
    // Java's libraries need one that the launcher loads by its path.
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
    // What is missing everywhere is missing still, also behind what was found.
    let mut broken = java();
    broken[0].needed = texts(&["libgone.so"]);
    let (verdict, _, missing) = elsewhere(broken);
    assert_eq!((verdict, missing), (Verdict::Incompatible, texts(&["libgone.so", "libgone.so"])));
    // Another machine's file is none that would do.
    let mut foreign = java();
    foreign[0].machine = "aarch64".to_owned();
    assert_eq!(elsewhere(foreign).0, Verdict::Incompatible);
}

/// A program that needs libraries.
fn program(path: &str, needed: &[&str]) -> Object {
    Object {
        interpreter: Some(GLIBC_LOADER.to_owned()),
        kind: ObjectKind::Executable,
        soname: None,
        ..needing(path, needed)
    }
}

/// The report on a program that needs a library of another directory, with links to it.
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
    // Whoever starts a helper may say where its libraries are: nobody knows.
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
