//! Recordings that are stored with an artifact, on every kind of registry.

use std::fs;

use crate::harness::artifact::specification;
use crate::harness::case::ORAS;
use crate::harness::compat::{digest_of, inspected_contents, sent_anything};
use crate::harness::image::Place;
use crate::harness::oras::oras;
use crate::harness::recorder::{Recorder, blob_reads, lines};
use crate::harness::{Case, Kind, Registry, Workspace};

/// The media type that the project guarantees.
const RECORDING: &str = "application/vnd.compatlib.recording.v1+jsonl+zstd";

/// The maximum number of bytes that a check may transfer if the recording has megabytes.
const BYTES: u64 = 64 << 10;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        let name = format!("recording::it_is_pushed_shown_and_pulled_on_{}", kind.name());
        cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| travels(workspace, kind)));
    }
    for kind in Kind::SERVERS {
        let name = format!("recording::a_check_transfers_no_recording_on_{}", kind.name());
        cases
            .push(Case::new(name, &kind.requirements(&[]), move |workspace| check_is_small(workspace, kind)));
    }
    let requirements = Kind::Olareg.requirements(&[ORAS]);
    cases.push(Case::new("recording::other_clients_get_it_as_a_file", &requirements, others_get_it));
    cases.push(Case::new("recording::a_file_that_is_not_a_recording_is_refused_by_name", &[], refused));
    cases.push(Case::new("recording::a_publisher_names_recordings_and_no_other_files", &[], named));
    cases
}

/// Writes a recording with this many events, on paths that do not compress.
fn recording(workspace: &Workspace, name: &str, events: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = String::from(
        "{\"compat_recording\":1,\"command\":[\"app\"],\"folder\":\"/\",\"host\":\"node1\",\"kernel\":\"6\",\"started\":1}\n",
    );
    for number in 0..events {
        let path: String = std::iter::repeat_with(|| random.alphanumeric()).take(100).collect();
        text.push_str(&format!(
            "{{\"t\":{number},\"event\":\"lookup\",\"path\":\"/{path}\",\"pid\":1,\"tid\":1,\"ppid\":1,\"exe\":\"/app\",\"uid\":0}}\n"
        ));
    }
    text.push_str("{\"end\":\"exited\",\"code\":0}\n");
    workspace.write(name, &text);
    text.into_bytes()
}

fn unpacked(workspace: &Workspace, name: &str) -> Vec<u8> {
    zstd::decode_all(&workspace.read(name)[..]).expect("a file that is compressed with zstd")
}

fn travels(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    let (first, second) = (recording(workspace, "day1.jsonl", 50), recording(workspace, "day2.jsonl", 3));
    let compressed = zstd::encode_all(&second[..], 3).expect("the data are compressed");
    workspace.write("day2.jsonl.zst", &compressed);
    specification(workspace, "a.json", "a");
    let push = ["push", "--format", "json", &reference, "a.json", "--recording", "day1.jsonl"];
    let push = [&push[..], &["--recording", "day2.jsonl.zst"]].concat();
    let pushed = workspace.compat(&push).ok();
    let again = workspace.compat(&push).ok();
    assert_eq!(digest_of(&pushed), digest_of(&again));
    assert!(sent_anything(&pushed) && !sent_anything(&again));

    let seen = workspace.compat(["inspect", "--format", "json", &reference]).ok();
    assert_eq!(inspected_contents(&seen)[2..], [RECORDING, RECORDING]);
    let shown = workspace.compat(["inspect", &reference]).ok();
    shown.says("recording").says("day1.jsonl.zst").says("day2.jsonl.zst");
    workspace.compat(["pull", &reference, "-o", "b.json"]).ok().says("the artifact contains 2 recordings");
    assert!(!workspace.path("runs").exists());
    let pulled = workspace.compat(["pull", "-o", "b.json", "--recordings", "runs", &reference]).ok();
    pulled.says("runs/day1.jsonl.zst").never_says("the artifact contains");
    assert_eq!(workspace.read("b.json"), workspace.read("a.json"));
    assert_eq!(unpacked(workspace, "runs/day1.jsonl.zst"), first);
    assert_eq!(workspace.read("runs/day2.jsonl.zst"), compressed);
    workspace.compat(["check", &reference]).ok();

    // The recordings are attached to an image and copied with it.
    let image = Place::of(&registry, "demo/image").image("1", "salt");
    let image_reference = registry.by_digest("demo/image", &image.digest);
    workspace.compat(["attach", &image_reference, "a.json", "--recording", "day1.jsonl"]).ok();
    workspace.compat(["pull", &image_reference, "-o", "c.json", "--recordings", "attached"]).ok();
    assert_eq!(unpacked(workspace, "attached/day1.jsonl.zst"), first);
    workspace.compat(["copy", &reference, "oci:copied:1"]).ok();
    workspace.compat(["pull", "oci:copied:1", "-o", "d.json", "--recordings", "copied-runs"]).ok();
    assert_eq!(unpacked(workspace, "copied-runs/day1.jsonl.zst"), first);
}

