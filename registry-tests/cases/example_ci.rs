//! The steps of the GitHub action and of the GitLab template, taken from their files, against registries.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::harness::artifact::discover;
use crate::harness::case::{CC, DOCKER_REGISTRY, HTPASSWD};
use crate::harness::compat::{BINARY, Output, discovered, discovered_below};
use crate::harness::docker_registry::{Auth, DockerRegistry, Settings};
use crate::harness::example::{Program, file, outputs, text, yaml};
use crate::harness::image::Place;
use crate::harness::memory_registry::{MemoryRegistry, digest};
use crate::harness::{Case, Kind, Registry, Requirement, Workspace};

const CURL: Requirement = Requirement::Tool("curl");

pub fn cases() -> Vec<Case> {
    let servers = &[CC, DOCKER_REGISTRY];
    vec![
        Case::new("example::the_action_attaches_and_outputs_the_digest", servers, action),
        Case::new("example::the_action_attaches_to_every_platform_of_an_index", servers, action_on_index),
        Case::new("example::the_action_logs_in", &[CC, DOCKER_REGISTRY, HTPASSWD], action_logs_in),
        Case::new("example::the_action_fails_by_the_requested_verdict", servers, action_verdict),
        Case::new("example::the_action_verifies_the_checksum_of_a_release", &[CURL], release),
        Case::new("example::the_action_takes_the_binary_from_an_image", &[], from_image),
        Case::new("example::the_gitlab_template_attaches_and_exports_the_digests", servers, gitlab),
        Case::new("example::the_gitlab_template_fails_by_the_verdict", servers, gitlab_verdict),
        Case::new("example::the_gitlab_template_verifies_the_checksum_of_a_download", &[CURL], download),
        Case::new("example::the_scripts_have_no_faults", &[Requirement::Tool("shellcheck")], scripts),
    ]
}

/// The result of a run of the action.
struct Job {
    /// The outputs of the action.
    outputs: BTreeMap<String, String>,
    /// The step that failed.
    failed: Option<Output>,
    /// Everything that was printed.
    said: String,
}

/// Runs a composite action like GitHub: the steps in order until one fails, with expressions filled in and a
/// file for the outputs of each step.
fn act(workspace: &Workspace, inputs: &[(&str, &str)]) -> Job {
    let action = yaml("action.yml");
    let mut known = BTreeMap::new();
    for (name, input) in action["inputs"].as_object().expect("an action has inputs") {
        let given = inputs.iter().find(|(given, _)| given == name).map(|(_, value)| (*value).to_owned());
        assert!(given.is_some() || input["required"] != true, "{name} is required");
        let value = given.unwrap_or_else(|| input["default"].as_str().unwrap_or_default().to_owned());
        known.insert(format!("inputs.{name}"), value);
    }
    let (mut failed, mut said) = (None, String::new());
    for step in action["runs"]["steps"].as_array().expect("an action has steps") {
        if failed.is_some() || !is_wanted(step, &known) {
            continue;
        }
        let output = take_step(workspace, step, &mut known);
        said.push_str(&output.stdout);
        said.push_str(&output.stderr);
        failed = (output.code != Some(0)).then_some(output);
    }
    let of_action = |(name, output): (&String, &Value)| (name.clone(), fill(text(&output["value"]), &known));
    let outputs = action["outputs"].as_object().expect("an action has outputs").iter().map(of_action);
    Job { outputs: outputs.collect(), failed, said }
}

fn is_wanted(step: &Value, known: &BTreeMap<String, String>) -> bool {
    let Some(condition) = step["if"].as_str() else { return true };
    let (name, value) =
        condition.split_once(" != ").expect("the only form of a condition that is known here");
    known[name] != value.trim_matches('\'')
}

fn take_step(workspace: &Workspace, step: &Value, known: &mut BTreeMap<String, String>) -> Output {
    let id = text(&step["id"]).to_owned();
    assert_eq!(step["shell"], "bash");
    let result = workspace.write(&format!("output-{id}"), "");
    let mut run = workspace.compat(["--noprofile", "--norc", "-eo", "pipefail", "-c", text(&step["run"])]);
    run = run.called("bash").env("GITHUB_OUTPUT", &result).env("GITHUB_ACTION_PATH", file(""));
    run = run.env("RUNNER_TEMP", workspace.directory("runner"));
    for (name, value) in step["env"].as_object().expect("a step has an environment") {
        run = run.env(name, fill(text(value), known));
    }
    let output = run.run();
    let written = String::from_utf8(workspace.read(&format!("output-{id}"))).expect("text");
    let outputs = outputs(&written).into_iter();
    known.extend(outputs.map(|(name, value)| (format!("steps.{id}.outputs.{name}"), value)));
    output
}

