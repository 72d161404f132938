//! The mirror in reach of others: mounted at a directory, or waiting to be entered.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use compat_trace::EventKind;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, descendants, finish, log, wait_until};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("place::others_reach_the_mirror_and_are_recorded", &["chroot"], reached),
        case("place::an_existing_directory_stays", &[], stays),
        case("place::a_directory_in_use_is_refused", &[], refused),
        case("place::any_killed_process_leaves_nothing_there", &[], killed),
        case("place::a_mirror_waits_to_be_entered_until_a_signal", &["nsenter", "chroot"], waits),
        case(
            "place::an_ordinary_user_enters_and_mounts_nowhere_else",
            &["setpriv", "unshare", "nsenter"],
            user,
        ),
        case("place::processes_inside_at_the_end_are_reported_and_killed", &["nsenter", "chroot"], inside),
        case("place::processes_inside_end_with_a_killed_server", &["chroot"], without_server),
        case("place::processes_outside_are_not_killed_without_a_mirror", &["unshare", "mount"], bystanders),
        case("place::the_mirror_of_another_run_is_not_unmounted", &["unshare", "mount"], anothers),
        case("place::a_mirror_is_unmounted_after_a_rename_of_its_directory", &["unshare", "mount"], renamed),
        case(
            "place::the_reason_of_a_failed_start_is_printed_if_a_mirror_remains",
            &["unshare", "mount", "python3"],
            left,
        ),
    ]
}

/// The mount point of the mirror. The name shows other cases that it is not theirs.
fn place(directory: &Path) -> PathBuf {
    directory.join("compat-mirror")
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(COMPAT);
    command.args(["record", "-o"]).arg(log(directory)).args(arguments).current_dir(directory);
    command.env("COMPAT_RECORD_TEST", "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(directory: &Path, script: &str) -> Child {
    let place = place(directory);
    let place = place.to_str().expect("text");
    command(directory, &["--mount-path", place, "--", "sh", "-c", script])
        .spawn()
        .expect("the program starts")
}

/// Returns the mounts at and below a directory in this namespace.
fn mounted(place: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    let place = place.display().to_string();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned));
    places.filter(|other| *other == place || other.starts_with(&format!("{place}/"))).collect()
}

fn signal(process: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(process as i32) {
        let _ = kill_process(pid, signal);
    }
}

/// Runs until the case creates `done`.
const UNTIL_DONE: &str = "echo > ready; while [ ! -e done ]; do sleep 0.02; done; exit 4";

/// Returns the mounts of the kernel's file systems, which are bound into the mirror.
fn kernels() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    let own = |line: &&str| {
        !line.contains("compat-mirror")
            && [" /proc", " /dev", " /sys"].iter().any(|place| line.contains(place))
    };
    table.lines().filter(own).map(str::to_owned).collect()
}

fn reached(directory: &Path) {
    let before = kernels();
    let place = place(directory);
    let child = start(directory, UNTIL_DONE);
    wait_until("the command", || directory.join("ready").exists());
    fs::write(directory.join("seen"), "by others").expect("a file");
    let inner = place.join(directory.strip_prefix("/").expect("an absolute path"));
    assert_eq!(fs::read_to_string(inner.join("seen")).expect("the file is visible"), "by others");
    fs::write(inner.join("made"), "there").expect("the file can be written");
    assert_eq!(fs::read_to_string(directory.join("made")).expect("the file exists outside"), "there");
    let mut chroot = Command::new("chroot");
    chroot.arg(&place).args(["sh", "-c", "cat /proc/self/comm; ls /dev/null"]);
    let output = finish(chroot, b"");
    assert_code(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "cat\n/dev/null\n");
    assert!(mounted(&place).len() > 3, "{:?}", mounted(&place));
    fs::write(directory.join("done"), "").expect("a file");
    assert_code(&child.wait_with_output().expect("the process ends"), 4);
    assert_eq!(mounted(&place), Vec::<String>::new());
    assert!(!place.exists(), "the directory was created for the run");
    assert_eq!(kernels(), before, "other mounts were changed");
    let recording = read(&log(directory));
    let own = std::process::id();
    let opened = recording.events.iter().any(|event| {
        event.event == EventKind::Open
            && event.pid == own
            && event.path.0 == directory.join("seen").as_os_str().as_encoded_bytes()
    });
    assert!(opened, "the open by this process is not recorded");
}

