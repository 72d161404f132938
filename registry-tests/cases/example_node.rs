//! Checks on a node: the wrapper of `docker run`, the prolog of Slurm, the unit of systemd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::example_ci::executable;
use crate::harness::case::{CC, DOCKER, DOCKER_REGISTRY, DOCKERD};
use crate::harness::compat::{BINARY, Compat, Output};
use crate::harness::docker::Docker;
use crate::harness::example::{Program, file};
use crate::harness::image::Place;
use crate::harness::process::free_port;
use crate::harness::{Case, Kind, Registry, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    let servers = &[CC, DOCKER_REGISTRY];
    let engine = &[CC, DOCKER_REGISTRY, DOCKER, DOCKERD, Requirement::Root];
    let verify = &[Requirement::Tool("systemd-analyze")];
    vec![
        Case::new("example::the_wrapper_of_docker_run_starts_only_compatible_images", servers, wrapper),
        Case::new(
            "example::the_wrapper_of_docker_run_runs_an_image_in_an_engine",
            engine,
            wrapper_with_engine,
        ),
        Case::new("example::the_prolog_of_slurm_holds_a_job_with_an_unusable_image", servers, prolog),
        Case::new("example::the_prolog_of_slurm_prints_the_reason_to_a_task", servers, task_prolog),
        Case::new("example::the_prolog_of_slurm_reads_the_image_of_pyxis_or_a_comment", &[], prolog_image),
        Case::new("example::the_prolog_of_slurm_never_waits_long_for_a_registry", &[], prolog_undecided),
        Case::new("example::the_unit_of_systemd_has_no_faults", verify, unit_verified),
        Case::new("example::the_unit_of_systemd_checks_before_it_starts", servers, unit_condition),
    ]
}

/// Images in a registry: one that runs, an index of one that runs, one that does not run, and one without an
/// artifact.
struct Images {
    registry: Registry,
    /// The digest of the index's image for this machine.
    ours: String,
}

impl Images {
    fn put(workspace: &Workspace) -> Self {
        let registry = Registry::start(workspace, Kind::DockerRegistry);
        let place = Place::of(&registry, "demo/app");
        let program = Program::new(workspace);
        program.put(&place, "runs");
        program.put_unmet(&place, "unmet");
        let (ours, _) = program.put_index(&place, "index");
        let images = Self { registry, ours };
        for tag in ["runs", "unmet", "index"] {
            workspace.compat(["attach", "--generate", &images.tagged(tag)]).ok();
        }
        program.put(&Place::of(&images.registry, "demo/unasked"), "1");
        images
    }

    fn tagged(&self, tag: &str) -> String {
        self.registry.tagged("demo/app", tag)
    }

    fn unasked(&self) -> String {
        self.registry.tagged("demo/unasked", "1")
    }
}

/// Writes a program that records its arguments, one line for each call, and exits with the given code.
pub(super) fn recorder(workspace: &Workspace, name: &str, code: i32) -> String {
    let log = workspace.write(&format!("{name}.calls"), "");
    // The program may run as another user than the reader of the file.
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("the right to let others write");
    let content = format!("#!/bin/sh\necho \"$*\" >> {}\nexit {code}\n", log.display());
    executable(workspace, &format!("stubs/{name}"), &content);
    workspace.text(format!("stubs/{name}"))
}

/// Returns the recorded calls since the last look.
pub(super) fn calls(workspace: &Workspace, name: &str) -> Vec<String> {
    let name = format!("{name}.calls");
    let text = String::from_utf8(workspace.read(&name)).expect("text");
    workspace.write(&name, "");
    text.lines().map(str::to_owned).collect()
}

fn checked_run<'a>(workspace: &'a Workspace, arguments: &[&str]) -> Compat<'a> {
    let run = workspace.compat(arguments).called(file("examples/docker/checked-run"));
    run.env("COMPAT", BINARY).env("COMPAT_RETRIES", "0")
}

