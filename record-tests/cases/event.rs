//! The content of a recording.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use compat_trace::{EventKind, Name};

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, command, finish, log, record, record_as_user};
use crate::harness::recording::{Recording, read};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("event::header_and_end_frame_the_log", &[], frame),
        case("event::each_kind_is_recorded_with_its_facts", &[], kinds),
        case("event::each_miss_is_recorded_each_time", &[], misses),
        case("event::processes_are_named", &["python3"], processes),
        case("event::programs_are_named_without_the_right_to_trace", &["python3", "setpriv"], untraced),
        case("event::opens_have_unique_numbers_and_are_closed", &["python3"], opens),
        case("event::names_are_bytes", &[], names),
        case("event::globs_select_what_is_recorded", &[], globs),
        case("event::a_selected_file_stays_selected_after_a_rename", &["python3"], renamed),
        case("event::a_read_is_attributed_to_the_opener", &["python3", "setpriv", "unshare"], reader),
        case("event::the_old_name_and_spellings_work", &[], old_name),
        case("event::processes_left_behind_are_recorded_to_their_end", &[], background),
    ]
}

fn recorded(directory: &Path, script: &str) -> Recording {
    assert_code(&record(directory, &["sh", "-c", script]), 0);
    read(&log(directory))
}

fn frame(directory: &Path) {
    let recording = recorded(directory, "cat /etc/passwd > /dev/null; exit 0");
    let header = &recording.header;
    assert_eq!(header.command[..2], [Name::from(&b"sh"[..]), Name::from(&b"-c"[..])]);
    assert_eq!(header.directory.0, directory.as_os_str().as_bytes());
    assert!(header.started > 1_700_000_000_000_000_000 && !header.kernel.is_empty());
    let end = &recording.end;
    assert_eq!((end.end.as_str(), end.code, end.dropped), ("exited", Some(0), Some(0)));
    assert_eq!(end.events, Some(recording.events.len() as u64));
    assert_eq!(end.counts.values().sum::<u64>(), recording.events.len() as u64);
    assert!(recording.events.is_sorted_by_key(|event| event.t), "the events are not ordered by time");
}

fn kinds(directory: &Path) {
    let script =
        "echo hello > new; cat new; ln -s target link; readlink link; ln new further; mkdir -m 700 made
        mv new moved; mkfifo pipe; truncate -s 3 moved; ls made; rm moved; rmdir made";
    let recording = recorded(directory, script);
    let find = |kind: EventKind, name: &str| {
        let path = directory.join(name);
        let found = recording.events.iter().find(|event| {
            event.event == kind && event.path.0 == path.as_os_str().as_bytes() && event.error.is_none()
        });
        found.unwrap_or_else(|| panic!("no {kind:?} of {name}"))
    };
    let other = |kind, name: &str| find(kind, name).other.clone().map(|other| other.text().into_owned());
    let at = |name: &str| Some(directory.join(name).display().to_string());
    assert!(find(EventKind::Create, "new").open.is_some() && find(EventKind::Create, "new").mode.is_some());
    assert!(find(EventKind::Open, "new").flags.is_some());
    assert_eq!(other(EventKind::SymbolicLink, "link").as_deref(), Some("target"));
    find(EventKind::ReadLink, "link");
    assert_eq!(other(EventKind::HardLink, "further"), at("new"));
    assert_eq!(find(EventKind::MakeDirectory, "made").mode.map(|mode| mode & 0o777), Some(0o700));
    assert_eq!(other(EventKind::Rename, "new"), at("moved"));
    find(EventKind::MakeNode, "pipe");
    assert_eq!(find(EventKind::Truncate, "moved").size, Some(3));
    find(EventKind::OpenDirectory, "made");
    find(EventKind::CloseDirectory, "made");
    find(EventKind::Unlink, "moved");
    find(EventKind::RemoveDirectory, "made");
    let exec = recording.events.iter().any(|event| event.exec && event.path.text().ends_with("/cat"));
    assert!(exec, "executions are marked in the flags of an open");
}

fn misses(directory: &Path) {
    let recording =
        recorded(directory, "for i in 1 2 3; do test -e missing/x; done; test -e /etc/passwd/x; true");
    let missing = directory.join("missing");
    let count = recording.events.iter().filter(|event| {
        event.path.0 == missing.as_os_str().as_bytes() && event.error.as_deref() == Some("ENOENT")
    });
    assert_eq!(count.count(), 3);
}

