//! A mounted share: it behaves as its source, takes its time, and counts.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use compat_harness::case::tool;
use compat_harness::process::{Guard, run, wait_until};
use compat_harness::{Case, Requirement, Suite, Workspace};
use rustix::fs::{CWD, FallocateFlags, RenameFlags, SeekFrom, XattrFlags};
use rustix::io::Errno;
use slow_share::{Counts, Operation, Options, Profile, SlowShare};

const SUITE: Suite = Suite {
    binary: env!("CARGO_BIN_EXE_slow-share"),
    setup: "record-tests/setup",
    kept: env!("CARGO_TARGET_TMPDIR"),
};

fn main() -> ExitCode {
    if let Some(code) = slow_share::serve_if_asked() {
        return code;
    }
    SUITE.run(vec![
        case("a_share_shows_the_attributes_of_its_source_to_the_nanosecond", &[], attributes),
        case("a_new_file_belongs_to_the_user_who_creates_it", &["setpriv"], owners),
        case("each_change_arrives_at_the_source", &[], changes),
        case("errors_are_those_of_the_source", &[], errors),
        case("each_request_is_counted_by_kind_and_path", &[], counted),
        case("the_profile_of_nfs_keeps_names_and_attributes_but_no_misses", &[], nfs),
        case("sleeping_requests_do_not_block_others", &[], concurrent),
        case("a_limit_applies_to_all_callers_together", &[], limited),
        case("pages_are_kept_until_the_file_changes", &[], pages),
        case("a_stopped_share_answers_when_it_continues", &[], stopped),
        case("a_killed_share_is_unmounted", &[], killed),
        case("a_share_that_cannot_mount_names_the_reason", &[], refused),
        case("pjdfstest_has_no_further_failures", &["pjdfstest"], pjdfstest),
        case("fsx_finds_no_fault", &["fsx"], fsx),
        case("a_shell_controls_a_share_by_signals_and_a_socket", &["umount"], controlled),
    ])
}

fn case(name: &'static str, tools: &[&'static str], run: fn(&Workspace)) -> Case {
    let mut requirements = vec![Requirement::Fuse, Requirement::Root];
    requirements.extend(tools.iter().copied().map(Requirement::Tool));
    Case::new(name, &requirements, run)
}

/// Starts a share of `source` at `mount`.
fn start(workspace: &Workspace, change: impl FnOnce(&mut Options)) -> SlowShare {
    let mut options = Options::new(workspace.directory("source"), workspace.directory("mount"));
    change(&mut options);
    SlowShare::start(&options).expect("a share")
}

fn is_mounted(mountpoint: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the table of mounts");
    let place = format!(" {} ", mountpoint.to_str().expect("text"));
    mounts.lines().any(|line| line.contains(&place) && line.contains(" - fuse.slow-share "))
}

/// The tree below a directory: name, number, kind, owner, size, times, target.
fn tree(root: &Path) -> Vec<String> {
    let mut lines = vec![line(root, root)];
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            lines.push(line(root, &entry.path()));
            if entry.file_type().expect("a type").is_dir() {
                open.push(entry.path());
            }
        }
    }
    lines.sort();
    lines
}

fn line(root: &Path, path: &Path) -> String {
    let stat = fs::symlink_metadata(path).expect("attributes");
    let name = path.strip_prefix(root).expect("below").as_os_str().as_bytes().escape_ascii();
    let numbers = (stat.ino(), stat.mode(), stat.uid(), stat.gid(), stat.nlink(), stat.size(), stat.blocks());
    let modified = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
    format!("{name} {numbers:?} {modified:?} {:?} {:?}", stat.rdev(), fs::read_link(path).ok())
}

