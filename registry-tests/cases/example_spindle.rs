//! The examples of `compat spindle`: the exact commands of the page for docker, the scripts for Slurm, Flux and Open MPI,
//! and the manifest for Kubernetes. Slurm, Flux and a cluster are not here: short scripts take the place of `srun` and
//! `flux`, and start the same commands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::case::{DOCKER, DOCKERD};
use crate::harness::compat::BINARY;
use crate::harness::docker::Docker;
use crate::harness::example::{file, text, yaml};
use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace, root};

const PAGE: &str = "examples/spindle/docker-run.md";
const POD: &str = "examples/spindle/kubernetes.yaml";

pub fn cases() -> Vec<Case> {
    let engine = &[DOCKER, DOCKERD, Requirement::Tool("busybox"), Requirement::Root];
    let alone =
        &[Requirement::Fuse, Requirement::Root, Requirement::Tool("unshare"), Requirement::Tool("setpriv")];
    let mpi =
        &[Requirement::Fuse, Requirement::Root, Requirement::Tool("unshare"), Requirement::Tool("mpirun")];
    vec![
        Case::new("example::the_commands_for_docker_use_a_cache", engine, docker),
        Case::new("example::a_prolog_of_slurm_starts_the_session_of_a_job", alone, slurm),
        Case::new("example::a_job_without_a_session_is_reported_and_starts", alone, without_session),
        Case::new("example::a_job_of_flux_has_a_session_on_each_node", alone, flux),
        Case::new("example::the_ranks_of_open_mpi_share_a_mirror", mpi, mpi_job),
        Case::new("example::the_sidecar_serves_the_volume_of_its_pod", &[], pod),
        Case::new("example::the_mirror_of_a_sidecar_reaches_the_application", alone, sidecar),
    ]
}

fn docker(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    docker.import("spindle", &root::busybox(workspace));
    let page = fs::read_to_string(file(PAGE)).expect("the page");
    let blocks: Vec<&str> =
        page.split("```sh docker\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    let software = workspace.directory("software");
    workspace.write("software/data", "data\n");
    workspace.write(
        "software/run",
        "#!/bin/sh\nfor i in 1 2 3; do read line < /software/data; done\necho $line\n",
    );
    fs::set_permissions(software.join("run"), fs::Permissions::from_mode(0o755)).expect("a program");
    let bin = Path::new(BINARY).parent().expect("a directory");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    for (number, block) in blocks.iter().enumerate() {
        let directory = workspace.directory(&format!("docker-{number}"));
        // The engine of a test has no network.
        let script = block.replace("docker run", "docker run --network=none");
        let mut shell = Command::new("sh");
        shell.args(["-euc", &script]).current_dir(&directory).envs(docker.variables());
        shell.env("PATH", &path).env("HOME", workspace.home()).env("software", &software);
        shell.env("image", "compat-tests:spindle").env("command", "/software/run");
        let output = run(workspace, &mut shell);
        assert!(output.ends_with("data\n"), "{block}\n{output}");
        let report = fs::read_to_string(directory.join("figures.json")).expect("figures");
        let report: Value = serde_json::from_str(&report).expect("a document");
        let paths = report["figures"]["topByOpens"].as_array().expect("a list");
        let data = paths.iter().find(|path| path["path"] == "/software/data");
        let data = data.unwrap_or_else(|| panic!("the data was not read: {report:#}"));
        assert_eq!(data["opens"], 3, "{report:#}");
    }
}

/// The start of each script: a machine without other FUSE file systems and with a runtime directory for the user
/// `daemon`, who may open `/dev/fuse`. `software` is a share.
const START: &str = r#"set -eu
for place in $(awk '$0 ~ / - fuse/ { print $5 }' /proc/self/mountinfo | sort -r); do umount -l "$place"; done
mount -t tmpfs none /run; mkdir -p /run/user/1; chown 1:1 /run/user/1; chmod 700 /run/user/1
mknod /run/fuse c 10 229; chmod 666 /run/fuse; mount --bind /run/fuse /dev/fuse
chmod 755 .; mkdir software bin tmp; export TMPDIR="$PWD/tmp"; echo content > software/data; sleep 1.2
ln -s "$PWD/compat" bin/compat; export PATH="$PWD/bin:$PATH"
program() { cat > "bin/$1"; chmod 755 "bin/$1"; }
as_user() { setpriv --reuid=daemon --regid=daemon --clear-groups "$@"; }
program logger <<'END'
#!/bin/sh
echo "$@" >> "${0%/bin/logger}/log"
END
cat > settings <<END
compat=$PWD/compat
logger=$PWD/bin/logger
options="--share $PWD/software --cache-dir /run/user/1/cache"
END
export COMPAT_SETTINGS="$PWD/settings" SLURM_JOB_USER=daemon SLURM_JOB_ID=4711
"#;

/// Runs a script in a mount namespace of its own, and returns its output.
fn script(workspace: &Workspace, text: &str) -> String {
    fs::copy(BINARY, workspace.path("compat")).expect("a copy of the program");
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "--propagation", "private", "sh", "-c", &format!("{START}{text}")]);
    shell.current_dir(workspace.root()).env("EXAMPLES", file("examples/spindle"));
    run(workspace, &mut shell)
}

