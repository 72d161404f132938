//! A separate container engine without a network, and an image that contains only mount points.

use std::path::Path;
use std::process::Command;

use crate::harness::recorder::{COMPAT, assert_code, finish, words};

/// The image's name.
const IMAGE: &str = "compat-tests:privilege";

/// Makes a root that uses the host's programs.
const ROOT: &str = "mkdir usr tmp proc dev sys run etc root; ln -s usr/bin usr/sbin usr/lib usr/lib64 .; tar -cf ../root.tar .";

/// The engine, which stops when this value is dropped.
pub struct Engine {
    engine: compat_harness::docker::Engine,
}

impl Engine {
    /// Starts the engine and makes the image in an empty directory.
    pub fn start(directory: &Path) -> Self {
        let log = directory.with_extension("log");
        let engine = Self { engine: compat_harness::docker::Engine::start(&log) };
        engine.make_image(directory);
        engine
    }

    fn make_image(&self, directory: &Path) {
        let root = directory.join("root");
        std::fs::create_dir_all(&root).expect("a directory");
        let mut make = Command::new("sh");
        make.args(["-ec", ROOT]).current_dir(&root);
        assert_code(&finish(make, b""), 0);
        let archive = directory.join("root.tar").display().to_string();
        assert_code(&finish(self.docker(&["import", &archive, IMAGE]), b""), 0);
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.engine.host()).args(arguments);
        command
    }

    /// Records a command in a container that mounts this directory, with the command line from the
    /// documentation.
    pub fn record(&self, directory: &Path) -> Command {
        let place = directory.display();
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
        command.arg("/compat").args(words(&directory.join("run.jsonl"))).arg("--");
        command
    }
}
