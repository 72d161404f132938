//! The specification made from a recording names the files that the process itself had mapped.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, command, finish, log, record};

/// Imports extensions. Some of them may be part of the program itself.
const IMPORTS: &str = "import json, math, socket, sqlite3, ssl, zlib, ctypes\n";

/// Prints the mapped files.
const MAPPED: &str = "
lines = [line.split(None, 5) for line in open('/proc/self/maps').read().splitlines()]
print('\\n'.join(sorted({line[5] for line in lines if len(line) > 5})))
";

pub fn cases() -> Vec<Case> {
    vec![
        case("specification::it_names_the_mapped_libraries_of_the_process", &["python3"], mapped),
        case("specification::it_has_the_names_of_libraries_found_by_a_search", &["python3", "cc"], searched),
    ]
}

/// A library that python opens by a name on `LD_LIBRARY_PATH` is recorded with that name. One that it opens
/// by a path has none, whatever its soname.
fn searched(directory: &Path) {
    let build = "mkdir lib plugins && echo 'int answer(void) { return 42; }' > a.c
        cc -shared -fPIC -Wl,-soname,libanswer.so.1 -o lib/libanswer.so.1 a.c
        cc -shared -fPIC -Wl,-soname,plug.so -o plugins/plug.so a.c";
    said(Command::new("sh").args(["-ec", build]).current_dir(directory));
    let directory = std::fs::canonicalize(directory).expect("our directory");
    let (lib, plugin) = (directory.join("lib"), directory.join("plugins/plug.so"));
    let script = format!("import ctypes\nctypes.CDLL('libanswer.so.1')\nctypes.CDLL({plugin:?})\n");
    let mut recorded = command(&directory, &["python3", "-c", &script]);
    recorded.env("LD_LIBRARY_PATH", &lib);
    assert_code(&finish(recorded, b""), 0);
    let generate = |options: &[&OsStr]| {
        let mut generate = Command::new(COMPAT);
        generate.args(["gen", "--from-recording"]).arg(log(&directory)).args(options);
        let document: Value = serde_json::from_str(&said(&mut generate)).expect("a specification");
        let programs = document["recorded"]["programs"].as_array().expect("programs");
        let libraries = programs.iter().filter_map(|program| program["libraries"].as_array()).flatten();
        let name = |path: &Path| {
            let is_it = |library: &&Value| library["path"].as_str() == path.to_str();
            libraries.clone().find(is_it).expect("the library was recorded")["name"]
                .as_str()
                .map(str::to_owned)
        };
        let names = (name(&lib.join("libanswer.so.1")), name(&plugin));
        assert_eq!(names, (Some("libanswer.so.1".to_owned()), None));
        std::fs::write(directory.join("compat.json"), document.to_string()).expect("a file");
        Command::new(COMPAT)
            .arg("check")
            .arg(directory.join("compat.json"))
            .output()
            .expect("the program starts")
    };
    assert_code(&generate(&[]), 3);
    assert_code(&generate(&["--library-path".as_ref(), lib.as_os_str()]), 0);
}

/// The recorded libraries are exactly those that were mapped in addition to those of the start.
fn mapped(directory: &Path) {
    let python =
        said(Command::new("python3").args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"]));
    let python = python.trim();
    let script = directory.join("program.py");
    std::fs::write(&script, format!("{IMPORTS}{MAPPED}")).expect("a script");
    let run = record(directory, &[python.as_ref(), script.as_os_str()]);
    assert_code(&run, 0);
    let mapped = libraries(&String::from_utf8_lossy(&run.stdout));
    let at_start = libraries(&said(Command::new(python).args(["-I", "-S", "-c", MAPPED])));
    let expected: BTreeSet<String> = mapped.difference(&at_start).cloned().collect();
    let document = said(Command::new(COMPAT).args(["gen", "--from-recording"]).arg(log(directory)));
    let document: Value = serde_json::from_str(&document).expect("a specification");
    let program = &document["recorded"]["programs"][0];
    let recorded = program["libraries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let path = |library: &Value| library["path"].as_str().expect("a path").to_owned();
    let recorded: BTreeSet<String> = recorded.iter().map(path).collect();
    assert!(!expected.is_empty(), "no library was loaded: {mapped:?}");
    assert_eq!(recorded, expected);
    let specification = directory.join("compat.json");
    std::fs::write(&specification, document.to_string()).expect("a file");
    said(Command::new(COMPAT).arg("check").arg(&specification));
}

/// Returns the shared objects among mapped files.
fn libraries(maps: &str) -> BTreeSet<String> {
    let is_library = |line: &&str| line.starts_with('/') && (line.ends_with(".so") || line.contains(".so."));
    maps.lines().filter(is_library).map(str::to_owned).collect()
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert_code(&output, 0);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
