//! The harness itself. If one of these cases fails, failures of other cases mean nothing.

use std::process::Command;
use std::time::Duration;

use crate::harness::case::{
    CC, DEBOOTSTRAP, DOCKER, DOCKER_REGISTRY, DOCKERD, HTPASSWD, OLAREG, OPENSSL, ORAS, SKOPEO, tool,
};
use crate::harness::docker::Docker;
use crate::harness::docker_registry::{Auth, DockerRegistry, ServerTls, Settings};
use crate::harness::http::{Request, send};
use crate::harness::image::Place;
use crate::harness::memory_registry::{Fault, MemoryRegistry, Referrers, Rule, Tokens};
use crate::harness::olareg::{self, Olareg};
use crate::harness::oras::{digest, discovered, oras};
use crate::harness::process::outcome;
use crate::harness::recorder::{Recorder, uploads};
use crate::harness::skopeo::manifest;
use crate::harness::tls::{Authority, text};
use crate::harness::token_server::TokenServer;
use crate::harness::{Case, Kind, Registry, Requirement, Workspace, root};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("harness::the_trace_of_the_loader_is_parsed", &[], |_| root::check_parser()),
        Case::new("harness::a_small_root_runs_its_program", &[CC], small_root),
        Case::new("harness::our_registry_is_correct_without_faults", &[ORAS], honest),
        Case::new("harness::our_registry_shows_each_fault", &[], faults),
        Case::new("harness::our_registry_issues_tokens_with_few_uses", &[], worn_tokens),
        Case::new("harness::the_recorder_sees_all_requests", &[DOCKER_REGISTRY, ORAS], recorder),
        Case::new("harness::docker_registry_requires_passwords", &[DOCKER_REGISTRY, HTPASSWD], passwords),
        Case::new("harness::docker_registry_accepts_our_tokens", &[DOCKER_REGISTRY, OPENSSL, ORAS], tokens),
        Case::new("harness::docker_registry_speaks_tls", &[DOCKER_REGISTRY, OPENSSL, ORAS], tls),
        Case::new(
            "harness::the_engine_runs_an_imported_image",
            &[DOCKER, DOCKERD, Requirement::Tool("busybox"), Requirement::Root],
            engine,
        ),
        Case::new("harness::an_older_debian_is_made", &[DEBOOTSTRAP, Requirement::Root], older_debian),
        Case::new("harness::olareg_issues_tokens", &[OLAREG, HTPASSWD, ORAS], olareg_tokens),
    ];
    for kind in Kind::SERVERS {
        let name = format!("harness::images_can_be_put_on_{}", kind.name());
        let requirements = kind.requirements(&[SKOPEO, ORAS]);
        cases.push(Case::new(name, &requirements, move |workspace| put(workspace, kind)));
    }
    cases
}

fn small_root(workspace: &Workspace) {
    let program = std::path::Path::new("/usr/bin/env");
    let root = root::minimal(workspace, "root", program);
    let answer = root::ask_loader(workspace, &root, program);
    assert!(answer.is_clean() && answer.found.contains("libc.so.6"), "{answer:?}");
}

fn honest(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    workspace.write("a.json", "{}");
    let reference = format!("{}/demo:1", registry.address());
    oras(
        workspace,
        &["push", "--plain-http", &reference, "--artifact-type", "a/b", "a.json:application/json"],
    );
    oras(
        workspace,
        &["attach", "--plain-http", &reference, "--artifact-type", "a/c", "a.json:application/json"],
    );
    assert_eq!(discovered(workspace, &reference, Kind::Olareg).len(), 1);
    oras(workspace, &["pull", "--plain-http", &reference, "-o", "pulled"]);
    assert_eq!(workspace.read("pulled/a.json"), b"{}");
}

fn faults(_: &Workspace) {
    let registry = MemoryRegistry::honest();
    let put = Place::server(&registry.address(), "demo");
    let image = put.image("1", "x");
    let target = format!("/v2/demo/blobs/{}", image.layer);
    let ask = || send(&registry.address(), &Request::new("GET", &target));
    let honest = ask().expect("an honest answer").body;
    let once = |fault| registry.break_rule(Rule::times(1, "GET", "/blobs/", fault));
    once(Fault::Status(429, vec![("Retry-After".into(), "1".into())], "later".into()));
    assert_eq!(ask().expect("a refusal").value("retry-after"), Some("1"));
    once(Fault::FlippedByte);
    assert_ne!(ask().expect("a lie").body, honest);
    once(Fault::OtherDigestHeader);
    assert_ne!(ask().expect("a lie").value("docker-content-digest"), Some(image.layer.as_str()));
    once(Fault::Truncated);
    assert_eq!(ask().expect("a part").body.len(), honest.len() / 2);
    once(Fault::Reset);
    ask().expect_err("a reset");
    once(Fault::Hang(Duration::from_millis(50)));
    assert!(ask().expect("a head").body.is_empty());
    assert_eq!(ask().expect("honest again").body, honest);
    registry.treat_referrers(Referrers::Html);
    let listing = format!("/v2/demo/referrers/{}", image.digest);
    let page = send(&registry.address(), &Request::new("GET", &listing)).expect("a page");
    assert_eq!((page.status, page.value("content-type")), (200, Some("text/html")));
}