fn attributes(workspace: &Workspace) {
    workspace.write("source/d/e/file", "content");
    let source = workspace.path("source");
    fs::hard_link(source.join("d/e/file"), source.join("d/other")).expect("a link");
    std::os::unix::fs::symlink("d/other", source.join("link")).expect("a link");
    fs::write(source.join(OsStr::from_bytes(b"caf\xe9")), "").expect("a name of bytes");
    fs::create_dir_all(source.join("many")).expect("a directory");
    (0..1500).for_each(|n| drop(File::create(source.join(format!("many/{n:0>60}"))).expect("a file")));
    let old = File::create(source.join("old")).expect("a file");
    old.set_modified(std::time::SystemTime::UNIX_EPOCH - Duration::from_millis(1500)).expect("a time");
    let share = start(workspace, |_| {});
    assert_eq!(tree(share.mountpoint()), tree(&source));
    assert_eq!(fs::read(share.mountpoint().join("link")).expect("content"), b"content");
}

fn owners(workspace: &Workspace) {
    let source = workspace.directory("source");
    fs::set_permissions(workspace.root(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).expect("a mode");
    workspace.write("source/of_root", "x");
    let group = workspace.directory("source/group");
    std::os::unix::fs::chown(&group, None, Some(77)).expect("an owner");
    fs::set_permissions(&group, fs::Permissions::from_mode(0o2777)).expect("a mode");
    let share = start(workspace, |_| {});
    let script =
        "umask 027; echo a >file; mkdir dir; ln -s x link; mkfifo pipe; echo a >group/file; mkdir group/dir
        touch suid; chmod 4755 suid; ! sh -c 'echo x >of_root' 2>/dev/null; ! chown 0 file 2>/dev/null";
    let mut user = Command::new(tool("setpriv"));
    user.args(["--reuid=1234", "--regid=1235", "--clear-groups", "sh", "-ec", script]);
    run(workspace, user.current_dir(share.mountpoint()));
    let owner = |name: &str| {
        let stat = fs::symlink_metadata(source.join(name)).expect("it was created");
        (stat.uid(), stat.gid(), stat.mode() & 0o7777)
    };
    assert_eq!(owner("file"), (1234, 1235, 0o640));
    assert_eq!(owner("dir"), (1234, 1235, 0o750));
    assert_eq!(owner("link"), (1234, 1235, 0o777));
    assert_eq!(owner("pipe"), (1234, 1235, 0o640));
    assert_eq!(owner("suid"), (1234, 1235, 0o4755));
    assert_eq!(owner("group/file"), (1234, 77, 0o640));
    assert_eq!(owner("group/dir"), (1234, 77, 0o2750));
    assert_eq!(fs::read(source.join("of_root")).expect("content"), b"x");
}

fn changes(workspace: &Workspace) {
    let source = workspace.directory("source");
    let share = start(workspace, |_| {});
    let at = |name: &str| share.mountpoint().join(name);
    fs::write(at("a"), "0123456789").expect("a file");
    let file = File::options().read(true).append(true).open(at("a")).expect("a file");
    (&file).write_all(b"end").expect("an append");
    assert_eq!(fs::read(source.join("a")).expect("content"), b"0123456789end");
    file.set_len(4).expect("a length");
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    file.set_modified(time).expect("a time");
    file.sync_all().expect("a sync");
    assert_eq!(fs::metadata(source.join("a")).expect("attributes").modified().expect("a time"), time);
    fs::write(at("b"), "B").expect("a file");
    rustix::fs::renameat_with(CWD, at("a"), CWD, at("b"), RenameFlags::EXCHANGE).expect("an exchange");
    assert_eq!(fs::read(source.join("b")).expect("content"), b"0123");
    fs::hard_link(at("b"), at("c")).expect("a link");
    fs::remove_file(at("b")).expect("a removal");
    assert_eq!(file.metadata().expect("attributes").nlink(), 1);
    fs::remove_file(at("c")).expect("a removal");
    file.set_len(6).expect("a removed file has a length");
    assert_eq!(file.metadata().expect("attributes").size(), 6);
    rustix::fs::setxattr(at("a"), "user.x", b"y", XattrFlags::CREATE).expect("an attribute");
    let mut value = [0; 9];
    assert_eq!(rustix::fs::getxattr(source.join("a"), "user.x", &mut value), Ok(1));
    rustix::fs::removexattr(at("a"), "user.x").expect("a removal");
    assert_eq!(rustix::fs::listxattr(source.join("a"), &mut value), Ok(0));
    fs::create_dir(at("d")).expect("a directory");
    fs::rename(at("d"), at("e")).expect("a new name");
    fs::remove_dir(at("e")).expect("a removal");
    let sparse = File::create(at("sparse")).expect("a file");
    rustix::fs::fallocate(&sparse, FallocateFlags::empty(), 0, 1 << 20).expect("space");
    sparse.write_all_at(&[1; 4096], 0).expect("data");
    assert_eq!(rustix::fs::seek(&sparse, SeekFrom::Hole(0)), Ok(4096));
    assert_eq!(tree(share.mountpoint()), tree(&source));
}

fn errors(workspace: &Workspace) {
    workspace.write("source/d/file", "x");
    let source = workspace.path("source");
    let share = start(workspace, |_| {});
    let mut value = [0; 9];
    for root in [&source, share.mountpoint()] {
        let at = |name: &str| root.join(name);
        assert_eq!(rustix::fs::getxattr(at("d/file"), "user.x", &mut value), Err(Errno::NODATA));
        assert_eq!(rustix::fs::removexattr(at("d/file"), "user.x"), Err(Errno::NODATA));
        assert_eq!(rustix::fs::lgetxattr(at("d"), "unknown.x", &mut value), Err(Errno::OPNOTSUPP));
        assert_eq!(rustix::fs::rmdir(at("d")), Err(Errno::NOTEMPTY));
        assert_eq!(rustix::fs::unlink(at("no")), Err(Errno::NOENT));
        assert_eq!(rustix::fs::stat(at("d/file/x")).map(drop), Err(Errno::NOTDIR));
        assert_eq!(rustix::fs::stat(at(&"n".repeat(256))).map(drop), Err(Errno::NAMETOOLONG));
        let renamed = rustix::fs::renameat_with(CWD, at("d/file"), CWD, at("d"), RenameFlags::NOREPLACE);
        assert_eq!(renamed, Err(Errno::EXIST));
        assert_eq!(rustix::fs::link(at("d"), at("e")), Err(Errno::PERM));
    }
    drop(share);
    let share = start(workspace, |options| options.read_only = true);
    assert_eq!(rustix::fs::unlink(share.mountpoint().join("d/file")), Err(Errno::ROFS));
}

fn counted(workspace: &Workspace) {
    let content = vec![b'x'; 300_000];
    workspace.write("source/d/file", &content);
    let share = start(workspace, |_| {});
    let file = share.mountpoint().join("d/file");
    share.reset();
    assert_eq!(share.counters(), Counts::default());
    assert_eq!(fs::read(&file).expect("content"), content);
    // The last close is reported after the caller goes on.
    let is_closed = || share.counters().of(Operation::Release) == 1;
    assert!(wait_until(Duration::from_secs(5), is_closed));
    let counts = share.counters();
    for operation in [Operation::Lookup, Operation::Open, Operation::Flush, Operation::Release] {
        assert_eq!(counts.at(operation, "/d/file"), 1, "{operation:?}: {counts:?}");
    }
    assert_eq!((counts.bytes_at("/d/file"), counts.bytes_read), (300_000, 300_000));
    assert_eq!(counts.of(Operation::Lookup), 2);
    share.reset();
    assert!((0..3).all(|_| fs::metadata(share.mountpoint().join("d/no")).is_err()));
    assert!((0..2).all(|_| rustix::fs::getxattr(&file, "user.x", &mut [0; 9]).is_err()));
    assert_eq!(fs::read_dir(share.mountpoint().join("d")).expect("a listing").count(), 1);
    let counts = share.counters();
    assert_eq!((counts.at(Operation::Lookup, "/d/no"), counts.at(Operation::Getxattr, "/d/file")), (3, 2));
    assert_eq!((counts.at(Operation::Opendir, "/d"), counts.at(Operation::Readdir, "/d")), (1, 2));
}

fn nfs(workspace: &Workspace) {
    workspace.write("source/file", "x");
    let share = start(workspace, |options| options.profile = Profile::Nfs);
    share.reset();
    for _ in 0..5 {
        assert!(fs::metadata(share.mountpoint().join("file")).is_ok());
        assert!(fs::metadata(share.mountpoint().join("no")).is_err());
    }
    let counts = share.counters();
    assert_eq!((counts.at(Operation::Lookup, "/file"), counts.at(Operation::Lookup, "/no")), (1, 5));
    assert_eq!(counts.at(Operation::Getattr, "/file"), 0);
}

fn concurrent(workspace: &Workspace) {
    workspace.directory("source");
    let share = start(workspace, |options| options.delay = Duration::from_millis(100));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..48 {
            let path = share.mountpoint().join(number.to_string());
            scope.spawn(move || assert!(fs::metadata(path).is_err()));
        }
    });
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert!(took < Duration::from_millis(1500), "{took:?} for 48 look-ups at once");
    share.set_delay(Duration::ZERO);
    let start = Instant::now();
    assert!(fs::metadata(share.mountpoint().join("no")).is_err());
    assert!(start.elapsed() < Duration::from_millis(90));
}