fn stays(directory: &Path) {
    fs::create_dir(place(directory)).expect("a directory");
    assert_code(&start(directory, "exit 9").wait_with_output().expect("the process ends"), 9);
    assert!(place(directory).is_dir() && mounted(&place(directory)).is_empty());
}

fn refused(directory: &Path) {
    fs::create_dir(place(directory)).expect("a directory");
    fs::write(place(directory).join("kept"), "kept").expect("a file");
    let output = start(directory, "echo > run").wait_with_output().expect("the process ends");
    assert_code(&output, 3);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("could not mount the mirror at") && text.contains("not empty"), "{text}");
    assert!(text.contains("use an empty directory"), "{text}");
    assert!(!directory.join("run").exists() && !log(directory).exists());
    assert_eq!(fs::read_to_string(place(directory).join("kept")).expect("the file stays"), "kept");
}

fn killed(directory: &Path) {
    let place = place(directory);
    let arguments =
        ["--mount-path", "compat-mirror", "--", "sh", "-c", "while :; do cat /etc/passwd > copy; done"];
    for round in 0..12_u64 {
        let mut run = command(directory, &arguments);
        let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        std::thread::sleep(Duration::from_millis(round * 37 % 300));
        let inside = descendants(&child);
        // The first child is the server. The second becomes the command.
        let who = [Some(child.id()), inside.first().copied(), inside.get(1).copied()][round as usize % 3];
        let reader = fs::read_dir(&place);
        signal(who.unwrap_or(child.id()), Signal::KILL);
        if round % 3 == 2 {
            signal(child.id(), Signal::TERM);
        }
        let _ = child.wait();
        wait_until("the end of all mounts", || mounted(&place).is_empty());
        // A run that is killed before its server starts cannot remove its directory. The next run accepts an
        // empty one.
        wait_until("the removal of the directory", || !place.exists() || fs::remove_dir(&place).is_ok());
        drop(reader);
    }
}

/// Starts a mirror that waits. Returns the process and the directory through which it is entered.
fn waiting(directory: &Path) -> (Child, String, PathBuf) {
    let mut child = command(directory, &["--mount"]).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (Some(Ok(enter)), Some(Ok(chroot))) = (lines.next(), lines.next()) else {
        let output = child.wait_with_output().expect("the process ends");
        panic!("{output:?}");
    };
    let word = |line: &str, number: usize| line.split(' ').nth(number).expect("a word").to_owned();
    (child, word(&enter, 2), word(&chroot, 1).into())
}

fn waits(directory: &Path) {
    for end in [Signal::TERM, Signal::INT] {
        let (child, process, place) = waiting(directory);
        let mut nsenter = Command::new("nsenter");
        nsenter.args([
            "--target",
            &process,
            "--mount",
            "--root",
            "--wd",
            "sh",
            "-c",
            "pwd; echo > by-nsenter",
        ]);
        let output = finish(nsenter, b"");
        assert_code(&output, 0);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", directory.display()));
        let mut chroot = Command::new("chroot");
        chroot.arg(&place).args(["sh", "-c", &format!("cd {}; echo > by-chroot", directory.display())]);
        assert_code(&finish(chroot, b""), 0);
        signal(child.id(), end);
        let output = child.wait_with_output().expect("the process ends");
        assert_code(&output, 0);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(mounted(&place), Vec::<String>::new());
        assert!(!place.exists(), "{:?}", fs::read_dir(&place));
        let recording = read(&log(directory));
        assert_eq!((recording.end.end.as_str(), recording.end.code), ("exited", Some(0)));
        let made = recording.paths(&[EventKind::Create], |_| true);
        let at = |name: &str| directory.join(name).display().to_string();
        assert!(made.contains(&at("by-nsenter")) && made.contains(&at("by-chroot")), "{made:?}");
        let by = recording.events.iter().filter(|event| event.path.text().ends_with("/by-chroot"));
        let shell = fs::canonicalize("/bin/sh").expect("a shell").display().to_string();
        let by: Vec<String> = by.map(|event| event.exe.text().into_owned()).collect();
        assert!(!by.is_empty() && by.iter().all(|exe| *exe == shell), "{by:?}");
        fs::remove_file(directory.join("by-nsenter"))
            .and(fs::remove_file(directory.join("by-chroot")))
            .expect("ours");
    }
}

