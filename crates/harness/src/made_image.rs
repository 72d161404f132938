//! Images that the container engine creates here, each with a property that decides a verdict.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::{CC, DEBOOTSTRAP, DOCKER, DOCKERD, tool};
use crate::docker::Docker;
use crate::process::run;
use crate::{Requirement, Workspace, root};

/// The requirements for creating them.
pub const REQUIREMENTS: [Requirement; 9] = [
    DOCKER,
    DOCKERD,
    DEBOOTSTRAP,
    CC,
    Requirement::Root,
    Requirement::Tool("musl-gcc"),
    Requirement::Tool("busybox"),
    Requirement::Tool("pip"),
    Requirement::Tool("tar"),
];

/// The tags of all images.
pub const TAGS: [&str; 9] =
    ["static", "musl", "missing", "v4", "hwcaps", "paths", "cuda", "debian", "python"];

/// The wheel in the Python image, which brings its own libraries along.
const WHEEL: &str = "numpy==1.26.4";

/// The Debian release below the larger images. It includes Python.
const RELEASE: &str = "bookworm";
const PYTHON: &str = "3.11";

/// The program of the small images.
const PROGRAM: &str = "ENTRYPOINT [\"/app\"]";

/// Creates the small images, which contain no distribution.
pub fn small(workspace: &Workspace, docker: &Docker) {
    static_program(workspace, docker);
    musl(workspace, docker);
    missing(workspace, docker);
    newest_cpu(workspace, docker);
    hwcaps(workspace, docker);
    paths(workspace, docker);
    cuda(workspace, docker);
}

/// Creates the Debian image, and the Python image on top of it, with files removed and wheels added.
pub fn large(workspace: &Workspace, docker: &Docker) {
    let debian = root::debian_with(workspace, RELEASE, &["python3"]);
    docker.import_with("debian", &debian, &["ENTRYPOINT [\"/usr/bin/perl\", \"-v\"]"], None);
    let context = workspace.directory("python");
    let wheels = wheels(workspace);
    let archive = context.join("site.tar");
    let mut command = Command::new(tool("tar"));
    run(workspace, command.arg("-C").arg(wheels).arg("-cf").arg(&archive).arg("."));
    let dockerfile = "FROM compat-tests:debian\n\
        RUN rm -r /usr/bin/perl /usr/bin/perl5* && ln -s python3 /usr/bin/snake\n\
        ADD site.tar /opt/site\n\
        ENV PYTHONPATH=/opt/site LD_LIBRARY_PATH=/opt/site/numpy.libs:/usr/lib/python3\n\
        ENTRYPOINT [\"snake\", \"-c\", \"import numpy\"]\n";
    build(workspace, docker, "python", dockerfile);
}

