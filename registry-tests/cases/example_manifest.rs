//! The manifests for Kubernetes: their consistency, and the exact arguments of their containers. No cluster
//! runs here, so the behaviour of a kubelet is not tested.

use serde_json::Value;

use crate::harness::case::{CC, DOCKER_REGISTRY};
use crate::harness::compat::Output;
use crate::harness::example::{Program, text, yaml};
use crate::harness::image::Place;
use crate::harness::{Case, Kind, Registry, Workspace};

const DEPLOYMENT: &str = "examples/kubernetes/init-container.yaml";
const JOB: &str = "examples/kubernetes/job.yaml";

/// The image that both manifests check.
const APPLICATION: &str = "registry.example/org/app:1.0";

pub fn cases() -> Vec<Case> {
    let servers = &[CC, DOCKER_REGISTRY];
    vec![
        Case::new("example::the_manifests_for_kubernetes_are_consistent", &[], consistent),
        Case::new("example::the_init_container_checks_the_image_of_its_pod", &[], same_image),
        Case::new("example::the_job_fails_at_once_only_if_a_retry_is_useless", &[], failure_policy),
        Case::new("example::the_arguments_of_the_containers_are_understood", servers, arguments),
    ]
}

fn pod(manifest: &Value) -> &Value {
    &manifest["spec"]["template"]["spec"]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns the container that runs compat.
fn compat_of(manifest: &Value) -> &Value {
    let pod = pod(manifest);
    let mut all = list(&pod["initContainers"]).iter().chain(list(&pod["containers"]));
    all.find(|container| container["name"] == "compat").expect("a container runs compat")
}

/// Asserts that an object has only these keys of the Kubernetes API.
fn has_only(value: &Value, keys: &[&str]) {
    for key in value.as_object().expect("an object").keys() {
        assert!(keys.contains(&key.as_str()), "{key} is not one of {keys:?}");
    }
}

fn consistent(_: &Workspace) {
    for (name, version, kind) in [(DEPLOYMENT, "apps/v1", "Deployment"), (JOB, "batch/v1", "Job")] {
        let manifest = yaml(name);
        has_only(&manifest, &["apiVersion", "kind", "metadata", "spec"]);
        assert_eq!((text(&manifest["apiVersion"]), text(&manifest["kind"])), (version, kind));
        let pod = pod(&manifest);
        let pod_keys = [
            "automountServiceAccountToken",
            "imagePullSecrets",
            "initContainers",
            "containers",
            "volumes",
            "restartPolicy",
            "nodeSelector",
            "tolerations",
        ];
        has_only(pod, &pod_keys);
        let volumes: Vec<&str> = list(&pod["volumes"]).iter().map(|volume| text(&volume["name"])).collect();
        let mut mounted = Vec::new();
        for container in list(&pod["initContainers"]).iter().chain(list(&pod["containers"])) {
            let keys = ["name", "image", "args", "resources", "securityContext", "volumeMounts"];
            has_only(container, &keys);
            mounted.extend(list(&container["volumeMounts"]).iter().map(|mount| text(&mount["name"])));
        }
        assert_eq!(mounted, volumes, "{name}: each volume is mounted, and nothing else is");
        mounts_hold_the_arguments(&manifest);
        let secret = text(&list(&pod["imagePullSecrets"])[0]["name"]);
        let credentials = list(&pod["volumes"]).iter().find(|volume| volume["name"] == "credentials");
        assert_eq!(credentials.expect("a volume of credentials")["secret"]["secretName"], secret);
        let context = &compat_of(&manifest)["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"][0], "ALL");
    }
    let deployment = yaml(DEPLOYMENT);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
}

/// Asserts that each path in the arguments is in a mounted volume. Volumes that are only read must be mounted
/// read-only.
fn mounts_hold_the_arguments(manifest: &Value) {
    let container = compat_of(manifest);
    for argument in list(&container["args"]).iter().map(text) {
        let Some((option, path)) = argument.split_once('=').filter(|(_, path)| path.starts_with('/')) else {
            continue;
        };
        let mount = list(&container["volumeMounts"])
            .iter()
            .find(|mount| path.starts_with(text(&mount["mountPath"])))
            .unwrap_or_else(|| panic!("{argument} is in no volume"));
        let is_written = option == "--cache-dir";
        assert_eq!(mount["readOnly"] == true, !is_written, "{argument}");
    }
}

fn same_image(_: &Workspace) {
    let manifest = yaml(DEPLOYMENT);
    let args = list(&compat_of(&manifest)["args"]);
    let asked = text(args.last().expect("arguments"));
    assert_eq!(asked, APPLICATION);
    assert_eq!(list(&pod(&manifest)["containers"])[0]["image"], asked);
    let compat = text(&compat_of(&manifest)["image"]);
    assert!(!compat.ends_with(":latest") && compat.contains(":1."), "{compat} names a version");
}

fn failure_policy(_: &Workspace) {
    let manifest = yaml(JOB);
    // A failure policy requires this restart policy.
    assert_eq!(pod(&manifest)["restartPolicy"], "Never");
    let rules = list(&manifest["spec"]["podFailurePolicy"]["rules"]);
    assert_eq!(rules.len(), 1);
    has_only(&rules[0], &["action", "onExitCodes"]);
    assert_eq!(rules[0]["action"], "FailJob");
    let codes = &rules[0]["onExitCodes"];
    assert_eq!(codes["containerName"], compat_of(&manifest)["name"]);
    assert_eq!((text(&codes["operator"]), &codes["values"]), ("In", &serde_json::json!([1, 2])));
}

/// Runs the arguments unchanged, on the machine's root and with the files of the workspace.
fn arguments(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let place = Place::of(&registry, "demo/app");
    let program = Program::new(workspace);
    program.put(&place, "runs");
    program.put_unmet(&place, "unmet");
    for tag in ["runs", "unmet"] {
        workspace.compat(["attach", "--generate", &registry.tagged("demo/app", tag)]).ok();
    }
    workspace.write("credentials/config.json", "{\"auths\": {}}");
    for name in [DEPLOYMENT, JOB] {
        let manifest = yaml(name);
        let run = |tag: &str| -> Output {
            let arguments = list(&compat_of(&manifest)["args"]).iter().map(|argument| {
                text(argument)
                    .replace("=/host", "=/")
                    .replace("=/cache", &format!("={}", workspace.text("pod-cache")))
                    .replace("=/credentials", &format!("={}", workspace.text("credentials")))
                    .replace(APPLICATION, &registry.tagged("demo/app", tag))
            });
            workspace.compat(arguments.collect::<Vec<_>>()).env("COMPAT_RETRIES", "0").run()
        };
        run("runs").exits(0).says("compatible");
        run("unmet").exits(1).says("NVIDIA");
        run("absent").exits(3);
    }
    assert!(workspace.path("pod-cache").is_dir(), "the Deployment has no cache");
}