fn inside(directory: &Path) {
    let (child, process, place) = waiting(directory);
    let script = "trap 'echo asked > asked; exit' TERM; echo > ready; while :; do sleep 0.05; done";
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &process, "--mount", "--root", "--wd", "sh", "-c", script]);
    let mut nsenter = nsenter.spawn().expect("the program starts");
    let mut chroot =
        Command::new("chroot").arg(&place).args(["sleep", "600"]).spawn().expect("the program starts");
    wait_until("the one inside", || directory.join("ready").exists());
    let root = format!("/proc/{}/root", chroot.id());
    wait_until("the other one", || fs::read_link(&root).is_ok_and(|root| root == place));
    signal(child.id(), Signal::TERM);
    let output = child.wait_with_output().expect("the process ends");
    assert_code(&output, 0);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("sent SIGTERM to processes that are still in the mirror")
            && text.contains(&nsenter.id().to_string()),
        "{text}"
    );
    assert!(text.contains(&chroot.id().to_string()), "{text}");
    nsenter.wait().expect("the process has ended");
    assert_eq!(chroot.wait().expect("the process has ended").code(), None, "a signal killed it");
    assert!(directory.join("asked").exists(), "it received SIGTERM before it was killed");
    assert_eq!(mounted(&place), Vec::<String>::new());
    assert!(!place.exists());
    assert_eq!(read(&log(directory)).end.end, "exited");
}

fn without_server(directory: &Path) {
    let place = place(directory);
    let child = start(directory, UNTIL_DONE);
    wait_until("the command", || directory.join("ready").exists());
    // While it waits, it needs nothing from the mirror.
    let script = format!("cd {}; echo > waits; read line", directory.display());
    let mut chroot = Command::new("chroot");
    chroot.arg(&place).args(["sh", "-c", &script]).stdin(Stdio::piped());
    let mut chroot = chroot.spawn().expect("the program starts");
    wait_until("the other one", || directory.join("waits").exists());
    // The first child is the server.
    signal(descendants(&child)[0], Signal::KILL);
    assert_code(&child.wait_with_output().expect("the process ends"), 3);
    let ended = chroot.try_wait().expect("a child");
    let _ = chroot.kill();
    assert!(ended.is_some_and(|status| status.code().is_none()), "a signal killed it: {ended:?}");
    assert_eq!(mounted(&place), Vec::<String>::new());
    assert!(!place.exists());
    assert_eq!(read(&log(directory)).end.end, "server killed");
}

