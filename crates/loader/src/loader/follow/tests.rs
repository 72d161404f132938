//! Scripts in a root of static programs: the commands that are followed, and those that are reported as not
//! followed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::elf::Machine;
use crate::host::{Handler, Platform, Root};
use crate::loader::{Context, DEFAULT_PROGRAM_PATH, Environment, HostFiles, Load, Start, start};

/// A static program for a machine: a header and one segment.
fn program(machine: Machine) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    bytes.extend(machine.0.to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    bytes.extend([0x40_0000, 64, 0_u64].map(u64::to_le_bytes).concat());
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    bytes.extend([1, 5_u32].map(u32::to_le_bytes).concat());
    bytes.extend([0, 0x40_0000, 0x40_0000, 120, 120, 0x1000_u64].map(u64::to_le_bytes).concat());
    bytes
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Starts `/srv/ep.sh` with the given text in a root that has shells, `env` and some programs.
fn started(text: &str, handlers: Vec<Handler>) -> Load {
    let root = tempfile::tempdir().unwrap();
    let own = Machine::of_this_program();
    for path in [
        "/bin/sh",
        "/bin/bash",
        "/usr/bin/env",
        "/usr/bin/python3",
        "/bin/busybox",
        "/usr/bin/nice",
        "/usr/bin/timeout",
        "/lib64/ld-linux-x86-64.so.2",
        "/opt/app",
        "/srv/beside",
    ] {
        write(root.path(), path, &program(own));
    }
    let other = if own == Machine::S390 { Machine::PPC64 } else { Machine::S390 };
    write(root.path(), "/opt/foreign", &program(other));
    write(root.path(), "/opt/sub/only-here", &program(own));
    write(root.path(), "/opt/plain", b"exec /opt/app\n");
    write(root.path(), "/srv/ep.sh", text.as_bytes());
    let files = HostFiles::new(Root::at(root.path()).unwrap());
    let platform =
        Platform { machine: own, isa: None, is_intel: false, kernel: None, handlers, ..Platform::default() };
    let environment = Environment {
        opens_programs: false,
        platform,
        library_path: None,
        working_directory: "/".to_owned(),
        program_path: DEFAULT_PROGRAM_PATH.to_owned(),
        host_program: None,
    };
    start(&Start { path: "/srv/ep.sh", shown: "/srv/ep.sh" }, Context::new(&files, &environment))
}

/// The kinds of the problems, and the programs that were started.
fn outcome(text: &str) -> (Vec<String>, Vec<String>) {
    let load = started(text, Vec::new());
    let kind = |problem| serde_json::to_value(problem).unwrap()["kind"].as_str().unwrap().to_owned();
    (
        load.problems.iter().map(kind).collect(),
        load.objects.iter().map(|object| object.path.clone()).collect(),
    )
}

#[test]
fn the_command_that_a_script_ends_with_is_started() {
    for (text, program) in [
        ("#!/bin/sh\nexec /opt/app\n", "/opt/app"),
        ("#!/bin/sh\nset -e\ncd / && X=1 opt/app\n", "/opt/app"),
        ("#!/usr/bin/env bash\n/opt/app --flag\n", "/opt/app"),
        ("#!/bin/busybox sh\nexec /opt/app\n", "/opt/app"),
        ("#!/bin/sh\nPATH=/opt/sub:$PATH\nexec only-here\n", "/opt/sub/only-here"),
        ("#!/usr/bin/env -S PATH=/opt/sub:/bin sh\nexec only-here\n", "/opt/sub/only-here"),
        ("#!/bin/sh\nexec \"$(dirname \"$0\")/beside\" \"$@\"\n", "/srv/beside"),
        ("#!/bin/sh\nexec env A=1 /opt/app\n", "/opt/app"),
        ("#!/bin/sh\ncd /opt || exit\nexec /opt/app\n", "/opt/app"),
        ("#!/bin/sh\ncd /opt/sub\nexec ../app\n", "/opt/sub/../app"),
        ("#!/usr/bin/env -S -C /opt sh\nexec /opt/app\n", "/opt/app"),
        ("#!/bin/sh\nexec env -C /opt /opt/app\n", "/opt/app"),
    ] {
        let (problems, objects) = outcome(text);
        assert!(problems.is_empty(), "{text:?}: {problems:?}");
        assert!(objects.iter().any(|object| object == program), "{text:?}: {objects:?}");
    }
}

#[test]
fn what_does_not_start_is_found_behind_a_script() {
    for (text, kind) in [
        ("#!/bin/sh\nexec /opt/missing\n", "program-missing"),
        ("#!/usr/bin/env -S -C /gone sh\n", "script-fails"),
        ("#!/bin/sh\nexec env -C /gone /opt/app\n", "script-fails"),
        ("#!/bin/sh\nexec missing\n", "program-missing"),
        ("#!/bin/sh\nexec /opt/foreign\n", "wrong-machine"),
        ("#!/bin/sh\nexec env A=1 /opt/foreign\n", "wrong-machine"),
        ("#!/usr/bin/env -i bash\n", "script-fails"),
        ("#!/usr/bin/env A=1\n", "script-fails"),
        ("#!/usr/bin/env -S -i sh\nexec only-here\n", "program-missing"),
        ("#!/bin/sh -e\r\necho\r\n", "script-fails"),
        ("#!/usr/bin/env bash\r\n", "program-missing"),
        ("#!/bin/sh\r\n", "interpreter-missing"),
        ("echo hi\n", "not-a-program"),
        ("", "not-a-program"),
        ("\u{feff}#!/bin/sh\n", "not-a-program"),
    ] {
        let (problems, _) = outcome(text);
        assert_eq!(problems.first().map(String::as_str), Some(kind), "{text:?}: {problems:?}");
    }
}

#[test]
fn what_was_not_followed_is_said() {
    for text in [
        "#!/bin/sh\n$APP\n",
        "#!/bin/sh\nexec /opt/app\r\n",
        // The kernel refuses this file, and the shell reads it itself. execvp(3) behaves alike.
        "#!/bin/sh\nexec /opt/plain\n",
        "#!/bin/sh\nexec env /opt/plain\n",
        "#!/bin/sh\nexec \"$@\"\n",
        "#!/bin/sh\nif [ -x /opt/app ]; then exec /opt/app; fi\n",
        "#!/bin/sh\n. /etc/x\nexec only-somewhere\n",
        "#!/usr/bin/python3\nprint(1)\n",
        "#!/bin/sh\nmkdir -p /x\nexec /opt/app\n",
        "#!/bin/sh\nexec ./app\n",
        "#!/bin/sh\nexec env A=$X $APP\n",
        "#!/bin/sh\nexec sh -c '/opt/app'\n",
        "#!/bin/sh\ncd /gone\nexec /opt/app\n",
        "#!/bin/sh\ncd /gone || exit 1\nexec /opt/missing\n",
        "#!/bin/sh\ncd somewhere && exec /opt/app\n",
        "#!/usr/bin/env -S -C somewhere sh\nexec /opt/app\n",
        "#!/bin/sh\nexec env -C somewhere /opt/app\n",
        "#!/bin/sh -e\n[ -d /gone ]\nexec /opt/app\n",
    ] {
        let (problems, _) = outcome(text);
        assert_eq!(problems, ["script-not-followed"], "{text:?}");
    }
}

#[test]
fn what_a_wrapper_or_a_loader_is_told_to_start_is_no_secret() {
    for (command, is_followed) in [
        ("timeout 10 nice -n 5 /opt/app", true),
        ("timeout 10 nice -n 5 /gone/app", false),
        ("nice timeout 3 bash -c /gone/app", false),
        ("/lib64/ld-linux-x86-64.so.2 --library-path /opt/lib /opt/app", false),
        ("python3 /gone/app.py", false),
        ("python3", true),
    ] {
        let (problems, _) = outcome(&format!("#!/bin/sh\nexec {command}\n"));
        let expected: &[&str] = if is_followed { &[] } else { &["script-not-followed"] };
        assert_eq!(problems, expected, "{command}");
    }
    let (problems, _) = outcome("#!/bin/sh\nexec timeout 10 nice /opt/foreign\n");
    assert!(problems.contains(&"wrong-machine".to_owned()), "{problems:?}");
}

#[test]
fn a_script_that_starts_itself_comes_to_an_end() {
    let (problems, _) = outcome("#!/bin/sh\nexec /srv/ep.sh\n");
    assert_eq!(problems.first().map(String::as_str), Some("script-too-deep"));
}

#[test]
fn a_registered_handler_starts_programs_for_another_machine() {
    let own = Machine::of_this_program();
    let other = if own == Machine::S390 { Machine::PPC64 } else { Machine::S390 };
    let [low, high] = other.0.to_le_bytes();
    let handler = |interpreter: &str, flags: &str| Handler {
        name: "other".to_owned(),
        interpreter: interpreter.to_owned(),
        flags: flags.to_owned(),
        offset: 18,
        magic: format!("{low:02x}{high:02x}"),
        ..Handler::default()
    };
    let problems = |handler: Handler| {
        let load = started("#!/bin/sh\nexec /opt/foreign\n", vec![handler]);
        let problems = load.problems.iter().map(|problem| serde_json::to_value(problem).unwrap());
        problems.map(|problem| problem["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The handler was opened when it was registered, so it need not be in the root.
    assert_eq!(problems(handler("/nowhere/qemu-other", "F")), ["emulated"]);
    assert_eq!(problems(handler("/nowhere/qemu-other", "")), ["interpreter-missing"]);
    assert_eq!(problems(handler("/opt/app", "")), ["emulated"]);
    let other_magic = Handler { magic: "ffff".to_owned(), ..handler("/opt/app", "F") };
    assert_eq!(problems(other_magic), ["wrong-machine"]);
}
