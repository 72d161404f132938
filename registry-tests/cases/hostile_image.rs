//! Malicious images: each leads to one clear error or a correct result, and nothing is written outside.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::harness::case::CC;
use crate::harness::compat::{BINARY, Output};
use crate::harness::image::{Place, architecture};
use crate::harness::memory_registry::digest;
use crate::harness::{Case, Workspace};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Workspace)| Case::new(format!("hostile_image::{name}"), &[CC], run);
    vec![
        case("names_that_point_outside_stay_inside", names),
        case("whiteouts_of_parents_hide_nothing_else", whiteouts),
        case("links_that_go_in_circles_end", links),
        case("devices_are_not_programs", devices),
        case("oversized_headers_are_refused", headers),
        case("a_bomb_is_refused", bomb),
        case("small_layers_take_little_memory", memory),
        case("layers_with_wrong_content_are_refused", lies),
    ]
}

/// One entry of a layer.
struct Entry<'a> {
    name: &'a [u8],
    kind: u8,
    mode: u32,
    link: &'a str,
    data: &'a [u8],
    /// The size in the header, if it differs from the size of the data.
    size: Option<u64>,
}

impl<'a> Entry<'a> {
    fn file(name: &'a str, data: &'a [u8]) -> Self {
        Self { name: name.as_bytes(), kind: b'0', mode: 0o755, link: "", data, size: None }
    }

    fn link(name: &'a str, kind: u8, target: &'a str) -> Self {
        Self { kind, link: target, ..Self::file(name, b"") }
    }