fn processes(directory: &Path) {
    let script = "import threading, os\n\
        thread = threading.Thread(target=lambda: open('by-thread', 'w').close()); thread.start(); thread.join()\n\
        if os.fork() == 0: open('by-child', 'w').close(); os._exit(0)\n\
        os.wait()\n\
        os.system('exec cat /etc/hostname >/dev/null 2>&1')";
    assert_code(&record(directory, &["python3", "-c", script]), 0);
    let recording = read(&log(directory));
    let created = |name: &str| {
        let path = directory.join(name);
        let mut events = recording.events.iter();
        events
            .find(|event| event.event == EventKind::Create && event.path.0 == path.as_os_str().as_bytes())
            .expect(name)
    };
    let (thread, child) = (created("by-thread"), created("by-child"));
    assert_ne!(thread.tid, thread.pid);
    assert_eq!(child.ppid, thread.pid);
    assert!(thread.exe.text().contains("/python3"), "{:?}", thread.exe);
    let cat = recording
        .events
        .iter()
        .find(|event| event.path.text() == "/etc/hostname" && event.event == EventKind::Open);
    let exe = cat.expect("cat opens it").exe.text().into_owned();
    assert!(exe.ends_with("/cat"), "{exe}");
}

/// A situation as in a container: the recorder lacks `CAP_SYS_PTRACE`, and an entrypoint becomes another
/// user.
fn untraced(directory: &Path) {
    let script = "import os, subprocess\n\
        open('/etc/passwd').close()\n\
        if os.fork() == 0: open('/etc/group').close(); os._exit(0)\n\
        os.wait()\n\
        subprocess.run(['sh', './script'], check=True)\n\
        subprocess.run(['./script'], check=True)";
    fs::write(directory.join("script"), "#!/bin/sh\nread line < /etc/hosts; cat /etc/shells > /dev/null\n")
        .expect("a file");
    for path in [directory, &directory.join("script")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    }
    let mut python = Command::new("python3");
    python.args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"]);
    let python = String::from_utf8(python.output().expect("the process runs").stdout).expect("text");
    let mut run = Command::new("setpriv");
    run.args(["--bounding-set", "-sys_ptrace", COMPAT, "record", "-o"]).arg(log(directory));
    run.args(["--", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    run.args([python.trim(), "-c", script]).current_dir(directory);
    assert_code(&finish(run, b""), 0);
    let recording = read(&log(directory));
    let by = |path: &str| {
        let events = recording.events.iter().filter(|event| event.path.text() == path && event.uid == 65534);
        let opens = events.filter(|event| event.event == EventKind::Open && !event.exec);
        opens.map(|event| event.exe.text().into_owned()).collect::<Vec<_>>()
    };
    assert!(by("/etc/passwd").contains(&python.trim().to_owned()), "{:?}", by("/etc/passwd"));
    assert_eq!(by("/etc/group"), [python.trim()], "a forked process executes the same program");
    let shell = fs::canonicalize("/bin/sh").expect("a shell").display().to_string();
    assert_eq!(by("/etc/hosts"), [shell.clone(), shell]);
    let cat = by("/etc/shells");
    assert!(cat.len() == 2 && cat.iter().all(|path| path.ends_with("/cat")), "{cat:?}");
    let nameless = recording.events.iter().find(|event| event.exe.0.is_empty());
    assert!(nameless.is_none(), "{nameless:?}");
}

fn opens(directory: &Path) {
    let script = "import os\nfor i in range(50):\n  a = os.open('/etc/passwd', 0); b = os.open('/etc/passwd', 0); os.close(a)\n  \
        os.close(b)\nopen('kept', 'w'); os._exit(0)";
    assert_code(&record(directory, &["python3", "-c", script]), 0);
    let recording = read(&log(directory));
    let numbers = |kinds: &[EventKind]| {
        let taken = recording.events.iter().filter(|event| kinds.contains(&event.event));
        taken.filter_map(|event| event.open).collect::<Vec<u64>>()
    };
    let mut opened = numbers(&[EventKind::Open, EventKind::Create, EventKind::OpenDirectory]);
    let count = opened.len();
    opened.sort_unstable();
    opened.dedup();
    assert_eq!(opened.len(), count, "a number of an open was used twice");
    let mut closed = numbers(&[EventKind::Close, EventKind::CloseDirectory]);
    closed.sort_unstable();
    assert_eq!(closed, opened, "files open at the end are closed as well");
}

fn names(directory: &Path) {
    let name = std::ffi::OsStr::from_bytes(b"a \xff\n\"\\b");
    assert_code(&record(directory, &["touch".as_ref(), name]), 0);
    let path = directory.join(name);
    assert!(path.exists());
    let text = fs::read_to_string(log(directory)).expect("a log of text");
    assert!(text.contains("{\"hex\":\""), "bytes that are not text are written in hexadecimal");
    let recording = read(&log(directory));
    let created = recording
        .events
        .iter()
        .find(|event| event.event == EventKind::Create)
        .expect("the creation is recorded");
    assert_eq!(created.path.0, path.as_os_str().as_bytes());
}

fn globs(directory: &Path) {
    let mut run = Command::new(COMPAT);
    run.args(["record", "-o", "run.jsonl", "--include", "/etc/**", "--exclude", "/etc/pass*", "--"]);
    run.args(["cat", "/etc/passwd", "/etc/group"]).current_dir(directory);
    assert_code(&finish(run, b""), 0);
    let paths = read(&log(directory)).paths(&[EventKind::Open], |_| true);
    assert!(paths.contains("/etc/group"), "{paths:?}");
    assert!(paths.iter().all(|path| path.starts_with("/etc/") && path != "/etc/passwd"), "{paths:?}");
}

fn renamed(directory: &Path) {
    let script = "import os
kept = open('kept', 'w'); os.rename('kept', 'other'); kept.close()
other = open('passed-over', 'w'); os.rename('passed-over', 'kept-late'); other.close()";
    let mut run = std::process::Command::new(COMPAT);
    run.args(["record", "-o", "run.jsonl", "--include", "**/kept*", "--", "python3", "-c", script]);
    assert_code(
        &finish(
            {
                run.current_dir(directory);
                run
            },
            b"",
        ),
        0,
    );
    let events = read(&log(directory)).events;
    let told: Vec<(EventKind, Option<u64>)> = events.iter().map(|event| (event.event, event.open)).collect();
    let created =
        events.iter().find(|event| event.event == EventKind::Create).expect("the creation is recorded");
    assert_eq!(told.iter().filter(|told| **told == (EventKind::Close, created.open)).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.0 == EventKind::Rename).count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.0 == EventKind::Close).count(), 1, "{told:?}");
}