fn user(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    fs::copy(COMPAT, directory.join("compat")).expect("a copy that the user may execute");
    // A device that this user may open. Only these processes see it.
    let script = "mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse
        exec setpriv --reuid=1234 --regid=1235 --clear-groups sh -c '
            ./compat record -o refused.jsonl --mount-path here -- true; echo $?
            ./compat record -o run.jsonl --mount > how & process=$!
            while ! [ -s how ]; do sleep 0.02; done
            $(sed \"s/COMMAND//\" how) sh -c \"cd $PWD; id -u; echo > by-user\"
            kill $process; wait $process; echo $?'";
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", script]).current_dir(directory);
    let output = finish(run, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3\n1234\n0\n", "{said}");
    assert!(said.contains("not permitted to mount the mirror at here"), "{said}");
    assert!(!directory.join("here").exists() && !directory.join("refused.jsonl").exists());
    let made = read(&log(directory)).paths(&[EventKind::Create], |_| true);
    assert!(made.contains(&directory.join("by-user").display().to_string()), "{made:?}");
}

/// Runs a script in separate process and mount namespaces, which confines processes killed and mounts removed
/// by mistake.
fn apart(directory: &Path, script: &str) -> (String, String) {
    let mut run = Command::new("unshare");
    let script = format!(
        "mount --make-rprivate /
        wait_for() {{ n=0; until \"$@\" || [ $((n += 1)) -gt 500 ]; do sleep 0.02; done; }}
        {script}"
    );
    run.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script]).current_dir(directory);
    let output = finish(run, b"");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn bystanders(directory: &Path) {
    // The mirror was unmounted by somebody, or it cannot be mounted.
    let unmounted = "wait_for test -e ready; umount --lazy compat-mirror; echo > done;";
    for (before, after, expected) in
        [("", unmounted, "0\nalive\n"), ("mount --bind /dev/null /dev/fuse;", "", "3\nalive\n")]
    {
        let script = format!(
            "{before} sleep 300 & bystander=$!
            setsid {COMPAT} record --mount-path compat-mirror -o run.jsonl -- sh -c '
                echo > ready; until [ -e done ]; do sleep 0.02; done' & run=$!
            {after} wait $run; echo $?; kill -0 $bystander && echo alive"
        );
        let (told, said) = apart(directory, &script);
        assert_eq!(told, expected, "{said}");
    }
    assert_eq!(mounted(&place(directory)), Vec::<String>::new());
}

fn anothers(directory: &Path) {
    let run = |name: &str| {
        format!(
            "{COMPAT} record --mount-path compat-mirror -o {name}.jsonl -- sh -c '
                echo > ready-{name}; until [ -e done-{name} ]; do sleep 0.02; done' & {name}=$!
            wait_for test -e ready-{name}"
        )
    };
    let (one, other) = (run("one"), run("other"));
    let script = format!(
        "mkdir compat-mirror; {one}; umount --lazy compat-mirror; {other}
        echo > done-one; wait $one; echo $?; grep -c \" $PWD/compat-mirror \" /proc/self/mountinfo
        chroot compat-mirror true; echo $?
        echo > done-other; wait $other; echo $?; grep -c \" $PWD/compat-mirror \" /proc/self/mountinfo; ls -d compat-mirror"
    );
    let (told, said) = apart(directory, &script);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 6 && lines[1] != "0", "the other mirror is still mounted: {told}{said}");
    assert_eq!((lines[0], &lines[2..]), ("0", &["0", "0", "0", "compat-mirror"][..]), "{told}{said}");
}

fn renamed(directory: &Path) {
    let script = format!(
        "mkdir -p one trap/compat-mirror; mount -t tmpfs memory trap/compat-mirror
        {COMPAT} record --mount-path one/compat-mirror -o run.jsonl -- sh -c '
            echo > ready; until [ -e done ]; do sleep 0.02; done' & run=$!
        wait_for test -e ready; mv one two; ln -s trap one; ls -d two/compat-mirror/etc
        echo > done; wait $run; echo $?
        grep -c \" $PWD/two/compat-mirror\" /proc/self/mountinfo
        grep -c \" $PWD/trap/compat-mirror\" /proc/self/mountinfo; ls two"
    );
    let (told, said) = apart(directory, &script);
    assert_eq!(told, "two/compat-mirror/etc\n0\n0\n1\n", "{said}");
}

fn left(directory: &Path) {
    fs::write(directory.join("hung_up.py"), include_str!("../fixtures/hung_up.py")).expect("a file");
    let (told, said) = apart(directory, &format!("python3 hung_up.py {COMPAT} record"));
    assert_eq!(told, "3\n", "{said}");
    assert!(said.contains("could not write /dev/pts/") && !said.contains("could not unmount"), "{said}");
}