fn check_is_small(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    recording(workspace, "run.jsonl", 40_000);
    specification(workspace, "a.json", "a");
    let reference = registry.tagged("demo/app", "1");
    workspace.compat(["push", &reference, "a.json", "--recording", "run.jsonl"]).ok();
    let recorder = Recorder::before(&registry.address().expect("a server"));
    let reference = format!("{}/demo/app:1", recorder.address());
    workspace.compat(["check", "--no-cache", &reference]).ok();
    let requests = recorder.requests();
    assert!(blob_reads(&requests).is_empty() && recorder.bytes() < BYTES, "{}", lines(&requests));
    recorder.forget();
    workspace.compat(["inspect", &reference]).ok();
    assert!(recorder.bytes() < BYTES, "{}", lines(&recorder.requests()));
    recorder.forget();
    workspace.compat(["pull", &reference, "-o", "b.json", "--recordings", "runs"]).ok();
    // The recording is large enough to make the limits above meaningful.
    assert!(recorder.bytes() > 30 * BYTES, "{} bytes", recorder.bytes());
}

fn others_get_it(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::Olareg);
    let reference = registry.tagged("demo/app", "1");
    let content = recording(workspace, "run.jsonl", 5);
    specification(workspace, "a.json", "a");
    workspace.compat(["push", &reference, "a.json", "--recording", "run.jsonl"]).ok();
    let directory = workspace.directory("oras");
    oras(workspace, &["pull", "--plain-http", "-o", directory.to_str().expect("text"), &reference]);
    assert_eq!(unpacked(workspace, "oras/run.jsonl.zst"), content);
    assert_eq!(fs::read(directory.join("compat.json")).expect("a file"), workspace.read("a.json"));
}

fn refused(workspace: &Workspace) {
    specification(workspace, "a.json", "a");
    let push = |file: &str| workspace.compat(["push", "oci:layout:1", "a.json", "--recording", file]).run();
    push("a.json").fails_clearly().says("a.json is not a recording");
    push("none.jsonl").fails_clearly().says("could not read none.jsonl");
    workspace.write("cut.zst", &zstd::encode_all(&b"{}"[..], 1).expect("the data are compressed")[..4]);
    push("cut.zst").fails_clearly().says("cut.zst");
    assert!(!workspace.path("layout").exists());
}

/// Titles come from strangers.
fn named(workspace: &Workspace) {
    specification(workspace, "a.json", "a");
    let content = recording(workspace, "run.jsonl", 5);
    workspace.compat(["push", "oci:layout:1", "a.json", "--recording", "run.jsonl"]).ok();
    let pull = || workspace.compat(["pull", "-o", "b.json", "--recordings", "runs", "oci:layout:1"]);
    pull().ok();
    pull().ok();
    workspace.write("runs/run.jsonl.zst", "mine");
    pull().run().fails_clearly().says("runs/run.jsonl.zst already exists").says("another directory");
    assert_eq!(workspace.read("runs/run.jsonl.zst"), b"mine");
    // A recording from standard input has no name.
    let push = ["push", "oci:layout:2", "a.json", "--recording", "-"];
    workspace.compat(push).input(content.clone()).ok();
    workspace.compat(["pull", "-o", "b.json", "--recordings", "more", "oci:layout:2"]).ok();
    assert_eq!(unpacked(workspace, "more/recording-1.jsonl.zst"), content);
    let twice = ["push", "oci:layout:3", "-", "--recording", "-"];
    workspace.compat(twice).input(workspace.read("a.json")).run().exits(2).says("named twice");
}
