//! Documents of up to 4 MB that would take time or memory quadratic in their size. Without the tested limit, each
//! test takes minutes or all memory. In an optimised build, each check takes up to about a second.

mod image;

use std::time::{Duration, Instant};

use crate::check::saved_tests::made_host;
use crate::check::{Matter, Options, Remark, Report, Verdict, check};
use crate::elf::{Class, Machine};
use crate::host::DynamicLoader;
use crate::loader::{Effort, Problem};
use crate::spec::{
    Definitions, DlopenNeed, DlopenPriority, LibraryNeed, Object, ObjectKind, Provision, Script,
    Specification, Symbols, ThreadLocal, VersionNeed,
};

/// The maximum duration of a check, in an unoptimised build on a busy machine. An optimised build takes about a
/// second.
const SOON: Duration = Duration::from_secs(120);

fn object(path: &str) -> Object {
    Object::new(path, ObjectKind::Library, &Machine::X86_64.to_string(), 64)
}

/// Returns a program at the path `app` with the test's needs.
fn program(change: impl FnOnce(&mut Object)) -> Object {
    let usual = DynamicLoader::usual_path(Machine::X86_64, Class::Elf64, false);
    let interpreter = usual.map(str::to_owned);
    let mut program = Object { kind: ObjectKind::Executable, interpreter, ..object("app") };
    change(&mut program);
    program
}

fn document(objects: Vec<Object>) -> Specification {
    Specification { subjects: vec!["app".to_owned()], objects, ..Specification::new() }
}

fn report(specification: &Specification) -> Report {
    let size = serde_json::to_vec(specification).unwrap().len();
    assert!(size < 4_500_000, "{size}");
    let start = Instant::now();
    let report = check(specification, &made_host(&Options::default()));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    report
}

/// Returns the effort limit that a report names, if any. Asserts that the verdict is not compatible.
fn exceeded(report: &Report) -> Option<Effort> {
    let mut efforts = report.findings.iter().filter_map(|finding| match &finding.matter {
        Matter::Problem(Problem::EffortExceeded { effort }) => Some(*effort),
        _ => None,
    });
    let effort = efforts.next_back();
    assert!(effort.is_none() || report.verdict != Verdict::Compatible);
    effort
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number}")).collect()
}

fn wants(library: &str, version: &str, symbols: Vec<String>) -> LibraryNeed {
    let symbols = Symbols { symbols, ..Symbols::default() };
    let version = VersionNeed { version: version.to_owned(), optional: false, symbols };
    LibraryNeed { library: library.to_owned(), versions: vec![version] }
}

#[test]
fn thousands_of_missing_libraries_are_told_once_each_and_the_rest_counted() {
    let found = report(&document(vec![program(|program| program.needed = names(5200))]));
    assert_eq!((found.verdict, exceeded(&found)), (Verdict::Incompatible, None));
    assert_eq!(found.findings.len(), 5001);
    let left_out = |finding: &&crate::check::Finding| {
        matches!(finding.matter, Matter::Remark(Remark::FindingsLeftOut { count: 200 }))
    };
    assert_eq!(found.findings.iter().filter(left_out).count(), 1);
    let more = report(&document(vec![program(|program| program.needed = names(400_000))]));
    assert_eq!((more.verdict, exceeded(&more)), (Verdict::Incompatible, Some(Effort::Search)));
}

#[test]
fn a_chain_of_thousands_of_libraries_ends_where_no_program_has_more() {
    let path = |number: usize| format!("lib/n{number}");
    let library = |number| Object {
        soname: Some(format!("n{number}")),
        needed: vec![format!("n{}", number + 1)],
        runpath: Some("$ORIGIN".to_owned()),
        ..object(&path(number))
    };
    let mut objects: Vec<Object> = (0..6000).map(library).collect();
    objects.push(program(|program| {
        program.needed = vec!["n0".to_owned()];
        program.runpath = Some("$ORIGIN/lib".to_owned());
    }));
    let report = report(&document(objects));
    // Symbols and libraries that were not reached are not reported.
    assert_eq!((report.verdict, report.findings.len()), (Verdict::Undecided, 1));
    assert_eq!(exceeded(&report), Some(Effort::Libraries));
}

