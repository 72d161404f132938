//! Runs in containers, recorded by the mounted binary, the specifications made from these recordings, and the
//! verdicts on them. Each verdict is compared with the behaviour of the program itself in the same place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::artifact::PROGRAM;
use crate::harness::case::{CC, DEBOOTSTRAP, DOCKER, DOCKERD, tool};
use crate::harness::compat::{BINARY, Output, verdict};
use crate::harness::docker::Docker;
use crate::harness::made_image;
use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace, fixture, root};

/// The names of the Debian releases, separated by commas. If the variable is not set, these are the oldest
/// and the newest release that other cases also use.
const VARIABLE: &str = "COMPAT_TEST_RELEASES";
const RELEASES: &str = "bullseye,bookworm";

/// A Perl program that loads extensions, which are in a directory outside the search path.
const PERL: [&str; 5] = ["perl", "-MPOSIX", "-MSocket", "-e", "exit 7"];
const EXTENSION: &str = "auto/Socket/Socket.so";

/// A library that the small programs open.
const PLUGIN: &str = "/opt/plugins/libanswer.so.1";

pub fn cases() -> Vec<Case> {
    let requirements = [
        DOCKER,
        DOCKERD,
        DEBOOTSTRAP,
        CC,
        Requirement::Root,
        Requirement::Fuse,
        Requirement::Tool("musl-gcc"),
        Requirement::Tool("tar"),
    ];
    vec![
        Case::new("recorded_image::a_run_in_a_container_becomes_a_specification", &requirements, all),
        Case::new(
            "recorded_image::libraries_of_a_runtime_are_required_from_the_host",
            &[CC, Requirement::Tool("tar")],
            driver,
        ),
        Case::new("recorded_image::a_library_that_is_only_read_is_not_a_loaded_one", &[CC], only_read),
        Case::new("recorded_image::several_runs_are_one_specification", &[CC], several),
    ]
}

/// This is one case because an engine takes a while to start.
fn all(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    let here = Here { workspace, docker: &docker };
    fs::create_dir(workspace.path("out")).expect("a directory for recordings");
    let releases = std::env::var(VARIABLE).unwrap_or_else(|_| RELEASES.to_owned());
    for release in releases.split(',') {
        debian(&here, release);
    }
    exit_codes(&here, releases.split(',').next().unwrap_or_default());
    small(&here, "distroless");
    musl(&here);
    from_scratch(&here);
    volume(&here);
}

/// The workspace and the engine.
struct Here<'a> {
    workspace: &'a Workspace,
    docker: &'a Docker<'a>,
}

