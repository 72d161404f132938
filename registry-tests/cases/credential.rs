//! Credentials: the files of docker and podman, helpers, options, and the messages about wrong ones.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::harness::artifact::{attach, specification};
use crate::harness::case::{DOCKER_REGISTRY, HTPASSWD, OLAREG};
use crate::harness::compat::{Compat, discovered};
use crate::harness::docker_registry::{Auth, DockerRegistry, Settings};
use crate::harness::memory_registry::{MemoryRegistry, Tokens, encode_base64};
use crate::harness::olareg::{self, Olareg};
use crate::harness::{Case, Requirement, Workspace};

/// A password that must never appear in any output.
const PASSWORD: &str = "hunter2-secret";

pub fn cases() -> Vec<Case> {
    const BASIC: &[Requirement] = &[DOCKER_REGISTRY, HTPASSWD];
    vec![
        Case::new("credential::docker_config_json_is_used", BASIC, docker_config),
        Case::new("credential::docker_config_directory_is_used", BASIC, docker_config_directory),
        Case::new("credential::podman_auth_json_with_a_repository_key_is_used", BASIC, podman_repository_key),
        Case::new("credential::podman_auth_json_of_the_runtime_directory_is_used", BASIC, podman_runtime),
        Case::new("credential::registry_auth_file_is_used", BASIC, registry_auth_file),
        Case::new("credential::authfile_option_is_used", BASIC, authfile),
        Case::new("credential::a_credential_helper_is_asked", BASIC, helper),
        Case::new("credential::a_failing_helper_is_named", BASIC, failing_helper),
        Case::new("credential::a_legacy_key_is_understood", BASIC, legacy_key),
        Case::new("credential::username_and_password_from_standard_input_are_used", BASIC, password_stdin),
        Case::new("credential::a_wrong_password_is_reported_as_such", BASIC, wrong_password),
        Case::new("credential::no_credentials_are_reported_with_a_hint", BASIC, none),
        Case::new("credential::secrets_are_never_shown", BASIC, secrets),
        Case::new(
            "credential::an_expired_login_does_not_hide_a_public_repository",
            &[OLAREG, HTPASSWD],
            expired,
        ),
        Case::new("credential::an_expired_token_does_not_hide_a_public_repository", &[], expired_token),
        Case::new("credential::a_broken_credentials_file_is_named", BASIC, broken_file),
        Case::new("credential::a_missing_authfile_is_reported_even_without_a_login", &[], missing_file),
    ]
}

struct Basic {
    registry: DockerRegistry,
    reference: String,
}

fn basic(workspace: &Workspace) -> Basic {
    let auth = Auth::Basic("alice".into(), PASSWORD.into());
    let registry = DockerRegistry::start(workspace, &Settings { auth, ..Settings::default() });
    specification(workspace, "compat.json", "a");
    let reference = format!("{}/demo/app:1", registry.address());
    Basic { registry, reference }
}

/// Returns a credentials file with one entry.
fn auths(key: &str, password: &str) -> String {
    let auth = encode_base64(&format!("alice:{password}"));
    json!({"auths": {key: {"auth": auth}}}).to_string()
}

/// Pushes and checks. The closure extends each run.
fn works<'a>(workspace: &'a Workspace, reference: &str, add: impl Fn(Compat<'a>) -> Compat<'a>) {
    workspace.compat(["push", reference]).run().fails_clearly();
    add(workspace.compat(["push", reference])).ok();
    add(workspace.compat(["check", "--no-cache", reference])).ok();
}

fn docker_config(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    workspace.compat(["push", &reference]).run().fails_clearly();
    workspace.write("home/.docker/config.json", auths(&registry.address(), PASSWORD));
    workspace.compat(["push", &reference]).ok();
    workspace.compat(["check", &reference]).ok();
}

fn docker_config_directory(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    workspace.write("docker/config.json", auths(&registry.address(), PASSWORD));
    works(workspace, &reference, |run| run.env("DOCKER_CONFIG", workspace.path("docker")));
}

fn podman_repository_key(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    let (right, wrong) = (format!("alice:{PASSWORD}"), "alice:wrong".to_owned());
    let file = json!({"auths": {
        registry.address(): {"auth": encode_base64(&wrong)},
        format!("{}/demo/app", registry.address()): {"auth": encode_base64(&right)},
    }});
    workspace.write("home/.config/containers/auth.json", file.to_string());
    workspace.compat(["push", &reference]).ok();
    let elsewhere = format!("{}/other/app:1", registry.address());
    workspace.compat(["push", &elsewhere]).run().fails_clearly();
}

fn podman_runtime(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    workspace.write("run/containers/auth.json", auths(&registry.address(), PASSWORD));
    works(workspace, &reference, |run| run.env("XDG_RUNTIME_DIR", workspace.path("run")));
}

fn registry_auth_file(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    let file = workspace.write("mine.json", auths(&registry.address(), PASSWORD));
    works(workspace, &reference, |run| run.env("REGISTRY_AUTH_FILE", file.clone()));
}

fn authfile(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    workspace.write("mine.json", auths(&registry.address(), PASSWORD));
    works(workspace, &reference, |run| run.with(["--authfile", "mine.json"]));
}

fn legacy_key(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    let key = format!("http://{}/v1/", registry.address());
    workspace.write("home/.docker/config.json", auths(&key, PASSWORD));
    workspace.compat(["push", &reference]).ok();
}

