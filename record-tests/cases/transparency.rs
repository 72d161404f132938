//! The command sees its environment unchanged: all queries return the same as without the mirror.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{assert_code, command, finish, has_log, log, record};
use crate::harness::recording::read;
use crate::harness::user::as_user;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("transparency::exit_codes_are_the_commands", &[], exit_codes),
        case("transparency::signals_exit_with_128_plus_their_number", &[], signals),
        case("transparency::a_missing_command_exits_127_and_an_unusable_one_126", &[], no_command),
        case("transparency::arguments_input_environment_and_directory_are_kept", &[], surroundings),
        case("transparency::a_relative_directory_is_that_of_the_caller", &[], relative),
        case("transparency::user_groups_limits_and_mask_are_kept", &["setpriv"], identity),
        case("transparency::ignored_signals_stay_ignored", &[], ignored),
        case("transparency::files_belong_to_their_creator", &["setpriv"], ownership),
        case("transparency::a_file_tree_looks_the_same", &["find"], same_tree),
        case("transparency::an_ordinary_user_needs_no_privilege", &["setpriv", "unshare"], ordinary_user),
        case("transparency::without_any_right_the_command_does_not_start", &["setpriv", "unshare"], no_right),
        case("transparency::device_numbers_stay_apart", &["stat"], devices),
        case("transparency::nothing_can_be_written_with_read_only", &[], read_only),
        case("transparency::a_terminal_program_works", &["python3", "bash"], terminal),
    ]
}

fn exit_codes(directory: &Path) {
    for code in [0, 1, 2, 3, 126, 127, 128, 200, 255] {
        assert_code(&record(directory, &["sh", "-c", &format!("exit {code}")]), code);
    }
}

fn signals(directory: &Path) {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("INT", 2), ("HUP", 1), ("USR1", 10)] {
        assert_code(&record(directory, &["sh", "-c", &format!("kill -{name} $$")]), 128 + number);
    }
}

fn no_command(directory: &Path) {
    let output = record(directory, &["there-is-no-such-program"]);
    assert_code(&output, 127);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("could not execute there-is-no-such-program: No such file"), "{text}");
    fs::write(directory.join("text"), "no program").expect("a file");
    assert_code(&record(directory, &["./text"]), 126);
}

