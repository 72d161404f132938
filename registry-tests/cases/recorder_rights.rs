//! Messages of the recorder in a container without the necessary rights or resources.

use crate::harness::case::{DOCKER, DOCKERD};
use crate::harness::compat::BINARY;
use crate::harness::docker::Docker;
use crate::harness::{Case, Requirement, Workspace, root};

const ENGINE: &[Requirement] = &[DOCKER, DOCKERD, Requirement::Tool("busybox"), Requirement::Root];

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("recorder_rights::the_capability_that_is_missing_is_named", ENGINE, capability),
        Case::new("recorder_rights::a_limit_of_processes_is_named", ENGINE, processes),
        Case::new("recorder_rights::a_mirror_that_only_root_can_use_says_so", ENGINE, others),
    ]
}

/// Runs a recording container with options of docker and of the recorder. Returns the exit code and standard
/// error.
fn record(docker: &Docker<'_>, options: &str, recorder: &str, script: &str) -> (Option<i32>, String) {
    let mount = format!("{BINARY}:/compat:ro");
    let mut arguments = vec!["run", "--rm", "--network=none", "--device=/dev/fuse", "--volume", &mount];
    arguments.extend(options.split_whitespace());
    arguments.extend([
        "compat-tests:rights",
        "/bin/busybox",
        "timeout",
        "20",
        "/compat",
        "record",
        "-o",
        "/log",
    ]);
    arguments.extend(recorder.split_whitespace());
    arguments.extend(["sh", "-c", script].iter().filter(|_| !script.is_empty()));
    let (code, _, said) = docker.exit(&arguments);
    (code, said)
}

fn engine(workspace: &Workspace) -> Docker<'_> {
    let docker = Docker::start(workspace);
    let root = root::busybox(workspace);
    for name in ["busybox", "timeout", "sleep"] {
        let _ = std::fs::hard_link(root.join("bin/sh"), root.join("bin").join(name));
    }
    docker.import("rights", &root);
    docker
}

fn capability(workspace: &Workspace) {
    let docker = engine(workspace);
    let (code, said) = record(&docker, "--cap-drop=ALL --cap-add=SYS_ADMIN", "", "exit 0");
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("the capability SYS_CHROOT is missing") && said.contains("--cap-add SYS_CHROOT"),
        "{said}"
    );
    let (code, said) =
        record(&docker, "--cap-drop=ALL --cap-add=SYS_ADMIN --cap-add=SYS_CHROOT", "", "exit 7");
    assert_eq!((code, said.contains("capab")), (Some(7), false), "{said}");
}

fn processes(workspace: &Workspace) {
    let docker = engine(workspace);
    let (code, said) = record(&docker, "--cap-add=SYS_ADMIN --pids-limit=7", "", "exit 0");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("limit of 7 on processes") && said.contains("--pids-limit"), "{said}");
    let script = "for n in 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n o p q r s t u v w x y z; do sleep 1 & done; wait";
    let (_, said) = record(&docker, "--cap-add=SYS_ADMIN --pids-limit=40", "", script);
    assert!(said.contains("limit of 40 processes and threads was reached"), "{said}");
    let (code, said) = record(&docker, "--cap-add=SYS_ADMIN --pids-limit=200", "", script);
    assert_eq!((code, said.contains("limit")), (Some(0), false), "{said}");
}

fn others(workspace: &Workspace) {
    let docker = engine(workspace);
    let (_, said) = record(&docker, "--cap-drop=SETUID --cap-add=SYS_ADMIN", "--mount", "");
    assert!(said.contains("only root can use the mirror") && said.contains("`--cap-add SETUID`"), "{said}");
    let (_, said) = record(&docker, "--cap-add=SYS_ADMIN", "--mount", "");
    assert!(!said.contains("only root"), "{said}");
}
