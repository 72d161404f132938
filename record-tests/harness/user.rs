//! The recorder as started by an unprivileged user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::recorder::{COMPAT, finish, words};

/// The arguments of setpriv(1) for that user.
pub const USER: [&str; 3] = ["--reuid=1234", "--regid=1235", "--clear-groups"];

/// Records a command as an unprivileged user. `mode` is the mode of `/dev/fuse`, which everybody may open on
/// most systems.
pub fn as_user(directory: &Path, mode: &str, arguments: &[&str]) -> Output {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    fs::copy(COMPAT, directory.join("compat")).expect("a copy that anybody may execute");
    let [user, group, groups] = USER;
    let outer = format!(
        "mknod fuse c 10 229; chmod {mode} fuse; mount --bind fuse /dev/fuse
        exec setpriv {user} {group} {groups} --no-new-privs ./compat {} -- \"$@\"",
        words("run.jsonl".as_ref()).join(" ")
    );
    let mut run = Command::new("unshare");
    run.args(["-m", "sh", "-c", &outer, "sh"]).args(arguments).current_dir(directory);
    finish(run, b"")
}
