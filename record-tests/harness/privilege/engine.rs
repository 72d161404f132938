//! A container engine of our own, without a network, and an image that has nothing but what is mounted into it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::world::terminate;
use crate::harness::recorder::{COMPAT, assert_code, finish, wait_until};

/// The image's name.
const IMAGE: &str = "compat-tests:privilege";

/// A root whose programs are the host's.
const ROOT: &str = "mkdir usr tmp proc dev sys run etc root; ln -s usr/bin usr/sbin usr/lib usr/lib64 .; tar -cf ../root.tar .";

/// The engine; it ends with this.
pub struct Engine {
    process: Child,
    /// A path elsewhere would be too long for its sockets.
    state: tempfile::TempDir,
}

impl Engine {
    /// Starts the engine and makes the image.
    pub fn start() -> Self {
        let state = tempfile::Builder::new().prefix("ce-").tempdir().expect("a directory");
        let at = |name: &str| state.path().join(name);
        let said = std::fs::File::create(at("said")).expect("a file");
        let mut command = Command::new("dockerd");
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "-H", &socket(state.path())]);
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        command
            .arg("--pidfile")
            .arg(at("engine.pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        let process = command.spawn().expect("the engine starts");
        let engine = Self { process, state };
        wait_until("the engine's first answer", || {
            let output = engine.docker(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            output.is_ok_and(|status| status.success())
        });
        engine.make_image();
        engine
    }

    fn make_image(&self) {
        let folder = self.state.path().join("root");
        std::fs::create_dir(&folder).expect("a directory");
        let mut make = Command::new("sh");
        make.args(["-ec", ROOT]).current_dir(&folder);
        assert_code(&finish(make, b""), 0);
        let archive = self.state.path().join("root.tar");
        assert_code(&finish(self.docker(&["import", &archive.display().to_string(), IMAGE]), b""), 0);
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", socket(self.state.path())).args(arguments);
        command
    }

    /// Records a command in a container that has this directory, by the command line of the documentation.
    pub fn record(&self, folder: &Path) -> Command {
        let place = folder.display();
        let mut command = self.docker(&["run", "--rm", "-i", "--network=none", "--device", "/dev/fuse"]);
        command.args([
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "apparmor=unconfined",
            "-v",
            "/usr:/usr:ro",
        ]);
        command.args(["-v", &format!("{COMPAT}:/compat:ro"), "-v", &format!("{place}:{place}"), IMAGE]);
        command.args(["/compat", "record", "-q", "-o", &format!("{place}/run.jsonl"), "--"]);
        command
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        terminate(&mut self.process);
        // An engine that was killed leaves something mounted, which would keep the directory from being removed.
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = table.lines().filter_map(|line| line.split_whitespace().nth(1));
        let mut below: Vec<&str> =
            places.filter(|place| Path::new(place).starts_with(self.state.path())).collect();
        below.reverse();
        for place in below {
            let _ = Command::new("umount").arg("--lazy").arg(place).status();
        }
    }
}

fn socket(state: &Path) -> String {
    format!("unix://{}", state.join("engine.sock").display())
}
