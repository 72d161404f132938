//! TLS: a private authority, the wrong one, client certificates, and the use of plain HTTP.

use std::path::PathBuf;

use crate::harness::artifact::specification;
use crate::harness::case::{DOCKER_REGISTRY, OPENSSL};
use crate::harness::docker_registry::{DockerRegistry, ServerTls, Settings};
use crate::harness::memory_registry::{Fault, MemoryRegistry, Rule};
use crate::harness::tls::{Authority, Identity, text};
use crate::harness::{Case, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    const TLS: &[Requirement] = &[DOCKER_REGISTRY, OPENSSL];
    vec![
        Case::new("tls::ca_file_makes_a_private_authority_trusted", TLS, ca_file),
        Case::new("tls::an_unknown_authority_is_a_clear_error", TLS, unknown_authority),
        Case::new("tls::an_expired_or_mismatched_certificate_is_reported_as_such", TLS, bad_certificates),
        Case::new("tls::insecure_skips_the_verification", TLS, insecure),
        Case::new("tls::certs_d_is_read", TLS, certs_d),
        Case::new("tls::a_client_certificate_is_shown", TLS, client_certificate),
        Case::new("tls::a_bad_file_is_an_error_and_never_dropped", TLS, bad_files),
        Case::new("tls::plain_http_to_other_hosts_requires_a_flag", &[], other_hosts),
        Case::new("tls::a_proxy_is_used_and_a_dead_one_is_named", &[], proxy),
    ]
}

struct Secure {
    registry: DockerRegistry,
    authority: PathBuf,
    client: Identity,
}

fn secure(workspace: &Workspace, ask_client: bool) -> Secure {
    let signer = Authority::new(workspace, "authority");
    let (server, client) = (signer.server(workspace), signer.client(workspace));
    let authority = signer.certificate(workspace);
    let tls = ServerTls {
        certificate: server.certificate,
        key: server.key,
        client_authority: ask_client.then(|| authority.clone()),
    };
    let registry = DockerRegistry::start(workspace, &Settings { tls: Some(tls), ..Settings::default() });
    specification(workspace, "compat.json", "a");
    Secure { registry, authority, client }
}

fn ca_file(workspace: &Workspace) {
    let Secure { registry, authority, .. } = secure(workspace, false);
    for host in [registry.local_name(), registry.address()] {
        let reference = format!("{host}/demo/app:1");
        let trust = ["--ca-file", text(&authority)];
        workspace.compat(["push", &reference]).with(trust).ok();
        workspace.compat(["check", "--no-cache", &reference]).with(trust).ok();
        workspace.compat(["discover", &reference]).with(trust).ok();
    }
}

fn unknown_authority(workspace: &Workspace) {
    let Secure { registry, .. } = secure(workspace, false);
    let other = Authority::new(workspace, "other").certificate(workspace);
    let reference = format!("{}/demo/app:1", registry.local_name());
    for trust in [vec![], vec!["--ca-file", text(&other)]] {
        let run = workspace.compat(["push", &reference, "compat.json"]).with(trust).run();
        run.fails_clearly().says("certificate");
    }
}

/// Trusting the authority solves none of these errors, so no message suggests it.
fn bad_certificates(workspace: &Workspace) {
    let signer = Authority::new(workspace, "authority");
    let authority = signer.certificate(workspace);
    specification(workspace, "compat.json", "a");
    for (server, said) in [
        (signer.expired(workspace), "certificate expired on 2021-01-01"),
        (
            signer.server_for(workspace, "other", "DNS:registry.site,IP:10.1.2.3"),
            "certificate is for registry.site, 10.1.2.3",
        ),
    ] {
        let tls = ServerTls { certificate: server.certificate, key: server.key, client_authority: None };
        let registry = DockerRegistry::start(workspace, &Settings { tls: Some(tls), ..Settings::default() });
        let reference = format!("{}/demo/app:1", registry.address());
        let push = workspace.compat(["push", &reference]).with(["--ca-file", text(&authority)]).run();
        push.fails_clearly().says(said).says("hint").never_says("--ca-file");
        workspace.compat(["push", "--insecure", &reference]).ok();
    }
}

