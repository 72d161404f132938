//! Images with a command that its account cannot reach or execute.

use crate::needs::{ImageError, ImageOptions, generate_image};
use crate::tests::{Tar, tree};
use crate::{Config, Tree};
use compat_loader::spec::{ObjectFlag, Specification};

const APP: (u64, u64) = (1000, 1000);
const ROOT: (u64, u64) = (0, 0);

/// A static program for x86-64: a header and one segment.
fn program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    bytes.extend([0x40_0000, 64, 0_u64].map(u64::to_le_bytes).concat());
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    bytes.extend([1, 5_u32].map(u32::to_le_bytes).concat());
    bytes.extend([0, 0x40_0000, 0x40_0000, 120, 120, 0x1000_u64].map(u64::to_le_bytes).concat());
    bytes
}

fn image() -> Tree {
    let layer = Tar::new()
        .owned("etc/passwd", 0o644, ROOT, b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n")
        .owned("etc/group", 0o644, ROOT, b"app:x:1000:\ntools:x:50:app\n")
        .owned("bin/", 0o755, ROOT, b"")
        .owned("bin/sh", 0o755, ROOT, &program())
        .owned("root/", 0o700, ROOT, b"")
        .owned("root/app", 0o755, ROOT, &program())
        .owned("root/in/app", 0o755, ROOT, &program())
        .owned("root/script", 0o755, ROOT, b"#!/bin/sh\necho\n")
        .owned("srv/", 0o750, (0, 50), b"")
        .owned("srv/app", 0o755, ROOT, &program())
        .owned("home/", 0o700, APP, b"")
        .owned("home/app", 0o700, APP, &program())
        .owned("bin/python3.11", 0o755, ROOT, &program())
        .owned("bin/node", 0o755, ROOT, &program())
        .owned("srv/app.py", 0o644, ROOT, b"print(1)\n")
        .owned("srv/server.js", 0o644, ROOT, b"1\n")
        .owned("srv/in/", 0o755, ROOT, b"")
        .owned("bin/env", 0o755, ROOT, &program())
        .owned("unreadable", 0o711, ROOT, b"#!/bin/sh\nexec /bin/env\n")
        .owned("readable", 0o755, ROOT, b"#!/bin/sh\nexec /bin/env\n")
        .owned("own", 0o700, APP, b"#!/bin/sh\nexec /bin/env\n")
        .owned("to-gone", 0o755, ROOT, b"#!/bin/sh\ncd gone\nexec /bin/env\n")
        .owned("to-in", 0o755, ROOT, b"#!/bin/sh\ncd in\nexec /bin/env\n")
        .owned("to-root", 0o755, ROOT, b"#!/bin/sh\ncd /root\nexec /bin/env\n")
        .link("bin/python3", "python3.11")
        .link("open", "root/app")
        .link("root/closed", "../home/app");
    tree(&[layer.end()]).unwrap()
}

fn generated(user: &str, command: &str) -> Result<Specification, ImageError> {
    generated_of(user, &command.split(' ').collect::<Vec<_>>())
}

fn generated_of(user: &str, command: &[&str]) -> Result<Specification, ImageError> {
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"User": user, "Cmd": command, "WorkingDir": "/srv"}
    });
    let config = Config::parse("test", config.to_string().as_bytes()).unwrap();
    generate_image(&image(), &config, None, &ImageOptions::default()).map(|made| made.specification)
}

/// Whether the specification of an image says that its command is executable.
fn may_execute(user: &str, command: &str) -> bool {
    let document = generated(user, command).unwrap();
    let path = &document.subjects[0];
    let script = document.scripts.iter().find(|script| script.path == *path);
    let object = document.object(path).map(|object| object.flags.contains(&ObjectFlag::NotExecutable));
    !object.or(script.map(|script| script.not_executable)).expect("the document describes its subject")
}

#[test]
fn a_program_in_a_directory_that_the_user_cannot_search_is_not_executed() {
    for command in ["/root/app", "/root/in/app", "/root/script", "/open"] {
        assert!(!may_execute("app", command), "{command}");
        assert!(may_execute("", command), "{command}");
        assert!(may_execute("0:0", command), "{command}");
    }
    for command in ["/srv/app", "/home/app"] {
        assert!(may_execute("app", command), "{command}");
    }
    assert!(!may_execute("4711", "/srv/app"));
    assert!(!may_execute("4711", "/home/app"));
}