fn wrapper(workspace: &Workspace) {
    let images = Images::put(workspace);
    let engine = recorder(workspace, "docker", 7);
    let run = |arguments: &[&str]| checked_run(workspace, arguments).env("COMPAT_ENGINE", &engine);
    let refuse = |arguments: &[&str]| run(arguments).env("COMPAT_UNDECIDED", "refuse").run().exits(125);
    // The exit code is that of the container.
    let index = images.tagged("index");
    run(&[&index, "--rm", "-e", "A=b c", "--", "/app", "--", "x"]).run().exits(7);
    let repository = images.registry.repository("demo/app");
    let expected = format!("run --rm -e A=b c {repository}@{} /app -- x", images.ours);
    assert_eq!(calls(workspace, "docker"), [expected]);
    run(&[&images.tagged("runs")]).run().exits(7);
    assert!(calls(workspace, "docker")[0].starts_with(&format!("run {repository}@sha256:")));
    // The run is refused with the reason, and the engine is not called.
    run(&[&images.tagged("unmet")]).run().exits(125).says("NVIDIA").says("is not started");
    refuse(&[&images.unasked()]).says("no artifact").says("attach --generate");
    refuse(&["127.0.0.1:1/demo/app:1"]).says("is not started");
    run(&[]).run().exits(125).says("usage");
    run(&["--rm", &index]).run().exits(125).says("usage");
    run(&["NO SUCH REFERENCE"]).run().exits(125);
    assert_eq!(calls(workspace, "docker"), [""; 0]);
    // If the check is undecided, the container is started with the given reference.
    run(&[&images.unasked(), "--rm"]).run().exits(7).says("unchecked");
    assert_eq!(calls(workspace, "docker"), [format!("run --rm {}", images.unasked())]);
}

fn wrapper_with_engine(workspace: &Workspace) {
    let images = Images::put(workspace);
    let docker = Docker::start(workspace);
    let run = |tag: &str| {
        let image = images.tagged(tag);
        let mut run = checked_run(workspace, &[&image, "--rm", "--network=none", "--", "/app"]);
        for (name, value) in docker.variables() {
            run = run.env(name, value);
        }
        run.run()
    };
    run("index").exits(0).says("hello from the image");
    run("unmet").exits(125).never_says("hello");
    let pulled = docker.run(&["images", "--no-trunc", "--format", "{{.Digest}} {{.Repository}}"]);
    let ours = pulled.lines().filter(|line| line.contains(&images.registry.repository("demo/app")));
    assert_eq!(ours.count(), 1, "an image that does not run was pulled:\n{pulled}");
}

/// Returns a run of the prolog with the environment of slurmd and settings of the site.
pub(super) fn slurm<'a>(workspace: &'a Workspace, settings: &str) -> Compat<'a> {
    // The prolog, which runs as root, runs compat as an account without rights. That account must be able to
    // reach the program.
    fs::set_permissions(workspace.root(), fs::Permissions::from_mode(0o711))
        .expect("the case's own directory");
    let compat = workspace.path("compat");
    if !compat.exists() {
        fs::copy(BINARY, &compat).expect("a copy of the program");
    }
    let stub = |name: &str| workspace.text(format!("stubs/{name}"));
    let settings = format!(
        "compat={}\nscontrol={}\nscancel={}\ncache={}\n{settings}\n",
        compat.display(),
        stub("scontrol"),
        stub("scancel"),
        workspace.text("node-cache"),
    );
    let settings = workspace.write("compat.conf", settings);
    let run = workspace.compat([""; 0]).called(file("examples/slurm/prolog"));
    let run = run.env("COMPAT_SETTINGS", settings).env("SLURM_SCRIPT_CONTEXT", "prolog_slurmd");
    let run = run.env("SLURM_JOB_ID", "4711").env("SLURM_JOB_UID", "1000").env("SLURM_JOB_USER", "user");
    run.env("SLURMD_NODENAME", "node7").env("SLURM_CLUSTER_NAME", "tests")
}

pub(super) fn with_image(run: Compat<'_>, image: &str) -> Output {
    run.env("SLURM_JOB_COMMENT", format!("project=x image={image}")).run()
}