/// Writes a helper that prints the script's output.
fn install_helper(workspace: &Workspace, registry: &DockerRegistry, script: &str) -> String {
    let program = workspace.write("bin/docker-credential-tests", format!("#!/bin/sh\n{script}\n"));
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(program, executable).expect("an executable helper");
    let config = json!({"credHelpers": {registry.address(): "tests"}});
    workspace.write("home/.docker/config.json", config.to_string());
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", workspace.text("bin"))
}

fn helper(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    let script = format!(
        "cat > {}\nprintf '{{\"ServerURL\": \"x\", \"Username\": \"alice\", \"Secret\": \"{PASSWORD}\"}}'",
        workspace.text("asked")
    );
    let path = install_helper(workspace, &registry, &script);
    workspace.compat(["push", &reference]).env("PATH", path).ok();
    let asked = String::from_utf8(workspace.read("asked")).expect("text");
    assert!(asked.contains(&registry.address()), "{asked}");
}

fn failing_helper(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    let path = install_helper(workspace, &registry, "echo the vault is locked; exit 1");
    let pushed = workspace.compat(["push", &reference]).env("PATH", path).run();
    pushed.fails_clearly().says("docker-credential-tests").says("the vault is locked");
}

fn password_stdin(workspace: &Workspace) {
    let Basic { registry: _registry, reference } = basic(workspace);
    works(workspace, &reference, |run| {
        run.with(["--username", "alice", "--password-stdin"]).input(format!("{PASSWORD}\n"))
    });
}

fn wrong_password(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    workspace.write("home/.docker/config.json", auths(&registry.address(), "wrong"));
    for subcommand in ["push", "pull", "inspect", "discover", "check", "delete"] {
        let run = workspace.compat([subcommand, &reference]).run().fails_clearly();
        run.says_one_of(&["401", "403"])
            .never_says("no compatibility artifact is attached")
            .never_says("not found");
    }
}

fn none(workspace: &Workspace) {
    let Basic { registry: _registry, reference } = basic(workspace);
    let run = workspace.compat(["check", &reference]).run().fails_clearly();
    run.says("401").says("hint:").never_says("no compatibility artifact is attached");
}

fn secrets(workspace: &Workspace) {
    let Basic { registry, reference } = basic(workspace);
    workspace.write("home/.docker/config.json", auths(&registry.address(), PASSWORD));
    let encoded = encode_base64(&format!("alice:{PASSWORD}"));
    for arguments in [["-vv", "push"], ["-vv", "check"], ["-v", "inspect"]] {
        let run = workspace.compat(arguments).with([&reference]).ok();
        run.says("/v2/demo/app/").never_says(PASSWORD).never_says(&encoded);
    }
}

fn expired(workspace: &Workspace) {
    let token = Some(("alice".to_owned(), PASSWORD.to_owned()));
    let registry = Olareg::start(workspace, &olareg::Settings { token, ..Default::default() });
    specification(workspace, "compat.json", "a");
    let reference = format!("{}/public/app:1", registry.address());
    let login = ["--username", "alice", "--password-stdin"];
    workspace.compat(["push", &reference]).with(login).input(PASSWORD).ok();
    // The login is not valid any more, and reading requires none.
    workspace.write("home/.docker/config.json", auths(&registry.address(), "expired"));
    workspace.compat(["check", "--no-cache", &reference]).ok();
    workspace.compat(["push", &format!("{}/public/app:2", registry.address())]).run().fails_clearly();
    let attached = workspace.compat(["discover", "--format", "json", &reference]).ok();
    assert!(discovered(&attached).is_empty());
    workspace.write("home/.docker/config.json", auths(&registry.address(), PASSWORD));
    attach(workspace, &reference, "b");
}

fn expired_token(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let reference = format!("{}/public/app:1", registry.address());
    specification(workspace, "compat.json", "a");
    workspace.compat(["push", &reference]).ok();
    // The realm gives tokens to everybody, and the registry accepts no others.
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 1_000, password: None });
    let kept = json!({"auths": {registry.address(): {"registrytoken": "expired"}}}).to_string();
    workspace.write("home/.docker/config.json", kept);
    let run = workspace.compat(["check", "--no-cache", &reference]).ok();
    run.says("refused the credentials from").says(".docker/config.json");
    let write = workspace.compat(["push", &format!("{}/public/app:2", registry.address())]).run();
    write.fails_clearly().says(".docker/config.json");
}

fn broken_file(workspace: &Workspace) {
    let Basic { registry: _registry, reference } = basic(workspace);
    workspace.write("mine.json", "{\"auths\": ");
    let run = workspace.compat(["check", "--authfile", "mine.json", &reference]).run();
    run.fails_clearly().says("mine.json");
    let run = workspace.compat(["check", "--authfile", "absent.json", &reference]).run();
    run.fails_clearly().says("absent.json");
}

/// The registry asks for no credentials, so a wrong name would otherwise stay unnoticed.
fn missing_file(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let reference = format!("{}/public/app:1", registry.address());
    specification(workspace, "compat.json", "a");
    workspace.compat(["push", &reference]).ok();
    for command in [&["check"][..], &["pull", "-o", "-"], &["inspect"], &["discover"], &["push"], &["delete"]]
    {
        let run = workspace.compat(command).with([&reference, "--authfile", "absent.json"]).run();
        run.fails_clearly().says("absent.json").says("--authfile");
    }
    // The variable may name a file that a later login creates.
    let run = workspace.compat(["check", "--no-cache", &reference]);
    run.env("REGISTRY_AUTH_FILE", workspace.path("absent.json")).ok();
}
