//! Faults of a registry. Each leads to one clear error in bounded time, or to a retry that succeeds. None
//! leads to a panic, or sends credentials to a stranger.

use std::time::Duration;

use crate::harness::artifact::{attach, discover, push, put_plain, specification};
use crate::harness::case::{HTPASSWD, OLAREG};
use crate::harness::compat::Output;
use crate::harness::http::{Reply, Response, Server};
use crate::harness::image::Place;
use crate::harness::memory_registry::{Fault, MemoryRegistry, Referrers, Rule, Tokens, encode_base64};
use crate::harness::olareg::{self, Olareg};
use crate::harness::recorder::lines;
use crate::harness::{Case, Workspace};

/// The time limit of every failing command: far above the limits that the command gets.
const BOUND: Duration = Duration::from_secs(40);

/// The maximum number of bytes that a client may read of an endless body.
const FLOOD_LIMIT: u64 = 256 << 20;

const LOGIN: [&str; 3] = ["--username", "alice", "--password-stdin"];
const PASSWORD: &str = "hunter2-secret";

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("fault::a_looping_list_of_referrers_ends", &[], looping),
        Case::new("fault::a_redirect_gets_no_credentials", &[], redirect),
        Case::new("fault::a_redirect_loop_ends", &[], redirect_loop),
        Case::new("fault::a_foreign_realm_gets_no_credentials", &[], foreign_realm),
        Case::new("fault::a_foreign_upload_location_gets_no_credentials", &[], foreign_location),
        Case::new("fault::retry_after_is_honoured", &[], retry_after),
        Case::new("fault::a_rate_limit_delays_the_request", &[OLAREG, HTPASSWD], rate_limit),
        Case::new("fault::an_unreachable_registry_is_a_clear_error", &[], nobody),
        Case::new("fault::an_artifact_without_a_specification_is_named", &[], no_specification),
        Case::new("fault::a_lost_reply_to_a_push_makes_no_second_artifact", &[], push_once),
        Case::new("fault::a_listed_but_missing_referrer_is_skipped", &[], gone),
        Case::new("fault::a_digest_mismatch_names_the_repository", &[], wrong_content),
        Case::new("fault::an_invalid_proxy_is_named", &[], broken_proxy),
    ];
    for (name, fault) in lasting() {
        for (part, target) in [("manifest", "/manifests/"), ("blob", "/blobs/")] {
            let name = format!("fault::{name}_of_a_{part}_is_one_clear_error");
            let rule = Rule::always("GET", target, fault.clone());
            cases.push(Case::new(name, &[], move |workspace| fails(workspace, rule)));
        }
    }
    let lie = Rule::always("GET", "/manifests/", Fault::OtherDigestHeader);
    cases.push(Case::new(
        "fault::a_wrong_digest_header_of_a_manifest_is_one_clear_error",
        &[],
        |workspace| {
            fails(workspace, lie);
        },
    ));
    for (name, fault) in passing() {
        for (part, target) in [("manifest", "/manifests/"), ("blob", "/blobs/")] {
            let name = format!("fault::{name}_of_a_{part}_twice_is_retried");
            let rule = Rule::times(2, "GET", target, fault.clone());
            cases.push(Case::new(name, &[], move |workspace| recovers(workspace, rule)));
        }
    }
    cases
}

/// Permanent faults.
fn lasting() -> Vec<(&'static str, Fault)> {
    let html = vec![("Content-Type".to_owned(), "text/html".to_owned())];
    vec![
        ("another_byte", Fault::FlippedByte),
        ("a_short_length", Fault::ShortLength),
        ("a_truncated_body", Fault::Truncated),
        ("a_reset", Fault::Reset),
        ("a_flood", Fault::Flood),
        ("a_body_that_hangs", Fault::Hang(Duration::from_secs(60))),
        ("a_page_of_html", Fault::Status(200, html, "<!DOCTYPE html><p>Welcome</p>".to_owned())),
        ("a_500", Fault::Status(500, vec![], "oops".to_owned())),
        ("a_403", Fault::Status(403, vec![], "no".to_owned())),
    ]
}

/// Temporary faults, which a retry overcomes.
fn passing() -> Vec<(&'static str, Fault)> {
    let soon = vec![("Retry-After".to_owned(), "1".to_owned())];
    vec![
        ("a_reset", Fault::Reset),
        ("a_truncated_body", Fault::Truncated),
        ("a_503", Fault::Status(503, vec![], "later".to_owned())),
        ("a_429", Fault::Status(429, soon, "later".to_owned())),
    ]
}

struct Prepared {
    registry: MemoryRegistry,
    reference: String,
}

