//! Complete reads of images from layouts, archives and directories.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Tar, lines};
use crate::tests::sample::Sample;
use crate::{Image, Limits, Listing, Source, read};
use compat_loader::elf::Machine;
use compat_oci::{Client, ClientOptions, Digest, Platform};

/// The directory of a test's images.
struct Place {
    directory: tempfile::TempDir,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    flate2::bufread::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut stored).unwrap();
    stored
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.path("layout/blobs/sha256")).unwrap();
        fs::write(place.path("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn blob(&self, bytes: &[u8]) -> serde_json::Value {
        let digest = Digest::of(bytes);
        fs::write(self.path("layout/blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"digest": digest.as_str(), "size": bytes.len(), "mediaType": "application/octet-stream"})
    }

    fn typed(&self, media_type: &str, bytes: &[u8]) -> serde_json::Value {
        let mut descriptor = self.blob(bytes);
        descriptor["mediaType"] = media_type.into();
        descriptor
    }

    /// Stores an image with these layers. The media type of the first is wrong.
    fn image(&self, layers: &[Vec<u8>], variant: Option<&str>) -> serde_json::Value {
        let config = json!({"architecture": "amd64", "os": "linux", "variant": variant,
            "config": {"Entrypoint": ["/a"], "Env": ["A=1"]}, "rootfs": {"type": "layers", "diff_ids": null}});
        let gzip_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let layers: Vec<_> = layers.iter().map(|layer| self.typed(gzip_type, layer)).collect();
        let config = self.typed("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.typed("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())
    }

    fn index(&self, manifests: &[serde_json::Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(self.path("layout/index.json"), index.to_string()).unwrap();
    }

    fn layout(&self) -> String {
        format!("oci:{}", self.path("layout").display())
    }

    fn tar_of(&self, directory: &str, name: &str) -> PathBuf {
        let path = self.path(name);
        let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
        builder.append_dir_all(".", self.path(directory)).unwrap();
        builder.finish().unwrap();
        path
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn listing(source: &str) -> crate::Result<Listing> {
    let client = Client::new(ClientOptions::default(), std::sync::Arc::new(compat_oci::Silent));
    block_on(async { Listing::open(&client, &Source::parse(source)?, &Limits::default()).await })
}

fn image_with(source: &str, limits: &Limits) -> Result<Image, String> {
    let listing = listing(source).map_err(|error| error.to_string())?;
    block_on(read(&listing, &listing.images[0], limits)).map_err(|error| error.to_string())
}

fn image(source: &str) -> Result<Image, String> {
    image_with(source, &Limits::default())
}

fn layers() -> [Vec<u8>; 3] {
    let bottom = Tar::new().file("a", "#!bottom").file("b", "#!bottom").file("d/e", "#!bottom").end();
    let middle = Tar::new().file("b", "#!middle").file("d/.wh..wh..opq", "").end();
    let top = Tar::new().file("c", "#!top").end();
    [gzip(&bottom), zstd::encode_all(&middle[..], 1).unwrap(), top]
}

const EXPECTED: [&str; 4] = ["/a #!bottom", "/b #!middle", "/c #!top", "/d/"];

#[test]
fn an_image_of_a_layout_is_read_whatever_its_layers_are_called() {
    let place = Place::new();
    place.index(&[place.image(&layers(), Some("v3"))]);
    let image = image(&place.layout()).unwrap();
    assert_eq!(lines(&image.tree), EXPECTED);
    assert_eq!(image.platform.unwrap().to_string(), "linux/amd64/v3");
    assert_eq!(image.config.command(), ["/a"]);
    assert_eq!((image.size.layers, image.size.entries), (3, 6));
    assert_eq!(image.size.stored, layers().iter().map(|layer| layer.len() as u64).sum::<u64>());
    assert!(image.descriptor.is_some() && image.size.unpacked > image.size.stored);
}

#[test]
fn an_index_lists_its_platforms_without_attestations() {
    let place = Place::new();
    let entry = |platform: serde_json::Value, variant| {
        let mut image = place.image(&layers(), variant);
        image["platform"] = platform;
        image
    };
    let inner = json!({"schemaVersion": 2, "manifests": [
        entry(json!({"os": "linux", "architecture": "amd64"}), None),
        entry(json!({"os": "linux", "architecture": "amd64", "variant": "v3"}), Some("v3")),
        entry(json!({"os": "unknown", "architecture": "unknown"}), Some("x")),
        entry(json!({"os": "linux", "architecture": "s390x"}), Some("y")),
    ]});
    let index = place.typed("application/vnd.oci.image.index.v1+json", inner.to_string().as_bytes());
    place.index(&[index]);
    let listing = listing(&place.layout()).unwrap();
    let platforms: Vec<String> =
        listing.images.iter().map(|i| i.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/amd64/v3", "linux/s390x"]);
    let best = listing.best_for(&Platform::parse("linux/amd64/v4").unwrap()).unwrap();
    assert_eq!(best.platform.as_ref().unwrap().to_string(), "linux/amd64/v3");
    assert_eq!(lines(&block_on(read(&listing, best, &Limits::default())).unwrap().tree), EXPECTED);
    let other = listing.best_for(&Platform::parse("linux/arm64").unwrap()).unwrap_err().to_string();
    assert!(
        other.ends_with("has no manifest for linux/arm64 (it has linux/amd64, linux/amd64/v3, linux/s390x)")
    );
    let location = listing.location_of(best).unwrap().to_string();
    assert!(location.contains("@sha256:"), "{location}");
}

#[test]
fn an_entry_with_the_type_of_an_image_or_without_a_platform_is_an_image() {
    let place = Place::new();
    let entry = |variant: &str, kind: serde_json::Value, platform: serde_json::Value| {
        let mut image = place.image(&layers(), Some(variant));
        image["artifactType"] = kind;
        image["platform"] = platform;
        image
    };
    let amd64 = |variant: &str| json!({"os": "linux", "architecture": "amd64", "variant": variant});
    let empty = place.typed("application/vnd.oci.empty.v1+json", b"{}");
    let artifact = json!({"schemaVersion": 2, "config": empty, "layers": []}).to_string();
    let artifact = place.typed("application/vnd.oci.image.manifest.v1+json", artifact.as_bytes());
    let mut attestation = entry("v8", "application/vnd.oci.image.config.v1+json".into(), amd64("v8"));
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let inner = json!({"schemaVersion": 2, "manifests": [
        entry("v2", "application/vnd.oci.image.config.v1+json".into(), amd64("v2")),
        entry("v3", "application/vnd.docker.container.image.v1+json".into(), amd64("v3")),
        entry("v4", "".into(), amd64("v4")),
        entry("v5", serde_json::Value::Null, serde_json::Value::Null),
        entry("v6", "application/vnd.in-toto+json".into(), amd64("v6")),
        entry("v7", "application/vnd.oci.empty.v1+json".into(), amd64("v7")),
        attestation,
        artifact,
    ]});
    place.index(&[place.typed("application/vnd.oci.image.index.v1+json", inner.to_string().as_bytes())]);
    let listing = listing(&place.layout()).unwrap();
    let platforms: Vec<String> =
        listing.images.iter().map(|i| i.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4", "linux/amd64/v5"]);
    assert_eq!(
        lines(&block_on(read(&listing, &listing.images[3], &Limits::default())).unwrap().tree),
        EXPECTED
    );
}

#[test]
fn a_compressed_layer_that_breaks_names_the_member() {
    let place = Place::new();
    let noise: String = (0..40_000_u32)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
        .collect();
    let whole = gzip(&Tar::new().file("first", "x").file("data", &noise).end());
    let cut = &whole[..whole.len() / 2];
    place.index(&[place.image(&[cut.to_vec()], None)]);
    let error = image(&place.layout()).unwrap_err();
    assert!(
        error.contains("it cannot be decompressed: ") && error.ends_with("(the archive ends inside data)"),
        "{error}"
    );
}

#[test]
fn a_layer_that_lies_is_refused_by_its_digest_first() {
    let place = Place::new();
    let manifest = place.image(&layers(), None);
    place.index(&[manifest]);
    let [bottom, ..] = layers();
    let blob = place.path("layout/blobs/sha256").join(Digest::of(&bottom).hex());
    let digest = Digest::of(&bottom).to_string();
    // Two corruptions of the same length: one still decompresses, one does not.
    for place in [4, bottom.len() / 2] {
        let mut lie = bottom.clone();
        lie[place] ^= 0x55;
        fs::write(&blob, &lie).unwrap();
        let error = image(&format!("oci:{}", blob.ancestors().nth(3).unwrap().display())).unwrap_err();
        let expected =
            format!("layout: content of {digest} was expected, but {} was received", Digest::of(&lie));
        assert!(error.ends_with(&expected), "{error}");
    }
    fs::write(&blob, &bottom[..bottom.len() - 5]).unwrap();
    let error = image(&place.layout()).unwrap_err();
    assert!(error.contains(&format!("{digest} should have {} bytes", bottom.len())), "{error}");
    fs::remove_file(&blob).unwrap();
    assert!(image(&place.layout()).unwrap_err().contains("was not found"));
}

#[test]
fn a_broken_layer_is_named_by_its_digest() {
    let place = Place::new();
    let broken = Tar::new().file("a", "#!a").file("a/x", "#!x").end();
    place.index(&[place.image(&[gzip(&broken)], None)]);
    let digest = Digest::of(&gzip(&broken));
    let expected = format!(
        "cannot read layer {digest}: a is used as a directory, but the layer contains a file at that path"
    );
    assert_eq!(image(&place.layout()).unwrap_err(), expected);
}

#[test]
fn a_bomb_is_stopped_at_the_bound() {
    let place = Place::new();
    let bomb = gzip(&Tar::new().file("zeroes", &"\0".repeat(40 << 20)).end());
    place.index(&[place.image(&[bomb.clone(), layers()[0].clone()], None)]);
    let limits = Limits { unpacked: 10 << 20, ..Limits::default() };
    let error = image_with(&place.layout(), &limits).unwrap_err();
    let digest = Digest::of(&bomb);
    assert_eq!(
        error,
        format!(
            "cannot read layer {digest}: the image's decompressed size in bytes exceeds the limit of 10485760"
        )
    );
    assert!(image(&place.layout()).is_ok());
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let place = Place::new();
    let config = place.typed("application/vnd.oci.empty.v1+json", b"{}");
    let manifest =
        json!({"schemaVersion": 2, "artifactType": "application/x", "config": config, "layers": []});
    let manifest = manifest.to_string().into_bytes();
    place.index(&[place.typed("application/vnd.oci.image.manifest.v1+json", &manifest)]);
    let error = image(&place.layout()).unwrap_err();
    assert!(error.ends_with(" is not a container image: it is an artifact of type application/x"), "{error}");
}

#[test]
fn encrypted_and_foreign_layers_are_named() {
    let place = Place::new();
    let config = place.typed("application/vnd.oci.image.config.v1+json", b"{}");
    let with = |layer: serde_json::Value| {
        let manifest =
            json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string().into_bytes();
        place.index(&[place.typed("application/vnd.oci.image.manifest.v1+json", &manifest)]);
        image(&place.layout()).unwrap_err()
    };
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    assert!(with(place.typed(kind, b"x")).ends_with("it is encrypted"));
    let digest = Digest::of(b"elsewhere").to_string();
    let kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let foreign = with(json!({"mediaType": kind, "digest": digest, "size": 9, "urls": ["https://x"]}));
    assert!(
        foreign.contains(&digest)
            && foreign.ends_with("it is a foreign layer, which is not distributed with the image"),
        "{foreign}"
    );
}

#[test]
fn an_oci_archive_gives_the_same_image_compressed_or_not() {
    let place = Place::new();
    let mut named = place.image(&layers(), None);
    named["annotations"] = json!({"org.opencontainers.image.ref.name": "one"});
    let mut other = place.image(&layers()[..1], None);
    other["annotations"] = json!({"org.opencontainers.image.ref.name": "two"});
    place.index(&[named, other]);
    let path = place.tar_of("layout", "a.tar");
    let at = |path: &Path, name: &str| format!("oci-archive:{}{name}", path.display());
    assert_eq!(lines(&image(&at(&path, ":one")).unwrap().tree), EXPECTED);
    assert_eq!(
        lines(&image(&at(&path, ":two")).unwrap().tree),
        ["/a #!bottom", "/b #!bottom", "/d/", "/d/e #!bottom"]
    );
    assert!(image(&at(&path, "")).unwrap_err().ends_with("contains several images: choose one of one, two"));
    assert!(image(&at(&path, ":three")).unwrap_err().contains("the archive contains one, two"));
    let unpadded = place.path("unpadded.tar");
    let mut builder = tar::Builder::new(fs::File::create(&unpadded).unwrap());
    builder.append_dir_all("blobs", place.path("layout/blobs")).unwrap();
    builder.append_path_with_name(place.path("layout/index.json"), "index.json").unwrap();
    builder.into_inner().unwrap();
    let whole = fs::read(&unpadded).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(&unpadded, &whole[..end]).unwrap();
    assert_eq!(lines(&image(&at(&unpadded, ":one")).unwrap().tree), EXPECTED);
    fs::write(&unpadded, &whole[..end - 1]).unwrap();
    assert!(image(&at(&unpadded, ":one")).unwrap_err().ends_with("the archive ends inside index.json"));
    let compressed = place.path("a.tar.gz");
    fs::write(&compressed, gzip(&fs::read(&path).unwrap())).unwrap();
    assert_eq!(lines(&image(&at(&compressed, ":one")).unwrap().tree), EXPECTED);
}

/// Writes a manifest or index of the layout as skopeo writes it into a directory.
fn exported(place: &Place, root: &serde_json::Value) -> String {
    let directory = place.path("exported");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    for blob in fs::read_dir(place.path("layout/blobs/sha256")).unwrap() {
        let (path, name) = blob.map(|blob| (blob.path(), blob.file_name().into_string().unwrap())).unwrap();
        fs::copy(&path, directory.join(&name)).unwrap();
        fs::copy(&path, directory.join(format!("{name}.manifest.json"))).unwrap();
        if root["digest"].as_str().unwrap().ends_with(&name) {
            fs::copy(&path, directory.join("manifest.json")).unwrap();
        }
    }
    format!("dir:{}", directory.display())
}

#[test]
fn what_skopeo_writes_into_a_directory_gives_the_same_image() {
    let place = Place::new();
    let single = place.image(&layers(), Some("v3"));
    let source = exported(&place, &single);
    assert_eq!(lines(&image(&source).unwrap().tree), EXPECTED);
    let [bottom, ..] = layers();
    let blob = place.path("exported").join(Digest::of(&bottom).hex());
    fs::write(&blob, &bottom[1..]).unwrap();
    let error = image(&source).unwrap_err();
    assert!(
        error.contains(&format!("{} should have {} bytes", Digest::of(&bottom), bottom.len())),
        "{error}"
    );
    fs::remove_file(&blob).unwrap();
    assert!(image(&source).unwrap_err().starts_with("could not read "));
    let mut entry = single;
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    let index = place.typed("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
    let listing = listing(&exported(&place, &index)).unwrap();
    assert!(listing.index.is_some());
    assert_eq!(
        lines(&block_on(read(&listing, &listing.images[0], &Limits::default())).unwrap().tree),
        EXPECTED
    );
}

/// Writes an archive as `docker save` does, with the given diff IDs.
fn saved(place: &Place, diff_ids: &[Digest]) -> PathBuf {
    let [bottom, _, top] = layers();
    fs::create_dir_all(place.path("saved/1")).unwrap();
    fs::create_dir_all(place.path("saved/2")).unwrap();
    fs::write(place.path("saved/1/layer.tar"), &bottom).unwrap();
    fs::write(place.path("saved/real.tar"), &top).unwrap();
    std::os::unix::fs::symlink("../real.tar", place.path("saved/2/layer.tar")).unwrap();
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": diff_ids}});
    fs::write(place.path("saved/config.json"), config.to_string()).unwrap();
    let manifest = json!([
        {"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["1/layer.tar", "2/layer.tar"]},
    ]);
    fs::write(place.path("saved/manifest.json"), manifest.to_string()).unwrap();
    place.tar_of("saved", "saved.tar")
}

#[test]
fn what_docker_saves_is_read_and_verified_by_its_configuration() {
    let place = Place::new();
    let [bottom, _, top] = layers();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bottom[..]).read_to_end(&mut plain).unwrap();
    let path = saved(&place, &[Digest::of(&plain), Digest::of(&top)]);
    let image_of = |name: &str| image(&format!("docker-archive:{}{name}", path.display()));
    let expected = ["/a #!bottom", "/b #!bottom", "/c #!top", "/d/", "/d/e #!bottom"];
    assert_eq!(lines(&image_of("").unwrap().tree), expected);
    assert_eq!(lines(&image_of(":docker.io/library/app:1").unwrap().tree), expected);
    assert!(image_of(":app:2").unwrap_err().contains("the archive contains app:1"));
}

#[test]
fn a_saved_layer_that_lies_is_refused() {
    let place = Place::new();
    let [bottom, _, top] = layers();
    let path = saved(&place, &[Digest::of(&bottom), Digest::of(&top)]);
    let error = image(path.to_str().unwrap()).unwrap_err();
    assert!(
        error.starts_with("cannot read layer 1/layer.tar: the digest of the uncompressed layer is sha256:"),
        "{error}"
    );
    let place = Place::new();
    let path = saved(&place, &[Digest::of(&top)]);
    assert!(image(path.to_str().unwrap()).unwrap_err().ends_with("a different number of layers"));
}

#[test]
fn files_that_are_no_archives_are_refused() {
    let place = Place::new();
    let path = place.path("x.tar");
    let error = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        image(path.to_str().unwrap()).unwrap_err().replace(path.to_str().unwrap(), "x.tar")
    };
    insta::assert_snapshot!(error(b"text"), @"x.tar is not a container image: it cannot be read as a tar archive: the archive ends inside its first header");
    insta::assert_snapshot!(error(&[0xff; 1024]), @"x.tar is not a container image: it cannot be read as a tar archive: it contains an invalid header");
    insta::assert_snapshot!(error(&Tar::new().file("a", "x").end()), @"x.tar is not a container image: it contains neither index.json (an OCI archive) nor manifest.json (docker save)");
    let cut = Tar::new().file("index.json", &"x".repeat(5000)).end();
    insta::assert_snapshot!(error(&cut[..2000]), @"x.tar is not a container image: it cannot be read as a tar archive: the archive ends inside index.json");
}

#[test]
fn a_directory_gives_the_tree_of_its_layer() {
    let place = Place::new();
    let root = place.path("root");
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("usr/bin/program"), Sample::program(Machine::X86_64, 300_000).bytes()).unwrap();
    fs::hard_link(root.join("usr/bin/program"), root.join("usr/bin/other")).unwrap();
    fs::write(root.join("usr/bin/script"), "#!/bin/sh\n").unwrap();
    fs::write(root.join("etc/ld.so.conf"), "/x\n").unwrap();
    std::os::unix::fs::symlink("/usr/bin", root.join("bin")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("etc/outside")).unwrap();
    let pipe = root.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let of_directory = image(root.to_str().unwrap()).unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(false);
    layer.append_dir_all(".", &root).unwrap();
    place.index(&[place.image(&[layer.into_inner().unwrap()], None)]);
    let of_layer = image(&place.layout()).unwrap();
    assert_eq!(lines(&of_directory.tree), lines(&of_layer.tree));
    let objects = |image: &Image| -> Vec<(PathBuf, Vec<u8>)> {
        image.tree.objects().map(|(path, .., packed)| (path, packed.unpack().unwrap().to_vec())).collect()
    };
    assert_eq!(objects(&of_directory), objects(&of_layer));
    assert_eq!(of_directory.tree.objects().count(), 2);
    let identity = |name: &str| of_directory.tree.file(Path::new(name)).unwrap().1;
    assert_eq!(identity("/bin/program"), identity("/usr/bin/other"));
    assert!(of_directory.notes.is_empty(), "{:?}", of_directory.notes);
}
