//! Documents that would take the square of their size in time or memory. Each test takes minutes, or all
//! memory, where the bound that it is about is missing.

use std::time::{Duration, Instant};

use crate::check::{Host, Matter, Options, Report, Verdict, check};
use crate::elf::{Class, Machine};
use crate::host::DynamicLoader;
use crate::loader::Problem;
use crate::spec::{
    Definitions, LibraryNeed, Object, ObjectKind, Provision, Script, Specification, Symbols, VersionNeed,
};

/// How long anything here may take, even unoptimised on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn object(path: &str) -> Object {
    Object::new(path, ObjectKind::Library, &Machine::of_this_program().to_string(), 64)
}

/// A program at the path `app` that needs what the test says.
fn program(change: impl FnOnce(&mut Object)) -> Object {
    let usual = DynamicLoader::usual_path(Machine::of_this_program(), Class::Elf64, false);
    let interpreter = usual.map(str::to_owned);
    let mut program = Object { kind: ObjectKind::Executable, interpreter, ..object("app") };
    change(&mut program);
    program
}

fn document(objects: Vec<Object>) -> Specification {
    Specification { subjects: vec!["app".to_owned()], objects, ..Specification::new() }
}

fn report(specification: &Specification) -> Report {
    let start = Instant::now();
    let report = check(specification, &Host::this_machine(&Options::default()));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    report
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
fn thousands_of_missing_libraries_are_told_once_each() {
    let report = report(&document(vec![program(|program| program.needed = names(20_000))]));
    assert_eq!(report.findings.len(), 20_000);
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
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings.len()) };
    let Matter::Problem(Problem::LibraryUnusable { reason, .. }) = &finding.matter else {
        panic!("{finding:?}")
    };
    insta::assert_snapshot!(reason, @"not loaded: the program has 4096 libraries already");
}

#[test]
fn a_run_path_of_thousands_of_directories_is_searched_so_far_and_no_further() {
    let list: Vec<String> = (0..10_000).map(|number| format!("/{number}{}", "n".repeat(4000))).collect();
    let report = report(&document(vec![program(|program| {
        program.needed = names(100);
        program.runpath = Some(list.join(":"));
    })]));
    assert_eq!(report.verdict, Verdict::Incompatible);
    let told = |finding: &crate::check::Finding| {
        matches!(&finding.matter, Matter::Problem(Problem::LibraryUnusable { reason, .. })
            if reason == "not searched for: too many directories for one program")
    };
    assert!(report.findings.iter().any(told));
}

#[test]
fn a_path_of_thousands_of_components_and_links_that_loop_lead_nowhere() {
    let mut document = document(vec![program(|program| program.needed = vec!["../".repeat(300_000) + "a"])]);
    document.links =
        [("l", "l/l/l"), ("m", "n"), ("n", "m")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    document.links.insert("far".to_owned(), "far/".repeat(1_000_000));
    document.subjects.extend(["l", "m", "far", "a/".repeat(500_000).as_str()].map(str::to_owned));
    assert_eq!(report(&document).subjects.len(), 5);
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
    let program = program(|program| {
        program.needed = vec!["own".to_owned()];
        program.runpath = Some("$ORIGIN".to_owned());
        program.wants = vec![wants("own", &long, names(20_000))];
    });
    assert_eq!(report(&document(vec![library, program])).findings, []);
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
    // The versions of libc, and the symbols of the other libraries.
    assert_eq!(report(&document(vec![program])).findings.len(), 40_000);
}

#[test]
fn thousands_of_subjects_are_started_until_it_is_too_much() {
    let path = "a".repeat(4000);
    let program = program(|program| {
        program.path = path.clone();
        program.needed = names(1000);
    });
    let mut document = document(vec![program]);
    document.subjects = vec![path; 5000];
    document.scripts = names(20_000)
        .into_iter()
        .map(|path| Script { path, interpreter: "/no/such".to_owned(), argument: None })
        .collect();
    document.subjects.extend(names(20_000));
    let report = report(&document);
    assert_eq!(report.subjects.len(), 25_000);
    let last = report.findings.iter().find(|finding| finding.subjects == ["n19999"]).unwrap();
    let Matter::Problem(Problem::NotAProgram { reason, .. }) = &last.matter else { panic!("{last:?}") };
    insta::assert_snapshot!(reason, @"not looked at: the programs before it have too many libraries or problems");
}