/// Fills in expressions. `a || b` becomes `a`, because no release exists here.
fn fill(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").expect("an expression ends");
        let name = expression.split(" || ").next().unwrap_or(expression).trim();
        assert!(
            known.contains_key(name) || name.starts_with("steps."),
            "{name} is neither an input nor an output of a step"
        );
        filled.push_str(before);
        filled.push_str(known.get(name).map_or("", String::as_str));
        rest = after;
    }
    filled + rest
}

impl Job {
    fn succeeded(self) -> Self {
        assert!(self.failed.is_none(), "{:?}", self.failed);
        self
    }
}

fn action(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let image = registry.tagged("demo/app", "1");
    Program::new(workspace).put(&Place::of(&registry, "demo/app"), "1");
    let inputs = [("image", image.as_str()), ("binary", BINARY), ("check", "undecided")];
    let first = act(workspace, &inputs).succeeded();
    let attached = discovered(&discover(workspace, &image));
    assert_eq!(attached, [first.outputs["digest"].as_str()]);
    assert_eq!(first.outputs["digests"], first.outputs["digest"]);
    assert_eq!(first.outputs["verdict"], "compatible");
    // Repeating the run changes nothing.
    assert_eq!(act(workspace, &inputs).succeeded().outputs["digest"], attached[0]);
    let with = |more: &[(&str, &str)]| act(workspace, &[&inputs[..2], more].concat());
    let options = [("executable", "/app\n\n/app\n"), ("host-library", "libsite.so.*=site")];
    assert_eq!(with(&options).succeeded().outputs["verdict"], "");
    with(&[("all", "true")]).succeeded();
    with(&[("host-library", "nonsense")]).failed.expect("wrong usage").exits(2).says("NAME=PROVIDER");
    with(&[("executable", "/absent")]).failed.expect("nothing to derive").exits(3).says("/absent");
}

fn action_on_index(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let image = registry.tagged("demo/app", "1");
    let (ours, foreign) = Program::new(workspace).put_index(&Place::of(&registry, "demo/app"), "1");
    let inputs = [("image", image.as_str()), ("binary", BINARY)];
    let job = act(workspace, &[&inputs[..], &[("check", "undecided")]].concat()).succeeded();
    let found = discover(workspace, &image);
    let both = [discovered_below(&found, &foreign), discovered_below(&found, &ours)].concat();
    assert_eq!(job.outputs["digests"].lines().collect::<Vec<_>>(), both);
    assert_eq!(job.outputs["verdict"], "compatible");
    let platform = format!("linux/{}", crate::harness::image::architecture());
    let one = act(workspace, &[&inputs[..], &[("platform", platform.as_str())]].concat()).succeeded();
    assert_eq!(one.outputs["digests"], both[1]);
}

fn action_logs_in(workspace: &Workspace) {
    // The image is stored through an open registry, because only compat logs in.
    let open = DockerRegistry::start(workspace, &Settings::default());
    Program::new(workspace).put(&Place::server(&open.address(), "demo/app"), "1");
    drop(open);
    let auth = Auth::Basic("robot".into(), "s3cret-pass".into());
    let registry = DockerRegistry::start(workspace, &Settings { auth, tls: None });
    let image = format!("{}/demo/app:1", registry.address());
    let inputs = [("image", image.as_str()), ("binary", BINARY), ("check", "incompatible")];
    let refused = act(workspace, &inputs).failed.expect("a login is required");
    refused.exits(3).says("401");
    let login = [&inputs[..], &[("username", "robot"), ("password", "s3cret-pass")]].concat();
    let job = act(workspace, &login).succeeded();
    assert_eq!(job.outputs["verdict"], "compatible");
    assert!(job.outputs["digest"].starts_with("sha256:"));
    assert!(!job.said.contains("s3cret-pass"), "{}", job.said);
}

