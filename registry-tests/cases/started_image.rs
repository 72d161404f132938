//! Images, by the programs that their entrypoint and command start. Scripts and shells are followed as far as
//! possible, and a finding reports the rest.

use std::fs;

use serde_json::{Value, json};

use crate::harness::image::architecture;
use crate::harness::memory_registry::digest;
use crate::harness::{Case, Workspace};

pub fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Workspace)| Case::new(format!("started_image::{name}"), &[], run);
    vec![
        case("a_script_is_followed_to_its_last_program", followed),
        case("scripts_that_are_not_followed_are_reported_without_a_verdict", unfollowed),
        case("files_that_a_shell_reads_itself_are_not_faults", read_by_shell),
        case("images_that_no_engine_starts_are_named", refused),
    ]
}

/// Returns a static program for a machine (`e_machine`): a header and one segment.
fn program(machine: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    bytes.extend(machine.to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    bytes.extend([0x40_0000, 64, 0_u64].map(u64::to_le_bytes).concat());
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    bytes.extend([1, 5_u32].map(u32::to_le_bytes).concat());
    bytes.extend([0, 0x40_0000, 0x40_0000, 120, 120, 0x1000_u64].map(u64::to_le_bytes).concat());
    bytes
}

/// Writes an image in the format of `docker save`, with a shell, `env`, a program of this machine (`/app`),
/// one of another (`/other/app`), and a script.
fn image(workspace: &Workspace, configuration: &Value, script: &[u8], mode: u32) -> String {
    let own = compat_loader::elf::Machine::of_this_program().0;
    let foreign = if own == 22 { 21 } else { 22 };
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        layer.append_data(&mut header, path, data).expect("an entry of a layer");
    };
    for path in ["bin/sh", "usr/bin/env", "usr/bin/python3", "app"] {
        add(path, 0o755, &program(own));
    }
    add("other/app", 0o755, &program(foreign));
    add("plain", 0o755, b"exec /app\n");
    add("ep.sh", mode, script);
    let layer = layer.into_inner().expect("a layer");
    let configuration = json!({
        "architecture": architecture(), "os": configuration["os"].as_str().unwrap_or("linux"), "config": configuration,
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": ["started:1"], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    let members = [
        ("layer.tar", layer),
        ("config.json", configuration.to_string().into_bytes()),
        ("manifest.json", manifest.to_string().into_bytes()),
    ];
    for (name, data) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &data[..]).expect("a member of an archive");
    }
    let path = workspace.path("started.tar");
    fs::write(&path, archive.into_inner().expect("an archive")).expect("an archive");
    format!("docker-archive:{}", path.display())
}

/// Returns the exit code of a check and the kinds of its findings.
fn outcome(workspace: &Workspace, configuration: &Value, script: &str) -> (i32, Vec<String>) {
    let image = image(workspace, configuration, script.as_bytes(), 0o755);
    let output = workspace.compat(["check", "--generate", "--format", "json", &image]).run();
    let json = output.json();
    let findings = json["findings"].as_array().expect("findings");
    let kinds = findings.iter().map(|finding| finding["kind"].as_str().expect("a kind").to_owned());
    (output.code.expect("an exit code"), kinds.collect())
}

fn entrypoint() -> Value {
    json!({"Entrypoint": ["/ep.sh"]})
}

fn followed(workspace: &Workspace) {
    let command = |text: &str| json!({"Cmd": ["/bin/sh", "-c", text]});
    for (configuration, script, code, kinds) in [
        (entrypoint(), "#!/bin/sh\nset -e\nexec /app \"$@\"\n", 0, &[][..]),
        (entrypoint(), "#!/bin/sh\nexec /other/app\n", 1, &["wrong-machine"]),
        (entrypoint(), "#!/bin/sh\nexec /missing\n", 1, &["program-missing"]),
        (entrypoint(), "#!/usr/bin/env -S -i sh\ncd /other && X=1 ./app\n", 1, &["wrong-machine"]),
        (json!({"Entrypoint": ["/ep.sh"], "Cmd": ["/app"]}), "#!/bin/sh\nexec \"$@\"\n", 0, &[]),
        (
            json!({"Entrypoint": ["/ep.sh"], "Cmd": ["/other/app"]}),
            "#!/bin/sh\nexec \"$@\"\n",
            1,
            &["wrong-machine"],
        ),
        (command("cd / && X=1 ./app"), "", 0, &[]),
        (command("cd /other && X=1 ./app"), "", 1, &["wrong-machine"]),
        (command("PATH=/other exec app"), "", 1, &["wrong-machine"]),
    ] {
        let found = outcome(workspace, &configuration, script);
        assert_eq!(
            (found.0, &found.1[..]),
            (code, &kinds.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>()[..]),
            "{configuration} {script:?}"
        );
    }
}