fn surroundings(directory: &Path) {
    let script = "import os, sys\n\
        print(sys.argv[1:] == [sys.argv[1], 'a b', ''], os.fsencode(sys.argv[1]))\n\
        print(os.getcwd(), os.environ['COMPAT_TEST'], sys.stdin.read())";
    fs::create_dir(directory.join("in here")).expect("a directory");
    let name = std::ffi::OsStr::from_bytes(b"\xff\n\"x");
    let arguments: Vec<&std::ffi::OsStr> =
        vec!["python3".as_ref(), "-c".as_ref(), script.as_ref(), name, "a b".as_ref(), "".as_ref()];
    let mut run = command(directory, &arguments);
    run.env("COMPAT_TEST", "ä").current_dir(directory.join("in here"));
    let output = finish(run, b"the input");
    assert_code(&output, 0);
    let expected = format!("True b'\\xff\\n\"x'\n{}/in here ä the input\n", directory.display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

fn relative(directory: &Path) {
    fs::create_dir(directory.join("sub")).expect("a directory");
    let ranks = [("OMPI_COMM_WORLD_LOCAL_RANK", "0"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "2")];
    let job = directory.display().to_string();
    let run = |from: &Path, further: &[&str], workdir: &str| {
        let mut run = Command::new(crate::harness::recorder::COMPAT);
        run.args(["record", "-q"]).args(further).arg("-o").arg(log(directory)).args(["--workdir", workdir]);
        run.args(["--", "/bin/pwd"]).current_dir(from).envs(ranks).env("PMIX_NAMESPACE", &job);
        run.env("OMPI_COMM_WORLD_RANK", "0");
        run
    };
    let told = |output: std::process::Output| {
        assert_code(&output, 0);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let sub = directory.join("sub").display().to_string();
    for (from, workdir, expected) in [
        (directory, "sub", &*sub),
        (Path::new("/"), "usr", "/usr"),
        (&directory.join("sub"), "../sub/.", &*sub),
    ] {
        assert_eq!(told(finish(run(from, &[], workdir), b"")), format!("{expected}\n"), "{workdir}");
    }
    assert_eq!(
        read(&log(directory)).header.directory.text(),
        directory.join("sub/../sub").display().to_string()
    );
    let lead = run(directory, &["--mpi"], "sub");
    let mut guest = run(directory, &["--mpi"], "sub");
    guest.env("OMPI_COMM_WORLD_LOCAL_RANK", "1").env("OMPI_COMM_WORLD_RANK", "1");
    let guest = std::thread::spawn(move || finish(guest, b""));
    assert_eq!(told(finish(lead, b"")), format!("{sub}\n"));
    assert_eq!(told(guest.join().expect("the process ends")), format!("{sub}\n"));
}

/// Compares the output of a command with and without the mirror, in the same directory.
fn assert_same(directory: &Path, arguments: &[&str]) {
    let mut native = Command::new(arguments[0]);
    native.args(&arguments[1..]).current_dir(directory);
    let native = finish(native, b"");
    let recorded = record(directory, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&recorded.stderr), text(&native.stderr));
    assert_eq!(text(&recorded.stdout), text(&native.stdout));
    assert_eq!(recorded.status.code(), native.status.code());
}

fn identity(directory: &Path) {
    assert_same(directory, &["sh", "-c", "umask 027; id; ulimit -a; umask; cat /proc/self/limits"]);
    let user = ["setpriv", "--reuid=1234", "--regid=1235", "--groups=1236,1237", "id"];
    assert_same(directory, &user);
    assert_same(
        directory,
        &["sh", "-c", "grep -E '^(Cap|Sig[^Q]|NoNewPrivs|Uid|Gid|Groups)' /proc/self/status"],
    );
}

fn ignored(directory: &Path) {
    for set in ["trap - PIPE", "trap '' PIPE", "trap '' INT HUP PIPE USR1 TSTP"] {
        let script = format!("{set}; exec \"$@\"");
        let run = |recorder: &[&str]| {
            let mut run = Command::new("sh");
            run.args(["-c", &script, "sh"]).args(recorder).args(["grep", "^Sig[^Q]", "/proc/self/status"]);
            run.current_dir(directory);
            let output = finish(run, b"");
            assert_code(&output, 0);
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let recorder = [crate::harness::recorder::COMPAT, "record", "-q", "-o", "run.jsonl", "--"];
        assert_eq!(run(&recorder), run(&[]), "{set}");
    }
}

fn ownership(directory: &Path) {
    fs::create_dir(directory.join("shared")).expect("a directory");
    let script = "chown 0:1236 shared; chmod 2775 shared
        setpriv --reuid=1234 --regid=1235 --groups=1236 sh -c '
            umask 002; cd shared; echo a > file; mkdir folder; ln -s file link; mkfifo pipe
            install -m 2755 /dev/null set-group; ln file name'
        setpriv --reuid=1234 --regid=1235 --clear-groups sh -c 'echo b > shared/refused' 2>/dev/null
        echo $?; cd shared; stat -c '%n %U %u %G %g %a %h %F' *; rm -r * ";
    let mut run = command(directory, &["sh", "-c", script]);
    run.env("LC_ALL", "C");
    // Only the owner may enter the directory of the case.
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    let recorded = finish(run, b"");
    let mut native = Command::new("sh");
    native.args(["-c", script]).current_dir(directory).env("LC_ALL", "C");
    let native = finish(native, b"");
    assert_eq!(String::from_utf8_lossy(&recorded.stdout), String::from_utf8_lossy(&native.stdout));
    assert!(String::from_utf8_lossy(&native.stdout).contains("set-group"), "the script did its work");
}

fn same_tree(directory: &Path) {
    let format = "%p %i %n %m %U %G %s %T@ %l\\n";
    assert_same(directory, &["find", "/usr/lib/python3", "/etc", "/usr/share/doc/libc6", "-printf", format]);
    assert_same(directory, &["ls", "-lanR", "/etc"]);
}

fn ordinary_user(directory: &Path) {
    let script = "id -u; id -g; pwd; echo a > file && cat file; stat -c '%u %g' file; echo b > /tmp/compat-$$ && \
        rm /tmp/compat-$$ && echo in tmp; cat /etc/shadow 2>&1 | grep -c denied; echo x 2>/dev/null > /etc/x || echo refused
        chmod 600 file; mkdir d; mv file d; ls d; exit 6";
    let output = as_user(directory, "666", &["sh", "-c", script]);
    assert_code(&output, 6);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = format!("1234\n1235\n{}\na\n1234 1235\nin tmp\n1\nrefused\nfile\n", directory.display());
    assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
    if has_log() {
        let recording = read(&log(directory));
        assert!(recording.missed(|_| true).contains("/etc/x"), "the miss is not recorded");
    }
}

fn no_right(directory: &Path) {
    let output = as_user(directory, "600", &["sh", "-c", "echo run > run"]);
    assert_code(&output, 3);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("could not open /dev/fuse: Permission denied"), "{text}");
    assert!(text.contains("--device /dev/fuse --cap-add SYS_ADMIN"), "{text}");
    assert!(!directory.join("run").exists() && !log(directory).exists());
}

fn devices(directory: &Path) {
    let output = record(directory, &["stat", "-c", "%d", "/", "/proc", "/dev", "/usr"]);
    assert_code(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<&str> = text.lines().collect();
    assert_eq!(numbers.len(), 4, "{text}");
    assert!(numbers[0] != numbers[1] && numbers[0] != numbers[2] && numbers[1] != numbers[2], "{text}");
    assert_same(directory, &["stat", "-c", "%d", "/proc/version", "/dev/null"]);
}

fn read_only(directory: &Path) {
    let mut run = Command::new(crate::harness::recorder::COMPAT);
    run.args(["record", "--read-only", "-o", "log", "--", "sh", "-c", "echo a > file"])
        .current_dir(directory);
    let output = finish(run, b"");
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"));
    assert!(!directory.join("file").exists());
}

fn terminal(directory: &Path) {
    let run = |command: &[&str]| {
        let mut run = Command::new("python3");
        run.args(["-c", include_str!("../fixtures/terminal.py")]).args(command).current_dir(directory);
        let output = finish(run, b"");
        assert_code(&output, 0);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shell = ["bash", "--norc", "-i"];
    let native = run(&shell);
    let mut recorded = vec![crate::harness::recorder::COMPAT, "record", "-q", "-o", "log", "--"];
    recorded.extend(shell);
    assert_eq!(run(&recorded), native);
    assert!(native.ends_with("\n7\n"), "{native}");
}
