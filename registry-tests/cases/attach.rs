//! Attaching artifacts to images and discovering them, with and without the referrers API.

use crate::harness::artifact::{attach, discover, specification};
use crate::harness::compat::{digest_of, discovered, discovered_subject, inspected_subject};
use crate::harness::image::Place;
use crate::harness::memory_registry::{MemoryRegistry, Referrers};
use crate::harness::{Case, Kind, Registry, Workspace};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("attach::all_pages_of_referrers_are_read", &[], pages),
        Case::new("attach::an_announced_subject_without_the_api_is_not_lost", &[], announced_only),
        Case::new("attach::several_images_are_reported_under_their_names", &[], several_images),
        Case::new("attach::options_without_effect_on_an_artifact_are_noted", &[], without_effect),
    ];
    for kind in Kind::ALL {
        let mut case = |name: &str, run: fn(&Workspace, Kind)| {
            let name = format!("attach::{name}_on_{}", kind.name());
            cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| run(workspace, kind)));
        };
        case("attached_artifacts_are_discovered", attach_and_discover);
        case("the_same_attach_twice_is_one_referrer", attach_twice);
        case("sixteen_processes_attach_at_once_and_none_is_lost", sixteen);
        case("attaching_to_nothing_fails", no_image);
    }
    for (name, mode) in [
        ("400", Referrers::Refused(400)),
        ("405", Referrers::Refused(405)),
        ("501", Referrers::Refused(501)),
        ("html", Referrers::Html),
        ("other_json", Referrers::OtherJson),
    ] {
        let name = format!("attach::a_referrers_reply_of_{name}_falls_back_to_the_tag");
        cases.push(Case::new(name, &[], move |workspace| falls_back(workspace, mode)));
    }
    for status in [401, 403] {
        let name = format!("attach::a_referrers_reply_of_{status}_is_reported_as_an_error");
        cases.push(Case::new(name, &[], move |workspace| refused(workspace, status)));
    }
    cases
}

fn attach_and_discover(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    let put = Place::of(&registry, "demo/app").image("1", "x");
    assert!(discovered(&discover(workspace, &image)).is_empty());
    let mut attached = vec![attach(workspace, &image, "a"), attach(workspace, &image, "b")];
    attached.sort();
    let found = discover(workspace, &image);
    assert_eq!(discovered(&found), attached);
    assert_eq!(discovered_subject(&found), put.digest);
    let by_digest = registry.by_digest("demo/app", &put.digest);
    assert_eq!(discovered(&discover(workspace, &by_digest)), attached);
    workspace.compat(["discover", &image]).ok().says(&attached[0]);
    let seen =
        workspace.compat(["inspect", "--format", "json", &registry.by_digest("demo/app", &attached[0])]).ok();
    assert_eq!(inspected_subject(&seen), put.digest);
    workspace.compat(["check", &image]).ok();
}

fn attach_twice(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "x");
    let digest = attach(workspace, &image, "a");
    assert_eq!(attach(workspace, &image, "a"), digest);
    assert_eq!(discovered(&discover(workspace, &image)), [digest]);
}

fn sixteen(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "x");
    let files: Vec<String> = (0..16).map(|number| format!("{number}.json")).collect();
    for file in &files {
        specification(workspace, file, file);
    }
    let start = |file: &String| workspace.compat(["attach", "--format", "json", &image, file]).start();
    let running: Vec<_> = files.iter().map(start).collect();
    let mut attached: Vec<String> =
        running.into_iter().map(|running| digest_of(&running.wait().exits(0))).collect();
    attached.sort();
    attached.dedup();
    assert_eq!(attached.len(), 16);
    assert_eq!(discovered(&discover(workspace, &image)), attached);
}

fn no_image(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    specification(workspace, "a.json", "a");
    let image = registry.tagged("demo/absent", "1");
    workspace.compat(["attach", &image, "a.json"]).run().fails_clearly();
}

/// Returns an image in the test's registry with artifacts attached through the referrers API.
fn prepared(workspace: &Workspace, registry: &MemoryRegistry) -> (String, Vec<String>) {
    Place::server(&registry.address(), "demo").image("1", "x");
    let image = format!("{}/demo:1", registry.address());
    let mut attached: Vec<String> =
        ["a", "b", "c"].iter().map(|salt| attach(workspace, &image, salt)).collect();
    attached.sort();
    (image, attached)
}

fn pages(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let (image, attached) = prepared(workspace, &registry);
    registry.treat_referrers(Referrers::Paged);
    assert_eq!(discovered(&discover(workspace, &image)), attached);
}

fn falls_back(workspace: &Workspace, mode: Referrers) {
    let registry = MemoryRegistry::honest();
    registry.treat_referrers(mode);
    let (image, attached) = prepared(workspace, &registry);
    assert_eq!(discovered(&discover(workspace, &image)), attached);
    workspace.compat(["check", &image]).ok();
}

fn announced_only(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.treat_referrers(Referrers::AnnouncedOnly);
    let (image, attached) = prepared(workspace, &registry);
    assert_eq!(discovered(&discover(workspace, &image)), attached);
}

fn refused(workspace: &Workspace, status: u16) {
    let registry = MemoryRegistry::honest();
    let (image, _) = prepared(workspace, &registry);
    registry.treat_referrers(Referrers::Refused(status));
    let flags = ["--retries", "0", "--no-cache"];
    let checked = workspace.compat(["check"]).with(flags).with([&image]).run();
    checked.fails_clearly().says(&status.to_string()).never_says("no compatibility artifact is attached");
    workspace.compat(["discover", &image]).run().fails_clearly().says(&status.to_string());
}

/// Both images contain the same path, so only the names of the images tell the reports apart.
fn several_images(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let image = |name: &str| format!("{}/demo/{name}:1", registry.address());
    for name in ["first", "second"] {
        Place::server(&registry.address(), &format!("demo/{name}")).image("1", name);
        attach(workspace, &image(name), name);
    }
    let (first, second) = (image("first"), image("second"));
    let text = workspace.compat(["check", &first, &second]).ok().stdout;
    let reports: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(reports.len(), 2, "{text}");
    for (report, name) in reports.iter().zip([&first, &second]) {
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines.first(), Some(&name.as_str()), "{text}");
        assert!(lines[1].starts_with("compatible: ") && lines[2].starts_with("decided by sha256:"), "{text}");
    }
    let absent = image("absent");
    let run = workspace.compat(["check", &first, &absent]).run().exits(3);
    assert!(run.stdout.contains(&format!("\n\n{absent}\nundecided: ")), "{}", run.stdout);
    let json = workspace.compat(["check", "--format", "json", &first, &second]).ok().json();
    assert_eq!(json["subjects"].as_array().map(Vec::len), Some(2), "{json:#}");
}

fn without_effect(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let image = format!("{}/demo/app:1", registry.address());
    Place::server(&registry.address(), "demo/app").image("1", "x");
    attach(workspace, &image, "a");
    let check = |options: &[&str]| workspace.compat(["check", "--generate", &image]).with(options).ok();
    check(&["--executable", "/x"]).says("note: ").says("--executable has no effect");
    check(&["--executable", "/x", "--all"]).says("--all, --executable have no effect");
    check(&[]).never_says("no effect");
}
