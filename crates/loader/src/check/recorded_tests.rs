//! Verdicts on recorded runs, and specifications with too many recorded files.

use std::time::Instant;

use crate::check::saved_tests::made_host;
use crate::check::{Impact, Matter, Options, Remark, Report, Verdict, check};
use crate::elf::{Class, Machine};
use crate::host::DynamicLoader;
use crate::loader::{Problem, Unknown};
use crate::spec::{
    DlopenNeed, DlopenPriority, Object, ObjectKind, Recorded, RecordedLibrary, RecordedProgram,
    Specification, Symbols,
};

fn object(path: &str) -> Object {
    Object::new(path, ObjectKind::Library, &Machine::X86_64.to_string(), 64)
}

fn library(path: &str) -> RecordedLibrary {
    RecordedLibrary {
        path: path.to_owned(),
        name: None,
        needed_by: None,
        build_id: None,
        seen: 2,
        gone: false,
    }
}

fn named(name: &str) -> RecordedLibrary {
    RecordedLibrary { name: Some(name.to_owned()), ..library("/nowhere/at/all.so") }
}

fn program(path: &str, libraries: Vec<RecordedLibrary>) -> RecordedProgram {
    RecordedProgram { path: path.to_owned(), seen: 3, gone: false, libraries }
}

/// Returns a program with objects next to it, and the libraries that its runs loaded.
fn specification(objects: Vec<Object>, programs: Vec<RecordedProgram>) -> Specification {
    let usual = DynamicLoader::usual_path(Machine::X86_64, Class::Elf64, false);
    let app = Object {
        kind: ObjectKind::Executable,
        interpreter: usual.map(str::to_owned),
        needed: vec!["libc.so.6".to_owned()],
        ..object("app")
    };
    Specification {
        subjects: vec!["app".to_owned()],
        objects: [vec![app], objects].concat(),
        recorded: Some(Recorded { runs: 3, programs, other_files: 0 }),
        ..Specification::new()
    }
}

fn report(specification: &Specification) -> Report {
    check(specification, &made_host(&Options::default()))
}

fn of_app(objects: Vec<Object>, libraries: Vec<RecordedLibrary>) -> Report {
    report(&specification(objects, vec![program("app", libraries)]))
}

/// Returns the recorded libraries in a report, each with its problem.
fn told(report: &Report) -> Vec<(&str, &Problem)> {
    let findings = report.findings.iter().filter_map(|finding| match &finding.matter {
        Matter::Remark(Remark::RecordedLibrary { library, problem, .. }) => {
            assert_eq!(finding.subjects, ["app"]);
            Some((library.as_str(), &**problem))
        }
        _ => None,
    });
    findings.collect()
}

#[test]
fn what_loads_here_too_says_nothing() {
    let wanting = Object { needed: vec!["libm.so.6".to_owned()], ..object("plugins/a.so") };
    let found = of_app(vec![wanting], vec![library("plugins/a.so"), named("libm.so.6")]);
    assert_eq!((found.verdict, found.findings.len()), (Verdict::Compatible, 0), "{found:?}");
}

#[test]
fn a_recorded_library_that_is_not_here_leaves_it_undecided() {
    for missing in [library("/nowhere/plugin.so"), named("libnowhere.so.1")] {
        let found = of_app(Vec::new(), vec![missing]);
        assert_eq!((found.verdict, found.subjects[0].verdict), (Verdict::Undecided, Verdict::Undecided));
        assert!(matches!(told(&found)[..], [(_, Problem::LibraryMissing { .. })]), "{found:?}");
    }
}

#[test]
fn what_a_recorded_library_itself_lacks_is_told_with_it() {
    let needs = Object { needed: vec!["libnowhere.so.1".to_owned()], ..object("a.so") };
    let wants = Object {
        unversioned: Symbols { symbols: vec!["no_such_function".to_owned()], ..Symbols::default() },
        ..object("b.so")
    };
    let objects = vec![needs, wants];
    let found = of_app(objects.clone(), vec![named("libm.so.6"), library("a.so")]);
    assert!(matches!(told(&found)[..], [("a.so", Problem::LibraryMissing { .. })]), "{found:?}");
    let found = of_app(objects, vec![library("b.so"), named("libm.so.6")]);
    assert!(matches!(told(&found)[..], [("b.so", Problem::SymbolMissing { .. })]), "{found:?}");
    assert_eq!(found.verdict, Verdict::Undecided);
}

#[test]
fn a_library_is_opened_after_those_that_it_was_opened_after() {
    // Like the libraries of the JDK, which find libjvm.so only because it is already loaded.
    let first = Object { soname: Some("libfirst.so".to_owned()), ..object("server/libfirst.so") };
    let second = Object { needed: vec!["libfirst.so".to_owned()], ..object("libsecond.so") };
    let objects = vec![first, second];
    let in_order = vec![library("server/libfirst.so"), library("libsecond.so")];
    assert_eq!(of_app(objects.clone(), in_order).verdict, Verdict::Compatible);
    assert_eq!(of_app(objects, vec![library("libsecond.so")]).verdict, Verdict::Undecided);
}

#[test]
fn a_note_about_a_library_counts_more_than_that_it_was_loaded() {
    for (priority, verdict) in [
        (DlopenPriority::Required, Verdict::Incompatible),
        (DlopenPriority::Recommended, Verdict::Compatible),
        (DlopenPriority::Suggested, Verdict::Compatible),
    ] {
        let need = DlopenNeed {
            sonames: vec!["libnowhere.so.2".to_owned(), "libnowhere.so.1".to_owned()],
            feature: None,
            description: None,
            priority,
        };
        let mut document = specification(Vec::new(), vec![program("app", vec![named("libnowhere.so.1")])]);
        document.objects[0].dlopen = vec![need];
        let found = report(&document);
        assert_eq!((found.verdict, told(&found).len()), (verdict, 0), "{found:?}");
    }
}