#[test]
fn a_link_in_a_closed_directory_leads_the_user_nowhere() {
    assert!(may_execute("", "/root/closed"));
    let refused = generated("app", "/root/closed").unwrap_err();
    assert!(matches!(refused, ImageError::NotExecutable { .. }), "{refused}");
}

#[test]
fn what_an_interpreter_runs_is_noted_and_looked_for() {
    for (command, what, missing) in [
        ("python3 app.py", "app.py", false),
        ("python3 -u /srv/app.py", "/srv/app.py", false),
        ("python3 /app.py", "/app.py", true),
        ("python3 gone.py", "gone.py", true),
        ("python3 -m http.server", "-m http.server", false),
        ("node server", "server", false),
        ("node gone", "gone", true),
    ] {
        let interpreted = generated("", command).unwrap().image.unwrap().interpreted;
        assert_eq!(interpreted.len(), 1, "{command}");
        assert_eq!((interpreted[0].what.as_str(), interpreted[0].missing), (what, missing), "{command}");
    }
    let interpreted = generated("", "python3 app.py").unwrap().image.unwrap().interpreted;
    assert_eq!(interpreted[0].interpreter, "bin/python3.11");
    assert!(generated("", "python3").unwrap().image.unwrap().interpreted.is_empty());
}

/// Whether the command of an image is followed to the program that it starts.
fn is_followed(user: &str, command: &[&str]) -> bool {
    let document = generated_of(user, command).unwrap();
    document.image.unwrap().unfollowed.is_empty() && document.subjects.iter().any(|path| path == "bin/env")
}

#[test]
fn a_shell_that_cannot_change_the_directory_is_not_followed() {
    for (user, text, expected) in [
        ("", "cd /nodir && exec /bin/env", false),
        ("", "cd nodir && exec /bin/env", false),
        ("", "cd /bin/sh && exec /bin/env", false),
        ("", "cd /srv && exec /bin/env", true),
        ("", "cd in && exec /bin/env", true),
        ("", "cd /root && exec /bin/env", true),
        ("app", "cd /root && exec /bin/env", false),
        ("app", "cd /root/in && exec /bin/env", false),
        ("app", "cd /home && exec /bin/env", true),
    ] {
        assert_eq!(is_followed(user, &["sh", "-c", text]), expected, "{user} {text}");
    }
}

#[test]
fn the_directory_of_env_is_looked_for() {
    for (user, words, expected) in [
        ("", &["env", "-C", "/nodir", "/bin/env"][..], false),
        ("", &["env", "--chdir=/nodir", "/bin/env"], false),
        ("", &["env", "-C", "/root", "/bin/env"], true),
        ("app", &["env", "-C", "/root", "/bin/env"], false),
        ("app", &["env", "-C", "in", "/bin/env"], true),
    ] {
        let document = generated_of(user, words).unwrap();
        assert_eq!(document.image.unwrap().unfollowed.is_empty(), expected, "{user} {words:?}");
    }
}

#[test]
fn a_script_whose_directory_is_closed_or_missing_is_not_followed() {
    for (user, command, expected) in [
        ("", "/to-gone", false),
        ("", "/to-in", true),
        ("", "/to-root", true),
        ("app", "/to-in", true),
        ("app", "/to-root", false),
    ] {
        let document = generated(user, command).unwrap();
        assert_eq!(document.scripts[0].body.is_some(), expected, "{user} {command}");
    }
}

#[test]
fn a_script_that_its_user_cannot_read_does_not_run() {
    for (user, command, expected) in [
        ("", "/unreadable", true),
        ("app", "/unreadable", false),
        ("app", "/readable", true),
        ("app", "/own", true),
        ("4711", "/own", false),
    ] {
        assert_eq!(may_execute(user, command), expected, "{user} {command}");
    }
    for (user, expected) in [("", false), ("app", true)] {
        let document = generated(user, "sh /unreadable").unwrap();
        let script = document.scripts.iter().find(|script| script.path == "unreadable").unwrap();
        assert_eq!(script.not_executable, expected, "{user}");
    }
}

#[test]
fn an_account_that_the_image_does_not_have_starts_nothing() {
    for user in ["nosuchuser", "nosuchuser:app", "app:nosuchgroup", "1000:nosuchgroup"] {
        let refused = generated(user, "/bin/env").unwrap_err();
        assert!(matches!(refused, ImageError::NoAccount { .. }), "{user}: {refused}");
    }
    for user in ["", "root", "app", "4711", "4711:4711", "app:tools", "0:tools"] {
        assert!(generated(user, "/bin/env").is_ok(), "{user}");
    }
}
