//! The meeting point of a node's ranks: a directory of their user that nobody else can enter or hold.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::case::{Case, case};
use crate::harness::launcher::{Variables, hydra, pmix, rank};
use crate::harness::recorder::{COMPAT, assert_code, finish, wait_until};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("meeting::ranks_meet_in_the_given_directory", &[], named),
        case("meeting::a_directory_of_another_user_is_refused", &["setpriv"], squatted),
        case("meeting::the_socket_of_a_killed_lead_is_replaced", &[], stale),
        case("meeting::another_user_is_refused", &["setpriv", "python3"], foreign),
        case("meeting::the_user_without_a_number_is_refused", &["setpriv"], overflow),
    ]
}

/// Returns a rank of a job of two, which meets the other in `sockets`.
fn one(directory: &Path, variables: Variables, number: u32, sockets: &Path, script: &str) -> Command {
    let whole = rank(directory, "meeting", &variables(number, 2), script);
    let mut command = Command::new(COMPAT);
    command.args(["record", "--mpi-dir"]).arg(sockets).args(whole.get_args().skip(1));
    command.current_dir(directory).envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Runs both ranks of a job and returns their outputs.
fn both(directory: &Path, variables: Variables, sockets: &Path, script: &str) -> [Output; 2] {
    let guest = one(directory, variables, 1, sockets, script);
    let guest = std::thread::spawn(move || finish(guest, b""));
    let lead = finish(one(directory, variables, 0, sockets, script), b"");
    [lead, guest.join().expect("the process ends")]
}

fn count(sockets: &Path) -> usize {
    fs::read_dir(sockets).map_or(0, Iterator::count)
}

fn named(directory: &Path) {
    // The path is longer than the maximum address of a socket.
    let sockets = directory.join("d".repeat(200));
    for variables in [hydra as Variables, pmix] {
        for output in both(directory, variables, &sockets, "exit 7") {
            assert_code(&output, 7);
        }
        let mode = fs::metadata(&sockets).expect("the directory was created").permissions().mode();
        assert_eq!((mode & 0o7777, count(&sockets)), (0o700, 0));
    }
}

fn squatted(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    let program = directory.join("compat");
    fs::copy(COMPAT, &program).expect("a copy that the user may execute");
    // The directory that is created if the system has none for this user.
    let sockets = PathBuf::from("/tmp/compat-4321");
    let _ = fs::remove_dir(&sockets);
    fs::DirBuilder::new().mode(0o700).create(&sockets).expect("a directory");
    chown(&sockets, Some(1234), None).expect("this user owns the directory");
    let mut ends = Vec::new();
    for number in [0, 1] {
        let mut run = Command::new("setpriv");
        run.args(["--reuid=4321", "--regid=4321", "--clear-groups"]).arg(&program);
        run.args(["record", "--mpi", "-o", "run.jsonl", "--", "sh", "-c", "echo > run"])
            .current_dir(directory);
        run.envs(hydra(number, 2)).env("PMI_JOBID", "squatted").env_remove("XDG_RUNTIME_DIR");
        ends.push(finish(run, b""));
    }
    let left = count(&sockets);
    fs::remove_dir(&sockets).expect("this user owns the directory");
    for output in ends {
        assert_code(&output, 3);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let what =
            "the ranks of this node cannot meet in /tmp/compat-4321: it belongs to another user (1234)";
        assert!(text.contains(what) && text.contains("--mpi-dir"), "{text}");
    }
    assert!(left == 0 && !directory.join("run").exists());
}

fn stale(directory: &Path) {
    let sockets = directory.join("meet");
    let script = "echo > ready; exec sleep 600";
    let mut lead = one(directory, hydra, 0, &sockets, script).spawn().expect("the program starts");
    wait_until("the command", || directory.join("ready").exists());
    kill_process(Pid::from_child(&lead), Signal::KILL).expect("the process exists");
    lead.wait().expect("the process has ended");
    assert_eq!(count(&sockets), 2, "a socket and its lock");
    for output in both(directory, hydra, &sockets, "exit 5") {
        assert_code(&output, 5);
    }
    assert_eq!(count(&sockets), 0);
}

fn foreign(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    let sockets = directory.join("meet");
    let script = "echo > ready; until [ -e done ]; do sleep 0.02; done; exit 5";
    let lead = one(directory, pmix, 0, &sockets, script).spawn().expect("the program starts");
    wait_until("the command", || directory.join("ready").exists());
    let socket = fs::read_dir(&sockets).expect("a directory").flatten().map(|entry| entry.path());
    let socket = socket.into_iter().find(|path| path.extension().is_none()).expect("a socket");
    let come = "import socket, sys
try:
    lead = socket.socket(socket.AF_UNIX)
    lead.connect(sys.argv[1])
    try: lead.send(bytes(4))
    except BrokenPipeError: pass # It has answered already.
    data, keys, _, _ = socket.recv_fds(lead, 1, 3)
    print(data, len(keys))
except OSError as error: print(error.strerror)";
    let come = |user: &[&str]| {
        let mut run = Command::new("setpriv");
        // A Python that everybody may execute.
        run.args(user).args(["/usr/bin/python3", "-c", come]).arg(&socket);
        String::from_utf8_lossy(&finish(run, b"").stdout).into_owned()
    };
    let user = ["--reuid=1234", "--regid=1235", "--clear-groups"];
    let before = come(&user);
    // Only root can open it. Even then the lead checks each process that connects.
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o755)).expect("this user owns the directory");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("this user owns the file");
    let open = come(&user);
    fs::write(directory.join("done"), "").expect("a file");
    assert_code(&lead.wait_with_output().expect("the process ends"), 5);
    assert_eq!((&*before, &*open), ("Permission denied\n", "b'x' 0\n"));
}

fn overflow(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    let program = directory.join("compat");
    fs::copy(COMPAT, &program).expect("a copy that the user may execute");
    let user = fs::read_to_string("/proc/sys/kernel/overflowuid").expect("a number").trim().to_owned();
    for number in [0, 1] {
        let mut run = Command::new("setpriv");
        run.args([&format!("--reuid={user}"), "--regid=1235", "--clear-groups"]).arg(&program);
        run.args(["record", "--mpi", "--mpi-dir", "meet", "-o", "run.jsonl", "--", "true"])
            .current_dir(directory);
        run.envs(hydra(number, 2)).env("PMI_JOBID", "overflow");
        let output = finish(run, b"");
        assert_code(&output, 3);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            text.contains(&format!("user {user} cannot meet other ranks: this number also stands")),
            "{text}"
        );
    }
    assert!(!directory.join("meet").exists());
}
