//! Snapshots of reports for people.

use super::*;
use compat_loader::check::{HostSummary, Subject};
use compat_loader::loader::Unknown;

fn report(problems: &[Problem]) -> Report {
    let host = HostSummary {
        root: "/srv/old".into(),
        saved: false,
        machine: "x86_64".into(),
        isa: None,
        kernel: None,
    };
    let finding = |problem: &Problem| Finding {
        impact: Impact::DoesNotStart,
        matter: Matter::Problem(problem.clone()),
        subjects: vec!["git".to_owned()],
        message: problem.loader_message(),
        of_host: Vec::new(),
        hints: Vec::new(),
    };
    let mut report = Report::new(host);
    report.verdict = Verdict::Incompatible;
    report.subjects = vec![Subject { path: "git".to_owned(), verdict: Verdict::Incompatible }];
    report.findings = problems.iter().map(finding).collect();
    report
}

fn plain(report: &Report) -> String {
    anstream::adapter::strip_str(&render(report)).to_string()
}

#[test]
fn the_missing_versions_of_a_library_are_told_in_one_sentence() {
    let missing = |version: &str| Problem::VersionMissing {
        library: "libc.so.6".into(),
        path: "/lib/x86_64-linux-gnu/libc.so.6".into(),
        version: version.into(),
        wanted_by: "git".into(),
        highest: Some("GLIBC_2.31".into()),
    };
    let report = report(&[missing("GLIBC_2.34"), missing("GLIBC_2.33")]);
    insta::assert_snapshot!(plain(&report), @"
    incompatible: git would not start on the root /srv/old
      x libc.so.6 has versions up to GLIBC_2.31, but git needs GLIBC_2.34, GLIBC_2.33
        found: /lib/x86_64-linux-gnu/libc.so.6
        would print: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by git)
    for the remedy, run `compat explain version-missing`
    ");
}