/// Stores the artifact in the form of other clients, with its specification only in a blob. `compat` also
/// embeds the specification in the manifest, so that no blob has to be fetched.
fn prepared(workspace: &Workspace) -> Prepared {
    let registry = MemoryRegistry::honest();
    put_plain(workspace, &Place::server(&registry.address(), "demo"), "1");
    let reference = format!("{}/demo:1", registry.address());
    Prepared { registry, reference }
}

fn check(workspace: &Workspace, reference: &str) -> Output {
    let arguments = ["check", "--no-cache", "--timeout", "3", "--retries", "2", reference];
    workspace.compat(arguments).within(BOUND).run()
}

fn fails(workspace: &Workspace, rule: Rule) {
    let Prepared { registry, reference } = prepared(workspace);
    registry.break_rule(rule);
    check(workspace, &reference).fails_clearly().never_says("no compatibility artifact is attached");
    let pull = ["pull", "--timeout", "3", "--retries", "2", &reference, "-o", "pulled.json"];
    workspace.compat(pull).within(BOUND).run().fails_clearly();
    assert!(!workspace.path("pulled.json").exists(), "a file was written from an invalid body");
    // Two commands ran, and each body is bounded. The buffers of the sockets are small in comparison.
    assert!(registry.flooded() < FLOOD_LIMIT, "{} bytes of a flood were taken", registry.flooded());
}

fn recovers(workspace: &Workspace, rule: Rule) {
    let Prepared { registry, reference } = prepared(workspace);
    registry.break_rule(rule);
    check(workspace, &reference).exits(0);
}

fn gone(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    Place::server(&registry.address(), "demo").image("1", "x");
    let image = format!("{}/demo:1", registry.address());
    let digests = ["a", "b"].map(|salt| attach(workspace, &image, salt));
    for digest in &digests {
        registry.break_rule(Rule::always("GET", &format!("/manifests/{digest}"), missing()));
        let run = workspace.compat(["check", "--no-cache", &image]).within(BOUND).run();
        run.exits(0);
        let copied = workspace.compat(["copy", "-r", &image, "oci:copied:1"]).within(BOUND).run();
        copied.exits(0).says(digest).says("skipped");
        let found = discover(workspace, "oci:copied:1");
        assert!(!found.stdout.contains(digest), "{found:?}");
        registry.mend();
        std::fs::remove_dir_all(workspace.path("copied")).expect("the layout");
    }
    // If all artifacts are gone, the result is an error, not the absence of an artifact.
    digests.iter().for_each(|digest| {
        registry.break_rule(Rule::always("GET", &format!("/manifests/{digest}"), missing()));
    });
    workspace.compat(["check", "--no-cache", &image]).run().fails_clearly();
}

fn missing() -> Fault {
    Fault::Status(404, vec![], String::new())
}

fn wrong_content(workspace: &Workspace) {
    let Prepared { registry, reference } = prepared(workspace);
    registry.break_rule(Rule::always("GET", "/blobs/", Fault::FlippedByte));
    check(workspace, &reference).fails_clearly().says(&format!("{}/demo", registry.address()));
}

fn broken_proxy(workspace: &Workspace) {
    let run = workspace
        .compat(["check", "--no-cache", "registry.example/app:1"])
        .env("HTTPS_PROXY", "http://user:hunter2-secret@[bad")
        .within(BOUND)
        .run();
    run.exits(2).says("HTTPS_PROXY").never_says(PASSWORD);
}

fn looping(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    Place::server(&registry.address(), "demo").image("1", "x");
    let image = format!("{}/demo:1", registry.address());
    let digest = attach(workspace, &image, "a");
    registry.treat_referrers(Referrers::Looping);
    registry.forget();
    let run = workspace.compat(["discover", "--format", "json", &image]).within(BOUND).run();
    assert!(registry.requests().len() < 20, "{}", lines(&registry.requests()));
    // Either the loop is detected and the found artifacts are used, or an error is reported. Both end.
    if run.code == Some(0) {
        run.says(&digest);
    } else {
        run.fails_clearly();
    }
}

/// A stranger's server that answers every request with 404.
fn stranger() -> Server {
    Server::start(|_| Reply::Whole(Response::new(404)))
}

fn assert_no_credentials(stranger: &Server) {
    for request in stranger.requests() {
        assert!(request.authorization.is_none(), "a stranger received credentials: {request:?}");
        assert!(!request.target.contains(PASSWORD), "a stranger received the password: {request:?}");
    }
}

