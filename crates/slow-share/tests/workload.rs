//! Generated work: it does as it says, everywhere, and is the same each time.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use compat_harness::process::{finish, run};
use compat_harness::{Case, Requirement, Suite, Workspace};
use slow_share::workload::{Libraries, Modules, Programs, Work};
use slow_share::{Options, SlowShare};

const SUITE: Suite = Suite {
    binary: env!("CARGO_BIN_EXE_slow-share"),
    setup: "record-tests/setup",
    kept: env!("CARGO_TARGET_TMPDIR"),
};

const LIBRARIES: Libraries = Libraries { count: 12, directories: 4, bytes: 2_000_000 };
const MODULES: Modules = Modules { entries: 2 };
const PROGRAMS: Programs = Programs { count: 6, directories: 3, starts: 14 };

fn main() -> ExitCode {
    if let Some(code) = slow_share::serve_if_asked() {
        return code;
    }
    let [cc, python] = ["cc", "python3"].map(Requirement::Tool);
    let all = [cc, python, Requirement::Fuse, Requirement::Root];
    SUITE.run(vec![
        Case::new("a_program_with_libraries_prints_the_expected_sum", &[cc], libraries),
        Case::new("a_python_program_prints_the_expected_sum", &[python], modules),
        Case::new("a_storm_of_programs_prints_the_expected_numbers", &[cc], programs),
        Case::new("work_is_the_same_at_each_generation", &all[..2], same),
        Case::new("a_run_on_a_share_reads_each_file_once", &all, on_a_share),
    ])
}

/// Does the work in a directory.
fn check(workspace: &Workspace, work: &Work, directory: &Path) {
    assert_eq!(run(workspace, &mut work.command(directory)), work.output);
}

fn libraries(workspace: &Workspace) {
    let directory = workspace.directory("work");
    let work = LIBRARIES.generate(&directory).expect("libraries");
    check(workspace, &work, &directory);
    assert!((1_900_000..2_200_000).contains(&work.bytes), "{work:?}");
    assert_eq!((work.files, work.directories), (13, 5));
    assert_eq!(fs::read_dir(&directory).expect("a listing").count(), 5, "nothing else is left");
    // A changed library is noticed.
    let library = directory.join("lib1/libwork1.so.1.0");
    let mut bytes = fs::read(&library).expect("a library");
    let middle = bytes.len() / 2;
    bytes[middle - 2048..middle + 2048].fill(0);
    fs::write(&library, bytes).expect("a change");
    let changed = finish(&mut work.command(&directory), None, std::time::Duration::from_secs(60));
    assert_ne!(String::from_utf8_lossy(&changed.stdout), work.output);
}

fn modules(workspace: &Workspace) {
    let directory = workspace.directory("work");
    let work = MODULES.generate(&directory).expect("modules");
    assert_eq!(work.files, 141);
    // Beside the work: its sources must not be read.
    let moved = workspace.path("moved");
    fs::rename(&directory, &moved).expect("a new name");
    check(workspace, &work, &moved);
}

fn programs(workspace: &Workspace) {
    let directory = workspace.directory("work");
    let work = PROGRAMS.generate(&directory).expect("programs");
    assert_eq!(work.output.lines().count(), 14);
    check(workspace, &work, &directory);
}

fn same(workspace: &Workspace) {
    let generate = |name: &str| {
        let directory = workspace.directory(name);
        let [libraries, modules, programs] = ["l", "m", "p"].map(|part| directory.join(part));
        for part in [&libraries, &modules, &programs] {
            fs::create_dir(part).expect("a directory");
        }
        let mut work = vec![LIBRARIES.generate(&libraries).expect("libraries")];
        work.push(MODULES.generate(&modules).expect("modules"));
        work.push(PROGRAMS.generate(&programs).expect("programs"));
        // A compiled module has the time of its source.
        run(workspace, std::process::Command::new("find").arg(&modules).args(["-name", "*.pyc", "-delete"]));
        work
    };
    assert_eq!(generate("first"), generate("second"));
    let mut compare = std::process::Command::new("diff");
    run(
        workspace,
        compare.args(["-r", "--no-dereference"]).args(["first", "second"]).current_dir(workspace.root()),
    );
}

fn on_a_share(workspace: &Workspace) {
    let source = workspace.directory("source");
    let [libraries, modules] = ["l", "m"].map(|part| workspace.directory(format!("source/{part}").as_str()));
    let work =
        [LIBRARIES.generate(&libraries).expect("libraries"), MODULES.generate(&modules).expect("modules")];
    std::thread::sleep(std::time::Duration::from_millis(300));
    let share = SlowShare::start(&Options::new(&source, workspace.directory("mount"))).expect("a share");
    for (work, part) in work.iter().zip(["l", "m"]) {
        share.reset();
        for _ in 0..3 {
            check(workspace, work, &share.mountpoint().join(part));
        }
        assert_eq!(share.counters().bytes_read, work.bytes, "{work:?}");
    }
}
