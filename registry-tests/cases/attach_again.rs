//! The latest attached artifact counts, for every reader and on every registry. Repeating an attachment
//! writes nothing.

use serde_json::Value;

use crate::harness::artifact::{attach, discover, specification};
use crate::harness::compat::{Output, digest_of, discovered, sent_anything};
use crate::harness::image::Place;
use crate::harness::memory_registry::{Fault, MemoryRegistry, Referrers, Rule};
use crate::harness::recorder::lines;
use crate::harness::{Case, Kind, Registry, Workspace};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("attach_again::a_list_without_annotations_still_yields_the_newest", &[], bare),
        Case::new("attach_again::the_source_date_is_used_and_an_invalid_one_fails", &[], source_date),
        Case::new("attach_again::a_date_in_the_future_does_not_win_for_ever", &[], future),
        Case::new("attach_again::the_same_attach_sends_nothing", &[], idempotent),
        Case::new("attach_again::replace_removes_the_older_artifacts_of_this_manifest_only", &[], replace),
        Case::new("attach_again::replace_without_deletion_attaches_and_fails", &[], replace_refused),
    ];
    for kind in Kind::ALL {
        let name = format!("attach_again::every_reader_uses_the_latest_artifact_on_{}", kind.name());
        let requirements = kind.requirements(&[]);
        cases.push(Case::new(name, &requirements, move |workspace| every_reader(workspace, kind)));
    }
    for kind in [Kind::Olareg, Kind::OlaregWithoutReferrers, Kind::Layout] {
        let name = format!("attach_again::replace_leaves_one_on_{}", kind.name());
        let requirements = kind.requirements(&[]);
        cases.push(Case::new(name, &requirements, move |workspace| replace_on(workspace, kind)));
    }
    cases
}

/// Returns the digest of the artifact that decided a check.
fn decided_by(check: &Output) -> String {
    check.json()["source"]["digest"].as_str().unwrap_or_default().to_owned()
}

fn check(workspace: &Workspace, image: &str) -> Output {
    workspace.compat(["check", "--no-cache", "--format", "json", image]).ok()
}

/// Returns the artifact that `discover` marks as the one that counts.
fn counts(workspace: &Workspace, image: &str) -> Vec<String> {
    let json = discover(workspace, image).json();
    let referrers = json["referrers"].as_array().cloned().unwrap_or_default();
    let counts = |referrer: &&Value| referrer["counts"] == true;
    referrers.iter().filter(counts).map(|it| it["digest"].as_str().unwrap_or_default().to_owned()).collect()
}

fn every_reader(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "x");
    // The digests do not matter: each artifact counts while it is the latest.
    for (number, salt) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
        let digest = attach(workspace, &image, salt);
        let checked = check(workspace, &image);
        assert_eq!(decided_by(&checked), digest, "after attach {number}");
        let candidates = &checked.json()["source"]["candidates"];
        assert_eq!(candidates.as_u64(), (number > 0).then_some(number as u64 + 1));
        if number == 0 {
            continue;
        }
        assert_eq!(counts(workspace, &image), std::slice::from_ref(&digest));
        let pulled = workspace.compat(["pull", "--format", "json", "-o", "pulled.json", &image]).ok();
        assert_eq!(digest_of(&pulled), digest);
        workspace.compat(["check", "--no-cache", &image]).ok().says(&digest).says("the newest of");
        workspace.compat(["discover", &image]).ok().says("the newest of");
        // The cache gives the same result.
        workspace.compat(["check", &image]).ok();
        let offline = workspace.compat(["check", "--offline", "--format", "json", &image]).ok();
        assert_eq!(decided_by(&offline), digest);
    }
}

fn image(registry: &MemoryRegistry) -> String {
    Place::server(&registry.address(), "demo").image("1", "x");
    format!("{}/demo:1", registry.address())
}

fn bare(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    registry.treat_referrers(Referrers::Bare);
    let image = image(&registry);
    for salt in ["a", "b", "c", "d"] {
        let digest = attach(workspace, &image, salt);
        assert_eq!(decided_by(&check(workspace, &image)), digest);
        assert_eq!(
            digest_of(
                &workspace.compat(["attach", "--format", "json", &image, &format!("{salt}.json")]).ok()
            ),
            digest
        );
    }
}

fn source_date(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let image = image(&registry);
    let dated = |salt: &str, date: &str| {
        let file = format!("{salt}.json");
        specification(workspace, &file, salt);
        workspace.compat(["attach", "--format", "json", &image, &file]).env("SOURCE_DATE_EPOCH", date).run()
    };
    let first = digest_of(&dated("a", "1700000000").exits(0));
    let text = discover(workspace, &image).stdout;
    assert!(text.contains("2023-11-14T22:13:20Z"), "{text}");
    let second = digest_of(&dated("b", "1700000100").exits(0));
    assert_eq!(decided_by(&check(workspace, &image)), second);
    // An older date is requested. The artifact does not count, and the output says so.
    let third = dated("c", "1600000000").exits(0).says("still takes precedence");
    assert_eq!(third.json()["attached"][0]["overruled_by"].as_str(), Some(second.as_str()));
    assert_eq!(decided_by(&check(workspace, &image)), second);
    assert!(discovered(&discover(workspace, &image)).contains(&first));
    for wrong in ["soon", "-1", "", "1e9", "99999999999999999999"] {
        let run = dated("a", wrong).exits(2);
        assert!(run.stderr.contains("SOURCE_DATE_EPOCH"), "{run:?}");
    }
}

