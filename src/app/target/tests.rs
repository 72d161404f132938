//! The class of each text that a user can type.

use super::*;
use std::fs;

/// Returns a target in words.
fn understood(text: &str, generate: bool, root: Option<&Path>) -> String {
    let options = TargetOptions { references_only: false, generate, root: root.map(Path::to_owned) };
    match Target::parse(text, &options) {
        Ok(Target::StandardInput) => "standard input".to_owned(),
        Ok(Target::Document(path)) => format!("document {}", path.display()),
        Ok(Target::Application(path)) => format!("application {}", path.display()),
        Ok(Target::Image(image)) => format!("image {image}"),
        Ok(Target::Location(location)) => format!("location {location}"),
        Err(failure) => format!("refused: {}", failure.message),
    }
}

/// Creates a directory with one file of each class.
fn samples() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8], mode: u32| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("app", b"\x7fELF", 0o644);
    write("script", b"#!/bin/sh\n", 0o644);
    write("marked", b"\xef\xbb\xbf#!/bin/sh\n", 0o644);
    write("plain", b"echo\n", 0o755);
    write("text", b"echo\n", 0o644);
    write("compat.json", b"{}", 0o644);
    write("executable.json", b" {}", 0o755);
    write("empty", b"", 0o644);
    write("image.tar", b"", 0o644);
    write("program.tar", b"\x7fELF", 0o644);
    write("image.sif", &[&[b'#'; 32][..], b"SIF_MAGIC\0"].concat(), 0o755);
    write("root/bin/tool", b"\x7fELF", 0o755);
    write("layout/oci-layout", b"{}", 0o644);
    write("exported/version", b"Directory Transport Version: 1.1\n", 0o644);
    write("exported/manifest.json", b"{}", 0o644);
    std::os::unix::fs::symlink("/bin/tool", directory.path().join("root/link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, directory.path().join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    directory
}

/// Each line contains the typed text and its class, and after `|` the class with `--generate` if it differs.
#[test]
fn a_text_names_one_thing() {
    let directory = samples();
    let at = directory.path().display().to_string();
    let shown = |typed: &str, root: Option<&Path>| {
        let text = typed.replace("@", &at);
        let [plain, generate] =
            [false, true].map(|generate| understood(&text, generate, root).replace(&at, "@"));
        if plain == generate {
            format!("{typed:<24} {plain}\n")
        } else {
            format!("{typed:<24} {plain} | {generate}\n")
        }
    };
    let typed = [
        "-",
        "@/app",
        "@/script",
        "@/marked",
        "@/plain",
        "@/text",
        "@/compat.json",
        "@/executable.json",
        "@/empty",
        "@/pipe",
        "@/image.tar",
        "@/program.tar",
        "@/image.sif",
        "@",
        "@/root",
        "@/root/",
        "@/layout",
        "@/exported",
        "@/root/link",
        "@/none",
        "@/none.tar",
        "dir:@/root",
        "dir:@/exported",
        "dir:@/none",
        "dir:",
        "archive:@/image.tar",
        "docker-archive:@/image.tar:x",
        "oci-archive:@/none",
        "docker-daemon:app:1",
        "docker-daemon:",
        "containers-storage:app",
        "containerd:app",
        "sif:@/image.sif",
        "oci:@/layout",
        "oci:@/layout:1",
        "oci:@/none",
        "oci:",
        "oci://ghcr.io/a:1",
        "docker://ghcr.io/a:1",
        "ghcr.io/org/app:1",
        "app:1",
        "org/app",
        "none.json",
        "none.tar",
        "none.sif",
        "./none",
        "~/none",
        ".",
        "/",
        "https://ghcr.io/a",
        "file:///srv/app",
        "GHCR.io/Org:1",
        "",
        "/dev/null",
    ];
    let table: String = typed.iter().map(|typed| shown(typed, None)).collect();
    insta::assert_snapshot!(table, @r#"
    -                        standard input
    @/app                    application @/app
    @/script                 application @/script
    @/marked                 application @/marked | image archive:@/marked
    @/plain                  application @/plain | image archive:@/plain
    @/text                   document @/text | image archive:@/text
    @/compat.json            document @/compat.json | image archive:@/compat.json
    @/executable.json        document @/executable.json | image archive:@/executable.json
    @/empty                  document @/empty | image archive:@/empty
    @/pipe                   document @/pipe
    @/image.tar              image archive:@/image.tar
    @/program.tar            image archive:@/program.tar
    @/image.sif              refused: @/image.sif is an image of Apptainer (SIF files are not supported)
    @                        application @ | image dir:@
    @/root                   application @/root | image dir:@/root
    @/root/                  application @/root/ | image dir:@/root/
    @/layout                 application @/layout
    @/exported               application @/exported | image dir:@/exported
    @/root/link              refused: @/root/link does not exist
    @/none                   refused: @/none does not exist
    @/none.tar               refused: @/none.tar does not exist
    dir:@/root               image dir:@/root
    dir:@/exported           image dir:@/exported
    dir:@/none               image dir:@/none
    dir:                     refused: invalid image "dir:": the directory is missing
    archive:@/image.tar      image archive:@/image.tar
    docker-archive:@/image.tar:x image archive:@/image.tar:x
    oci-archive:@/none       image archive:@/none
    docker-daemon:app:1      image docker-daemon:app:1
    docker-daemon:           refused: invalid image "docker-daemon:": the image name is missing
    containers-storage:app   image containers-storage:app
    containerd:app           refused: containerd:app is an image of containerd, which is not supported
    sif:@/image.sif          refused: sif:@/image.sif is an image of Apptainer (SIF files are not supported)
    oci:@/layout             location oci:@/layout
    oci:@/layout:1           location oci:@/layout:1
    oci:@/none               location oci:@/none
    oci:                     refused: invalid reference "oci:": it does not name a directory
    oci://ghcr.io/a:1        location ghcr.io/a:1
    docker://ghcr.io/a:1     location ghcr.io/a:1
    ghcr.io/org/app:1        location ghcr.io/org/app:1
    app:1                    location docker.io/library/app:1
    org/app                  location docker.io/org/app:latest
    none.json                refused: none.json does not exist
    none.tar                 refused: none.tar does not exist
    none.sif                 refused: none.sif does not exist
    ./none                   refused: ./none does not exist
    ~/none                   refused: ~/none does not exist
    .                        application . | image dir:.
    /                        application / | image dir:/
    https://ghcr.io/a        refused: invalid reference "https://ghcr.io/a": omit https:// (a reference is HOST/NAME:TAG)
    file:///srv/app          refused: file:///srv/app is a file as a URL
    GHCR.io/Org:1            refused: invalid reference "GHCR.io/Org:1": the repository's name must be lower case
                             refused: invalid reference "": it is empty
    /dev/null                document /dev/null
    "#);
    let root = directory.path().join("root");
    let inside: String =
        ["@/root/link", "@/root/bin/tool", "@/root"].iter().map(|typed| shown(typed, Some(&root))).collect();
    insta::assert_snapshot!(inside, @"
    @/root/link              application @/root/link
    @/root/bin/tool          application @/root/bin/tool
    @/root                   application @/root | image dir:@/root
    ");
}

#[test]
fn where_only_references_are_taken_no_file_is_looked_at() {
    let options = TargetOptions { references_only: true, ..TargetOptions::default() };
    let taken = |text: &str| Target::parse(text, &options);
    assert_eq!(taken("ghcr.io/a:1").unwrap(), Target::Location(Location::parse("ghcr.io/a:1").unwrap()));
    for text in ["-", "/dev/null", "app", "oci:dir", "dir:/", "docker-daemon:app:1"] {
        assert_eq!(taken(text).unwrap_err().cause, Cause::Usage, "{text}");
    }
}

#[test]
fn a_text_without_a_registry_may_be_a_mistyped_file() {
    let failed = |text: &str, takes_files: bool, message: &str, hint: Option<&str>| {
        let location = Location::parse(text).unwrap();
        let message = message.replace("it", &location.to_string());
        let failure = Failure { cause: Cause::Undecided, message, hint: hint.map(str::to_owned) };
        of_short_name(text, &location, takes_files, failure).hint.unwrap_or_default()
    };
    insta::assert_snapshot!(failed("nosuchfile", true, "could not read it", None), @"there is no file nosuchfile, so it was read as the image docker.io/library/nosuchfile:latest: check the spelling of the file, or write docker-daemon:nosuchfile for a local image");
    insta::assert_snapshot!(failed("org/spec:1", false, "could not read it", Some("log in with it")), @"org/spec:1 names no registry, so docker.io was used: write HOST/org/spec:1 for another registry, or oci:DIR:TAG for an image layout; if the image is private, log in with it");
    assert_eq!(failed("ghcr.io/a:1", true, "could not read it", Some("own")), "own");
    assert_eq!(failed("docker.io/a:1", true, "could not read it", Some("own")), "own");
    assert_eq!(failed("oci:dir:1", true, "could not read it", Some("own")), "own");
    assert_eq!(failed("app:1", true, "no compatibility artifact is attached to it", Some("own")), "own");
    // A file of the command, such as a specification to push.
    assert_eq!(failed("org/app:1", false, "could not read missing.json", Some("own")), "own");
}
