//! Checks the licences of the dependencies with `cargo metadata`: all are permissive, and all packages come from the
//! crates' registry. This matches `cargo deny check licenses bans sources`, without building a tool first.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The allowed licences, by their SPDX names.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that the design decided against, each with its reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "TLS is rustls, so that the binary stays static"),
    ("native-tls", "TLS is rustls, so that the binary stays static"),
    ("oci-distribution", "deprecated, its new name is oci-client"),
];

#[test]
fn every_licence_is_permissive() {
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(is_allowed))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let elsewhere: Vec<String> = packages()
        .iter()
        .filter(|package| is_foreign(package))
        .filter(|package| !package["source"].as_str().is_some_and(|source| source.starts_with("registry+")))
        .map(|package| format!("{}: {}", package["name"], package["source"]))
        .collect();
    assert!(elsewhere.is_empty(), "{}", elsewhere.join("\n"));
}

#[test]
fn no_banned_crate_is_used() {
    let packages = packages();
    for (name, reason) in BANNED {
        assert!(packages.iter().all(|package| package["name"] != *name), "{name}: {reason}");
    }
}

/// The dependencies that a crate of the workspace must not add to its users' builds.
const LIGHT: &[(&str, &[&str])] = &[
    ("compat-loader", &["clap", "hyper", "reqwest", "rustls", "tokio"]),
    ("compat-trace", &["clap", "goblin", "hyper", "reqwest", "rustls", "tokio"]),
    ("compat-mirror", &["clap", "goblin", "hyper", "reqwest", "rustls", "tokio"]),
    ("compat-oci", &["clap", "goblin"]),
    ("compat-image", &["clap"]),
    ("compat", &["compat-harness", "fuser", "libtest-mimic", "oci-client", "slow-share"]),
];

#[test]
fn a_crate_brings_nothing_that_its_users_do_not_need() {
    for (user, unwanted) in LIGHT {
        let tree = cargo(&["tree", "--locked", "--offline", TREE[0], TREE[1], "--package", user]);
        assert_brings_none(&tree, user, unwanted);
    }
}

/// The packages that a crate adds to its users' builds.
const TREE: [&str; 2] = ["--edges=normal", "--prefix=none"];

/// Asserts that a package does not depend on any of these, according to `cargo tree`.
fn assert_brings_none(tree: &str, user: &str, unwanted: &[&str]) {
    let brought: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(brought.contains(&user), "{tree}");
    let wrong: Vec<_> = unwanted.iter().filter(|name| brought.contains(name)).collect();
    assert!(wrong.is_empty(), "{user} brings {wrong:?}");
}

/// The example is a separate package. It is built outside the repository, as a user would build it.
#[test]
fn twenty_lines_outside_of_the_repository_check_a_program() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = repository.join("examples/loader-crate");
    let package = tempfile::tempdir().expect("a directory");
    let read = |path: &Path| std::fs::read_to_string(path).expect("it is there");
    let write =
        |name: &str, text: &str| std::fs::write(package.path().join(name), text).expect("it is written");
    let program = read(&example.join("src/main.rs"));
    assert!(program.lines().count() < 20, "{program}");
    std::fs::create_dir(package.path().join("src")).expect("a directory");
    write("src/main.rs", &program);
    write(
        "Cargo.toml",
        &read(&example.join("Cargo.toml")).replace("../..", &repository.display().to_string()),
    );
    // The same versions are already available here.
    write("Cargo.lock", &read(&repository.join("Cargo.lock")));

    let tree = cargo_in(package.path(), &["tree", "--offline", TREE[0], TREE[1]]);
    assert_brings_none(&tree, "loader-crate", LIGHT[0].1);
    assert_brings_none(&tree, LIGHT[0].0, &[]);
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/loader-crate");
    let run = |root: &Path| {
        let root = root.display().to_string();
        let build =
            ["run", "--offline", "--quiet", "--config=profile.dev.debug=false", "--target-dir", target];
        command(package.path(), &[&build[..], &["--", "/bin/sh", &root]].concat())
            .output()
            .expect("cargo starts")
    };
    let here = run(Path::new("/"));
    assert!(here.status.success(), "{here:?}");
    let elsewhere = run(package.path());
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    let message = String::from_utf8_lossy(&elsewhere.stdout).into_owned();
    assert!(message.contains("bad interpreter: No such file or directory"), "{message}");
}

/// Whether a package is not of this workspace.
fn is_foreign(package: &Value) -> bool {
    let manifest = package["manifest_path"].as_str().expect("a package has a manifest");
    let inside = Path::new(manifest).strip_prefix(env!("CARGO_MANIFEST_DIR"));
    !inside.is_ok_and(|inside| inside == Path::new("Cargo.toml") || inside.starts_with("crates"))
}

/// The packages that are built for this machine, including those of the workspace.
fn packages() -> Vec<Value> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output =
        cargo(&["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &target]);
    let metadata: Value = serde_json::from_str(&output).expect("metadata is JSON");
    metadata["packages"].as_array().expect("metadata lists packages").clone()
}

/// Returns the output of cargo.
fn cargo(arguments: &[&str]) -> String {
    cargo_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments)
}

/// A call of cargo in a directory.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(arguments).current_dir(directory);
    command
}

/// Returns the output of cargo in a directory.
fn cargo_in(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory, arguments).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints text")
}

/// Whether the allowed licences satisfy an SPDX expression. `OR` (and the old `/`) is a choice, `AND` requires both
/// sides, and parentheses group. An expression that cannot be parsed is not allowed.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    either(&mut rest) == Some(true) && rest.is_empty()
}

fn either(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = all(words)?;
    while take(words, "OR") {
        allowed |= all(words)?;
    }
    Some(allowed)
}

fn all(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(words)?;
    while take(words, "AND") {
        allowed &= one(words)?;
    }
    Some(allowed)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if take(words, "(") {
        let allowed = either(words)?;
        return take(words, ")").then_some(allowed);
    }
    let licence = next(words)?;
    if take(words, "WITH") {
        let exception = next(words)?;
        return Some(ALLOWED.contains(&format!("{licence} WITH {exception}").as_str()));
    }
    Some(ALLOWED.contains(&licence))
}

fn next<'a>(words: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let found = words.first() == Some(&word);
    if found {
        *words = &words[1..];
    }
    found
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "(MIT OR GPL-2.0) AND ISC",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in
        ["GPL-3.0", "MIT AND GPL-3.0", "MIT OR", "", "(MIT", "GPL-2.0 WITH Classpath-exception", "MIT MIT"]
    {
        assert!(!is_allowed(bad), "{bad}");
    }
}
