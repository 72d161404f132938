//! The properties of an object's file in a specification: its header, segments and permissions.

use crate::check::directory_tests::loader;
use crate::check::{Host, Matter, Options, Report, Verdict, check};
use crate::elf::{IsaLevel, Machine};
use crate::host::{Platform, Profile};
use crate::loader::Problem;
use crate::spec::{
    Flavour, Identification, Layout, Object, ObjectFlag, ObjectKind, Script, Segment, SegmentRole,
    Specification,
};

const LOADER: &str = "/lib/ld.so";

/// Returns a host that has only a loader.
fn host(machine: Machine, page_size: Option<u64>) -> Host {
    Host::of_profile(profile(machine, page_size, Some((2, 36))), "saved".to_owned(), &Options::default())
}

fn profile(machine: Machine, page_size: Option<u64>, version: Option<(u32, u32)>) -> Profile {
    let isa = (machine == Machine::X86_64).then(|| IsaLevel::up_to(3));
    let platform = Platform { machine, isa, is_intel: false, kernel: None, page_size, ..Platform::default() };
    let loader = loader(LOADER, Flavour::Glibc { version }, &["/lib"]);
    Profile {
        directories: ["/", "/lib"].map(str::to_owned).into(),
        loaders: vec![loader],
        libraries: vec![Object::new(LOADER, ObjectKind::Library, &machine.to_string(), 64)],
        ..Profile::new(&platform)
    }
}

/// Returns a host with a C library of the release `2.minor`.
fn host_of_release(machine: Machine, minor: u32) -> Host {
    // Before 2.33, a loader does not contain its version.
    let mut profile = profile(machine, Some(4096), (minor >= 33).then_some((2, minor)));
    profile.unrecorded = Some(["/", "/lib"].map(|directory| (directory.to_owned(), Vec::new())).into());
    let release = format!("(GNU libc) stable release version 2.{minor}");
    profile.libraries[0].release = (minor >= 33).then(|| release.clone());
    profile.libraries.push(Object {
        soname: Some("libc.so.6".to_owned()),
        release: Some(release),
        ..Object::new("/lib/libc.so.6", ObjectKind::Library, &machine.to_string(), 64)
    });
    Host::of_profile(profile, "saved".to_owned(), &Options::default())
}

/// Returns a program with a library next to it, both changed by the test.
fn application(machine: Machine, change: impl FnOnce(&mut Object, &mut Object)) -> Specification {
    let machine = machine.to_string();
    let mut program = Object {
        interpreter: Some(LOADER.to_owned()),
        needed: vec!["libx.so".to_owned()],
        runpath: Some("$ORIGIN".to_owned()),
        ..Object::new("app", ObjectKind::Executable, &machine, 64)
    };
    let mut library = Object::new("libx.so", ObjectKind::Library, &machine, 64);
    change(&mut program, &mut library);
    let objects = vec![program, library];
    Specification { subjects: vec!["app".to_owned()], objects, ..Specification::new() }
}

fn judged(change: impl FnOnce(&mut Object, &mut Object)) -> Report {
    check(&application(Machine::X86_64, change), &host(Machine::X86_64, Some(4096)))
}

fn problem(report: &Report) -> Option<&Problem> {
    match &report.findings.first()?.matter {
        Matter::Problem(problem) => Some(problem),
        Matter::Remark(_) => None,
    }
}

/// Returns two segments. The second one is shifted by a page of 4 KiB.
fn layout() -> Layout {
    let segment = |flags: &str, offset: u64, address: u64| Segment {
        role: SegmentRole::Load,
        flags: flags.to_owned(),
        offset,
        address,
        file_size: 0x1000,
        memory_size: 0x1000,
        alignment: 0x1000,
    };
    let segments = vec![segment("rx", 0, 0), segment("rw", 0x1000, 0x40000)];
    Layout { entry: 0, table: 64, count: 2, segments }
}