fn worn_tokens(_: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.ask_tokens(Tokens { realm: registry.url(), uses: 2, password: None });
    let ask = |request: Request| send(&registry.address(), &request).expect("an answer");
    let refused = ask(Request::new("GET", "/v2/"));
    assert!(refused.status == 401 && refused.value("www-authenticate").is_some());
    let body = ask(Request::new("GET", "/token")).body;
    let json: serde_json::Value = serde_json::from_slice(&body).expect("a token");
    let token = format!("Bearer {}", json["token"].as_str().expect("a token"));
    let statuses: Vec<u16> =
        (0..3).map(|_| ask(Request::new("GET", "/v2/").header("Authorization", &token)).status).collect();
    assert_eq!(statuses, [200, 200, 401]);
}

fn recorder(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let recorder = Recorder::before(&registry.address().expect("a server"));
    workspace.write("a.json", "{}");
    let reference = format!("{}/demo:1", recorder.address());
    oras(workspace, &["push", "--plain-http", &reference, "a.json:application/json"]);
    assert!(uploads(&recorder.requests()).iter().any(|line| line.contains("/manifests/1 -> 201")));
    assert_eq!(digest(workspace, &reference), digest(workspace, &registry.tagged("demo", "1")));
}

fn passwords(workspace: &Workspace) {
    let auth = Auth::Basic("alice".into(), "secret".into());
    let registry = DockerRegistry::start(workspace, &Settings { auth, ..Settings::default() });
    let answer = send(&registry.address(), &Request::new("GET", "/v2/")).expect("an answer");
    assert_eq!(answer.status, 401);
    let basic = "Basic YWxpY2U6c2VjcmV0";
    let request = Request::new("GET", "/v2/").header("Authorization", basic);
    assert_eq!(send(&registry.address(), &request).expect("an answer").status, 200);
}

fn tokens(workspace: &Workspace) {
    let tokens = TokenServer::start(workspace, "alice", "secret");
    let auth = Auth::Token { realm: tokens.realm(), certificates: tokens.certificate().to_owned() };
    let registry = DockerRegistry::start(workspace, &Settings { auth, ..Settings::default() });
    workspace.write("a.json", "{}");
    let reference = format!("{}/demo:1", registry.address());
    let login = ["--plain-http", "-u", "alice", "-p", "secret"];
    oras(workspace, &[&["push"], &login[..], &[&reference, "a.json:application/json"]].concat());
    oras(workspace, &["pull", "--plain-http", &reference, "-o", "pulled"]);
    assert!(tokens.requests().len() >= 2);
}

fn tls(workspace: &Workspace) {
    let authority = Authority::new(workspace, "authority");
    let server = authority.server(workspace);
    let client = authority.client(workspace);
    let authority = authority.certificate(workspace);
    let tls = ServerTls {
        certificate: server.certificate,
        key: server.key,
        client_authority: Some(authority.clone()),
    };
    let registry = DockerRegistry::start(workspace, &Settings { tls: Some(tls), ..Settings::default() });
    workspace.write("a.json", "{}");
    let reference = format!("{}/demo:1", registry.local_name());
    let with_ca =
        ["push", "--plain-http=false", "--ca-file", text(&authority), &reference, "a.json:application/json"];
    let (certificate, key) = (text(&client.certificate), text(&client.key));
    oras(workspace, &[&with_ca[..], &["--cert-file", certificate, "--key-file", key]].concat());
    let mut without = Command::new(tool("oras"));
    without.args(with_ca).current_dir(workspace.root()).env("HOME", workspace.home());
    assert!(!outcome(workspace, &mut without).0, "a client without a certificate is let in");
}

fn olareg_tokens(workspace: &Workspace) {
    let token = Some(("alice".to_owned(), "secret".to_owned()));
    let registry = Olareg::start(workspace, &olareg::Settings { token, ..Default::default() });
    workspace.write("a.json", "{}");
    let reference = format!("{}/public/demo:1", registry.address());
    let login = ["--plain-http", "-u", "alice", "-p", "secret"];
    oras(workspace, &[&["push"], &login[..], &[&reference, "a.json:application/json"]].concat());
    oras(workspace, &["pull", "--plain-http", &reference, "-o", "pulled"]);
}

fn engine(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    docker.import("busybox", &root::busybox(workspace));
    let said =
        docker.run(&["run", "--rm", "--network=none", "compat-tests:busybox", "/bin/sh", "-c", "echo hello"]);
    assert_eq!(said.trim(), "hello");
}

/// The loader's results must differ from those on this machine, which makes comparisons meaningful.
fn older_debian(workspace: &Workspace) {
    let root = root::debian(workspace, "bullseye");
    let guest = root::Guest::new(workspace, &root, std::path::Path::new("/usr/bin/env"));
    let answer = root::ask_loader(workspace, &root, &guest.path);
    assert!(answer.missing_versions.contains(&("libc.so.6".into(), "GLIBC_2.34".into())), "{answer:?}");
}

fn put(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = Place::of(&registry, "demo/app").image("1", "salt");
    let (json, seen) = manifest(workspace, &registry.tagged("demo/app", "1"));
    assert_eq!(seen, image.digest);
    assert_eq!(json["config"]["digest"], image.config.as_str());
    let index = Place::of(&registry, "demo/index").index("1");
    assert_eq!(digest(workspace, &registry.tagged("demo/index", "1")), index.digest);
    assert_ne!(index.ours.digest, index.foreign.digest);
}