fn guarded(workspace: &Workspace, realm: Option<String>) -> Prepared {
    let prepared = prepared(workspace);
    let password = Some(("alice".to_owned(), PASSWORD.to_owned()));
    let realm = realm.unwrap_or_else(|| prepared.registry.url());
    prepared.registry.ask_tokens(Tokens { realm, uses: 1_000, password });
    prepared
}

fn redirect(workspace: &Workspace) {
    let stranger = stranger();
    let Prepared { registry, reference } = guarded(workspace, None);
    let location = format!("{}/elsewhere", stranger.url());
    for status in [301, 302, 307, 308] {
        let away = Fault::Status(status, vec![("Location".into(), location.clone())], String::new());
        registry.break_rule(Rule::times(1, "GET", "/blobs/", away));
        let run = workspace.compat(["check", "--no-cache", &reference]).with(LOGIN).input(PASSWORD).run();
        run.fails_clearly();
    }
    assert!(!stranger.requests().is_empty(), "no redirect was followed");
    assert_no_credentials(&stranger);
}

fn redirect_loop(workspace: &Workspace) {
    let Prepared { registry, reference } = prepared(workspace);
    let location = format!("{}/v2/demo/blobs/again", registry.url());
    let around = Fault::Status(307, vec![("Location".into(), location)], String::new());
    registry.break_rule(Rule::always("GET", "/blobs/", around));
    registry.forget();
    check(workspace, &reference).fails_clearly();
    assert!(registry.requests().len() < 100, "{}", lines(&registry.requests()));
}

/// A registry that names a stranger's realm with plain HTTP, which everybody on the network can read. The
/// name does not resolve. The requests go through the proxy, which is the stranger.
fn foreign_realm(workspace: &Workspace) {
    let stranger = stranger();
    let Prepared { registry: _registry, reference } =
        guarded(workspace, Some("http://auth.example".to_owned()));
    let encoded = encode_base64(&format!("alice:{PASSWORD}"));
    let run = workspace.compat(["-vv", "check", "--no-cache", &reference]).with(LOGIN).input(PASSWORD);
    let run = run.env("http_proxy", stranger.url()).env("no_proxy", "127.0.0.1,localhost").run();
    run.fails_clearly().never_says(&encoded);
    assert_no_credentials(&stranger);
}

fn foreign_location(workspace: &Workspace) {
    let stranger = stranger();
    let Prepared { registry, reference } = guarded(workspace, None);
    let location = format!("{}/upload", stranger.url());
    let away = Fault::Status(202, vec![("Location".into(), location)], String::new());
    registry.break_rule(Rule::always("POST", "/blobs/uploads", away));
    specification(workspace, "b.json", "b");
    let run = workspace.compat(["push", &reference, "b.json"]).with(LOGIN).input(PASSWORD).run();
    run.fails_clearly();
    assert_no_credentials(&stranger);
}

fn retry_after(workspace: &Workspace) {
    let Prepared { registry, reference } = prepared(workspace);
    let later = Fault::Status(429, vec![("Retry-After".into(), "3".into())], String::new());
    registry.break_rule(Rule::times(1, "GET", "/manifests/", later));
    let run = workspace.compat(["check", "--no-cache", &reference]).ok();
    assert!(
        run.took >= Duration::from_millis(2_900),
        "retried after {:?}, but Retry-After was 3 s",
        run.took
    );
}

fn rate_limit(workspace: &Workspace) {
    let settings = olareg::Settings { rate_limit: Some(3), ..Default::default() };
    let registry = Olareg::start(workspace, &settings);
    for number in 0..4 {
        push(workspace, &format!("{}/demo:{number}", registry.address()), "a");
    }
}

fn nobody(workspace: &Workspace) {
    specification(workspace, "compat.json", "a");
    let reference = format!("127.0.0.1:{}/demo:1", crate::harness::process::free_port());
    check(workspace, &reference).fails_clearly().says(&reference);
    let push = workspace.compat(["push", "--retries", "1", &reference]).within(BOUND).run();
    push.fails_clearly();
}

/// An image without an artifact, and an image that does not exist.
fn no_specification(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    Place::server(&registry.address(), "demo").image("1", "x");
    check(workspace, &format!("{}/demo:1", registry.address())).fails_clearly();
    check(workspace, &format!("{}/absent:1", registry.address())).fails_clearly();
}

/// The response to the push of the manifest is lost. Whatever is retried, one artifact exists.
fn push_once(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.break_rule(Rule::times(1, "PUT", "/manifests/", Fault::Reset));
    let reference = format!("{}/demo:1", registry.address());
    push(workspace, &reference, "a");
    workspace.compat(["check", "--no-cache", &reference]).ok();
}
