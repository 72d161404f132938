//! A slow share, and commands that run on it through the cache.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use compat_harness::process;
use slow_share::{Counts, Operation, SlowShare};

/// The program under test.
const COMPAT: &str = super::SUITE.binary;

/// The time limit of a command.
const LIMIT: Duration = Duration::from_secs(300);

/// The user of the cases that run without rights.
const USER: &str = "1234";

/// Starts the process of a share in a mount namespace of its own, without the FUSE file systems of other cases. Nobody
/// else sees the share, and the program under test sees no other one.
const ALONE: &str = r#"#!/bin/sh
[ -n "$ALONE" ] || ALONE=1 exec unshare --mount --propagation=private "$0"
awk '$0 ~ / - fuse[. ]/ { print $5 }' /proc/self/mountinfo | while read -r place; do
    umount -l "$place" 2> /dev/null
done
[ -z "MEMORY" ] || mount -t tmpfs memory "MEMORY"
exec "PROGRAM"
"#;

/// Runs a command in the namespace of a share, in this directory. An ordinary user gets a device that it may open.
const ENTER: &str = r#"cd "$1" && user=$2 && shift 2 || exit
[ -z "$user" ] && exec "$@"
if [ ! -e fuse ]; then mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse || exit; fi
exec setpriv --reuid=$user --regid=$user --clear-groups "$@""#;

/// Whether the full size is requested of work that is reduced for the gate (`COMPAT_SPINDLE_FULL=1`).
pub fn is_full_size() -> bool {
    std::env::var_os("COMPAT_SPINDLE_FULL").is_some()
}

/// A share: `source` in the directory of a case, shown in `share`.
pub struct Served {
    directory: PathBuf,
    share: SlowShare,
    user: &'static str,
}

impl Served {
    /// Starts a share whose requests are not preceded by checks of permissions, so that each counter stands for a
    /// question of the mirror. `source` is created if it does not exist.
    pub fn start(directory: &Path) -> Self {
        Self::with(directory, false, |options| options.unchecked = true)
    }

    /// Starts a share whose source is in memory, where no write waits for a disk. Only commands in the namespace of the
    /// share see the source.
    pub fn in_memory(directory: &Path) -> Self {
        Self::with(directory, true, |options| options.unchecked = true)
    }

    /// Starts a share that an ordinary user uses.
    pub fn for_user(directory: &Path) -> Self {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
        fs::copy(COMPAT, directory.join("compat")).expect("a copy that the user may execute");
        let served = Self { user: USER, ..Self::with(directory, false, |_| ()) };
        fs::set_permissions(served.source(), fs::Permissions::from_mode(0o777)).expect("our directory");
        served
    }

    fn with(directory: &Path, in_memory: bool, change: impl FnOnce(&mut slow_share::Options)) -> Self {
        let directory = directory.canonicalize().expect("the directory exists");
        for name in ["source", "share"] {
            fs::create_dir_all(directory.join(name)).expect("our directory");
        }
        let mut options = slow_share::Options::new(directory.join("source"), directory.join("share"));
        change(&mut options);
        let program = directory.join("alone");
        let own = std::env::current_exe().expect("a test has a program");
        let memory = if in_memory { options.source.clone() } else { PathBuf::new() };
        let [own, memory] = [&own, &memory].map(|path| path.to_str().expect("the path is text"));
        let script = ALONE.replace("PROGRAM", own).replace("MEMORY", memory);
        fs::write(&program, script).expect("our directory");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our file");
        let share = SlowShare::start_with(program.as_os_str(), &options).expect("a share");
        Self { directory, share, user: "" }
    }

    /// The directory that the share shows. Its files are changed from outside.
    pub fn source(&self) -> PathBuf {
        self.directory.join("source")
    }

    /// The share.
    pub fn place(&self) -> PathBuf {
        self.directory.join("share")
    }

