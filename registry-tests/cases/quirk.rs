//! Emulated peculiarities of the big services: the behaviour of `compat` with each, and its messages if
//! nothing can be done.

use std::time::Duration;

use serde_json::json;

use crate::harness::artifact::{attach, discover, specification};
use crate::harness::compat::discovered;
use crate::harness::http::{Reply, Response, Server};
use crate::harness::image::Place;
use crate::harness::memory_registry::{Fault, MemoryRegistry, Referrers, Rule};
use crate::harness::recorder::lines;
use crate::harness::{Case, Workspace};

/// The time limit for operations that must be fast.
const AT_ONCE: Duration = Duration::from_secs(10);

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("quirk::a_registry_whose_fallback_tag_is_the_image_keeps_nothing_and_says_so", &[], gitlab),
        Case::new("quirk::a_fallback_tag_that_is_not_a_list_is_left_unchanged", &[], other_under_tag),
        Case::new("quirk::a_push_takes_a_tag_from_an_image_only_with_replace", &[], taken),
        Case::new("quirk::an_immutable_tag_is_reported_in_the_registrys_words", &[], immutable),
        Case::new("quirk::artifacts_attached_while_the_api_failed_are_found_later", &[], flapping),
        Case::new("quirk::an_unresolvable_name_is_reported_without_debug_text", &[], no_name),
    ];
    for status in [401, 403, 404, 429, 500, 503] {
        let name = format!("quirk::redirected_referrers_with_status_{status}_use_the_fallback_tag_at_once");
        cases.push(Case::new(name, &[], move |workspace| elsewhere(workspace, status)));
    }
    cases
}

fn image(registry: &MemoryRegistry) -> (String, String) {
    let put = Place::server(&registry.address(), "demo").image("1", "x");
    (format!("{}/demo:1", registry.address()), put.digest)
}

fn gitlab(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.treat_referrers(Referrers::TagIsSubject);
    let (image, _) = image(&registry);
    let check = workspace.compat(["check", "--no-cache", &image]).run();
    let check = check.fails_clearly().says("no compatibility artifact is attached");
    // The command in the hint works.
    check.says("compat check --generate").says("compat push").never_says("compat attach");
    assert!(discovered(&discover(workspace, &image)).is_empty());
    specification(workspace, "app.json", "a");
    registry.forget();
    let own = format!("{image}-compat");
    let attach = workspace.compat(["attach", &image, "app.json"]).run().fails_clearly();
    attach.says("nothing can be attached to").says(&format!("compat push {own} app.json"));
    let written =
        registry.requests().into_iter().filter(|request| !["GET", "HEAD"].contains(&request.method.as_str()));
    assert_eq!(written.count(), 0, "{}", lines(&registry.requests()));
    // The command in the message works.
    workspace.compat(["push", &own, "app.json"]).ok();
    workspace.compat(["check", "--no-cache", &own]).ok();
    // An index is its own fallback tag there as well.
    let index = Place::server(&registry.address(), "demo").index("2");
    let attach =
        workspace.compat(["attach", &format!("{}/demo@{}", registry.address(), index.digest), "app.json"]);
    attach.run().fails_clearly().says("nothing can be attached to");
    let generate = workspace.compat(["attach", "--generate", &image]).run();
    assert_ne!(generate.code, Some(0));
}

fn other_under_tag(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.treat_referrers(Referrers::Refused(404));
    let (image, digest) = image(&registry);
    let place = Place::server(&registry.address(), "demo");
    let tag = digest.replace(':', "-");
    specification(workspace, "app.json", "a");
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    for kind in ["index", "image", "docker"] {
        let put = match kind {
            "index" => place.index(&tag).digest,
            "image" => place.image(&tag, "other").digest,
            _ => {
                let list = json!({"schemaVersion": 2, "mediaType": docker, "manifests": []});
                place.manifest(Some(&tag), docker, &list)
            }
        };
        assert!(discovered(&discover(workspace, &image)).is_empty(), "{kind}");
        let check = workspace.compat(["check", "--no-cache", &image]).run();
        check.fails_clearly().says("no compatibility artifact is attached");
        workspace
            .compat(["attach", &image, "app.json"])
            .run()
            .fails_clearly()
            .says("not a list of referrers");
        let inspect = workspace.compat(["inspect", &format!("{}/demo:{tag}", registry.address())]).ok();
        inspect.says(&put);
    }
}