impl Here<'_> {
    /// Runs a command in a container with these options. Returns the exit code and the output.
    fn container(&self, options: &[&str], tag: &str, command: &[&str]) -> (i32, String) {
        let (binary, out) = (format!("{BINARY}:/compat:ro"), format!("{}:/out", self.workspace.text("out")));
        let base = ["run", "--rm", "--network=none", "-v", &binary, "-v", &out];
        let image = format!("compat-tests:{tag}");
        let arguments = [&base[..], options, &[&image], command].concat();
        let (code, stdout, stderr) = self.docker.exit(&arguments);
        (code.expect("an exit code"), format!("{stdout}{stderr}"))
    }

    /// Records a command in a container as `out/NAME.jsonl`. Returns the exit code, which is the same as
    /// without recording.
    fn record(&self, options: &[&str], tag: &str, name: &str, command: &[&str]) -> i32 {
        let rights = ["--device", "/dev/fuse", "--cap-add", "SYS_ADMIN"];
        let file = format!("/out/{name}.jsonl");
        let record = [&["/compat", "record", "-o", &file, "--"], command].concat();
        let (recorded, said) = self.container(&[&rights[..], options].concat(), tag, &record);
        let (native, _) = self.container(options, tag, command);
        assert_eq!(recorded, native, "{command:?} in {tag}: {said}");
        recorded
    }

    /// Makes the specification of a recording inside the container, which has the files, as `out/NAME.json`.
    fn generate(&self, options: &[&str], tag: &str, name: &str) -> Value {
        let (run, to) = (format!("/out/{name}.jsonl"), format!("/out/{name}.json"));
        let (code, said) =
            self.container(options, tag, &["/compat", "gen", "--from-recording", &run, "-o", &to]);
        assert_eq!(code, 0, "{said}");
        self.document(&format!("out/{name}.json"))
    }

    /// Makes the specification of the image with a recording as `out/NAME.image.json`, from the output of
    /// `docker save`.
    fn generate_of_image(&self, tag: &str, name: &str) -> Value {
        let archive = self.workspace.text(format!("{name}.tar"));
        self.docker.run(&["save", "-o", &archive, &format!("compat-tests:{tag}")]);
        let source = format!("docker-archive:{archive}");
        let (run, to) = (format!("out/{name}.jsonl"), format!("out/{name}.image.json"));
        self.workspace.compat(["gen", "--image", &source, "--from-recording", &run, "-o", &to]).ok();
        fs::remove_file(&archive).expect("the archive of an image");
        self.document(&to)
    }

    fn document(&self, file: &str) -> Value {
        serde_json::from_slice(&self.workspace.read(file)).expect("a specification")
    }

    /// Checks a specification in a container with the mounted binary. Returns the exit code.
    fn check_inside(&self, options: &[&str], tag: &str, name: &str) -> i32 {
        let file = format!("/out/{name}.json");
        self.container(options, tag, &["/compat", "check", "--no-cache", &file]).0
    }

    /// Checks a specification for a root. `/` is this machine.
    fn check(&self, name: &str, root: &str) -> Output {
        let file = format!("out/{name}.json");
        self.workspace.compat(["check", "--format", "json", "--root", root, &file]).run()
    }

    /// Asserts that an image with all its dependencies inside runs on this machine and on one with another
    /// libc.
    fn image_runs_anywhere(&self, name: &str) {
        let other = root::debian(self.workspace, "bullseye");
        for root in ["/", other.to_str().expect("text")] {
            let report = self.check(&format!("{name}.image"), root).exits(0);
            assert_eq!(verdict(&report), "compatible");
        }
    }

    /// Compiles the program that opens libraries.
    fn opener(&self, compiler: &'static str, output: &str, flags: &[&str]) {
        self.compile(compiler, "opener.c", output, flags);
    }

    fn answer(&self, compiler: &'static str, output: &str) {
        self.compile(compiler, "answer.c", output, &["-shared", "-fPIC", "-Wl,-soname,libanswer.so.1"]);
    }

    fn compile(&self, compiler: &'static str, source: &str, output: &str, flags: &[&str]) {
        let path = self.workspace.path(output);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("directories of a root");
        let mut command = Command::new(tool(compiler));
        run(self.workspace, command.arg(fixture(source)).arg("-o").arg(path).args(flags));
    }
}