#[test]
fn a_note_of_the_program_says_nothing_of_what_a_plugin_needs() {
    let need = DlopenNeed {
        sonames: vec!["libnowhere.so.1".to_owned()],
        feature: None,
        description: None,
        priority: DlopenPriority::Suggested,
    };
    let plugin = Object { needed: vec!["libnowhere.so.1".to_owned()], ..object("plug.so") };
    // Also if the program has opened the library of the note.
    for libraries in [vec![library("plug.so")], vec![named("libnowhere.so.1"), library("plug.so")]] {
        let mut document = specification(vec![plugin.clone()], vec![program("app", libraries)]);
        document.objects[0].dlopen = vec![need.clone()];
        let found = report(&document);
        assert_eq!(found.verdict, Verdict::Undecided, "{found:?}");
        let [(_, Problem::LibraryMissing { library, wanted_by, .. })] = told(&found)[..] else {
            panic!("{found:?}");
        };
        assert_eq!((library.as_str(), wanted_by.as_str()), ("libnowhere.so.1", "plug.so"));
    }
}

#[test]
fn a_program_that_was_executed_is_started_too() {
    let found = report(&specification(Vec::new(), vec![program("/usr/bin/env", Vec::new())]));
    assert_eq!(found.verdict, Verdict::Compatible, "{found:?}");
    let missing =
        report(&specification(Vec::new(), vec![program("/nowhere/tool", vec![named("libm.so.6")])]));
    assert_eq!(missing.verdict, Verdict::Undecided);
    let Matter::Remark(Remark::RecordedProgram { program, seen: 3, runs: 3, .. }) =
        &missing.findings[0].matter
    else {
        panic!("{missing:?}");
    };
    assert_eq!((program.as_str(), missing.findings.len()), ("/nowhere/tool", 1));
}

#[test]
fn a_program_is_also_found_elsewhere_in_the_search_path() {
    // If `/usr/sbin` is a separate directory, it contains no file of that name.
    let moved = report(&specification(Vec::new(), vec![program("/usr/sbin/env", Vec::new())]));
    assert_eq!(moved.verdict, Verdict::Compatible, "{moved:?}");
}

/// Returns the programs that a report could not decide.
fn unknown(report: &Report) -> Vec<(&str, Unknown)> {
    let findings = report.findings.iter().filter_map(|finding| match &finding.matter {
        Matter::Remark(Remark::RecordedProgramUnknown { program, reason, .. }) => {
            assert_eq!((finding.impact, &finding.subjects[..]), (Impact::Undecided, &["app".to_owned()][..]));
            Some((program.as_str(), *reason))
        }
        _ => None,
    });
    findings.collect()
}

#[test]
fn a_program_that_was_gone_leaves_it_undecided_also_where_it_is_here() {
    for path in ["/usr/bin/env", "/nowhere/tool", ""] {
        let gone = RecordedProgram { gone: true, ..program(path, vec![named("libm.so.6")]) };
        let found = report(&specification(Vec::new(), vec![gone]));
        assert_eq!((found.verdict, found.subjects[0].verdict), (Verdict::Undecided, Verdict::Undecided));
        assert_eq!(unknown(&found), [(path, Unknown::Gone)]);
        assert_eq!(found.findings.len(), 1, "{found:?}");
    }
}

#[test]
fn a_program_without_a_loader_that_loaded_libraries_leaves_it_undecided() {
    for kind in [ObjectKind::Executable, ObjectKind::Library] {
        let own_loader = Object { kind, ..object("static") };
        let document =
            |libraries| specification(vec![own_loader.clone()], vec![program("static", libraries)]);
        let found = report(&document(vec![named("libm.so.6")]));
        assert_eq!(
            (found.verdict, unknown(&found)),
            (Verdict::Undecided, vec![("static", Unknown::OwnLoader)])
        );
        assert_eq!(report(&document(Vec::new())).verdict, Verdict::Compatible);
    }
}

#[test]
fn where_the_program_does_not_start_nothing_is_said_of_what_it_would_load() {
    let mut document = specification(Vec::new(), vec![program("app", vec![named("libnowhere.so.1")])]);
    document.objects[0].needed.push("libnot-there.so.1".to_owned());
    let found = report(&document);
    assert_eq!((found.verdict, found.findings.len()), (Verdict::Incompatible, 1), "{found:?}");
}

#[test]
fn thousands_of_recorded_libraries_and_programs_end_soon_and_never_compatible() {
    let begin = Instant::now();
    let many = |count: usize| (0..count).map(|number| named(&format!("libn{number}.so"))).collect::<Vec<_>>();
    let chain: Vec<Object> = (0..5000)
        .map(|number| Object {
            needed: (0..40).map(|next| format!("libn{}.so", (number + next) % 5000)).collect(),
            runpath: Some("$ORIGIN".to_owned()),
            ..object(&format!("libn{number}.so"))
        })
        .collect();
    let paths = (0..5000).map(|number| library(&format!("libn{number}.so"))).collect();
    for document in [
        specification(Vec::new(), vec![program("app", many(20_000))]),
        specification(chain, vec![program("app", paths)]),
        specification(Vec::new(), (0..30_000).map(|_| program("/usr/bin/env", many(1))).collect()),
        specification(Vec::new(), (0..300).map(|_| program("app", many(60))).collect()),
    ] {
        let found = report(&document);
        assert_eq!(found.verdict, Verdict::Undecided);
        assert!(found.findings.iter().all(|finding| finding.impact <= Impact::Undecided));
    }
    assert!(begin.elapsed().as_secs() < 240, "{:?}", begin.elapsed());
}