    /// Encodes the entry without a library, because a library refuses to write the invalid entries.
    fn bytes(&self) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..self.name.len()].copy_from_slice(self.name);
        header.as_mut_bytes()[157..157 + self.link.len()].copy_from_slice(self.link.as_bytes());
        header.set_entry_type(tar::EntryType::new(self.kind));
        header.set_mode(self.mode);
        header.set_size(self.size.unwrap_or(self.data.len() as u64));
        for field in [tar::Header::set_device_major, tar::Header::set_device_minor] {
            field(&mut header, 1).expect("a device's number fits");
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(self.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Returns a static program, which runs in any root.
fn program(workspace: &Workspace) -> Vec<u8> {
    workspace.write("app.c", "int main(void) { return 0; }\n");
    let mut command = Command::new(crate::harness::case::tool("cc"));
    command.args(["-static", "app.c", "-o", "app"]).current_dir(workspace.root());
    crate::harness::process::run(workspace, &mut command);
    workspace.read("app")
}

/// Stores an image of layers that runs `/app` in a layout. Returns its reference.
fn image(workspace: &Workspace, tag: &str, layers: &[(&str, Vec<u8>)]) -> String {
    let directory = workspace.directory("layout");
    let place = Place::Layout(directory.clone());
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {"Entrypoint": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let config = config.to_string().into_bytes();
    let described = |(media_type, bytes): &(&str, Vec<u8>)| json!({"mediaType": media_type, "digest": place.blob(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": place.blob(&config), "size": config.len(),
        },
        "layers": layers.iter().map(described).collect::<Vec<_>>(),
    });
    place.manifest(Some(tag), MANIFEST, &manifest);
    format!("oci:{}:{tag}", directory.display())
}

/// Derives a specification from an image in bounded time and space. Nothing may be written beside the layout.
fn derive(workspace: &Workspace, reference: &str) -> Output {
    // The home directory is created for the first program.
    workspace.home();
    let before = files(workspace.root());
    let limit = workspace.directory("temporary");
    let output = workspace
        .compat(["gen", "--image", reference])
        .env("TMPDIR", limit)
        .within(Duration::from_secs(60))
        .run();
    let mut after = files(workspace.root());
    after.retain(|file| !before.contains(file) && !file.ends_with("/temporary"));
    assert!(after.is_empty(), "written: {after:?}");
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    output
}

/// Returns the paths of everything below a directory.
fn files(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            all.push(entry.path().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                ahead.push(entry.path());
            }
        }
    }
    all
}

/// Returns the paths of the objects that were found.
fn objects(output: &Output) -> Vec<String> {
    let json = output.json();
    let objects = json["objects"].as_array().expect("a specification has objects");
    objects.iter().map(|object| object["path"].as_str().expect("a path").to_owned()).collect()
}

fn names(workspace: &Workspace) {
    let program = program(workspace);
    let outside = format!("{}/written", workspace.root().display());
    let deep = format!("../../../../../../../../..{outside}");
    let entries = [
        Entry::file("../../app", &program),
        Entry::file(&outside, b"#!/bin/sh\n"),
        Entry::file(&deep, b"#!/bin/sh\n"),
        Entry::file("a/./../../etc/../etc/ld.so.preload", b"/app\n"),
    ];
    // Names are relative to the image's root, as for a process inside it.
    let reference = image(workspace, "names", &[(LAYER, layer(&entries))]);
    let output = derive(workspace, &reference).exits(0);
    assert_eq!(objects(&output), ["app"]);
    assert!(!Path::new(&outside).exists());
    // The same applies to a link of the image that leads out.
    let root = workspace.root().display().to_string();
    let entries = [
        Entry::link("out", b'2', &root),
        Entry::file("out/written", b"#!/bin/sh\n"),
        Entry::link("hard", b'1', "../../../../../../../../etc/passwd"),
        Entry::file("app", &program),
    ];
    let reference = image(workspace, "link", &[(LAYER, layer(&entries))]);
    let output = derive(workspace, &reference);
    assert!(matches!(output.code, Some(0 | 3)), "{output:?}");
    assert!(!Path::new(&outside).exists());
}

fn whiteouts(workspace: &Workspace) {
    let program = program(workspace);
    let base = layer(&[Entry::file("app", &program), Entry::file("usr/bin/other", &program)]);
    for name in [".wh...", ".wh..", "usr/.wh...", "../.wh.usr/../x", ".wh.", "usr/bin/.wh.."] {
        let top = layer(&[Entry::file(name, b"")]);
        let reference = image(workspace, "whiteout", &[(LAYER, base.clone()), (LAYER, top)]);
        let output = derive(workspace, &reference);
        match output.code {
            Some(0) => assert_eq!(objects(&output), ["app"], "{name}"),
            _ => drop(output.fails_clearly()),
        }
        let _ = fs::remove_dir_all(workspace.path("layout"));
    }
    let hidden = layer(&[Entry::file(".wh.app", b"")]);
    let reference = image(workspace, "hidden", &[(LAYER, base), (LAYER, hidden)]);
    derive(workspace, &reference).fails_clearly().says("/app");
}

fn links(workspace: &Workspace) {
    let loops: [&[Entry<'_>]; 3] = [
        &[Entry::link("app", b'2', "app")],
        &[Entry::link("app", b'2', "/b"), Entry::link("b", b'2', "../../app")],
        &[Entry::link("app", b'2', "a/a/a/a/app"), Entry::link("a", b'2', ".")],
    ];
    for (number, entries) in loops.iter().enumerate() {
        let reference = image(workspace, &format!("loop{number}"), &[(LAYER, layer(entries))]);
        derive(workspace, &reference).fails_clearly().says("/app");
    }
    let reference = image(workspace, "hard", &[(LAYER, layer(&[Entry::link("app", b'1', "app")]))]);
    derive(workspace, &reference).fails_clearly();
}

fn devices(workspace: &Workspace) {
    for kind in [b'3', b'4', b'6', b'5'] {
        let reference = image(
            workspace,
            &format!("device{kind}"),
            &[(LAYER, layer(&[Entry { kind, ..Entry::file("app", b"") }]))],
        );
        derive(workspace, &reference).fails_clearly().says("/app");
    }
}

fn headers(workspace: &Workspace) {
    let huge = u64::MAX >> 1;
    for (tag, kind, size) in [
        ("long-name", b'L', 1 << 32),
        ("long-link", b'K', 1 << 32),
        ("extended", b'x', 1 << 32),
        ("global", b'g', 1 << 32),
        ("file", b'0', huge),
    ] {
        let entry = Entry { kind, size: Some(size), ..Entry::file("app", &[b'a'; 1024]) };
        let reference = image(workspace, tag, &[(LAYER, layer(&[entry]))]);
        derive(workspace, &reference).fails_clearly().says("layer");
    }
    // A sparse file of a petabyte without content.
    let size = (1u64 << 50).to_string();
    let records = [
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.minor", "0"),
        record("GNU.sparse.name", "app"),
        record("GNU.sparse.realsize", &size),
    ];
    let extended = records.concat();
    let entries = [
        Entry { kind: b'x', ..Entry::file("PaxHeaders/app", extended.as_bytes()) },
        Entry::file("app", b"0\n"),
    ];
    let reference = image(workspace, "sparse", &[(LAYER, layer(&entries))]);
    derive(workspace, &reference).fails_clearly();
}

/// Returns one record of an extended header. Its length includes the length field itself.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while rest.len() + length.to_string().len() != length {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// The address space for reading an image: the limit of 1 GiB, plus that of a program and its threads.
const ADDRESS_SPACE_KIB: u64 = 1536 << 10;

/// A compressed layer, entry by entry.
struct Packed(GzEncoder<Vec<u8>>);

impl Packed {
    fn new() -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::best()))
    }

    fn put(&mut self, entry: &Entry<'_>) {
        self.0.write_all(&entry.bytes()).expect("writing to memory succeeds");
    }

    /// Adds an entry whose name or target is longer than a header allows.
    fn put_long(&mut self, key: &str, value: &str, entry: &Entry<'_>) {
        let extended = record(key, value);
        self.put(&Entry { kind: b'x', ..Entry::file("pax", extended.as_bytes()) });
        self.put(entry);
    }

    /// Asserts that the image of this layer is small and that reading it ends with a clear error in little
    /// memory.
    fn refused(mut self, workspace: &Workspace, tag: &str, most: usize) {
        self.0.write_all(&[0; 1024]).expect("writing to memory succeeds");
        let packed = self.0.finish().expect("writing to memory succeeds");
        assert!(packed.len() < most, "{tag}: {} bytes", packed.len());
        let reference = image(workspace, tag, &[("application/vnd.oci.image.layer.v1.tar+gzip", packed)]);
        let script = format!("ulimit -v {ADDRESS_SPACE_KIB} && exec {BINARY} gen --image {reference}");
        let run = workspace.compat(["-c", &script]).called("bash");
        run.run().fails_clearly().says("memory in bytes").says("1073741824");
    }
}