#[test]
fn libraries_that_all_want_symbols_of_each_other_are_asked_so_far() {
    let library = |number: usize| Object {
        soname: Some(format!("n{number}")),
        unversioned: Symbols { symbols: names(150), ..Symbols::default() },
        provides: Some(Provision {
            versions: None,
            symbol_versions: false,
            definitions: vec![Definitions { symbols: vec!["m".to_owned()], ..Definitions::default() }],
        }),
        ..object(&format!("n{number}"))
    };
    let mut objects: Vec<Object> = (0..3000).map(library).collect();
    objects.push(program(|program| {
        program.needed = names(3000);
        program.runpath = Some("$ORIGIN".to_owned());
    }));
    let report = report(&document(objects));
    assert_eq!(exceeded(&report), Some(Effort::Symbols));
    // The missing symbols of an object that was looked up completely are reported, because they are certain.
    assert_eq!(report.verdict, Verdict::Incompatible);
}

#[test]
fn a_run_path_of_thousands_of_directories_is_searched_so_far_and_no_further() {
    for (count, length) in [(900, 4000), (400_000, 3)] {
        let list: Vec<String> = (0..count).map(|number| format!("/{number:0length$}")).collect();
        for wanted in [1, 1000] {
            let report = report(&document(vec![program(|program| {
                program.needed = names(wanted);
                program.runpath = Some(list.join(":"));
            })]));
            // The lookup of one name is cheap in empty directories, for any number of directories.
            let too_many = wanted == 1000;
            assert_eq!(exceeded(&report).is_some(), too_many, "{count} {wanted}");
        }
    }
}

#[test]
fn libraries_that_inherit_long_lists_of_directories_are_searched_so_far() {
    let list: Vec<String> = (0..200).map(|number| format!("$ORIGIN/{number}")).collect();
    let library = |number: usize| Object {
        needed: vec![format!("n{}", number + 1)],
        rpath: Some(list.join(":")),
        ..object(&format!("n{number}"))
    };
    let mut objects: Vec<Object> = (0..1200).map(library).collect();
    objects.push(program(|program| {
        program.needed = vec!["n0".to_owned()];
        program.rpath = Some(list.join(":") + ":$ORIGIN");
    }));
    assert_eq!(exceeded(&report(&document(objects))), Some(Effort::Search));
}