fn reader(directory: &Path) {
    let script = "import os, threading, time
opened = []
thread = threading.Thread(target=lambda: opened.append(os.open(\"file\", os.O_RDONLY)))
thread.start(); thread.join(); time.sleep(0.8); os.read(opened[0], 10); print(os.getpid())";
    let output = record_as_user(directory, "echo content > file", &format!("python3 -c '{script}'"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_code(&output, 0);
    let recording = read(&log(directory));
    let path = directory.join("file").display().to_string();
    let of = |kind: EventKind| {
        let mut events = recording.events.iter().filter(|event| event.path.text() == path);
        events.find(|event| event.event == kind).unwrap_or_else(|| panic!("no {kind:?}: {said}"))
    };
    let (opened, read) = (of(EventKind::Open), of(EventKind::FirstRead));
    assert_eq!((read.pid, read.tid, &read.exe), (opened.pid, opened.tid, &opened.exe));
    assert!(opened.tid != opened.pid, "another thread than the main thread opened it");
}

fn old_name(directory: &Path) {
    std::os::unix::fs::symlink(COMPAT, directory.join("fs-record")).expect("a link");
    let mut run = Command::new(directory.join("fs-record"));
    run.args(["-out", "run.log", "-format", "compat-lib", "cat", "/etc/passwd"]).current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    let text = fs::read_to_string(directory.join("run.log")).expect("a log");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let opened = lines.iter().find(|line| line[4..].starts_with(&["Open", "/etc/passwd"])).expect("an open");
    let closed = ["Close", "/etc/passwd", opened[6]];
    assert!(lines.iter().any(|line| line[4..] == closed), "{text}");
    assert_eq!(lines.last().map(|line| line[4]), Some("Complete"));
}

fn background(directory: &Path) {
    let mut run = command(directory, &["sh", "-c", "(sleep 0.5; echo late > late) & exit 9"]);
    run.env("COMPAT_TEST", "1");
    assert_code(&finish(run, b""), 9);
    assert!(directory.join("late").exists());
    assert!(
        read(&log(directory))
            .paths(&[EventKind::Create], |_| true)
            .iter()
            .any(|path| path.ends_with("/late"))
    );
}
