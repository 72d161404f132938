//! Roots of other machines, one of them big-endian. The machine of a root is determined from the root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use compat_loader::host::Root;

use crate::harness::case::DEBOOTSTRAP;
use crate::harness::compat::{missing_libraries, verdict};
use crate::harness::image::architecture;
use crate::harness::{Case, Requirement, Workspace, root};

/// Another machine than this one.
#[derive(Clone, Copy)]
struct Foreign {
    /// Debian's name of the architecture.
    architecture: &'static str,
    /// The output of `uname -m` there.
    machine: &'static str,
    big_endian: bool,
    loader: &'static str,
    /// The directory of the libraries.
    libraries: &'static str,
    /// The flags of its libraries in `ld.so.cache` (`elf/dl-cache.h`).
    flags: u32,
    cpu: &'static str,
    /// A CPU of another machine.
    other_cpu: &'static str,
}

const MACHINES: [Foreign; 2] = [
    Foreign {
        architecture: "arm64",
        machine: "aarch64",
        big_endian: false,
        loader: "/lib/ld-linux-aarch64.so.1",
        libraries: "/lib/aarch64-linux-gnu",
        flags: 0x0a03,
        cpu: "armv8.2",
        other_cpu: "z13",
    },
    Foreign {
        architecture: "s390x",
        machine: "s390x",
        big_endian: true,
        loader: "/lib/ld64.so.1",
        libraries: "/lib/s390x-linux-gnu",
        flags: 0x0403,
        cpu: "z14",
        other_cpu: "armv8.2",
    },
];

/// A program, and the library that it needs besides libc.
const PROGRAM: &str = "/bin/bash";
const LIBRARY: &str = "libtinfo.so.6";

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for machine in MACHINES.into_iter().filter(|machine| machine.architecture != architecture()) {
        let mut case = |name: &str, run: fn(&Workspace, Foreign)| {
            let name = format!("foreign_root::{name}_on_{}", machine.architecture);
            let requirements = [DEBOOTSTRAP, Requirement::Root];
            cases.push(Case::new(name, &requirements, move |workspace| run(workspace, machine)));
        };
        case("programs_of_the_root_run", own_programs);
        case("a_program_of_this_machine_does_not_run", program_of_this_machine);
        case("a_missing_library_is_reported", missing_library);
        case("the_cache_is_read_in_the_byte_order_of_the_root", cache);
        case("a_saved_host_gives_the_verdict_of_the_root", saved_host);
    }
    let hwcaps = |workspace: &Workspace| sub_directory(workspace, MACHINES[1]);
    let name = "foreign_root::a_level_finds_the_libraries_of_its_sub_directory_on_s390x";
    cases.push(Case::new(name, &[DEBOOTSTRAP, Requirement::Root], hwcaps));
    cases
}

/// A root with a program, its libraries and its loader.
struct Small<'a> {
    workspace: &'a Workspace,
    machine: Foreign,
    root: PathBuf,
}

