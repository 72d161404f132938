//! Indexes: the manifest of this machine's platform is queried first, then the index itself.

use crate::harness::artifact::{attach, discover, specification};
use crate::harness::compat::{digest_of, discovered, discovered_below, level, verdict};
use crate::harness::image::{Place, architecture, foreign_architecture};
use crate::harness::{Case, Kind, Registry, Workspace};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        let mut case = |name: &str, run: fn(&Workspace, Kind)| {
            let name = format!("platform::{name}_on_{}", kind.name());
            cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| run(workspace, kind)));
        };
        case("an_artifact_of_the_platform_decides_first", platform_first);
        case("an_artifact_of_the_index_decides_if_the_platform_has_none", index_answers);
        case("an_artifact_of_another_platform_decides_nothing", foreign_only);
        case("an_image_for_another_platform_is_refused", single_image);
    }
    cases
}

fn platform_first(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    let index = Place::of(&registry, "demo/app").index("1");
    attach(workspace, &image, "index");
    specification(workspace, "platform.json", "platform");
    let platform = format!("linux/{}", architecture());
    let attached = workspace
        .compat(["attach", "--format", "json", "--platform", &platform, &image, "platform.json"])
        .ok();
    let found = discover(workspace, &image);
    assert_eq!(discovered(&found).len(), 2);
    assert_eq!(discovered_below(&found, &index.ours.digest), [digest_of(&attached)]);
    let checked = workspace.compat(["check", "--format", "json", &image]).ok();
    assert_eq!((verdict(&checked).as_str(), level(&checked).as_str()), ("compatible", "platform"));
}

fn index_answers(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").index("1");
    attach(workspace, &image, "index");
    let checked = workspace.compat(["check", "--format", "json", &image]).ok();
    assert_eq!((verdict(&checked).as_str(), level(&checked).as_str()), ("compatible", "index"));
}

fn foreign_only(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").index("1");
    specification(workspace, "foreign.json", "foreign");
    let platform = format!("linux/{}", foreign_architecture());
    workspace.compat(["attach", "--platform", &platform, &image, "foreign.json"]).ok();
    workspace.compat(["check", &image]).run().fails_clearly();
    workspace.compat(["attach", "--platform", "plan9/mips", &image, "foreign.json"]).run().fails_clearly();
}

/// A single image states its platform only in its configuration.
fn single_image(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "single");
    attach(workspace, &image, "single");
    let (own, other) = (format!("linux/{}", architecture()), format!("linux/{}", foreign_architecture()));
    for platform in [&other, "windows/amd64"] {
        for command in [&["check"][..], &["check", "--generate"], &["pull", "-o", "-"], &["discover"]] {
            let run = workspace.compat(command).with(["--platform", platform, &image]).run();
            run.fails_clearly().says(&own).says(platform);
        }
        for command in [&["gen", "--image", &image][..], &["attach", "--generate", &image]] {
            let run = workspace.compat(command).with(["--platform", platform]).run();
            run.fails_clearly().says(&own).says(platform);
        }
    }
    for platform in [&[][..], &["--platform", &own]] {
        workspace.compat(["check", &image]).with(platform).ok();
        workspace.compat(["pull", "-o", "-", &image]).with(platform).ok();
        workspace.compat(["discover", &image]).with(platform).ok();
    }
    // The layers of an image without an artifact are not read for another platform either.
    let bare = registry.tagged("demo/bare", "1");
    Place::of(&registry, "demo/bare").image("1", "bare");
    let run = workspace.compat(["check", "--generate", "--platform", &other, &bare]).run();
    run.fails_clearly().says(&own).says(&other);
}