fn limited(workspace: &Workspace) {
    workspace.directory("source");
    let share = start(workspace, |_| {});
    share.set_limit(200.0);
    share.reset();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..10 {
            let path = share.mountpoint().join(number.to_string());
            scope.spawn(move || (0..10).for_each(|_| assert!(fs::metadata(&path).is_err())));
        }
    });
    let rate = share.counters().asked() as f64 / start.elapsed().as_secs_f64();
    assert!((100.0..215.0).contains(&rate), "{rate} requests a second");
}

fn pages(workspace: &Workspace) {
    let source = workspace.write("source/file", "first");
    std::thread::sleep(Duration::from_millis(300));
    let share = start(workspace, |_| {});
    let file = share.mountpoint().join("file");
    for _ in 0..3 {
        assert_eq!(fs::read(&file).expect("content"), b"first");
    }
    assert_eq!(share.counters().bytes_at("/file"), 5, "the first read is the only one");
    for content in [b"other", b"third", b"4 th."] {
        File::options().write(true).open(&source).and_then(|f| f.write_all_at(content, 0)).expect("a change");
        assert_eq!(fs::read(&file).expect("content"), content);
    }
}

fn stopped(workspace: &Workspace) {
    workspace.write("source/file", "x");
    let share = start(workspace, |_| {});
    share.pause();
    let path = share.mountpoint().join("file");
    let reader = std::thread::spawn(move || fs::read(path));
    std::thread::sleep(Duration::from_millis(200));
    assert!(!reader.is_finished());
    share.resume();
    assert_eq!(reader.join().expect("no panic").expect("content"), b"x");
    share.pause();
    let mountpoint = share.mountpoint().to_path_buf();
    share.stop();
    assert!(!is_mounted(&mountpoint));
}