fn prolog(workspace: &Workspace) {
    let images = Images::put(workspace);
    recorder(workspace, "scontrol", 0);
    recorder(workspace, "scancel", 0);
    for tag in ["runs", "index"] {
        with_image(slurm(workspace, ""), &images.tagged(tag)).exits(0);
    }
    with_image(slurm(workspace, ""), &images.unasked()).exits(0);
    assert_eq!(calls(workspace, "scontrol"), [""; 0]);
    assert!(workspace.path("node-cache").is_dir(), "the artifact is kept for the next job");
    // The node stays in service (exit code 0), and the job is held with the reason.
    let unmet = images.tagged("unmet");
    with_image(slurm(workspace, ""), &unmet).exits(0);
    let held = calls(workspace, "scontrol");
    let reason = format!("update JobId=4711 AdminComment={unmet} would not run on node7: incompatible");
    assert!(held[0].starts_with(&reason) && held[0].contains("NVIDIA"), "{held:?}");
    assert_eq!(held[1..], ["requeuehold 4711"]);
    assert_eq!(calls(workspace, "scancel"), [""; 0]);
    with_image(slurm(workspace, "undecided=refuse"), &images.unasked()).exits(0);
    let held = calls(workspace, "scontrol");
    assert!(held[0].contains("attach --generate") && held[1] == "requeuehold 4711", "{held:?}");
    // An interactive job cannot be held. If cancelling fails as well, Slurm takes the node out of service.
    recorder(workspace, "scontrol", 1);
    with_image(slurm(workspace, ""), &unmet).exits(0);
    assert_eq!(calls(workspace, "scancel"), ["4711"]);
    recorder(workspace, "scancel", 1);
    with_image(slurm(workspace, ""), &unmet).exits(1);
}

fn task_prolog(workspace: &Workspace) {
    let images = Images::put(workspace);
    recorder(workspace, "scontrol", 0);
    recorder(workspace, "scancel", 0);
    let task = || slurm(workspace, "").env("SLURM_SCRIPT_CONTEXT", "prolog_task");
    let started = with_image(task(), &images.tagged("runs")).exits(0);
    assert_eq!(started.stdout, "");
    let refused = with_image(task(), &images.tagged("unmet")).exits(1);
    assert!(refused.stdout.contains("NVIDIA"), "{}", refused.stdout);
    // Every other line would set or unset a variable of the task, or be lost.
    assert!(refused.stdout.lines().all(|line| line.starts_with("print ")), "{}", refused.stdout);
    let calls = [calls(workspace, "scontrol"), calls(workspace, "scancel")].concat();
    assert_eq!(calls, [""; 0], "a task calls no command of Slurm");
}

fn prolog_image(workspace: &Workspace) {
    let compat = recorder(workspace, "compat", 0);
    let asked = |name: &str, value: &str| {
        slurm(workspace, &format!("compat={compat}")).env(name, value).run().exits(0);
        calls(workspace, "compat").into_iter().next().map(|call| {
            let (_, image) = call.split_once(" -- ").expect("the image is the last argument");
            image.to_owned()
        })
    };
    let option = "_SLURM_SPANK_OPTION_pyxis_container_image";
    for name in [format!("SPANK_{option}"), format!("SLURM_SPANK_{option}"), option.to_owned()] {
        assert_eq!(
            asked(&name, "nvcr.io#nvidia/pytorch:24.01-py3").as_deref(),
            Some("nvcr.io/nvidia/pytorch:24.01-py3")
        );
    }
    let pyxis = |image: &str| asked(&format!("SPANK_{option}"), image);
    assert_eq!(pyxis("docker://ghcr.io#org/app:1").as_deref(), Some("ghcr.io/org/app:1"));
    assert_eq!(pyxis("ghcr.io/org/app:1").as_deref(), Some("ghcr.io/org/app:1"));
    assert_eq!(pyxis("/images/app.sqsh"), None);
    assert_eq!(pyxis("./app.sqsh"), None);
    let comment = |comment: &str| asked("SLURM_JOB_COMMENT", comment);
    assert_eq!(comment("image=h/a:1").as_deref(), Some("h/a:1"));
    assert_eq!(comment("x=* image=h/a:1,y").as_deref(), Some("h/a:1"));
    assert_eq!(comment("no image of mine=1"), None);
    assert_eq!(comment(""), None);
    // The user's text is neither an option nor a command.
    assert_eq!(comment("image=--insecure").as_deref(), Some("--insecure"));
    assert_eq!(comment("image=$(id)").as_deref(), Some("$(id)"));
}