#[test]
fn what_the_loader_objects_to_in_a_header_is_in_the_document() {
    assert_eq!(judged(|_, _| {}).verdict, Verdict::Compatible);
    let report = judged(|_, library| library.identification = Some(Identification::AbiVersion));
    let Some(Problem::LibraryUnusable { reason, .. }) = problem(&report) else { panic!("{report:?}") };
    assert_eq!(reason, "ELF file ABI version invalid");
    // The kernel does not read it.
    let report = judged(|program, _| program.identification = Some(Identification::AbiVersion));
    assert_eq!(report.verdict, Verdict::Compatible);
}

#[test]
fn segments_of_a_document_are_judged_by_the_pages_of_the_host() {
    let specification = application(Machine::AARCH64, |_, library| library.layout = Some(layout()));
    let verdict = |page_size| check(&specification, &host(Machine::AARCH64, page_size)).verdict;
    assert_eq!(verdict(Some(4096)), Verdict::Compatible);
    assert_eq!(verdict(Some(65536)), Verdict::Incompatible);
    assert_eq!(verdict(None), Verdict::Undecided);
}

#[test]
fn what_nobody_may_execute_does_not_start() {
    let report = judged(|program, _| program.flags.push(ObjectFlag::NotExecutable));
    assert!(matches!(problem(&report), Some(Problem::NotExecutable { .. })), "{report:?}");
    let script = Script {
        path: "run.sh".to_owned(),
        interpreter: "/app".to_owned(),
        argument: None,
        body: None,
        not_executable: true,
    };
    let specification =
        Specification { subjects: vec!["run.sh".to_owned()], scripts: vec![script], ..Specification::new() };
    let report = check(&specification, &host(Machine::X86_64, None));
    assert!(matches!(problem(&report), Some(Problem::NotExecutable { .. })), "{report:?}");
}

#[test]
fn a_fact_that_is_not_known_is_never_compatible() {
    let flag = judged(|_, library| library.flags.push(ObjectFlag::Unknown));
    let identification = judged(|program, _| program.identification = Some(Identification::Unknown));
    let role = judged(|_, library| {
        let mut layout = layout();
        layout.segments[0].role = SegmentRole::Unknown;
        library.layout = Some(layout);
    });
    let mut newer = application(Machine::X86_64, |_, _| {});
    newer.version = "1.1.0".to_owned();
    let newer = check(&newer, &host(Machine::X86_64, Some(4096)));
    for report in [flag, identification, role, newer] {
        assert_ne!(report.verdict, Verdict::Compatible, "{report:?}");
    }
}

#[test]
fn a_variable_behind_a_descriptor_is_missed_at_the_first_use_by_older_releases() {
    let is_lazy = |machine: Machine, minor: u32, change: fn(&mut Object)| {
        let specification = application(machine, |program, library| {
            program.needed.push("libc.so.6".to_owned());
            library.unversioned.symbols = vec!["variable".to_owned()];
            library.unversioned.descriptors = vec!["variable".to_owned()];
            change(library);
        });
        let read = crate::spec::parse(&specification.to_canonical_json()).unwrap();
        let report = check(&read, &host_of_release(machine, minor));
        match problem(&report) {
            Some(Problem::SymbolMissing { symbol, lazy, .. }) if symbol == "variable" => *lazy,
            other => panic!("{other:?}"),
        }
    };
    let unchanged = |_: &mut Object| {};
    for (machine, minor, expected) in [
        (Machine::X86_64, 31, true),
        (Machine::X86_64, 33, true),
        (Machine::X86_64, 34, false),
        (Machine::AARCH64, 26, true),
        (Machine::AARCH64, 27, false),
        (Machine::AARCH64, 31, false),
        (Machine::RISCV, 31, false),
    ] {
        assert_eq!(is_lazy(machine, minor, unchanged), expected, "{machine:?} 2.{minor}");
    }
    assert!(!is_lazy(Machine::X86_64, 31, |library| library.flags.push(ObjectFlag::BindNow)));
    // The form of older documents.
    assert!(!is_lazy(Machine::X86_64, 31, |library| library.unversioned.descriptors.clear()));
}