fn action_verdict(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let image = registry.tagged("demo/app", "unmet");
    Program::new(workspace).put_unmet(&Place::of(&registry, "demo/app"), "unmet");
    let inputs = [("image", image.as_str()), ("binary", BINARY)];
    assert_eq!(act(workspace, &inputs).succeeded().outputs["verdict"], "");
    let job = act(workspace, &[&inputs[..], &[("check", "incompatible")]].concat());
    assert_eq!(job.outputs["verdict"], "incompatible");
    job.failed.expect("the job fails").exits(1).says("NVIDIA");
    // The registry does not exist: nothing is attached, and the job fails whatever verdict is required.
    let nowhere = [("image", "127.0.0.1:1/demo/app:1"), ("binary", BINARY), ("check", "incompatible")];
    act(workspace, &nowhere).failed.expect("the job fails").exits(3);
    // The profile of the host contains no drivers, so the check is undecided.
    let host = host_without_drivers(workspace);
    let on_host = |check| {
        let more = [("check", check), ("host", host.as_str()), ("username", ""), ("password", "")];
        act(workspace, &[&inputs[..], &more].concat())
    };
    assert_eq!(on_host("incompatible").succeeded().outputs["verdict"], "undecided");
    let strict = on_host("undecided");
    assert_eq!(strict.outputs["verdict"], "undecided");
    strict.failed.expect("the job fails").exits(3).says("the drivers of the host are not known");
    // Only the verdict counts: an undecided result passes if only "incompatible" fails the job.
    let check = |fail_on: &str| {
        let run = workspace.compat([""; 0]).called(file("examples/ci/check")).env("COMPAT", BINARY);
        run.env("IMAGE", "127.0.0.1:1/demo/app:1").env("COMPAT_RETRIES", "0").env("FAIL_ON", fail_on).run()
    };
    check("incompatible").exits(0);
    check("undecided").exits(3);
}

/// Returns a saved host from before drivers were recorded.
fn host_without_drivers(workspace: &Workspace) -> String {
    let empty = workspace.directory("empty");
    let saved = workspace.compat(["host", "--root"]).with([empty]).ok();
    let mut profile = saved.json();
    profile
        .as_object_mut()
        .expect("a profile is an object")
        .remove("drivers")
        .expect("the profile has drivers");
    workspace.write("host.json", profile.to_string());
    workspace.text("host.json")
}

fn install(workspace: &Workspace, variables: &[(&str, String)]) -> Output {
    let mut run = workspace.compat([""; 0]).called(file("examples/ci/install"));
    run = run.env("RUNNER_TEMP", workspace.directory("runner"));
    for (name, value) in variables {
        run = run.env(name, value);
    }
    run.run()
}

fn release(workspace: &Workspace) {
    let name = format!("compat-{}-linux", std::env::consts::ARCH);
    let binary = std::fs::read(BINARY).expect("the binary");
    workspace.write(&format!("release/{name}"), &binary);
    let sum = digest(&binary).replace("sha256:", "");
    workspace.write(&format!("release/{name}.sha256"), format!("{sum}  {name}\n"));
    let release = [("COMPAT_RELEASE", format!("file://{}", workspace.text("release")))];
    let installed = install(workspace, &release).exits(0).says("compat ");
    let path = installed.stdout.trim();
    assert!(Path::new(path).starts_with(workspace.path("runner")), "{path}");
    workspace.compat(["--version"]).called(path).ok();
    std::fs::remove_file(path).expect("the installed binary");
    workspace.write(&format!("release/{name}.sha256"), format!("{}  {name}\n", "0".repeat(64)));
    install(workspace, &release).exits(1).says("did NOT match");
    assert!(!Path::new(path).exists());
    install(workspace, &[]).exits(2).says("set COMPAT_BINARY");
    install(workspace, &[("COMPAT_BINARY", "no-such-program".into())]).exits(2).says("no-such-program");
}

/// The engine is replaced by a script here. The cases in `docker::` test the image itself.
fn from_image(workspace: &Workspace) {
    let stub = format!(
        "#!/bin/sh\necho \"$*\" >> {log}\ncase $1 in create) echo id-1 ;; cp) cp {BINARY} \"$3\" ;; esac\n",
        log = workspace.text("docker.log")
    );
    executable(workspace, "bin/docker", &stub);
    let path = format!("{}:{}", workspace.text("bin"), std::env::var("PATH").expect("PATH"));
    let image = ("COMPAT_IMAGE", "registry.example/compat@sha256:0".to_owned());
    let installed = install(workspace, &[("PATH", path), image]).exits(0);
    workspace.compat(["--version"]).called(installed.stdout.trim()).ok();
    let log = String::from_utf8(workspace.read("docker.log")).expect("text");
    let target = workspace.text("runner/compat/compat");
    let expected = format!("create registry.example/compat@sha256:0\ncp id-1:/compat {target}\nrm id-1\n");
    assert_eq!(log, expected);
}

/// Writes an executable file of the case.
pub(super) fn executable(workspace: &Workspace, name: &str, content: &str) {
    let path = workspace.write(name, content);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("a program may be run");
}

