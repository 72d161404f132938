//! Images that are read layer by layer. For a real system, the result through every kind of source equals the
//! content of its directory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use compat_image::{FileContent, Image, Limits, Listing, Node, Source};
use compat_oci::{Client, ClientOptions, Digest, Silent};
use serde_json::json;

use crate::harness::case::{DEBOOTSTRAP, DOCKER_REGISTRY, SKOPEO};
use crate::harness::image::{Place, architecture};
use crate::harness::process::run;
use crate::harness::skopeo::skopeo;
use crate::harness::{Case, Kind, Registry, Requirement, Workspace, root};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub fn cases() -> Vec<Case> {
    let requirements = [
        DEBOOTSTRAP,
        SKOPEO,
        DOCKER_REGISTRY,
        Requirement::Root,
        Requirement::Tool("zstd"),
        Requirement::Tool("tar"),
    ];
    vec![Case::new("image::a_debian_root_is_the_same_from_every_source", &requirements, every_source)]
}

fn every_source(workspace: &Workspace) {
    let root = root::debian(workspace, "bookworm");
    let expected = lines(&read(&format!("dir:{}", root.display())));
    assert!(expected.len() > 5000, "only {} lines: is this a system?", expected.len());
    let layout = layout_of(workspace, &root, "layout", "zstd");
    compare("the layout", &expected, &layout);

    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let remote = registry.tagged("system", "1");
    let docker = format!("docker://{remote}");
    skopeo(workspace, &["copy", "--preserve-digests", "--dest-tls-verify=false", &layout, &docker]);
    compare("the registry", &expected, &remote);

    skopeo(workspace, &["copy", &layout, "oci-archive:oci.tar:system"]);
    compare("the OCI archive", &expected, &format!("oci-archive:{}", workspace.text("oci.tar")));
    // Docker's format does not support zstd.
    let layout = layout_of(workspace, &root, "plain", "cat");
    skopeo(workspace, &["copy", &layout, "docker-archive:docker.tar:system:1"]);
    compare(
        "docker's archive",
        &expected,
        &format!("docker-archive:{}:system:1", workspace.text("docker.tar")),
    );
}

/// Stores an image of three layers in a layout. The first is a part of the system with files that are hidden
/// or replaced later, compressed with gzip. The second is the whole system, compressed by `compressor`. The
/// third is a whiteout, uncompressed.
fn layout_of(workspace: &Workspace, root: &Path, name: &str, compressor: &str) -> String {
    let place = Place::Layout(workspace.path(name));
    let extra = workspace.directory("extra");
    fs::create_dir_all(extra.join("opt/gone")).expect("a directory");
    fs::copy("/proc/self/exe", extra.join("opt/gone/program")).expect("a program to be hidden");
    fs::create_dir_all(extra.join("usr/bin")).expect("a directory");
    fs::write(extra.join("usr/bin/env"), "#!replaced\n").expect("a file to be replaced");
    let whiteout = workspace.directory("whiteout");
    fs::create_dir_all(whiteout.join("opt")).expect("a directory");
    fs::write(whiteout.join("opt/.wh.gone"), "").expect("a whiteout");
    let layers =
        [("extra", &extra, "gzip"), ("system", &root.to_owned(), compressor), ("whiteout", &whiteout, "cat")];
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for (name, directory, compressor) in layers {
        let archive = workspace.path(format!("{name}.tar"));
        let mut command = Command::new("tar");
        command.args([
            "--one-file-system",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=security.capability",
            "-cf",
        ]);
        run(workspace, command.arg(&archive).arg("-C").arg(directory).arg("."));
        diff_ids.push(Digest::of(&fs::read(&archive).expect("an archive")).to_string());
        let stored = workspace.path(format!("{name}.stored"));
        let script = format!("{compressor} < {} > {}", archive.display(), stored.display());
        run(
            workspace,
            Command::new("sh").args(["-c", &script]).env("PATH", std::env::var("PATH").unwrap_or_default()),
        );
        let bytes = fs::read(&stored).expect("a layer");
        let suffix = match compressor {
            "cat" => String::new(),
            other => format!("+{other}"),
        };
        let (media_type, size) = (format!("{LAYER}{suffix}"), bytes.len());
        descriptors.push(json!({"mediaType": media_type, "digest": place.blob(&bytes), "size": size}));
    }
    let config = json!({"architecture": architecture(), "os": "linux", "config": {"Cmd": ["/bin/bash"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": descriptors,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": place.blob(&config),
            "size": config.len()},
    });
    place.manifest(Some("system"), "application/vnd.oci.image.manifest.v1+json", &manifest);
    format!("oci:{}:system", workspace.text(name))
}

fn read(text: &str) -> Image {
    let client = Client::new(ClientOptions::default(), Arc::new(Silent));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome: compat_image::Result<Image> = runtime.block_on(async {
        let limits = Limits::default();
        let listing = Listing::open(&client, &Source::parse(text)?, &limits).await?;
        compat_image::read(&listing, &listing.images[0], &limits).await
    });
    outcome.unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn compare(what: &str, expected: &[String], source: &str) {
    let found = lines(&read(source));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let those: std::collections::HashSet<&String> = those.iter().collect();
        these.iter().filter(|line| !those.contains(line)).take(10).cloned().collect()
    };
    let (missing, extra) = (only(expected, &found), only(&found, expected));
    assert!(missing.is_empty() && extra.is_empty(), "{what}: missing {missing:#?}, unexpected {extra:#?}");
    assert_eq!(found.len(), expected.len(), "{what}");
}

/// Returns the complete tree, one line for each path. Lines of objects contain the digest of their content.
fn lines(image: &Image) -> Vec<String> {
    let tree = &image.tree;
    let line = |(path, node): (std::path::PathBuf, &Node)| {
        let path = path.display();
        match node {
            Node::Directory(directory) => format!("{path}/ {:o}", directory.mode),
            Node::Link(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
            Node::Other => format!("{path} other"),
            Node::File(id) => {
                let file = tree.file_of(*id);
                let content = match &file.content {
                    FileContent::Elf(packed) => Digest::of(&packed.unpack().expect("memory")).to_string(),
                    FileContent::Script(line) => String::from_utf8_lossy(line).into_owned(),
                    FileContent::Whole(bytes) => Digest::of(bytes).to_string(),
                    FileContent::Other => String::new(),
                };
                format!("{path} {:o} {} {} {content}", file.mode, file.size, file.capabilities)
            }
        }
    };
    tree.walk_all().map(line).collect()
}