fn unfollowed(workspace: &Workspace) {
    let script = "#!/bin/sh\nif [ -x /app ]; then /app; fi\n";
    let (code, kinds) = outcome(workspace, &entrypoint(), script);
    assert_eq!((code, kinds), (3, vec!["script-not-followed".to_owned()]));
    let loop_of_shell = json!({"Cmd": ["/bin/sh", "-c", "while true; do /app; done"]});
    assert_eq!(outcome(workspace, &loop_of_shell, "").0, 3);
    // The command is known, but the actions before it are not.
    let (code, kinds) = outcome(workspace, &entrypoint(), "#!/bin/sh\nmkdir -p /run/x\nexec /app\n");
    assert_eq!((code, kinds), (0, vec!["script-not-followed".to_owned()]));
    let image = image(workspace, &entrypoint(), b"#!/usr/bin/python3\nprint()\n", 0o755);
    workspace.compat(["check", "--generate", &image]).ok().says("starts on").says("were not checked");
}

/// A shell treats the first line of a script as a comment, and reads a file without such a line itself.
fn read_by_shell(workspace: &Workspace) {
    let command = |words: &[&str]| json!({"Cmd": words});
    let followed = outcome(workspace, &command(&["sh", "/ep.sh"]), "#!/bin/sh\nexec /app\n");
    assert_eq!(followed, (0, Vec::new()));
    for (configuration, script) in [
        (command(&["sh", "/ep.sh"]), "exec /app\n"),
        (command(&["sh", "/ep.sh"]), "#!/bin/bash\nexec /app\n"),
        (command(&["sh", "/ep.sh"]), "#!/usr/bin/env bash\nexec /app\n"),
        (command(&["sh", "/ep.sh"]), "#!/bin/sh\r\nexec /app\r\n"),
        (command(&["/bin/sh", "-c", "exec /ep.sh"]), "exec /app\n"),
        (command(&["/bin/sh", "-c", "exec /app\r\n"]), ""),
        (entrypoint(), "#!/bin/sh\nexec /plain\n"),
        (entrypoint(), "#!/bin/sh\nexec /app\r\n"),
    ] {
        let found = outcome(workspace, &configuration, script);
        assert_eq!(found, (3, vec!["script-not-followed".to_owned()]), "{configuration} {script:?}");
    }
}

fn refused(workspace: &Workspace) {
    for (script, words) in [
        ("#!/bin/sh\r\nexec /app\r\n", r#"ep.sh has Windows line endings: its interpreter is "/bin/sh\r""#),
        ("#!/usr/bin/env sh\r\n", r#"ep.sh has Windows line endings: env looks for "sh\r""#),
        ("exec /app\n", "Exec format error: it has neither an ELF header nor a #! line"),
        ("", "Exec format error: it has neither an ELF header nor a #! line"),
        ("\u{feff}#!/bin/sh\n", "a byte order mark precedes its #!"),
        ("#!/usr/bin/env -i sh\n", "env: invalid option -- ' '"),
        ("#!/usr/bin/env A=1\n", "env starts the script itself again"),
    ] {
        let image = image(workspace, &entrypoint(), script.as_bytes(), 0o755);
        workspace.compat(["check", "--generate", &image]).run().exits(1).says(words);
    }
    let not_executable = image(workspace, &entrypoint(), b"#!/bin/sh\n", 0o644);
    workspace.compat(["check", "--generate", &not_executable]).run().exits(1).says("Permission denied");
    // The file belongs to root, has the mode that `chmod u+x` leaves, and is started by another user.
    for (user, mode, code) in [("1000", 0o744, 1), ("1000:7", 0o754, 1), ("1000", 0o754, 0), ("0", 0o744, 0)]
    {
        let configuration = json!({"Entrypoint": ["/ep.sh"], "User": user});
        let image = image(workspace, &configuration, b"#!/bin/sh\nexec /app\n", mode);
        workspace.compat(["check", "--generate", &image]).run().exits(code);
    }
    for (configuration, words) in [
        (json!({"Entrypoint": ["/app\r"]}), r#"the image runs "/app\r", which it does not contain"#),
        (json!({"Entrypoint": ["C:\\app.exe"], "os": "windows"}), "the image is for windows/"),
    ] {
        let image = image(workspace, &configuration, b"", 0o644);
        workspace.compat(["check", "--generate", &image]).run().exits(3).says(words);
    }
}
