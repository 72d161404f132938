//! Libraries that a container runtime mounts from the host into an image.

use std::fs;
use std::process::Command;

use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace};

/// This machine's loader and C library, which become those of the image.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const DIRECTORY: &str = "/lib/x86_64-linux-gnu";

pub fn cases() -> Vec<Case> {
    let tools = &[Requirement::Tool("gcc")];
    vec![Case::new("host_library::uses_the_c_library_and_the_symbols_of_the_image", tools, base)]
}

fn copy(workspace: &Workspace, from: &str, to: &str) {
    let to = workspace.path(to);
    fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
    fs::copy(from, to).expect("a library of this machine");
}

fn library(workspace: &Workspace, name: &str, source: &str, flags: &[&str]) {
    workspace.write("source.c", source);
    let path = workspace.path(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    let mut gcc = Command::new("gcc");
    gcc.args(["-fPIC", "-o"]).arg(&path).arg(workspace.path("source.c")).args(flags);
    run(workspace, &mut gcc);
}

fn base(workspace: &Workspace) {
    copy(workspace, LOADER, &format!("image{LOADER}"));
    for name in ["libc.so.6", "libm.so.6"] {
        copy(workspace, &format!("{DIRECTORY}/{name}"), &format!("image{DIRECTORY}/{name}"));
    }
    let packing = format!("image{DIRECTORY}/libpacking.so.1");
    let source = "int inflate(void) { return 1; } int deflate(void) { return 2; }";
    library(workspace, &packing, source, &["-shared", "-nostdlib", "-Wl,-soname,libpacking.so.1"]);
    // The host's library needs a symbol of the packing library that the image does not use. It also needs the
    // mathematics library, which nothing else needs.
    let mpi = "host/usr/lib64/libmpi.so.40";
    let source = "int deflate(void); double pow(double, double);
        int MPI_Init(void) { return deflate() + (int)pow(deflate(), 0.5); }";
    let packing = workspace.text(&packing);
    let flags = ["-shared", "-fno-builtin", "-Wl,-soname,libmpi.so.40", &packing, "-lm"];
    library(workspace, mpi, source, &flags);
    let source = "int MPI_Init(void); int inflate(void); int main(void) { return MPI_Init() + inflate(); }";
    library(workspace, "image/app", source, &[&workspace.text(mpi), &packing]);
    let gen_image = ["gen", "--image", "dir:image", "--executable", "/app", "-o", "app.json"];
    workspace.compat(gen_image).ok();
    workspace.compat(["check", "app.json", "--root", "host"]).run().exits(0);
    // Without the image's libm, no file provides it.
    fs::remove_file(workspace.path(format!("image{DIRECTORY}/libm.so.6"))).expect("a library");
    workspace.compat(gen_image).ok();
    workspace.compat(["check", "app.json", "--root", "host"]).run().exits(1).says("libm.so.6");
}