fn log(workspace: &Workspace) -> String {
    fs::read_to_string(workspace.path("log")).unwrap_or_default()
}

fn slurm(workspace: &Workspace) {
    let output = script(
        workspace,
        "printf '#!/bin/sh\\n\"$@\"; \"$@\"\\n' | program srun
        $EXAMPLES/slurm-prolog; as_user bin/compat spindle session list | cut -d ' ' -f 1
        as_user $EXAMPLES/slurm-job cat software/data
        $EXAMPLES/slurm-epilog; as_user bin/compat spindle session list; $EXAMPLES/slurm-epilog",
    );
    assert_eq!(output, "job-4711\ncontent\ncontent\n");
    let expected =
        "-t compat-spindle -- job-4711: 2 opens served from 1 file; share read 8 B once, saved 8 B and ";
    assert!(log(workspace).starts_with(expected), "{}", log(workspace));
    assert_eq!(log(workspace).lines().count(), 1, "{}", log(workspace));
}

fn without_session(workspace: &Workspace) {
    let output = script(
        workspace,
        "echo 'options=--share=/nowhere' >> settings; $EXAMPLES/slurm-prolog; echo $?
        SLURM_JOB_USER=--help $EXAMPLES/slurm-prolog; echo $?; SLURM_JOB_USER=--help $EXAMPLES/slurm-epilog; echo $?",
    );
    assert_eq!(output, "0\n0\n0\n");
    let log = log(workspace);
    assert!(
        log.starts_with("-t compat-spindle -- job 4711 has no session: error: ") && log.lines().count() == 1,
        "{log}"
    );
}

fn flux(workspace: &Workspace) {
    let output = script(
        workspace,
        "program flux <<'END'
#!/bin/sh
case \"$1 $2\" in
    'getattr jobid') echo ƒABC ;;
    'job id') [ \"$4\" = ƒABC ] && echo 4711 ;;
    'resource list') echo 2 ;;
    'exec --rank=all') shift 2; [ \"$4\" != start ] || set -- \"$@\" --share \"$PWD/software\" --cache-dir /run/user/1/cache; exec \"$@\" ;;
    'run --ntasks=2') shift 2; \"$@\"; \"$@\" ;;
    *) echo \"unknown: $*\" >&2; exit 1 ;;
esac
END
        as_user $EXAMPLES/flux-job cat software/data; as_user bin/compat spindle session list",
    );
    assert_eq!(output, "flux-4711\ncontent\ncontent\n");
}

fn mpi_job(workspace: &Workspace) {
    let output = script(
        workspace,
        "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
        export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
        export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
        export options=\"--share $PWD/software --stats figures.json\"
        $EXAMPLES/mpi-job 3 cat software/data 2> /dev/null; grep -E -m 2 '\"(opens|files)\"' figures.json
        compat record -o run.jsonl -- cat software/data > /dev/null
        $EXAMPLES/mpi-job 2 cat software/data 2> /dev/null; grep '\"ahead\"' figures.json",
    );
    let expected = "content\ncontent\ncontent\n    \"opens\": 3,\n    \"files\": 1,\ncontent\ncontent\n      \"ahead\": 1,\n";
    assert_eq!(output, expected);
}

