//! The requests of `check` to a registry: few, and never for an image's config or layer.

use crate::harness::artifact::{attach, push};
use crate::harness::case::{DOCKER_REGISTRY, OPENSSL};
use crate::harness::docker_registry::{Auth, DockerRegistry, Settings};
use crate::harness::http::Recorded;
use crate::harness::image::{Image, Place};
use crate::harness::memory_registry::{MemoryRegistry, Tokens};
use crate::harness::recorder::{Recorder, blob_reads, lines};
use crate::harness::token_server::TokenServer;
use crate::harness::{Case, Kind, Registry, Workspace};

/// The limits without credentials, and with a bearer token.
const LIMIT: usize = 5;
const LIMIT_WITH_TOKEN: usize = 7;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "request::check_of_an_image_with_a_signed_token_takes_seven_requests",
            &[DOCKER_REGISTRY, OPENSSL],
            with_signed_token,
        ),
        Case::new("request::check_of_an_image_with_a_token_takes_seven_requests", &[], with_token),
    ];
    for kind in Kind::SERVERS {
        let mut case = |name: &str, run: fn(&Workspace, Kind)| {
            let name = format!("request::{name}_on_{}", kind.name());
            cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| run(workspace, kind)));
        };
        case("check_of_an_image_takes_five_requests_and_no_image_blob", of_image);
        case("check_of_an_index_takes_five_requests_and_no_image_blob", of_index);
        case("check_of_an_artifact_takes_two_requests", of_artifact);
        case("cached_content_is_not_requested_again", of_cached);
    }
    cases
}

/// Asserts the limits, and that nothing of the image itself was fetched.
fn assert_frugal(requests: &[Recorded], limit: usize, images: &[&Image]) {
    let text = lines(requests);
    assert!(requests.len() <= limit, "{} requests, {limit} allowed:\n{text}", requests.len());
    for image in images {
        let touched = |request: &Recorded| {
            request.target.contains(&image.config) || request.target.contains(&image.layer)
        };
        assert!(!requests.iter().any(touched), "a blob of the image was requested:\n{text}");
    }
    assert!(blob_reads(requests).len() <= 1, "more than the artifact was fetched:\n{text}");
}

fn of_image(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = Place::of(&registry, "demo/app").image("1", "x");
    attach(workspace, &registry.tagged("demo/app", "1"), "a");
    let recorder = Recorder::before(&registry.address().expect("a server"));
    workspace.compat(["check", "--no-cache", &format!("{}/demo/app:1", recorder.address())]).ok();
    assert_frugal(&recorder.requests(), LIMIT, &[&image]);
}

fn of_index(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let index = Place::of(&registry, "demo/app").index("1");
    let platform = registry.by_digest("demo/app", &index.ours.digest);
    attach(workspace, &platform, "a");
    let recorder = Recorder::before(&registry.address().expect("a server"));
    workspace.compat(["check", "--no-cache", &format!("{}/demo/app:1", recorder.address())]).ok();
    assert_frugal(&recorder.requests(), LIMIT, &[&index.ours, &index.foreign]);
}

fn of_artifact(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    push(workspace, &registry.tagged("demo/app", "1"), "a");
    let recorder = Recorder::before(&registry.address().expect("a server"));
    workspace.compat(["check", "--no-cache", &format!("{}/demo/app:1", recorder.address())]).ok();
    assert_frugal(&recorder.requests(), 2, &[]);
}

fn of_cached(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = Place::of(&registry, "demo/app").image("1", "x");
    attach(workspace, &registry.tagged("demo/app", "1"), "a");
    let artifact = push(workspace, &registry.tagged("demo/artifact", "1"), "b");
    let recorder = Recorder::before(&registry.address().expect("a server"));
    let requests = |reference: &str| {
        recorder.forget();
        workspace.compat(["check", &format!("{}/demo/{reference}", recorder.address())]).ok();
        recorder.requests().len()
    };
    let bound = [
        ("app:1".to_owned(), 3),
        (format!("app@{}", image.digest), 2),
        ("artifact:1".to_owned(), 1),
        (format!("artifact@{artifact}"), 0),
    ];
    for (reference, most) in bound {
        requests(&reference);
        let later = requests(&reference);
        assert!(
            later <= most,
            "{reference}: {later} requests, {most} allowed:\n{}",
            lines(&recorder.requests())
        );
    }
}

fn with_token(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let image = Place::server(&registry.address(), "demo").image("1", "x");
    let reference = format!("{}/demo:1", registry.address());
    attach(workspace, &reference, "a");
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 1_000, password: None });
    registry.forget();
    workspace.compat(["check", "--no-cache", &reference]).ok();
    assert_frugal(&registry.requests(), LIMIT_WITH_TOKEN, &[&image]);
}

/// The image is stored through an open registry over the same store, because the harness has no tokens.
fn with_signed_token(workspace: &Workspace) {
    let open = DockerRegistry::start(workspace, &Settings::default());
    let image = Place::server(&open.address(), "demo").image("1", "x");
    attach(workspace, &format!("{}/demo:1", open.address()), "a");
    drop(open);
    let tokens = TokenServer::start(workspace, "alice", "secret");
    let auth = Auth::Token { realm: tokens.realm(), certificates: tokens.certificate().to_owned() };
    let registry = DockerRegistry::start(workspace, &Settings { auth, ..Settings::default() });
    let recorder = Recorder::before(&registry.address());
    workspace.compat(["check", "--no-cache", &format!("{}/demo:1", recorder.address())]).ok();
    let mut requests = recorder.requests();
    requests.extend(tokens.requests());
    assert!(!tokens.requests().is_empty());
    assert_frugal(&requests, LIMIT_WITH_TOKEN, &[&image]);
}