    /// The default directory of the cache.
    pub fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }

    /// The process and the counters of the share.
    pub fn share(&self) -> &SlowShare {
        &self.share
    }

    /// Returns a command of `compat` in the directory of the case. Sessions are in `sessions`.
    pub fn compat<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.share.pid().as_raw_nonzero()));
        command.args(["sh", "-c", ENTER, "enter"]).arg(&self.directory).arg(self.user);
        command.arg(if self.user.is_empty() { Path::new(COMPAT) } else { Path::new("./compat") });
        command.args(arguments).env("LC_ALL", "C");
        command.env("COMPAT_SESSION_DIR", self.directory.join("sessions"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Returns `compat spindle OPTIONS -- COMMAND`. The default of `--cache-dir` is `cache`.
    pub fn spindle<S: AsRef<OsStr>>(&self, options: &[&str], command: &[S]) -> Command {
        let mut all = vec![OsStr::new("spindle")];
        if !options.contains(&"--cache-dir") {
            all.extend(["--cache-dir", "cache"].map(OsStr::new));
        }
        all.extend(options.iter().map(OsStr::new));
        all.push(OsStr::new("--"));
        all.extend(command.iter().map(AsRef::as_ref));
        self.compat(&all)
    }

    /// Runs a shell script with [`Self::spindle`], which must succeed. Returns its output.
    pub fn run(&self, options: &[&str], script: &str) -> Said {
        succeeded(&mut self.spindle(options, &["sh", "-c", script]))
    }

    /// Runs a Python program (`fixtures`) with [`Self::spindle`], which must succeed. Its arguments begin with the
    /// paths of the share and of its source.
    pub fn python(&self, options: &[&str], program: &str, arguments: &[&str]) -> Said {
        let (place, source) = (self.place(), self.source());
        let mut command: Vec<&OsStr> = ["python3", "-c", program].map(OsStr::new).into();
        command.extend([place.as_os_str(), source.as_os_str()]);
        command.extend(arguments.iter().map(OsStr::new));
        succeeded(&mut self.spindle(options, &command))
    }

    /// Returns the bytes on the disk of the cache, with files that are open and have lost their names.
    pub fn cached_bytes(&self) -> u64 {
        disk_use(&self.cache())
    }
}

/// The output of a command that has succeeded.
#[derive(Debug)]
pub struct Said {
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub error: String,
}

/// Runs a command, which must succeed.
///
/// # Panics
///
/// If it fails or exceeds its time limit.
pub fn succeeded(command: &mut Command) -> Said {
    let output = finished(command);
    let said = said(&output);
    assert!(output.status.success(), "{}\n{}{}", output.status, said.out, said.error);
    said
}

/// Runs a command to its end.
///
/// # Panics
///
/// If it exceeds its time limit.
pub fn finished(command: &mut Command) -> Output {
    process::finish(command, None, LIMIT)
}

/// Returns the output of a command as text.
pub fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&output.stdout), error: text(&output.stderr) }
}

/// The questions about names and attributes. A listing counts once.
pub fn questions(counts: &Counts) -> u64 {
    use Operation as O;
    let asked = [O::Lookup, O::Getattr, O::Readlink, O::Getxattr, O::Listxattr, O::Opendir];
    counts.sum(|operation| asked.contains(&operation))
}

/// All requests for which a client asks its server. The parts of a listing are counted with it.
pub fn requests(counts: &Counts) -> u64 {
    counts.sum(|operation| operation.is_asked() && operation != Operation::Readdir)
}

fn disk_use(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_use(&entry.path()),
        Ok(metadata) => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// A small disk in memory. It shows the bytes of all its files, with those that have lost their names.
pub struct Disk {
    place: PathBuf,
}

impl Disk {
    /// Mounts an empty disk of this size in bytes. A share that starts afterwards has it, too.
    pub fn mount(place: &Path, size: u64) -> Self {
        fs::create_dir_all(place).expect("our directory");
        succeeded(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "disk"])
                .arg(place),
        );
        Self { place: place.to_path_buf() }
    }

    /// Returns the bytes that are in use.
    pub fn used(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.place).expect("a disk");
        (space.f_blocks - space.f_bfree) * space.f_frsize
    }

    /// Forbids all changes, in all namespaces.
    pub fn make_read_only(&self) {
        succeeded(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.place));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.place, rustix::mount::UnmountFlags::DETACH);
    }
}