/// Runs a job that extends the template like a GitLab runner: its variables, then the script as a whole in
/// the given shell.
fn gitlab_job(workspace: &Workspace, shell: &[&str], variables: &[(&str, &str)]) -> Output {
    let template = yaml("examples/ci/gitlab.yml");
    let job = &template[".compat"];
    let lines = |part: &str| job[part].as_array().expect("a list of commands").iter().map(text);
    let script: Vec<&str> = lines("before_script").chain(lines("script")).collect();
    let script = script.join("\n");
    let mut run = workspace.compat(shell[1..].iter().copied().chain([script.as_str()])).called(shell[0]);
    for (name, default) in job["variables"].as_object().expect("a job has variables") {
        let default = text(default);
        assert!(
            !default.contains('$') || default.starts_with("$CI_"),
            "{name}: GitLab's own variables are all that is known"
        );
        run = run.env(name, if default.contains('$') { "" } else { default });
    }
    for (name, value) in variables {
        assert!(job["variables"].get(*name).is_some(), "the template has no variable {name}");
        run = run.env(name, *value);
    }
    run.run()
}

const BASH: &[&str] = &["bash", "-eo", "pipefail", "-c"];
const SH: &[&str] = &["sh", "-ec"];

fn gitlab(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let image = registry.tagged("demo/app", "1");
    let (ours, foreign) = Program::new(workspace).put_index(&Place::of(&registry, "demo/app"), "1");
    let variables = [("COMPAT_BINARY", BINARY), ("IMAGE", image.as_str()), ("CHECK", "undecided")];
    for shell in [BASH, SH] {
        gitlab_job(workspace, shell, &variables).exits(0).says("compatible");
        let left = outputs(&String::from_utf8(workspace.read("compat.env")).expect("text"));
        let found = discover(workspace, &image);
        let both = [discovered_below(&found, &foreign), discovered_below(&found, &ours)].concat();
        assert_eq!(left["COMPAT_DIGESTS"], both.join(" "));
    }
}

fn gitlab_verdict(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let image = registry.tagged("demo/app", "unmet");
    Program::new(workspace).put_unmet(&Place::of(&registry, "demo/app"), "unmet");
    let host = host_without_drivers(workspace);
    for shell in [BASH, SH] {
        let job = |more: &[(&str, &str)]| {
            let variables = [("COMPAT_BINARY", BINARY), ("IMAGE", image.as_str())];
            gitlab_job(workspace, shell, &[&variables[..], more].concat())
        };
        job(&[]).exits(0);
        job(&[("CHECK", "incompatible"), ("ALL", "true")]).exits(1).says("NVIDIA");
        job(&[("CHECK", "incompatible"), ("HOST", &host)])
            .exits(0)
            .says("the drivers of the host are not known");
        job(&[("CHECK", "undecided"), ("HOST", &host)]).exits(3);
        job(&[("EXECUTABLE", "/absent")]).exits(3).says("/absent");
    }
}

fn download(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let binary = std::fs::read(BINARY).expect("the binary");
    let sum = Place::server(&registry.address(), "tools").blob(&binary);
    let url = format!("http://{}/v2/tools/blobs/{sum}", registry.address());
    let job = |sum: &str| {
        let variables =
            [("COMPAT_URL", url.as_str()), ("COMPAT_SHA256", sum), ("IMAGE", "127.0.0.1:1/none:1")];
        gitlab_job(workspace, BASH, &variables)
    };
    // The job reached the step with the registry, which does not exist.
    job(&sum.replace("sha256:", "")).exits(3).says("compat ").says("127.0.0.1:1");
    job(&"0".repeat(64)).exits(1).says("did NOT match").never_says("127.0.0.1:1");
}

fn scripts(workspace: &Workspace) {
    let names = [
        "examples/ci/install",
        "examples/ci/attach",
        "examples/ci/check",
        "examples/docker/checked-run",
        "examples/slurm/prolog",
        "examples/spindle/flux-job",
        "examples/spindle/mpi-job",
        "examples/spindle/slurm-epilog",
        "examples/spindle/slurm-job",
        "examples/spindle/slurm-prolog",
        "examples/main-job",
        "examples/rust-version",
    ];
    workspace.compat(names.map(file)).called("shellcheck").ok();
    // The steps of the GitLab template as one script for a POSIX shell.
    let template = yaml("examples/ci/gitlab.yml");
    let lines = |part: &str| template[".compat"][part].as_array().expect("commands").clone();
    let steps: Vec<Value> = lines("before_script").into_iter().chain(lines("script")).collect();
    let steps: Vec<&str> = steps.iter().map(text).collect();
    let script = workspace.write("gitlab.sh", format!("#!/bin/sh\n{}", steps.join("\n")));
    // SC2154 is excluded because the job sets the variables.
    let name = script.to_str().expect("a path is text");
    workspace.compat(["--shell=sh", "--exclude=SC2154", name]).called("shellcheck").ok();
}