fn prolog_undecided(workspace: &Workspace) {
    recorder(workspace, "scontrol", 0);
    recorder(workspace, "scancel", 0);
    let nobody = format!("127.0.0.1:{}/demo/app:1", free_port());
    with_image(slurm(workspace, ""), &nobody).exits(0);
    assert_eq!(calls(workspace, "scontrol"), [""; 0]);
    // A registry that accepts the connection and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let image = format!("{}/demo/app:1", silent.local_addr().expect("its address"));
    let waited = with_image(slurm(workspace, "seconds=2"), &image).exits(0);
    assert!(waited.took < Duration::from_secs(8), "{:?}", waited.took);
    with_image(slurm(workspace, "seconds=2\nundecided=refuse"), &image).exits(0);
    assert_eq!(calls(workspace, "scontrol").last().map(String::as_str), Some("requeuehold 4711"));
}

const UNIT: &str = "examples/systemd/compat-container@.service";

/// systemd verifies the unit in a root with the programs that the unit starts.
fn unit_verified(workspace: &Workspace) {
    for program in ["usr/local/bin/compat", "usr/bin/podman"] {
        executable(workspace, &format!("root/{program}"), "#!/bin/sh\n");
    }
    for target in ["basic", "sysinit", "shutdown", "multi-user", "network-online"] {
        let unit = format!("[Unit]\nDescription={target}\n");
        workspace.write(&format!("root/usr/lib/systemd/system/{target}.target"), unit);
    }
    let unit = std::fs::read_to_string(file(UNIT)).expect("the unit");
    let verify = |unit: &str| {
        workspace.write("root/etc/systemd/system/compat-container@.service", unit);
        let root = format!("--root={}", workspace.text("root"));
        let run = workspace.compat(["verify", "--man=no", &root, "compat-container@app.service"]);
        run.called("systemd-analyze").run()
    };
    assert_eq!(verify(&unit).exits(0).stderr, "");
    // The verification would report a fault.
    verify(&unit.replace("ExecCondition=", "ExecConditon=")).says("ExecConditon");
    verify(&unit.replace("/usr/local/bin/compat", "/usr/local/bin/absent")).says("absent");
}

/// Returns the command of a line of the unit, with variables of its environment file filled in like systemd
/// does: `$NAME` is split at spaces, `${NAME}` is one word.
fn command_of(unit: &str, key: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let value = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).unwrap_or_default()
    };
    let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).expect("the line");
    let words = line.split(' ').flat_map(|word| match word.strip_prefix('$') {
        Some(name) if name.starts_with('{') => vec![value(&name[1..name.len() - 1]).to_owned()],
        Some(name) => value(name).split_whitespace().map(str::to_owned).collect(),
        None => vec![word.to_owned()],
    });
    words.collect()
}

fn unit_condition(workspace: &Workspace) {
    let images = Images::put(workspace);
    let unit = std::fs::read_to_string(file(UNIT)).expect("the unit");
    let check = |image: &str, options: &str| {
        let command = command_of(&unit, "ExecCondition", &[("IMAGE", image), ("COMPAT_OPTIONS", options)]);
        assert_eq!(command[0], "/usr/local/bin/compat");
        let cache = workspace.text("cache-of-the-unit");
        workspace.compat(&command[1..]).env("COMPAT_CACHE_DIR", cache).env("COMPAT_RETRIES", "0").run()
    };
    // Codes 1 to 254 skip the unit, 255 would fail it (systemd.service, ExecCondition).
    check(&images.tagged("runs"), "").exits(0);
    check(&images.tagged("index"), "--accept-undecided --accept-risk").exits(0);
    check(&images.tagged("unmet"), "").exits(1).says("NVIDIA");
    check(&images.tagged("unmet"), "--accept-undecided").exits(1);
    check(&images.unasked(), "").exits(3).says("attach --generate");
    check(&images.unasked(), "--accept-undecided").exits(0).says("attach --generate");
    assert!(Path::new(&workspace.text("cache-of-the-unit")).is_dir());
    let variables = [("IMAGE", "h/a:1"), ("PODMAN_OPTIONS", "--publish 80:80"), ("COMMAND", "")];
    let start = command_of(&unit, "ExecStart", &variables);
    assert_eq!(start[start.len() - 3..], ["--publish", "80:80", "h/a:1"]);
}