fn killed(workspace: &Workspace) {
    workspace.write("source/file", "x");
    let share = start(workspace, |_| {});
    let mut open = File::open(share.mountpoint().join("file")).expect("a file");
    let mountpoint = share.mountpoint().to_path_buf();
    assert!(is_mounted(&mountpoint));
    rustix::process::kill_process(share.pid(), rustix::process::Signal::KILL).expect("the share runs");
    drop(share);
    assert!(!is_mounted(&mountpoint));
    let error = open.read(&mut [0; 1]).expect_err("nobody serves it");
    assert_eq!(error.raw_os_error(), Some(Errno::NOTCONN.raw_os_error()));
}

fn refused(workspace: &Workspace) {
    let wrong = Options::new(workspace.path("no"), workspace.directory("mount"));
    let error = SlowShare::start(&wrong).expect_err("no such source").to_string();
    let expected = format!("cannot open the directory {}", workspace.text("no"));
    assert!(error.contains(&expected) && error.contains("No such file"), "{error}");
    assert!(!is_mounted(&wrong.mountpoint));
}

fn controlled(workspace: &Workspace) {
    use rustix::process::{Pid, Signal, kill_process};
    workspace.write("source/file", "x");
    let [mount, socket, counters] = ["mount", "socket", "counters"].map(|name| workspace.path(name));
    fs::create_dir(&mount).expect("a directory");
    let log = workspace.path("share.log");
    let shell =
        format!("echo $$ >pid; exec {} --counters counters --control socket source mount", SUITE.binary);
    let mut share =
        Guard::logged(&log, Command::new("sh").args(["-c", &shell]).current_dir(workspace.root()));
    let second = Duration::from_secs(10);
    assert!(wait_until(second, || is_mounted(&mount) && slow_share::ask(&socket, "get").is_ok()));
    let process: i32 = String::from_utf8_lossy(&workspace.read("pid")).trim().parse().expect("a number");
    let process = Pid::from_raw(process).expect("a process");
    assert_eq!(fs::read(mount.join("file")).expect("content"), b"x");
    let counts = |bytes: &[u8]| serde_json::from_slice::<Counts>(bytes).ok();
    let ask = || counts(slow_share::ask(&socket, "get").expect("an answer").as_bytes()).expect("counts");
    assert_eq!(ask().bytes_read, 1);
    kill_process(process, Signal::USR1).expect("it runs");
    let written = |path: &PathBuf| fs::read(path).ok().and_then(|bytes| counts(&bytes));
    assert!(wait_until(second, || written(&counters).is_some_and(|counts| counts.bytes_read == 1)));
    kill_process(process, Signal::USR2).expect("it runs");
    assert!(wait_until(second, || ask().bytes_read == 0));
    run(workspace, Command::new(tool("umount")).arg(&mount));
    assert!(wait_until(second, || !share.alive()), "it ends when it is unmounted");
    assert!(!socket.exists());
    assert_eq!(written(&counters).map(|counts| counts.bytes_read), Some(0));
}

