//! The container engine: the running one, or a private one on its own socket, which is stopped and removed
//! afterwards.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Workspace;
use crate::case::tool;
use crate::process::{Guard, exit, outcome, run, wait_until};

/// A private engine without a bridge and firewall rules, so that it does not touch this machine's network.
/// Dropping it stops the engine and unmounts its mounts.
pub struct Engine {
    guard: Guard,
    /// Outside the workspace, because a workspace's path could be too long for its sockets.
    state: tempfile::TempDir,
}

impl Engine {
    /// Starts the engine and waits until it answers. Its output goes to `log`.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn start(log: &Path) -> Self {
        let state = tempfile::Builder::new().prefix("ce-").tempdir().expect("a directory for the engine");
        let at = |name: &str| state.path().join(name);
        let mut command = Command::new(tool("dockerd"));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.arg("-H").arg(socket(state.path()));
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("engine.pid"));
        let mut engine = Self { guard: Guard::logged(log, &mut command), state };
        let mut ended = false;
        let ready = wait_until(Duration::from_secs(60), || {
            ended = !engine.guard.alive();
            ended || engine.answers()
        });
        assert!(ready && !ended, "the container engine does not answer within a minute");
        engine
    }

    /// The engine's address, for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        socket(self.state.path())
    }

    fn answers(&self) -> bool {
        let mut version = Command::new(tool("docker"));
        version.arg("version").env("DOCKER_HOST", self.host());
        version.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.guard.terminate(Duration::from_secs(30));
        unmount_below(self.state.path());
    }
}

fn socket(state: &Path) -> String {
    format!("unix://{}", state.join("engine.sock").display())
}

/// The engine, with the images of one case.
pub struct Docker<'a> {
    workspace: &'a Workspace,
    /// The private engine, if none was running.
    engine: Option<Engine>,
    /// The images that this case created.
    images: RefCell<Vec<String>>,
}

impl<'a> Docker<'a> {
    /// Uses the running engine, or starts one.
    pub fn start(workspace: &'a Workspace) -> Self {
        let mut docker = Self { workspace, engine: None, images: RefCell::default() };
        if !docker.outcome(&["version", "--format", "{{.Server.Version}}"]).0 {
            docker.engine = Some(Engine::start(&workspace.path("dockerd.log")));
        }
        docker
    }

    /// Runs the client and asserts success.
    pub fn run(&self, arguments: &[&str]) -> String {
        run(self.workspace, self.command().args(arguments))
    }

    /// Runs the client. Returns whether it succeeded, and both outputs.
    pub fn outcome(&self, arguments: &[&str]) -> (bool, String, String) {
        outcome(self.workspace, self.command().args(arguments))
    }

    /// Runs the client. Returns its exit code (for `run`, that of the container's command) and both outputs.
    pub fn exit(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        exit(self.workspace, self.command().args(arguments))
    }

    /// The environment variables with which other programs reach the same engine.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.engine.iter().map(|engine| ("DOCKER_HOST", engine.host())).collect()
    }

    /// Creates the image `compat-tests:TAG` from a directory.
    pub fn import(&self, tag: &str, directory: &Path) {
        self.import_with(tag, directory, &[], None);
    }

    /// Creates an image from a directory, with lines of a Dockerfile for its configuration and an optional
    /// platform.
    pub fn import_with(&self, tag: &str, directory: &Path, changes: &[&str], platform: Option<&str>) {
        let archive = self.workspace.text(format!("{tag}.tar"));
        let mut command = Command::new(tool("tar"));
        run(self.workspace, command.arg("-C").arg(directory).args(["-cf", &archive, "."]));
        let image = format!("compat-tests:{tag}");
        let changes = changes.iter().flat_map(|change| ["--change", change]);
        let platform = platform.into_iter().flat_map(|platform| ["--platform", platform]);
        let arguments: Vec<&str> =
            ["import"].into_iter().chain(changes).chain(platform).chain([archive.as_str(), &image]).collect();
        self.build(&image, &arguments);
        fs::remove_file(&archive).expect("the archive of a root");
    }

    /// Runs a client command that creates an image. The image is removed at the end.
    pub fn build(&self, image: &str, arguments: &[&str]) {
        self.images.borrow_mut().push(image.to_owned());
        self.run(arguments);
    }

    /// Pushes an image under another name to a registry of this machine.
    pub fn push(&self, image: &str, reference: &str) {
        self.build(reference, &["tag", image, reference]);
        self.run(&["push", "--quiet", reference]);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(tool("docker"));
        // The classic builder: the other builder is a plugin that few test machines have.
        command.env("DOCKER_BUILDKIT", "0").env("HOME", self.workspace.home());
        command.envs(self.variables());
        command
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        if self.engine.is_none() {
            // No image of the tests remains in the machine's engine.
            for image in self.images.borrow().iter().rev() {
                let _ = self.command().args(["rmi", "--force", image]).output();
            }
        }
    }
}

/// Unmounts the remains of a killed engine, so that its directory can be removed.
fn unmount_below(directory: &Path) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split_whitespace().nth(1));
    let mut below: Vec<&str> = places.filter(|place| Path::new(place).starts_with(directory)).collect();
    below.reverse();
    for place in below {
        let _ = Command::new("umount").arg("--lazy").arg(place).status();
    }
}
