//! Bearer tokens: real registries that issue them, tokens with few uses, and foreign realms.

use crate::harness::artifact::{attach, discover, push, specification};
use crate::harness::case::{DOCKER_REGISTRY, HTPASSWD, OLAREG, OPENSSL};
use crate::harness::compat::discovered;
use crate::harness::docker_registry::{Auth, DockerRegistry, Settings};
use crate::harness::image::Place;
use crate::harness::memory_registry::{MemoryRegistry, Tokens, encode_base64};
use crate::harness::olareg::{self, Olareg};
use crate::harness::recorder::lines;
use crate::harness::token_server::TokenServer;
use crate::harness::{Case, Workspace};

const PASSWORD: &str = "hunter2-secret";
const LOGIN: [&str; 3] = ["--username", "alice", "--password-stdin"];

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("token::docker_registry_with_signed_tokens", &[DOCKER_REGISTRY, OPENSSL], signed),
        Case::new("token::olareg_with_opaque_tokens", &[OLAREG, HTPASSWD], opaque),
        Case::new("token::a_token_that_expires_during_a_push_is_renewed", &[], worn_out),
        Case::new("token::the_same_scope_is_requested_once", &[], asked_once),
        Case::new("token::several_sources_of_one_run_request_one_token", &[], asked_once_for_several),
        Case::new("token::an_endless_401_ends", &[], endless),
        Case::new("token::a_wrong_password_is_reported", &[], wrong_password),
        Case::new("token::secrets_are_never_shown", &[], secrets),
    ]
}

fn signed(workspace: &Workspace) {
    let tokens = TokenServer::start(workspace, "alice", PASSWORD);
    let auth = Auth::Token { realm: tokens.realm(), certificates: tokens.certificate().to_owned() };
    let registry = DockerRegistry::start(workspace, &Settings { auth, ..Settings::default() });
    specification(workspace, "compat.json", "a");
    let reference = format!("{}/demo/app:1", registry.address());
    workspace.compat(["push", &reference]).run().fails_clearly().says_one_of(&["401", "403"]);
    workspace.compat(["push", &reference]).with(LOGIN).input(PASSWORD).ok();
    workspace.compat(["attach", &reference]).with(LOGIN).input(PASSWORD).ok();
    // Everybody may pull.
    workspace.compat(["check", &reference]).ok();
    assert_eq!(discovered(&discover(workspace, &reference)).len(), 1);
    let wrong = workspace.compat(["push", &reference]).with(LOGIN).input("wrong").run();
    wrong.fails_clearly().says_one_of(&["401", "403"]).never_says("wrong\"");
}

/// Its `expires_in` is in nanoseconds instead of seconds, so it must not be trusted.
fn opaque(workspace: &Workspace) {
    let token = Some(("alice".to_owned(), PASSWORD.to_owned()));
    let registry = Olareg::start(workspace, &olareg::Settings { token, ..Default::default() });
    specification(workspace, "compat.json", "a");
    let private = format!("{}/demo/app:1", registry.address());
    let public = format!("{}/public/app:1", registry.address());
    for reference in [&private, &public] {
        workspace.compat(["push", reference]).run().fails_clearly().says_one_of(&["401", "403"]);
        workspace.compat(["push", reference]).with(LOGIN).input(PASSWORD).ok();
        workspace.compat(["attach", reference]).with(LOGIN).input(PASSWORD).ok();
    }
    workspace.compat(["check", &public]).ok();
    workspace.compat(["check", &private]).run().fails_clearly().says_one_of(&["401", "403"]);
    workspace.compat(["check", &private]).with(LOGIN).input(PASSWORD).ok();
}

/// Every token serves two requests, fewer than a push needs.
fn worn_out(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    Place::server(&registry.address(), "demo").image("1", "x");
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 2, password: None });
    let image = format!("{}/demo:1", registry.address());
    push(workspace, &format!("{}/demo:2", registry.address()), "a");
    let attached = attach(workspace, &image, "b");
    assert_eq!(discovered(&discover(workspace, &image)), [attached]);
    workspace.compat(["check", "--no-cache", &image]).ok();
}

fn asked_once(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 1_000, password: None });
    push(workspace, &format!("{}/demo:1", registry.address()), "a");
    let requests = registry.requests();
    let tokens = requests.iter().filter(|request| request.target.starts_with("/token")).count();
    assert!(tokens <= 2, "{tokens} tokens in\n{}", lines(&requests));
}

fn asked_once_for_several(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let references = ["1", "2", "3"].map(|tag| format!("{}/demo:{tag}", registry.address()));
    references.iter().for_each(|reference| drop(push(workspace, reference, "a")));
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 1_000, password: None });
    registry.forget();
    workspace.compat(["check", "--no-cache"]).with(&references).ok();
    let requests = registry.requests();
    let tokens = requests.iter().filter(|request| request.target.starts_with("/token")).count();
    assert_eq!(tokens, 1, "in\n{}", lines(&requests));
}

/// The registry refuses tokens at their first use.
fn endless(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    specification(workspace, "compat.json", "a");
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 0, password: None });
    let reference = format!("{}/demo:1", registry.address());
    workspace.compat(["push", &reference]).run().fails_clearly().says("401");
    let requests = registry.requests();
    assert!(requests.len() < 30, "too many requests:\n{}", lines(&requests));
}

fn wrong_password(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    push(workspace, &format!("{}/demo:1", registry.address()), "a");
    let password = Some(("alice".to_owned(), PASSWORD.to_owned()));
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 1_000, password });
    let reference = format!("{}/demo:1", registry.address());
    let run = workspace.compat(["check", &reference]).with(LOGIN).input("wrong").run();
    run.fails_clearly().says("401").never_says("no compatibility artifact is attached");
    workspace.compat(["check", &reference]).with(LOGIN).input(PASSWORD).ok();
}

fn secrets(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    push(workspace, &format!("{}/demo:1", registry.address()), "a");
    let password = Some(("alice".to_owned(), PASSWORD.to_owned()));
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 1_000, password });
    let reference = format!("{}/demo:1", registry.address());
    let run = workspace.compat(["-vv", "check", "--no-cache", &reference]).with(LOGIN).input(PASSWORD).ok();
    let encoded = encode_base64(&format!("alice:{PASSWORD}"));
    run.says("/v2/demo/").never_says("secret-token-").never_says(PASSWORD).never_says(&encoded);
}