impl<'a> Small<'a> {
    fn new(workspace: &'a Workspace, machine: Foreign) -> Self {
        let release = root::debian_of(workspace, "bookworm", machine.architecture);
        let small = Self { workspace, machine, root: workspace.directory("small") };
        let system = Root::at(&release).expect("a root");
        for path in [PROGRAM, machine.loader, &small.library(LIBRARY), &small.library("libc.so.6")] {
            let real = system.resolve(Path::new(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            let target = small.outside(path);
            fs::create_dir_all(target.parent().expect("a file is in a directory"))
                .expect("directories of a root");
            fs::copy(root::inside(&release, &real), target).expect("a file of the root");
        }
        small
    }

    fn library(&self, name: &str) -> String {
        format!("{}/{name}", self.machine.libraries)
    }

    fn outside(&self, path: &str) -> PathBuf {
        root::inside(&self.root, Path::new(path))
    }

    /// Moves a library of the root.
    fn moves(&self, from: &str, to: &str) {
        let target = self.outside(to);
        fs::create_dir_all(target.parent().expect("a file is in a directory"))
            .expect("directories of a root");
        fs::rename(self.outside(from), target).expect("a library is moved");
    }

    /// Returns the verdict on the program and the libraries that it lacks.
    fn judged(&self, options: &[&str]) -> (String, BTreeSet<String>) {
        let program = self.outside(PROGRAM);
        let command = self.workspace.compat(["check", "--format", "json"]).with([&program]);
        let output = command.with(["--root"]).with([&self.root]).with(options).run();
        (verdict(&output), missing_libraries(&output))
    }
}

fn compatible() -> (String, BTreeSet<String>) {
    ("compatible".to_owned(), BTreeSet::new())
}

fn misses(library: &str) -> (String, BTreeSet<String>) {
    ("incompatible".to_owned(), BTreeSet::from([library.to_owned()]))
}

/// Returns an `ld.so.cache` with one library (`struct cache_file_new`).
fn cache_of(big_endian: bool, flags: u32, name: &str, path: &str) -> Vec<u8> {
    let word = |value: usize| match big_endian {
        true => (value as u32).to_be_bytes(),
        false => (value as u32).to_le_bytes(),
    };
    let strings = 48 + 24;
    let length = name.len() + path.len() + 2;
    let head = [word(1), word(length), [if big_endian { 3 } else { 2 }, 0, 0, 0]].concat();
    let entry = [word(flags as usize), word(strings), word(strings + name.len() + 1)].concat();
    [
        b"glibc-ld.so.cache1.1",
        &head[..],
        &[0; 16],
        &entry,
        &[0; 12],
        name.as_bytes(),
        b"\0",
        path.as_bytes(),
        b"\0",
    ]
    .concat()
}

fn own_programs(workspace: &Workspace, machine: Foreign) {
    let root = root::debian_of(workspace, "bookworm", machine.architecture);
    for name in ["bin/bash", "bin/ls", "usr/bin/dpkg"] {
        let check = |options: &[&str]| {
            let command = workspace.compat(["check", "--format", "json"]).with([root.join(name)]);
            command.with(["--root"]).with([&root]).with(options).run()
        };
        for options in [&[][..], &["--machine", machine.machine], &["--cpu", machine.cpu]] {
            let output = check(options).exits(0);
            assert_eq!(output.json()["host"]["machine"], machine.machine);
            assert_eq!(verdict(&output), "compatible");
        }
        let output = check(&["--machine", "riscv64"]).exits(1);
        assert_eq!(output.json()["findings"][0]["kind"], "wrong-machine");
        check(&["--cpu", machine.other_cpu]).exits(2).says(machine.machine);
    }
}

fn program_of_this_machine(workspace: &Workspace, machine: Foreign) {
    let small = Small::new(workspace, machine);
    let command = workspace.compat(["check", "--format", "json", "/usr/bin/env", "--root"]);
    let output = command.with([&small.root]).run().exits(1);
    let json = output.json();
    let findings = json["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 1, "{json:#}");
    assert_eq!(findings[0]["kind"], "wrong-machine");
    assert_eq!(findings[0]["machine"], std::env::consts::ARCH);
    assert_eq!(json["host"]["machine"], machine.machine);
}

fn missing_library(workspace: &Workspace, machine: Foreign) {
    let small = Small::new(workspace, machine);
    assert_eq!(small.judged(&[]), compatible());
    fs::remove_file(small.outside(&small.library(LIBRARY))).expect("the library exists");
    assert_eq!(small.judged(&[]), misses(LIBRARY));
    // The root cannot use a library of this machine.
    let own = root::opened_here(workspace, Path::new("/usr/bin/env"));
    let libc = own.iter().find(|path| path.ends_with("libc.so.6")).expect("env needs libc");
    fs::copy(libc, small.outside(&small.library(LIBRARY))).expect("a copy");
    assert_eq!(small.judged(&[]), misses(LIBRARY));
}

fn cache(workspace: &Workspace, machine: Foreign) {
    let small = Small::new(workspace, machine);
    small.moves(&small.library(LIBRARY), "/opt/lib/libtinfo.so.6");
    assert_eq!(small.judged(&[]), misses(LIBRARY));
    fs::create_dir_all(small.outside("/etc")).expect("a directory of the root");
    let write = |big_endian, flags| {
        let cache = cache_of(big_endian, flags, LIBRARY, "/opt/lib/libtinfo.so.6");
        fs::write(small.outside("/etc/ld.so.cache"), cache).expect("the cache");
    };
    write(machine.big_endian, machine.flags);
    assert_eq!(small.judged(&[]), compatible());
    write(!machine.big_endian, machine.flags);
    assert_eq!(small.judged(&[]), misses(LIBRARY));
    // The flags mark a library for x86-64.
    write(machine.big_endian, 0x0303);
    assert_eq!(small.judged(&[]), misses(LIBRARY));
}

fn saved_host(workspace: &Workspace, machine: Foreign) {
    let small = Small::new(workspace, machine);
    let host = workspace.text("host.json");
    let check = || {
        workspace.compat(["host", "-o", &host, "--root"]).with([&small.root]).ok();
        let command = workspace.compat(["check", "--format", "json"]).with([small.outside(PROGRAM)]);
        let output = command.with(["--host", &host]).run();
        (verdict(&output), missing_libraries(&output))
    };
    assert_eq!(check(), compatible());
    let profile: serde_json::Value =
        serde_json::from_slice(&workspace.read("host.json")).expect("a profile is JSON");
    assert_eq!(profile["bigEndian"].as_bool().unwrap_or(false), machine.big_endian);
    let libraries = profile["libraries"].as_array().expect("libraries");
    let paths: BTreeSet<&str> = libraries.iter().filter_map(|library| library["path"].as_str()).collect();
    for name in [LIBRARY, "libc.so.6"] {
        assert!(paths.contains(&small.library(name)[..]), "{paths:?}");
    }
    fs::remove_file(small.outside(&small.library(LIBRARY))).expect("the library exists");
    assert_eq!(check(), misses(LIBRARY));
    assert_eq!(check(), small.judged(&[]));
}

fn sub_directory(workspace: &Workspace, machine: Foreign) {
    let small = Small::new(workspace, machine);
    let place = small.library(&format!("glibc-hwcaps/z14/{LIBRARY}"));
    small.moves(&small.library(LIBRARY), &place);
    assert_eq!(small.judged(&[]), misses(LIBRARY));
    for (cpu, expected) in
        [("z13", misses(LIBRARY)), ("z14", compatible()), ("z15", compatible()), ("z17", compatible())]
    {
        assert_eq!(small.judged(&["--cpu", cpu]), expected, "{cpu}");
    }
    symlink(&place, small.outside(&small.library(LIBRARY))).expect("a link");
    assert_eq!(small.judged(&["--cpu", "z13"]), compatible());
}