/// The settings of pjdfstest: features of Linux, and users of every system.
const SETTINGS: &str = r#"
[features.posix_fallocate]
[features.rename_ctime]
[features.utimensat]
[features.utime_now]
[settings]
naptime = 0.1
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["bin", "bin"]]
"#;

fn pjdfstest(workspace: &Workspace) {
    fs::set_permissions(workspace.root(), fs::Permissions::from_mode(0o755)).expect("a mode");
    workspace.write("settings.toml", SETTINGS);
    workspace.directory("native");
    let _share = start(workspace, |_| {});
    let failures = |place: &str| {
        let mut suite = Command::new(tool("pjdfstest"));
        suite.args(["-c", "settings.toml", "-p", place]).current_dir(workspace.root());
        let output = compat_harness::process::finish(&mut suite, None, Duration::from_secs(300));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let outcomes: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(outcomes.iter().filter(|words| words.get(1) == Some(&"ok")).count() > 300, "{text}");
        let failed = outcomes.iter().filter(|words| words.get(1) == Some(&"FAILED"));
        failed.map(|words| words[0].to_owned()).collect::<Vec<String>>()
    };
    assert_eq!(failures("mount"), failures("native"));
}

fn fsx(workspace: &Workspace) {
    let share = start(workspace, |_| {});
    let mut suite = Command::new(tool("fsx"));
    run(workspace, suite.args(["-N", "3000"]).arg(share.mountpoint().join("file")));
}