#[test]
fn a_program_in_the_other_byte_order_is_for_another_machine() {
    let names = [
        (Machine::PPC64, "ppc64le", "ppc64"),
        (Machine::MIPS, "mips64el", "mips64"),
        (Machine::AARCH64, "aarch64", "aarch64_be"),
        (Machine::S390, "s390x", "s390x"),
    ];
    for (machine, little, big) in names {
        for (program_is_big, host_is_big) in [(false, false), (false, true), (true, false), (true, true)] {
            let specification = application(machine, |program, library| {
                (program.big_endian, library.big_endian) = (program_is_big, program_is_big);
            });
            let read = crate::spec::parse(&specification.to_canonical_json()).unwrap();
            let mut profile = profile(machine, Some(65536), Some((2, 36)));
            (profile.big_endian, profile.libraries[0].big_endian) = (host_is_big, host_is_big);
            let host = Host::of_profile(profile, "saved".to_owned(), &Options::default());
            let report = check(&read, &host);
            match problem(&report) {
                None => assert_eq!(program_is_big, host_is_big, "{report:?}"),
                Some(Problem::WrongMachine { machine, host, .. }) => {
                    assert_ne!(program_is_big, host_is_big, "{report:?}");
                    assert_eq!(machine, if program_is_big { big } else { little });
                    assert!(machine.starts_with(host.as_str()) || host != machine, "{report:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn filters_that_end_the_loader() {
    let judged = |minor: u32, change: fn(&mut Object, &mut Object, &mut Object)| {
        let mut other = Object::new("liby.so", ObjectKind::Library, "x86_64", 64);
        let mut specification = application(Machine::X86_64, |program, library| {
            program.needed.push("libc.so.6".to_owned());
            library.runpath = Some("$ORIGIN".to_owned());
            other.runpath = Some("$ORIGIN".to_owned());
            change(program, library, &mut other);
        });
        specification.objects.push(other);
        let read = crate::spec::parse(&specification.to_canonical_json()).unwrap();
        let report = check(&read, &host_of_release(Machine::X86_64, minor));
        match problem(&report) {
            Some(Problem::FilterFails { object, library, circular }) => {
                assert_eq!(report.verdict, Verdict::Incompatible);
                Some((object.clone(), library.clone(), *circular))
            }
            _ => None,
        }
    };
    let fails =
        |object: &str, library: &str, circular| Some((object.to_owned(), library.to_owned(), circular));
    for minor in [31, 32, 36] {
        let circle = judged(minor, |_, library, other| {
            library.auxiliary = vec!["liby.so".to_owned()];
            other.filter = vec!["libx.so".to_owned()];
        });
        assert_eq!(circle, fails("liby.so", "libx.so", true), "{minor}");
        let chain = judged(minor, |_, library, other| {
            library.auxiliary = vec!["liby.so".to_owned(), "libx.so".to_owned()];
            other.needed = vec!["libx.so".to_owned()];
        });
        assert_eq!(chain, None, "{minor}");
        let of_program = judged(minor, |program, _, _| program.auxiliary = vec!["libx.so".to_owned()]);
        assert_eq!(of_program, fails("app", "libx.so", false).filter(|_| minor < 32), "{minor}");
        // libc determines the release, even if it comes last.
        let of_early = judged(minor, |program, _, _| {
            program.needed = vec!["libc.so.6".to_owned()];
            program.auxiliary = vec!["libx.so".to_owned()];
            program.dependency_order = Some("an".to_owned());
        });
        assert_eq!(of_early, fails("app", "libx.so", false).filter(|_| minor < 32), "{minor}");
        let missing = judged(minor, |program, _, _| program.auxiliary = vec!["libno.so".to_owned()]);
        assert_eq!(missing, None, "{minor}");
    }
}