fn pod(workspace: &Workspace) {
    let manifest = yaml(POD);
    assert_eq!((text(&manifest["apiVersion"]), text(&manifest["kind"])), ("v1", "Pod"));
    let (sidecar, app) = (&manifest["spec"]["initContainers"][0], &manifest["spec"]["containers"][0]);
    // A sidecar is an init container that runs on. Only a privileged one may pass a mount to others.
    assert_eq!(
        (text(&sidecar["restartPolicy"]), &sidecar["securityContext"]["privileged"]),
        ("Always", &true.into())
    );
    let mounts = |container: &Value| container["volumeMounts"].as_array().cloned().expect("a list");
    let place = |container: &Value, name: &str| {
        let found = mounts(container).into_iter().find(|mount| mount["name"] == name);
        let found = found.unwrap_or_else(|| panic!("{name} is mounted"));
        (
            text(&found["mountPath"]).to_owned(),
            found["mountPropagation"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let volumes: Vec<Value> = manifest["spec"]["volumes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|volume| volume["name"].clone())
        .collect();
    let used: Vec<Value> = mounts(sidecar).iter().map(|mount| mount["name"].clone()).collect();
    assert_eq!(volumes, used);
    let arguments: Vec<&str> = sidecar["args"].as_array().expect("a list").iter().map(text).collect();
    let option = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name)).expect(name);
    assert_eq!(option("--share="), place(sidecar, "software").0);
    let (mirror, propagation) = place(sidecar, "mirror");
    assert_eq!((option("--mount-path="), &*propagation), (&*format!("{mirror}/software"), "Bidirectional"));
    assert!(option("--cache-dir=").starts_with(&place(sidecar, "cache").0));
    let (seen, propagation) = place(app, "mirror");
    assert_eq!(propagation, "HostToContainer");
    assert!(text(&app["command"][0]).starts_with(&format!("{seen}/software/")));
    // The options before the command are valid: they are parsed together with the option for help.
    let end = arguments.iter().position(|argument| *argument == "--").expect("an end of the options");
    workspace.compat([&arguments[..end], &["--help"]].concat()).ok();
    // The probe fails as long as the program is not there.
    let probe = sidecar["startupProbe"]["exec"]["command"].as_array().expect("a list");
    let probe: Vec<&str> = probe.iter().skip(1).map(text).collect();
    let at = |path: &str| {
        let replaced = probe.iter().map(|word| if word.starts_with(&mirror) { path } else { word });
        workspace.compat(replaced.collect::<Vec<_>>())
    };
    at("/nowhere/app").run().exits(3);
    at("/bin/sh").ok();
}

/// A kubelet binds the directory of the Pod into both containers: shared into the sidecar, as a slave into the
/// application. Namespaces take the place of the containers.
fn sidecar(workspace: &Workspace) {
    let manifest = yaml(POD);
    let arguments = manifest["spec"]["initContainers"][0]["args"].as_array().expect("a list");
    let root = workspace.root().display();
    let here = |argument: &str| {
        let place = |text: String, name: &str| text.replace(&format!("=/{name}"), &format!("={root}/{name}"));
        ["source", "mirror", "cache"].into_iter().fold(argument.replace("/compat", "bin/compat"), place)
    };
    let arguments: Vec<String> = arguments.iter().map(|argument| here(text(argument))).collect();
    let output = script(
        workspace,
        &format!(
            "mkdir -p source/bin mirror opt; printf '#!/bin/sh\necho from the volume\n' > source/bin/app
            chmod 755 source/bin/app; sleep 1.2
            mount --bind mirror mirror; mount --make-private mirror; mount --make-shared mirror
            unshare --mount --propagation unchanged bin/compat {} > version & sidecar=$!
            n=0; until bin/compat gen -o /dev/null mirror/software/bin/app 2> /dev/null; do
                [ $((n += 1)) -le 100 ]; sleep 0.1
            done
            unshare --mount --propagation unchanged sh -euc '
                mount --rbind mirror opt; mount --make-rslave opt
                setpriv --reuid=daemon --regid=daemon --clear-groups opt/software/bin/app
                awk \"/fuse.compat/ {{ n++ }} END {{ print n }}\" /proc/self/mountinfo'
            kill $sidecar; wait $sidecar; echo $?; ls mirror; grep -c fuse.compat /proc/self/mountinfo || :",
            arguments.join(" ")
        ),
    );
    assert_eq!(output, "from the volume\n2\n0\n0\n");
}