#[test]
fn recorded_libraries_that_are_not_here_are_told_together() {
    let recorded = |library: &str, rejected: Vec<compat_loader::loader::Rejection>| {
        let problem = Problem::LibraryMissing {
            library: library.into(),
            wanted_by: "app".into(),
            searched: Vec::new(),
            rejected,
        };
        Remark::RecordedLibrary {
            library: library.into(),
            program: "app".into(),
            seen: 2,
            runs: 3,
            problem: Box::new(problem),
        }
    };
    let finding = |remark| Finding {
        impact: Impact::Undecided,
        matter: Matter::Remark(remark),
        subjects: vec!["app".to_owned()],
        message: None,
        of_host: Vec::new(),
        hints: Vec::new(),
    };
    let unknown = compat_loader::loader::Rejection { path: "/c.so".into(), reason: "not recorded".into() };
    let executed = Remark::RecordedProgram {
        program: "/bin/tool".into(),
        seen: 3,
        runs: 3,
        problem: Box::new(Problem::NotAProgram {
            object: "/bin/tool".into(),
            reason: "No such file or directory".into(),
        }),
    };
    let unknown_program = |program: &str, reason| Remark::RecordedProgramUnknown {
        program: program.into(),
        seen: 1,
        runs: 3,
        reason,
    };
    let unknown_programs = [
        unknown_program("/bin/gone", Unknown::Gone),
        unknown_program("", Unknown::Gone),
        unknown_program("/bin/static", Unknown::OwnLoader),
    ];
    let mut report = report(&[]);
    report.verdict = Verdict::Undecided;
    let remarks = [recorded("/a.so", vec![]), recorded("b.so", vec![]), recorded("/c.so", vec![unknown])];
    report.findings = remarks.into_iter().chain([executed]).chain(unknown_programs).map(finding).collect();
    insta::assert_snapshot!(plain(&report), @"
    undecided: could not decide whether git runs on the root /srv/old
      ? app loaded /a.so, b.so in 2 of 3 recorded runs, but this host lacks them
      ? app loaded /c.so in 2 of 3 recorded runs: /c.so: not recorded
      ? /bin/tool was executed in each of 3 recorded runs: /bin/tool cannot be started: No such file or directory
      ? /bin/gone was executed in 1 of 3 recorded runs but no longer existed when the specification was made: its needs are not known
      ? an unidentified program loaded libraries in 1 of 3 recorded runs
      ? /bin/static loaded libraries in 1 of 3 recorded runs by itself (it is linked statically or is a dynamic loader): its search path on this host is not known
    for the remedies, run `compat explain KIND` (kinds: library-missing, not-a-program, recorded-program-unknown)
    ");
}

#[test]
fn a_missing_library_is_told_with_where_it_was_looked_for() {
    let report = report(&[Problem::LibraryMissing {
        library: "libz.so.1".into(),
        wanted_by: "git".into(),
        searched: vec!["/lib".into(), "/usr/lib".into()],
        rejected: Vec::new(),
    }]);
    insta::assert_snapshot!(plain(&report), @"
    incompatible: git would not start on the root /srv/old
      x libz.so.1 was not found, but git needs it
        searched: /lib, /usr/lib
        would print: libz.so.1: cannot open shared object file: No such file or directory
    for the remedy, run `compat explain library-missing`
    ");
}

#[test]
fn one_cause_is_told_once_with_all_who_want_it_and_whose_files_they_are() {
    let missing = |version: &str, wanted_by: &str| Problem::VersionMissing {
        library: "libc.so.6".into(),
        path: "/usr/lib/libc.so.6".into(),
        version: version.into(),
        wanted_by: wanted_by.into(),
        highest: Some("GLIBC_2.31".into()),
    };
    let mut report = report(&[
        missing("GLIBC_2.34", "/usr/lib/libmpi.so.40"),
        missing("GLIBC_2.38", "/usr/lib/libmpi.so.40"),
        missing("GLIBC_2.34", "/usr/lib/libucp.so.0"),
    ]);
    for (finding, path) in report.findings.iter_mut().zip(["libmpi.so.40", "libmpi.so.40", "libucp.so.0"]) {
        finding.of_host = vec![format!("/usr/lib/{path}")];
        finding.hints = vec!["something explains it".to_owned()];
    }
    insta::assert_snapshot!(plain(&report), @"
    incompatible: git would not start on the root /srv/old
      x libc.so.6 has versions up to GLIBC_2.31, but /usr/lib/libmpi.so.40, /usr/lib/libucp.so.0 need GLIBC_2.34, GLIBC_2.38
        found: /usr/lib/libc.so.6
        would print: /usr/lib/libc.so.6: version `GLIBC_2.34' not found (required by /usr/lib/libmpi.so.40)
        from the host: /usr/lib/libmpi.so.40, /usr/lib/libucp.so.0 (all other paths are in the image)
        hint: something explains it
    for the remedy, run `compat explain version-missing`
    ");
}

#[test]
fn a_fault_of_the_image_itself_is_named_as_such() {
    let missing = Problem::LibraryMissing {
        library: "libz.so.1".into(),
        wanted_by: "/usr/bin/git".into(),
        searched: vec!["/lib".into()],
        rejected: Vec::new(),
    };
    let mut report = report(&[missing]);
    let fault = "this fails on every host";
    assert!(!plain(&report).contains(fault));
    report.is_of_image = true;
    assert!(plain(&report).contains(fault));
    // A library of the host takes part, so another host may differ.
    report.findings[0].of_host = vec!["/usr/lib/libcuda.so.1".to_owned()];
    assert!(!plain(&report).contains(fault));
}

#[test]
fn a_driver_is_told_with_the_conditions_that_it_does_not_meet() {
    let remark = Remark::DriverConstraint {
        variable: "NVIDIA_REQUIRE_CUDA".into(),
        constraint: "cuda>=12.4 brand=tesla,driver>=470".into(),
        driver: "535.104.05".into(),
        cuda: Some("12.2".into()),
        unmet: vec!["cuda>=12.4".into()],
        unknown: vec!["brand=tesla".into()],
    };
    let mut report = report(&[]);
    report.verdict = Verdict::Undecided;
    report.findings = vec![Finding {
        impact: Impact::Undecided,
        matter: Matter::Remark(remark),
        subjects: vec!["git".to_owned()],
        message: None,
        of_host: Vec::new(),
        hints: Vec::new(),
    }];
    insta::assert_snapshot!(plain(&report), @"
    undecided: could not decide whether git runs on the root /srv/old
      ? the image requires NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=470, but the host's driver is 535.104.05, up to CUDA 12.2
        not met: cuda>=12.4
        undecided, because the driver's files do not show it: brand=tesla
    for the remedy, run `compat explain driver-constraint`
    ");
}

#[test]
fn each_of_several_sources_is_introduced_by_its_name() {
    let missing = Problem::LibraryMissing {
        library: "liba.so.1".into(),
        wanted_by: "git".into(),
        searched: Vec::new(),
        rejected: Vec::new(),
    };
    let first = report(&[missing]);
    let mut second = report(&[]);
    second.verdict = Verdict::Compatible;
    let reports = [("ghcr.io/org/a:1".to_owned(), first), (STEERING.to_owned(), second)];
    let text = anstream::adapter::strip_str(&render_each(&reports)).to_string();
    insta::assert_snapshot!(text, @r"
    ghcr.io/org/a:1
    incompatible: git would not start on the root /srv/old
      x liba.so.1 was not found, but git needs it
        searched: only the loader's cache
        would print: liba.so.1: cannot open shared object file: No such file or directory
    for the remedy, run `compat explain library-missing`

    lib\u{1b}[31mX\u{9b}m\u{202e}\xff.so
    compatible: git runs on the root /srv/old
    ");
}