/// Returns the paths of the libraries that runs loaded, according to a specification, without the
/// dependencies of these libraries.
fn loaded(specification: &Value) -> Vec<String> {
    let recorded = &specification["recorded"];
    assert_eq!(recorded["runs"], 1);
    let programs = recorded["programs"].as_array().expect("programs");
    let libraries = programs.iter().filter_map(|program| program["libraries"].as_array()).flatten();
    let opened = libraries.filter(|library| library["neededBy"].is_null());
    opened.map(|library| library["path"].as_str().expect("a path").to_owned()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// Perl with its extensions, on a release of Debian.
fn debian(here: &Here<'_>, release: &str) {
    let directory = root::debian(here.workspace, release);
    here.docker.import(release, &directory);
    assert_eq!(here.record(&[], release, release, &PERL), 7);
    let bare = here.generate(&[], release, release);
    let extensions = loaded(&bare);
    assert!(extensions.iter().any(|path| path.ends_with(EXTENSION)), "{extensions:?}");
    assert_eq!(bare["subjects"], serde_json::json!(["perl"]));
    // The program runs where it was recorded, checked from inside and from outside.
    assert_eq!(here.check_inside(&[], release, release), 0);
    here.check(release, text(&directory)).exits(0);
    // Without one of its extensions the program fails, but the recording does not prove that the extension is
    // required.
    here.workspace.write("empty", "");
    let extension =
        extensions.iter().find(|path| path.ends_with(EXTENSION)).expect("the recording contains the library");
    let without = format!("{}:{extension}:ro", here.workspace.text("empty"));
    assert_ne!(here.container(&["-v", &without], release, &PERL).0, 7);
    assert_eq!(here.check_inside(&["-v", &without], release, release), 3);
    // The image contains all extensions.
    let whole = here.generate_of_image(release, release);
    let inside: Vec<String> = extensions.iter().map(|path| path.trim_start_matches('/').to_owned()).collect();
    assert_eq!(loaded(&whole), inside);
    here.image_runs_anywhere(release);
    if release != "bullseye" {
        // The program is newer than the libc of the root.
        let older = root::debian(here.workspace, "bullseye");
        here.check(release, text(&older)).exits(1).says("GLIBC_");
    }
    read_only(here, release);
}

/// The same in a read-only root.
fn read_only(here: &Here<'_>, release: &str) {
    let name = format!("{release}-read-only");
    assert_eq!(here.record(&["--read-only"], release, &name, &PERL), 7);
    let document = here.generate(&["--read-only"], release, &name);
    let written = here.document(&format!("out/{release}.json"));
    assert_eq!(document, written);
}

/// A recording does not change the exit codes and signals of a container.
fn exit_codes(here: &Here<'_>, release: &str) {
    for code in [0, 1, 42, 126, 127, 255] {
        let command = ["sh", "-c", &format!("exit {code}")];
        assert_eq!(here.record(&[], release, "code", &command), code);
    }
    assert_eq!(here.record(&[], release, "code", &["/bin/bash", "-c", "bash -c 'kill -9 $$'; exit $?"]), 137);
}

/// A root with only a C library, one program and a plugin.
fn small(here: &Here<'_>, tag: &str) {
    here.opener("cc", "opener", &[]);
    let directory = root::minimal(here.workspace, tag, &here.workspace.path("opener"));
    here.opener("cc", &format!("{tag}/app"), &[]);
    here.answer("cc", &format!("{tag}{PLUGIN}"));
    here.docker.import_with(tag, &directory, &["ENTRYPOINT [\"/app\"]"], None);
    let options = ["--entrypoint", ""];
    assert_eq!(here.record(&options, tag, tag, &["/app", PLUGIN]), 41);
    assert_eq!(loaded(&here.generate(&options, tag, tag)), [PLUGIN]);
    here.check(tag, text(&directory)).exits(0);
    assert_eq!(loaded(&here.generate_of_image(tag, tag)), [PLUGIN.trim_start_matches('/')]);
    here.image_runs_anywhere(tag);
    // This machine has the C library with which the program was linked, but not the plugin.
    assert_ne!(status(here, tag, PLUGIN), 41);
    here.check(tag, "/").exits(3).says("recorded-library").says(PLUGIN);
    let with_plugin = root_with(here, &directory, PLUGIN);
    here.check(tag, text(&with_plugin)).exits(3).says("invalid ELF header");
}

/// Returns the exit code of a small image's program on this machine.
fn status(here: &Here<'_>, tag: &str, plugin: &str) -> i32 {
    let status = Command::new(here.workspace.path(format!("{tag}/app"))).arg(plugin).output();
    status.expect("the program starts").status.code().expect("an exit code")
}

/// Returns a copy of a root in which one file has other content.
fn root_with(here: &Here<'_>, directory: &Path, file: &str) -> PathBuf {
    let copy = here.workspace.path("changed");
    run(here.workspace, Command::new(tool("cp")).arg("-a").arg(directory).arg(&copy));
    fs::write(
        root::inside(&copy, Path::new(file)),
        "no library at all, though long enough for a header of one ..........",
    )
    .expect("a changed file");
    copy
}

/// musl's loader, a program and a library that it finds by its name.
fn musl(here: &Here<'_>) {
    let directory = here.workspace.directory("recorded-musl");
    here.opener("musl-gcc", "recorded-musl/app", &[]);
    here.answer("musl-gcc", "recorded-musl/usr/lib/libanswer.so.1");
    fs::create_dir_all(directory.join("lib")).expect("directories of a root");
    let loader = Path::new("/lib/ld-musl-x86_64.so.1");
    fs::copy(loader, directory.join("lib/ld-musl-x86_64.so.1")).expect("musl's loader");
    here.docker.import_with("recorded-musl", &directory, &["ENTRYPOINT [\"/app\"]"], None);
    let options = ["--entrypoint", ""];
    let name = "recorded-musl";
    assert_eq!(here.record(&options, name, name, &["/app", "libanswer.so.1"]), 41);
    let document = here.generate(&options, name, name);
    assert_eq!(loaded(&document), ["/usr/lib/libanswer.so.1"]);
    assert_eq!(document["recorded"]["programs"][0]["libraries"][0]["name"], "libanswer.so.1");
    here.check(name, text(&directory)).exits(0);
    here.generate_of_image(name, name);
    here.image_runs_anywhere(name);
    // The name is searched for, so the library is also found in another directory of the search path.
    fs::rename(directory.join("usr/lib/libanswer.so.1"), directory.join("lib/libanswer.so.1"))
        .expect("the library is moved");
    here.check(name, text(&directory)).exits(0);
    fs::remove_file(directory.join("lib/libanswer.so.1")).expect("the library is removed");
    here.check(name, text(&directory)).exits(3).says("libanswer.so.1");
}

/// Only one static program.
fn from_scratch(here: &Here<'_>) {
    let directory = here.workspace.directory("recorded-static");
    here.opener("cc", "recorded-static/app", &["-static", "-DSTATIC"]);
    here.docker.import_with("recorded-static", &directory, &["ENTRYPOINT [\"/app\"]"], None);
    let name = "recorded-static";
    assert_eq!(here.record(&["--entrypoint", ""], name, name, &["/app", "x", "y"]), 42);
    let document = here.generate(&["--entrypoint", ""], name, name);
    assert!(loaded(&document).is_empty());
    assert_eq!(document["recorded"]["programs"][0]["path"], "app");
    here.check(name, "/").exits(0);
    here.generate_of_image(name, name);
    here.image_runs_anywhere(name);
}

/// Writes a recording of a program's opens.
fn recording(workspace: &Workspace, name: &str, program: &str, events: &[(&str, &str)]) {
    let event = |(kind, path): &(&str, &str)| {
        let flags = if *kind == "open" { ",\"open\":2,\"flags\":32768" } else { "" };
        format!(
            "{{\"t\":2,\"event\":\"{kind}\",\"path\":\"{path}\"{flags},\"pid\":2,\"tid\":2,\"ppid\":1,\"exe\":\"{program}\",\"uid\":0}}\n"
        )
    };
    let header = "{\"compat_recording\":1,\"command\":[\"app\"],\"folder\":\"/\",\"host\":\"node1\",\"kernel\":\"6\",\"started\":1}\n";
    let executed = format!(
        "{{\"t\":1,\"event\":\"open\",\"path\":\"{program}\",\"open\":1,\"exec\":true,\"pid\":2,\"tid\":2,\"ppid\":1,\"exe\":\"/compat\",\"uid\":0}}\n"
    );
    let end = "{\"end\":\"exited\",\"code\":0}\n";
    let events: String = events.iter().map(event).collect();
    workspace.write(name, format!("{header}{executed}{events}{end}"));
}

/// A driver that the runtime mounted into the container: the requested name counts, not the version in the
/// container.
fn driver(workspace: &Workspace) {
    let opener = workspace.path("opener");
    run(workspace, Command::new(tool("cc")).arg(fixture("opener.c")).arg("-o").arg(&opener));
    let directory = root::minimal(workspace, "gpu", &opener);
    fs::copy(&opener, directory.join("app")).expect("a program of the image");
    let library = |name: &str| format!("/usr/lib/x86_64-linux-gnu/{name}");
    let (link, file) = (library("libcuda.so.1"), library("libcuda.so.535.104.05"));
    recording(workspace, "run.jsonl", "/app", &[("read-link", &link), ("open", &file)]);
    let image = format!("dir:{}", text(&directory));
    let generate = ["gen", "--image", &image, "--from-recording", "run.jsonl", "-o", "gpu.json"];
    workspace.compat(generate).ok().says("libcuda.so.535.104.05");
    let document: Value = serde_json::from_slice(&workspace.read("gpu.json")).expect("a specification");
    assert_eq!(document["image"]["hostLibraries"][0]["name"], "libcuda.so.1");
    let check = |root: &str| workspace.compat(["check", "gpu.json", "--root", root]).run();
    let with_driver = made_image::driver_root(workspace, "550.1");
    check(text(&with_driver)).exits(0);
    fs::create_dir(workspace.path("bare")).expect("a root");
    check("bare").exits(3).says("libcuda.so.1").says("NVIDIA driver");
}

/// The program cannot open libraries itself. Files that were opened before the loader's last library were
/// preloaded. Files that were opened later were only read.
fn only_read(workspace: &Workspace) {
    for name in ["preloaded.so", "read.so"] {
        let mut command = Command::new(tool("cc"));
        run(
            workspace,
            command.arg(fixture("answer.c")).args(["-shared", "-fPIC", "-o"]).arg(workspace.path(name)),
        );
    }
    let at = |name: &str| fs::canonicalize(workspace.path(name)).expect("a library");
    let program = fs::canonicalize(PROGRAM).expect("a program");
    let needed = root::opened_here(workspace, &program);
    let needed: Vec<PathBuf> = needed.iter().map(|path| fs::canonicalize(path).expect("a library")).collect();
    let (preloaded, read) = (at("preloaded.so"), at("read.so"));
    let paths: Vec<&Path> =
        [preloaded.as_path()].into_iter().chain(needed.iter().map(PathBuf::as_path)).collect();
    let opened: Vec<(&str, &str)> =
        paths.into_iter().chain([read.as_path()]).map(|path| ("open", text(path))).collect();
    recording(workspace, "run.jsonl", text(&program), &opened);
    workspace.compat(["gen", "--from-recording", "run.jsonl", "-o", "compat.json"]).ok();
    let document: Value = serde_json::from_slice(&workspace.read("compat.json")).expect("a specification");
    assert_eq!(loaded(&document), [text(&preloaded)]);
}

/// Runs that loaded different plugins. The specification counts the runs for each plugin, and is reproducible
/// byte for byte.
fn several(workspace: &Workspace) {
    let compile = |source: &str, output: &str, flags: &[&str]| {
        let mut command = Command::new(tool("cc"));
        run(workspace, command.arg(fixture(source)).arg("-o").arg(workspace.path(output)).args(flags));
    };
    workspace.directory("dist/lib");
    compile("opener.c", "dist/app", &[]);
    for name in ["a", "b"] {
        compile("answer.c", &format!("dist/lib/{name}.so"), &["-shared", "-fPIC"]);
    }
    let at = |name: &str| fs::canonicalize(workspace.path("dist")).expect("a directory").join(name);
    let (app, a, b) = (at("app"), at("lib/a.so"), at("lib/b.so"));
    recording(
        workspace,
        "1.jsonl",
        text(&app),
        &[("open", text(&a)), ("open", text(&b)), ("open", "/etc/passwd")],
    );
    recording(workspace, "2.jsonl", text(&app), &[("open", text(&a)), ("open", "/none/c.so")]);
    recording(
        workspace,
        "3.jsonl",
        text(&app),
        &[("create", "/made.so"), ("open", "/made.so"), ("open", text(&a))],
    );
    let generate = |output: &str| {
        let runs = ["1.jsonl", "2.jsonl", "3.jsonl"];
        let arguments = [&["gen", "-o", output, "--from-recording"], &runs[..], &["dist"]].concat();
        workspace.compat(arguments).ok().says("/none/c.so");
        workspace.read(output)
    };
    let written = generate("1.json");
    assert_eq!(written, generate("2.json"));
    let document: Value = serde_json::from_slice(&written).expect("a specification");
    let seen =
        |library: &Value| (library["path"].as_str().expect("a path").to_owned(), library["seen"].as_u64());
    let program = &document["recorded"]["programs"][0];
    let libraries: Vec<_> = program["libraries"].as_array().expect("libraries").iter().map(seen).collect();
    let expected = [("lib/a.so", 3), ("lib/b.so", 1), ("/none/c.so", 1)];
    assert_eq!(libraries, expected.map(|(path, seen)| (path.to_owned(), Some(seen))));
    assert_eq!((&program["path"], &document["recorded"]["otherFiles"]), (&"app".into(), &1.into()));
    workspace.compat(["validate", "1.json"]).ok();
    let report = workspace.compat(["check", "1.json"]).run().exits(3);
    report.says("app loaded /none/c.so in 1 of 3 recorded runs, but this host lacks it");
    // Without a path the subject is the executed program, and its plugins are required from the host.
    workspace.compat(["gen", "--from-recording", "1.jsonl", "-o", "3.json"]).ok();
    workspace.compat(["check", "3.json"]).ok();
    workspace.write("other.jsonl", "{}\n");
    let refused = workspace.compat(["gen", "--from-recording", "other.jsonl"]).run();
    refused.fails_clearly().says("other.jsonl is not a recording");
    recording(workspace, "4.jsonl", "/none/app", &[]);
    let elsewhere = workspace.compat(["gen", "--from-recording", "4.jsonl"]).run();
    elsewhere
        .fails_clearly()
        .says("/none/app, which the run on node1 executed, does not exist on this machine")
        .says("--image");
}

/// A plugin that is mounted into the container and not part of the image.
fn volume(here: &Here<'_>) {
    let plugins = format!("{}:/opt/more:ro", here.workspace.text("distroless/opt/plugins"));
    let mounted = ["--entrypoint", "", "-v", &plugins, "-v", "/data"];
    let (tag, name) = ("distroless", "volume");
    let plugin = "/opt/more/libanswer.so.1";
    assert_eq!(here.record(&mounted, tag, name, &["/app", plugin]), 41);
    assert_eq!(loaded(&here.generate(&mounted, tag, name)), [plugin]);
    assert_eq!(here.check_inside(&mounted, tag, name), 0);
    assert_ne!(here.container(&["--entrypoint", ""], tag, &["/app", plugin]).0, 41);
    assert_eq!(here.check_inside(&["--entrypoint", ""], tag, name), 3);
    // The image alone does not show what will be mounted into it.
    let whole = here.generate_of_image(tag, name);
    assert_eq!(whole["recorded"]["programs"][0]["libraries"][0]["gone"], true);
    here.check(&format!("{name}.image"), "/").exits(3).says(plugin);
}