#[test]
fn a_path_of_thousands_of_components_and_links_that_loop_lead_nowhere() {
    let mut document = document(vec![program(|program| program.needed = vec!["../".repeat(300_000) + "a"])]);
    document.links =
        [("l", "l/l/l"), ("m", "n"), ("n", "m")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    document.links.insert("far".to_owned(), "far/".repeat(200_000));
    document.subjects.extend(["l", "m", "far", "a/".repeat(500_000).as_str()].map(str::to_owned));
    assert_eq!(report(&document).subjects.len(), 5);
}

#[test]
fn deep_directories_and_links_between_them_are_walked_so_far() {
    let deep = |number: usize| format!("{number}/{}", "a/".repeat(2000));
    let mut document = document(Vec::new());
    document.objects =
        (0..300).map(|number| program(|program| program.path = deep(number) + "app")).collect();
    document.links = (0..200).map(|number| (deep(number) + "l", deep(number))).collect();
    document.subjects = (0..100).map(|number| deep(number) + "l/app").collect();
    report(&document);
}

#[test]
fn symbols_share_the_text_of_their_library_and_version() {
    let long = "v".repeat(1 << 20);
    let library = Object {
        soname: Some("own".to_owned()),
        provides: Some(Provision {
            versions: Some(vec![long.clone()]),
            symbol_versions: true,
            definitions: vec![Definitions {
                version: Some(long.clone()),
                symbols: names(20_000),
                ..Definitions::default()
            }],
        }),
        ..object("own")
    };
    let user = |symbols| {
        program(|program| {
            program.needed = vec!["own".to_owned()];
            program.runpath = Some("$ORIGIN".to_owned());
            program.wants = vec![wants("own", &long, symbols)];
        })
    };
    assert_eq!(report(&document(vec![library.clone(), user(names(20_000))])).findings, []);
    // Each missing symbol would be reported with the version.
    let missing = names(20_000).into_iter().map(|name| name + "x").collect();
    assert_eq!(exceeded(&report(&document(vec![library, user(missing)]))), Some(Effort::Problems));
}

#[test]
fn thousands_of_libraries_and_versions_are_found_by_their_names() {
    let program = program(|program| {
        program.needed = vec!["libc.so.6".to_owned()];
        program.wants =
            names(20_000).iter().map(|name| wants(name, "V_1", vec!["printf".to_owned()])).collect();
        let versions = names(20_000).into_iter().map(|name| VersionNeed {
            version: format!("GLIBC_{}", name.replace('n', "9.")),
            optional: false,
            symbols: Symbols::default(),
        });
        program.wants.push(LibraryNeed { library: "libc.so.6".to_owned(), versions: versions.collect() });
    });
    // The versions of libc, the missing libraries, and their symbols.
    let report = report(&document(vec![program]));
    let counts = |finding: &&crate::check::Finding| {
        matches!(finding.matter, Matter::Remark(Remark::FindingsLeftOut { count: 55_000 }))
    };
    assert!(report.findings.iter().any(|finding| counts(&finding)), "{:?}", report.findings.last());
}

#[test]
fn thousands_of_notes_are_looked_up_so_far() {
    let need = |sonames| DlopenNeed {
        sonames,
        feature: None,
        description: None,
        priority: DlopenPriority::Required,
    };
    let program = program(|program| program.dlopen = (0..100).map(|_| need(names(3000))).collect());
    assert_eq!(exceeded(&report(&document(vec![program]))), Some(Effort::Search));
}

#[test]
fn thousands_of_subjects_are_started_until_it_is_too_much() {
    let path = format!("{}a", format!("{}/", "a".repeat(250)).repeat(8));
    let program = program(|program| {
        program.path = path.clone();
        program.needed = names(1000);
    });
    let mut document = document(vec![program]);
    document.subjects = vec![path; 1000];
    document.scripts = names(20_000)
        .into_iter()
        .map(|path| Script {
            path,
            interpreter: "/no/such".to_owned(),
            argument: None,
            body: None,
            not_executable: false,
        })
        .collect();
    document.subjects.extend(names(20_000));
    let report = report(&document);
    assert_eq!(report.subjects.len(), 21_000);
    let last = report.subjects.last().unwrap();
    assert_eq!((last.path.as_str(), last.verdict), ("n19999", Verdict::Undecided));
    assert_eq!(exceeded(&report), Some(Effort::Problems));
}

#[test]
fn one_subject_hundreds_of_thousands_of_times_is_started_until_it_is_too_much() {
    let mut document = document(vec![program(|program| program.needed = vec!["libc.so.6".to_owned()])]);
    document.subjects = vec!["app".to_owned(); 600_000];
    let found = report(&document);
    assert_eq!((found.subjects.len(), found.verdict), (600_000, Verdict::Undecided));
    assert!(exceeded(&found).is_some());
}

#[test]
fn symbols_in_static_memory_are_asked_of_all_objects_so_far() {
    let wanted = |number: usize| ThreadLocal {
        size: 1,
        initial_exec_symbols: names(number),
        ..ThreadLocal::default()
    };
    let library = |number: usize| Object {
        soname: Some(format!("n{number}")),
        thread_local: Some(wanted(100)),
        ..object(&format!("n{number}"))
    };
    let mut objects: Vec<Object> = (0..3000).map(library).collect();
    objects.push(Object { needed: names(3000), runpath: Some("$ORIGIN".to_owned()), ..object("plugin") });
    objects.push(program(|_| ()));
    let options = Options { host_program: Some("/usr/bin/env".to_owned()), ..Options::default() };
    let document = Specification { subjects: vec!["plugin".to_owned()], ..document(objects) };
    let start = Instant::now();
    let report = check(&document, &made_host(&options));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(exceeded(&report), Some(Effort::Symbols), "{:?}", report.findings.first());
}