fn taken(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let (image, _) = image(&registry);
    let index = Place::server(&registry.address(), "demo").index("2");
    specification(workspace, "a.json", "a");
    specification(workspace, "b.json", "b");
    let layout = "oci:layout:1".to_owned();
    workspace.compat(["copy", &image, &layout]).ok();
    registry.forget();
    for (reference, kind) in [
        (image, "is a container image"),
        (format!("{}/demo:2", registry.address()), "is an index of images"),
        (layout, "is a container image"),
    ] {
        let before = workspace.compat(["inspect", &reference]).ok().stdout;
        let refused = workspace.compat(["push", &reference, "a.json"]).run().exits(2);
        refused.says(kind).says("--replace").says("compat attach");
        assert_eq!(workspace.compat(["inspect", &reference]).ok().stdout, before);
        let written =
            |request: &crate::harness::http::Recorded| !["GET", "HEAD"].contains(&request.method.as_str());
        assert!(!registry.requests().iter().any(written), "{}", lines(&registry.requests()));
        workspace.compat(["push", "--replace", &reference, "a.json"]).ok();
        // An artifact's tag can move to the next artifact, and pushing the same artifact again changes
        // nothing.
        for file in ["a.json", "b.json", "b.json"] {
            workspace.compat(["push", &reference, file]).ok();
        }
        workspace.compat(["check", "--no-cache", &reference]).ok();
        registry.forget();
    }
    workspace.compat(["inspect", &format!("{}/demo@{}", registry.address(), index.digest)]).ok();
}

fn immutable(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.treat_referrers(Referrers::Refused(404));
    let (image, _) = image(&registry);
    specification(workspace, "app.json", "a");
    let words = r#"{"errors":[{"code":"PRECONDITION","message":"Failed to process request due to tag configured as immutable."}]}"#;
    registry.break_rule(Rule::always("PUT", "/manifests/sha256-", Fault::Status(412, vec![], words.into())));
    let run = workspace.compat(["attach", &image, "app.json"]).within(AT_ONCE).run();
    run.fails_clearly().says("configured as immutable").says("hint").never_says("other writers");
}

/// GHCR redirects the request to another host, which fails in many ways.
fn elsewhere(workspace: &Workspace, status: u16) {
    let other = Server::start(move |_| {
        let response = Response::new(status).header("Retry-After", "50").body("text/plain", "no");
        Reply::Whole(response.header("WWW-Authenticate", "Basic realm=\"x\""))
    });
    let registry = MemoryRegistry::honest();
    let location = vec![("Location".to_owned(), format!("{}/list", other.url()))];
    registry.break_rule(Rule::always("GET", "/referrers/", Fault::Status(303, location, String::new())));
    let (image, _) = image(&registry);
    specification(workspace, "app.json", "a");
    let attach = workspace.compat(["attach", "--username", "alice", "--password-stdin", &image, "app.json"]);
    attach.input("hunter2").within(AT_ONCE).ok();
    workspace.compat(["check", "--no-cache", &image]).within(AT_ONCE).ok();
    assert_eq!(discovered(&discover(workspace, &image)).len(), 1);
    assert!(!other.requests().is_empty(), "the redirect was not followed");
    assert!(other.requests().iter().all(|request| request.authorization.is_none()));
}

fn flapping(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let (image, _) = image(&registry);
    let location = vec![("Location".to_owned(), "http://127.0.0.1:9/list".to_owned())];
    registry.break_rule(Rule::always("GET", "/referrers/", Fault::Status(303, location, String::new())));
    let digest = attach(workspace, &image, "a");
    registry.mend();
    // The API works now, and does not list the artifact.
    let empty = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let kind = vec![("Content-Type".to_owned(), "application/vnd.oci.image.index.v1+json".to_owned())];
    registry.break_rule(Rule::always("GET", "/referrers/", Fault::Status(200, kind, empty.to_owned())));
    assert_eq!(discovered(&discover(workspace, &image)), [digest]);
    workspace.compat(["check", "--no-cache", &image]).ok();
}

fn no_name(workspace: &Workspace) {
    let run = workspace.compat(["check", "--no-cache", "registry.invalid/app:1"]).within(AT_ONCE).run();
    run.fails_clearly().says("cannot be resolved").says("hint").never_says("query").never_says("Name(");
}