fn future(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let image = image(&registry);
    for (salt, date) in [("a", "2099-01-01T00:00:00Z"), ("b", "tomorrow")] {
        specification(workspace, &format!("{salt}.json"), salt);
        let annotation = format!("org.opencontainers.image.created={date}");
        workspace.compat(["attach", "-a", &annotation, &image, &format!("{salt}.json")]).ok();
    }
    workspace.compat(["check", "--no-cache", &image]).ok().says("future").says("is invalid");
    let digest = attach(workspace, &image, "c");
    assert_eq!(decided_by(&check(workspace, &image)), digest);
}

fn idempotent(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let image = image(&registry);
    for salt in ["a", "b"] {
        let digest = attach(workspace, &image, salt);
        registry.forget();
        let file = format!("{salt}.json");
        for date in [None, Some("1700000000")] {
            let run = workspace.compat(["attach", "--format", "json", &image, &file]);
            let run = date
                .map_or_else(
                    || run,
                    |date| {
                        workspace
                            .compat(["attach", "--format", "json", &image, &file])
                            .env("SOURCE_DATE_EPOCH", date)
                    },
                )
                .ok();
            assert_eq!((digest_of(&run), sent_anything(&run)), (digest.clone(), false));
        }
        let wrote =
            registry.requests().iter().any(|request| ["PUT", "POST"].contains(&request.method.as_str()));
        assert!(!wrote, "{}", lines(&registry.requests()));
    }
    // Other annotations make another attachment.
    let run = workspace.compat(["attach", "--format", "json", "-a", "k=v", &image, "b.json"]).ok();
    assert!(sent_anything(&run));
}

/// Attaches with `--replace`.
fn replacing(workspace: &Workspace, image: &str, salt: &str) -> Output {
    specification(workspace, &format!("{salt}.json"), salt);
    workspace.compat(["attach", "--replace", "--format", "json", image, &format!("{salt}.json")]).run()
}

fn replace(workspace: &Workspace) {
    for mode in [Referrers::Api, Referrers::Refused(404)] {
        let registry = MemoryRegistry::honest();
        registry.treat_referrers(mode);
        let place = Place::server(&registry.address(), "demo");
        let index = place.index("1");
        let by_digest = |digest: &str| format!("{}/demo@{digest}", registry.address());
        let (ours, foreign) = (by_digest(&index.ours.digest), by_digest(&index.foreign.digest));
        let root = format!("{}/demo:1", registry.address());
        let kept = [attach(workspace, &root, "root"), attach(workspace, &foreign, "foreign")];
        // A signature: another kind of artifact, attached to the same manifest.
        let signature = sign(&registry, &place, &index.ours.digest, mode);
        let old = [attach(workspace, &ours, "a"), attach(workspace, &ours, "b")];
        let run = replacing(workspace, &ours, "c").exits(0);
        let new = digest_of(&run);
        let mut replaced: Vec<String> = run.json()["attached"][0]["replaced"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect();
        replaced.sort();
        let mut old = old.to_vec();
        old.sort();
        assert_eq!(replaced, old);
        let mut left = vec![new.clone(), signature];
        left.sort();
        assert_eq!(discovered(&discover(workspace, &ours)), left);
        assert_eq!(discovered(&discover(workspace, &foreign)), [kept[1].clone()]);
        assert!(discovered(&discover(workspace, &root)).contains(&kept[0]));
        // The second time nothing is left to remove.
        let again = replacing(workspace, &ours, "c").exits(0);
        assert_eq!((digest_of(&again), sent_anything(&again)), (new, false));
    }
}

/// Stores a signature of a manifest. Lists it as well if the registry does not.
fn sign(registry: &MemoryRegistry, place: &Place, subject: &str, mode: Referrers) -> String {
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let empty = serde_json::json!({
        "mediaType": "application/vnd.oci.empty.v1+json", "digest": place.blob(b"{}"), "size": 2,
    });
    let of = serde_json::json!({"mediaType": manifest, "digest": subject, "size": 1});
    let signature = serde_json::json!({
        "schemaVersion": 2, "mediaType": manifest, "artifactType": "application/vnd.example.signature",
        "config": empty, "layers": [empty], "subject": of,
    });
    let digest = place.manifest(None, manifest, &signature);
    if mode != Referrers::Api {
        let entry = serde_json::json!({
            "mediaType": manifest, "digest": digest, "size": signature.to_string().len(),
            "artifactType": "application/vnd.example.signature",
        });
        let index = "application/vnd.oci.image.index.v1+json";
        let list = serde_json::json!({"schemaVersion": 2, "mediaType": index, "manifests": [entry]});
        place.manifest(Some(&subject.replace(':', "-")), index, &list);
    }
    let _ = registry;
    digest
}

fn replace_refused(workspace: &Workspace) {
    for mode in [Referrers::Api, Referrers::Refused(404)] {
        let registry = MemoryRegistry::honest();
        registry.treat_referrers(mode);
        let image = image(&registry);
        let old = attach(workspace, &image, "a");
        let words = r#"{"errors":[{"code":"UNSUPPORTED","message":"deletion is off"}]}"#;
        registry.break_rule(Rule::always("DELETE", "/manifests/", Fault::Status(405, vec![], words.into())));
        let run = replacing(workspace, &image, "b");
        let new = digest_of(&run);
        assert!(run.json()["error"].is_string());
        run.fails_clearly().says("is attached, but").says(&old).says("deletion is off");
        assert_eq!(decided_by(&check(workspace, &image)), new);
    }
}

fn replace_on(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "x");
    attach(workspace, &image, "a");
    attach(workspace, &image, "b");
    let new = digest_of(&replacing(workspace, &image, "c").exits(0));
    assert_eq!(discovered(&discover(workspace, &image)), std::slice::from_ref(&new));
    assert_eq!(decided_by(&check(workspace, &image)), new);
}