/// Layers whose entries take a few bytes each when compressed and a few hundred in memory.
fn memory(workspace: &Workspace) {
    // Each entry makes two thousand directories.
    let mut deep = Packed::new();
    for number in 0..4200 {
        let path = format!("{number:05}/{}x", "a/".repeat(2040));
        deep.put_long("path", &path, &Entry::file("x", b""));
    }
    deep.refused(workspace, "deep", 100_000);
    // Each entry makes sixteen directories, with a short path.
    let mut directories = Packed::new();
    for number in 0..250_000 {
        let path = format!("{number}/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/b");
        directories.put(&Entry::file(&path, b""));
    }
    directories.refused(workspace, "folders", 4 << 20);
    // Many names in a directory with a long path.
    let program = program(workspace);
    let (mut names, directory) = (Packed::new(), vec!["d".repeat(250); 15].join("/"));
    names.put(&Entry::file("app", &program));
    names.put_long("path", &format!("{directory}/x"), &Entry::file("x", b""));
    names.put_long("linkpath", &directory, &Entry::link("l", b'2', "t"));
    for number in 0..300_000 {
        names.put(&Entry::file(&format!("l/{number}"), b""));
    }
    names.refused(workspace, "names", 4 << 20);
}

/// A layer of 1.2 GB in 1.2 MB.
fn bomb(workspace: &Workspace) {
    const SIZE: u64 = 1200 << 20;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let head = Entry { size: Some(SIZE), ..Entry::file("zeros", b"") };
    packed.write_all(&head.bytes()).expect("writing to memory succeeds");
    let block = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
        packed.write_all(&block).expect("writing to memory succeeds");
    }
    let packed = packed.finish().expect("writing to memory succeeds");
    assert!(packed.len() < 8 << 20);
    let reference = image(workspace, "bomb", &[("application/vnd.oci.image.layer.v1.tar+gzip", packed)]);
    derive(workspace, &reference).fails_clearly().says("layer");
}

fn lies(workspace: &Workspace) {
    let program = program(workspace);
    let entries = [Entry::file("app", &program)];
    let honest = layer(&entries);
    let reference = image(workspace, "lie", &[(LAYER, honest.clone())]);
    derive(workspace, &reference).exits(0);
    let blob = workspace.path("layout/blobs").join(digest(&honest).replace(':', "/"));
    let mut other = honest.clone();
    let last = program.len() - 1;
    other[last] ^= 1;
    fs::write(&blob, &other).expect("the blob of the layout");
    derive(workspace, &reference).fails_clearly().says("sha256:");
    fs::write(&blob, &honest[..honest.len() - 2000]).expect("the blob of the layout");
    derive(workspace, &reference).fails_clearly();
    // The content shows whether a layer is compressed, whatever its media type says.
    let zipped = "application/vnd.oci.image.layer.v1.tar+gzip";
    let garbage = image(workspace, "garbage", &[(zipped, b"\x1f\x8b\x08garbage".to_vec())]);
    derive(workspace, &garbage).fails_clearly().says("layer");
    let noise = image(workspace, "noise", &[(LAYER, vec![0xa5; 4096])]);
    derive(workspace, &noise).fails_clearly().says("layer");
}