fn insecure(workspace: &Workspace) {
    let Secure { registry, .. } = secure(workspace, false);
    let reference = format!("{}/demo/app:1", registry.local_name());
    workspace.compat(["push", "--insecure", &reference]).ok();
    workspace.compat(["check", "--insecure", &reference]).ok();
}

fn certs_d(workspace: &Workspace) {
    let Secure { registry, authority, client } = secure(workspace, true);
    let host = registry.local_name();
    let directory = format!("home/.config/containers/certs.d/{host}");
    let copy = |from: &PathBuf, name: &str| {
        let content = std::fs::read(from).expect("a file of the authority");
        workspace.write(&format!("{directory}/{name}"), content);
    };
    copy(&authority, "ca.crt");
    copy(&client.certificate, "client.cert");
    copy(&client.key, "client.key");
    workspace.compat(["push", &format!("{host}/demo/app:1")]).ok();
}

fn client_certificate(workspace: &Workspace) {
    let Secure { registry, authority, client } = secure(workspace, true);
    let reference = format!("{}/demo/app:1", registry.local_name());
    let trust = ["--ca-file", text(&authority)];
    workspace.compat(["push", &reference]).with(trust).run().fails_clearly();
    let identity = ["--cert-file", text(&client.certificate), "--key-file", text(&client.key)];
    workspace.compat(["push", &reference]).with(trust).with(identity).ok();
    workspace.compat(["check", &reference]).with(trust).with(identity).ok();
}

fn bad_files(workspace: &Workspace) {
    let Secure { registry, authority, client } = secure(workspace, false);
    let reference = format!("{}/demo/app:1", registry.local_name());
    workspace.write("bad.pem", "this is no certificate");
    let (certificate, key) = (text(&client.certificate), text(&client.key));
    let trust = ["--ca-file", text(&authority)];
    for (flags, named) in [
        (vec!["--ca-file", "bad.pem"], "bad.pem"),
        (vec!["--ca-file", "absent.pem"], "absent.pem"),
        (vec![trust[0], trust[1], "--cert-file", "bad.pem", "--key-file", key], "bad.pem"),
        (vec![trust[0], trust[1], "--cert-file", certificate, "--key-file", "absent.key"], "absent.key"),
    ] {
        workspace.compat(["push", &reference]).with(flags).run().fails_clearly().says(named);
    }
    // A certificate without its key is useless, and a key without its certificate is wrong usage.
    let certificate_alone = ["--ca-file", text(&authority), "--cert-file", certificate];
    workspace.compat(["push", &reference]).with(certificate_alone).run().fails_clearly().says(certificate);
    workspace.compat(["push", "--key-file", key, &reference]).run().exits(2);
}

/// A name outside loopback that a proxy leads to the test's server. The request there shows the scheme.
fn other_hosts(workspace: &Workspace) {
    let server = MemoryRegistry::honest();
    specification(workspace, "compat.json", "a");
    let push = || workspace.compat(["push", "--retries", "0", "registry.example/demo:1", "compat.json"]);
    let plain = push().env("HTTP_PROXY", server.url()).env("http_proxy", server.url());
    let plain = plain.env("HTTPS_PROXY", server.url()).env("https_proxy", server.url());
    plain.run().fails_clearly();
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.method == "CONNECT"), "{requests:?}");
    assert!(!requests.is_empty(), "the proxy received no request");
}

fn proxy(workspace: &Workspace) {
    let server = MemoryRegistry::honest();
    specification(workspace, "compat.json", "a");
    // Through the proxy the target is a whole URL. The test's server refuses unknown targets.
    server.break_rule(Rule::always("", "http://registry.example/", Fault::Status(403, vec![], "no".into())));
    let push = workspace.compat(["push", "--plain-http", "registry.example/demo:1", "compat.json"]);
    push.env("http_proxy", server.url()).run().fails_clearly().says("403");
    let dead = format!("http://127.0.0.1:{}", crate::harness::process::free_port());
    let push = workspace.compat([
        "push",
        "--plain-http",
        "--retries",
        "0",
        "registry.example/demo:1",
        "compat.json",
    ]);
    push.env("http_proxy", dead).run().fails_clearly();
    // Loopback requests bypass the proxy if it is configured so.
    let local = format!("{}/demo:1", server.address());
    let push = workspace.compat(["push", &local, "compat.json"]).env("http_proxy", "http://127.0.0.1:9");
    push.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost").ok();
}