/// The unpacked wheel, which is kept between runs like the roots.
fn wheels(workspace: &Workspace) -> PathBuf {
    root::kept(workspace, &format!("wheels-{WHEEL}"), |directory| {
        let mut command = Command::new(tool("pip"));
        command.args(["install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]);
        command.args(["--platform", "manylinux2014_x86_64", "--python-version", PYTHON, "--target"]);
        run(workspace, command.arg(directory).arg(WHEEL));
    })
}

fn build(workspace: &Workspace, docker: &Docker, tag: &str, dockerfile: &str) {
    workspace.write(&format!("{tag}/Dockerfile"), dockerfile);
    let image = format!("compat-tests:{tag}");
    docker.build(&image, &["build", "--network=none", "-t", &image, &workspace.text(tag)]);
}

/// `FROM scratch` with a program without requirements.
fn static_program(workspace: &Workspace, docker: &Docker) {
    workspace.directory("static");
    workspace.write("static/app.c", "int main(void) { return 0; }\n");
    compile(workspace, "cc", &["static/app.c"], "static/app", &["-static"]);
    build(workspace, docker, "static", &format!("FROM scratch\nCOPY app /app\n{PROGRAM}\n"));
}

/// A program and a library for musl, and its loader from Debian's package.
fn musl(workspace: &Workspace, docker: &Docker) {
    let directory = workspace.directory("musl");
    for inner in ["lib", "usr/lib"] {
        fs::create_dir_all(directory.join(inner)).expect("directories of a root");
    }
    let library = "musl/usr/lib/libanswer.so.1";
    let flags = ["-shared", "-fPIC", "-Wl,-soname,libanswer.so.1"];
    compile(workspace, "musl-gcc", &[&fixture("answer.c")], library, &flags);
    compile(workspace, "musl-gcc", &[&fixture("application.c"), library], "musl/app", &[]);
    let loader = Path::new("/lib/ld-musl-x86_64.so.1");
    fs::copy(loader, directory.join("lib/ld-musl-x86_64.so.1")).expect("musl's loader");
    docker.import_with("musl", &directory, &[PROGRAM], None);
}

/// A program with a missing library.
fn missing(workspace: &Workspace, docker: &Docker) {
    let directory = with_glibc(workspace, "missing");
    let flags = ["-shared", "-fPIC", "-Wl,-soname,libanswer.so.1"];
    compile(workspace, "cc", &[&fixture("answer.c")], "libanswer.so.1", &flags);
    compile(workspace, "cc", &[&fixture("application.c"), "libanswer.so.1"], "missing/app", &[]);
    docker.import_with("missing", &directory, &[PROGRAM], None);
}

/// A program that requires a CPU of x86-64-v4.
fn newest_cpu(workspace: &Workspace, docker: &Docker) {
    let directory = with_glibc(workspace, "v4");
    workspace.write("v4.c", "int main(void) { return 0; }\n");
    compile(workspace, "cc", &["v4.c"], "v4/app", &["-Wl,-z,x86-64-v4"]);
    docker.import_with("v4", &directory, &[PROGRAM], None);
}

/// A program with a library only for CPUs of x86-64-v3.
fn hwcaps(workspace: &Workspace, docker: &Docker) {
    let root = with_glibc(workspace, "hwcaps");
    let directory = "hwcaps/usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3";
    workspace.directory(directory);
    let library = format!("{directory}/libanswer.so.1");
    let flags = ["-shared", "-fPIC", "-Wl,-soname,libanswer.so.1"];
    compile(workspace, "cc", &[&fixture("answer.c")], &library, &flags);
    compile(workspace, "cc", &[&fixture("application.c"), &library], "hwcaps/app", &[]);
    docker.import_with("hwcaps", &root, &[PROGRAM], None);
}

/// A program with libraries in the directories of its environment: a directory below the working directory, and
/// the working directory itself, which an empty element stands for.
fn paths(workspace: &Workspace, docker: &Docker) {
    let directory = with_glibc(workspace, "paths");
    workspace.directory("paths/srv/lib");
    let library = |output: &str, name: &str, inputs: &[&str], flags: &[&str]| {
        let soname = format!("-Wl,-soname,{name}");
        compile(workspace, "cc", inputs, output, &[&["-shared", "-fPIC", &soname], flags].concat());
    };
    let (answer, middle) = ("paths/srv/libanswer.so.1", "paths/srv/lib/libmiddle.so.1");
    library(answer, "libanswer.so.1", &[&fixture("answer.c")], &[]);
    workspace.write("empty.c", "");
    library(middle, "libmiddle.so.1", &["empty.c", answer], &["-Wl,--no-as-needed"]);
    compile(
        workspace,
        "cc",
        &[&fixture("application.c"), middle, answer],
        "paths/app",
        &["-Wl,--no-as-needed"],
    );
    let changes = [PROGRAM, "WORKDIR /srv", "ENV LD_LIBRARY_PATH=/nowhere;lib:"];
    docker.import_with("paths", &directory, &changes, None);
}

/// A program for a GPU. It needs the driver's library, and its configuration requires a CUDA version.
fn cuda(workspace: &Workspace, docker: &Docker) {
    let directory = with_glibc(workspace, "cuda");
    driver_library(workspace, "libcuda.so.1");
    compile(workspace, "cc", &[&fixture("cuda.c"), "libcuda.so.1"], "cuda/app", &[]);
    let changes = [
        PROGRAM,
        "ENV NVIDIA_VISIBLE_DEVICES=all",
        "ENV NVIDIA_DRIVER_CAPABILITIES=compute",
        "ENV NVIDIA_REQUIRE_CUDA=\"cuda>=12.2\"",
    ];
    docker.import_with("cuda", &directory, &changes, None);
}

/// A root that contains only the user-space part of an NVIDIA driver of this version.
pub fn driver_root(workspace: &Workspace, version: &str) -> PathBuf {
    let root = workspace.directory(&format!("driver-{version}"));
    let directory = root.join("usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&directory).expect("directories of a root");
    driver_library(workspace, "driver.so");
    fs::copy(workspace.path("driver.so"), directory.join(format!("libcuda.so.{version}")))
        .expect("a library");
    if !directory.join("libcuda.so.1").exists() {
        symlink(format!("libcuda.so.{version}"), directory.join("libcuda.so.1")).expect("a link");
    }
    root
}

fn driver_library(workspace: &Workspace, output: &str) {
    let flags = ["-shared", "-fPIC", "-DDRIVER", "-Wl,-soname,libcuda.so.1"];
    compile(workspace, "cc", &[&fixture("cuda.c")], output, &flags);
}

/// A root with this machine's C library, and `env`.
fn with_glibc(workspace: &Workspace, name: &str) -> PathBuf {
    root::minimal(workspace, name, Path::new("/usr/bin/env"))
}

/// The image of another machine: a static program with another machine in its header.
pub fn foreign(workspace: &Workspace, docker: &Docker) {
    const MACHINE: usize = 18;
    const AARCH64: u8 = 183;
    let directory = workspace.directory("foreign");
    let mut program = workspace.read("static/app");
    program[MACHINE] = AARCH64;
    let file = workspace.write("foreign/app", program);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(file, executable).expect("the right to run it");
    docker.import_with("foreign", &directory, &[PROGRAM], Some("linux/arm64"));
}

/// A source of the fixtures.
fn fixture(name: &str) -> String {
    crate::fixture(name).to_str().expect("the path of a source is text").to_owned()
}

fn compile(workspace: &Workspace, compiler: &'static str, inputs: &[&str], output: &str, flags: &[&str]) {
    let mut command = Command::new(tool(compiler));
    command.args(inputs).args(["-o", output]).args(flags).current_dir(workspace.root());
    run(workspace, &mut command);
}
