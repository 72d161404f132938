//! Mounts in the mirror: they keep their flags, a mount that is not a volume is closed, and no link redirects
//! a mount.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, finish};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("mount::flags_hold_below_a_path_of_any_length", &["unshare", "python3"], flags),
        case("mount::a_mount_that_is_not_a_volume_is_closed", &["unshare", "python3"], closed),
        case("mount::no_link_redirects_a_bound_directory", &["unshare", "strace"], exchanged),
        case(
            "mount::mounts_are_bound_if_they_cannot_be_copied_or_moved",
            &["unshare", "strace", "chroot"],
            uncopied,
        ),
        case("mount::a_directory_at_several_places_is_one", &["unshare", "python3"], one_directory),
        case("mount::other_mounts_of_one_file_system_are_separate", &["unshare", "flock"], apart_inside),
        case(
            "mount::a_further_place_is_never_visible_without_its_flags",
            &["unshare", "strace"],
            never_without_flags,
        ),
        case("mount::a_bound_directory_is_the_one_that_was_checked", &["unshare", "strace"], replaced),
    ]
}

/// Runs a script in a separate mount namespace.
fn apart(directory: &Path, script: &str) -> (String, String) {
    let script = format!(
        "mount --make-rprivate /
        wait_for() {{ n=0; until \"$@\" || [ $((n += 1)) -gt 500 ]; do sleep 0.02; done; }}
        {script}"
    );
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", &script]).current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Creates the places of `places.py` in the working directory. At one of them, somebody closes a directory
/// that contains a mount.
const PLACES: &str = "umask 022; mkdir source a b c d e; chmod 777 source; mkdir -p source/inner source/closed/inner
    chmod 700 source/closed
    for place in a b c d e; do mount --bind source $place; done
    mount -o remount,bind,ro c; mount -o remount,bind,noexec,nosuid,nodev d
    mount -t tmpfs memory e/inner; touch e/inner/mounted; mount -t tmpfs memory e/closed/inner; touch e/closed/inner/mounted;";

fn one_directory(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    fs::write(directory.join("places.py"), include_str!("../fixtures/places.py")).expect("a file");
    for way in ["native", "mirror"] {
        fs::create_dir(directory.join(way)).expect("a directory");
    }
    let script = format!(
        "(cd native; {PLACES} python3 ../places.py > ../native.out)
        (cd mirror; {PLACES} {COMPAT} record -q -o ../run.jsonl -- python3 ../places.py > ../mirror.out)"
    );
    let (_, said) = apart(directory, &script);
    assert_eq!(said, "");
    let text = |name: &str| fs::read_to_string(directory.join(name)).expect("the file was written");
    let (native, mirrored) = (text("native.out"), text("mirror.out"));
    for (native, mirrored) in native.lines().zip(mirrored.lines()) {
        assert_eq!(mirrored, native);
    }
    assert_eq!(mirrored, native);
    assert!(native.contains("flock True\nlock True"), "{native}");
    // Actions at any of the places are recorded at the first.
    let recording = read(&directory.join("run.jsonl"));
    let told = |place: &str| {
        let path = directory.join("mirror").join(place).join("root-file").display().to_string();
        recording.events.iter().any(|event| event.path.text() == path)
    };
    assert!(told("a") && !["b", "c", "d", "e"].iter().any(|place| told(place)));
}

/// Differences in the mirror (docs/recording-differences.md). They concern a directory and one of its
/// subdirectories, or a single file, that are mounted separately, and a directory that is both mounted and
/// reached through its parent.
fn apart_inside(directory: &Path) {
    let script = format!(
        "mkdir -p source/in a b; touch source/in/file a-file b-file; mount -t tmpfs memory source; mkdir source/in
        touch source/in/file; mount --bind source a; mount --bind source/in b
        mount --bind source/in/file a-file; mount --bind source/in/file b-file
        cat > look <<'end'
        same() {{ [ $(stat -c %d $1) = $(stat -c %d $2) ] && echo $1 and $2 are one || echo $1 and $2 are apart; }}
        locked() {{ flock -n $1 -c \"flock -n $2 true\" && echo $1 does not lock $2 || echo $1 locks $2; }}
        same source a; same a b; same a-file b-file; locked source/in/file a/in/file; locked a/in/file b/file; locked a-file b-file
end
        sh look; echo; {COMPAT} record -q -o run.jsonl -- sh look"
    );
    let (told, said) = apart(directory, &script);
    let native = "source and a are one\na and b are one\na-file and b-file are one\n\
        source/in/file locks a/in/file\na/in/file locks b/file\na-file locks b-file\n";
    let inside = "source and a are one\na and b are apart\na-file and b-file are apart\n\
        source/in/file locks a/in/file\na/in/file does not lock b/file\na-file does not lock b-file\n";
    assert_eq!(told, format!("{native}\n{inside}"), "{said}");
}

/// Other processes reach a mirror at a path while it is put together.
fn never_without_flags(directory: &Path) {
    let script = format!(
        "mkdir source a b; mount --bind source a; mount --bind source b; mount -o remount,bind,ro,nosuid b
        strace -f -qq -o trace -e trace=mount,move_mount \\
            -e inject=mount,move_mount:delay_enter=300000 -e inject=mount,move_mount:delay_exit=300000 \\
            {COMPAT} record -q --mount-path compat-mirror -o run.jsonl -- true & run=$!
        while kill -0 $run 2> /dev/null; do
            grep \" $PWD/compat-mirror$PWD/b \" /proc/self/mountinfo >> seen; sleep 0.02
        done
        wait $run; echo $?; wc -l < seen; grep -vc ' ro,nosuid' seen; true"
    );
    let (told, said) = apart(directory, &script);
    let lines: Vec<&str> = told.lines().collect();
    assert!(matches!(lines[..], ["0", seen, "0"] if seen != "0"), "{told}{said}");
}

fn flags(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    fs::write(directory.join("deep.py"), include_str!("../fixtures/deep.py")).expect("a file");
    let script = format!(
        "umask 022; python3 deep.py make || exit 1
        python3 deep.py look > native; {COMPAT} record -q -o run.jsonl -- python3 deep.py look > recorded"
    );
    let (_, said) = apart(directory, &script);
    let read = |name: &str| fs::read_to_string(directory.join(name)).expect("a file");
    assert_eq!(read("recorded"), read("native"), "{said}");
    let expected = "5\n\
        nosuid user 1234\nnosuid device None\nnosuid write None\n\
        nodev user 0\nnodev device Permission denied\nnodev write None\n\
        noexec user Permission denied\nnoexec device None\nnoexec write None\n\
        ro user 0\nro device None\nro write Read-only file system\n\
        plain user 0\nplain device None\nplain write None\n";
    assert_eq!(read("native"), expected);
}

/// Another run's mirror is not a volume.
fn closed(directory: &Path) {
    let acts = "import os
def attempt(name, act):
    try: print(name, act())
    except OSError as error: print(name, error.strerror)
place = 'compat-mirror'
attempt('mode', lambda: oct(os.stat(place).st_mode))
attempt('list', lambda: len(os.listdir(place)))
attempt('enter', lambda: os.stat(f'{place}/etc'))
attempt('read', lambda: open(f'{place}/etc/passwd').read())
attempt('make', lambda: open(f'{place}/made', 'w'))
attempt('execute', lambda: os.execv(f'{place}/bin/true', ['true']))
attempt('close', lambda: os.chmod(place, 0o777))
attempt('own', lambda: os.chown(place, 1, 1))
attempt('attribute', lambda: os.listxattr(place))
attempt('remove', lambda: os.rmdir(place))
attempt('move', lambda: os.rename(place, 'moved'))
attempt('size', lambda: os.statvfs(place).f_bsize)
print(sorted(os.listdir('.')))";
    fs::write(directory.join("acts.py"), acts).expect("a file");
    let script = format!(
        "{COMPAT} record -q --mount-path compat-mirror -o first.jsonl -- sh -c '
            echo > ready; until [ -e done ]; do sleep 0.02; done' & first=$!
        wait_for test -e ready; test -d compat-mirror/etc; echo $?
        {COMPAT} record -q -o second.jsonl -- python3 acts.py; echo > done; wait $first; echo $?"
    );
    let (told, said) = apart(directory, &script);
    let denied = ["list", "enter", "read", "make", "execute", "close", "own", "attribute"];
    let denied: String = denied.iter().map(|act| format!("{act} Permission denied\n")).collect();
    let expected = format!(
        "0\nmode 0o40000\n{denied}remove Device or resource busy\nmove Device or resource busy\n\
        size Permission denied\n\
        ['acts.py', 'compat-mirror', 'first.jsonl', 'ready', 'second.jsonl']\n0\n"
    );
    assert_eq!(told, expected, "{said}");
}

/// Runs a command in a mirror. Others act while the mirror is put together.
fn slowly(directory: &Path, before: &str, meanwhile: &str, command: &str) -> String {
    let script = format!(
        "{before}
        strace -f -qq -o trace -e trace=chroot -e inject=chroot:delay_enter=700000 \
            {COMPAT} record -q -o run.jsonl -- sh -c '{command}' & run=$!
        wait_for grep -qs 'chroot(' trace; {meanwhile}; wait $run"
    );
    let (told, said) = apart(directory, &script);
    assert_eq!(said, "");
    told
}

fn exchanged(directory: &Path) {
    let told = slowly(
        directory,
        "mkdir agent; echo > agent/socket; export SSH_AUTH_SOCK=$PWD/agent/socket",
        "mv agent before; ln -s /etc agent",
        "grep -c \" /etc \" /proc/self/mountinfo; ls -d agent/passwd before/socket",
    );
    assert_eq!(told, "0\nagent/passwd\nbefore/socket\n");
}

fn replaced(directory: &Path) {
    let told = slowly(
        directory,
        "mkdir agent; echo > agent/socket; export SSH_AUTH_SOCK=$PWD/agent/socket",
        "mv agent before; mkdir agent; echo > agent/other",
        "ls agent",
    );
    assert_eq!(
        told, "socket\n",
        "the directory that was checked is bound, not the one that has its name now"
    );
}

fn uncopied(directory: &Path) {
    for call in ["open_tree", "move_mount"] {
        let directory = directory.join(call);
        fs::create_dir(&directory).expect("a directory");
        let script = format!(
            "mkdir agent; echo > agent/socket; export SSH_AUTH_SOCK=$PWD/agent/socket
            strace -f -qq -o trace -e trace={call} -e inject={call}:error=ENOSYS \
                {COMPAT} record -q --mount-path compat-mirror -o run.jsonl -- sh -c '
                cat /proc/self/comm; ls agent /dev/null; echo > ready; until [ -e done ]; do sleep 0.02; done' & run=$!
            wait_for test -e ready; chroot compat-mirror sh -c \"cat /proc/self/comm; ls $PWD/agent /dev/null\"
            echo > done; wait $run; echo $?; grep -c ENOSYS trace > refused
            grep -c \" $PWD/compat-mirror\" /proc/self/mountinfo; true"
        );
        let (told, said) = apart(&directory, &script);
        let inside = "cat\n/dev/null\n\nagent:\nsocket\n";
        let outside = format!("cat\n/dev/null\n\n{}/agent:\nsocket\n", directory.display());
        assert_eq!(told, format!("{inside}{outside}0\n0\n"), "{said}");
        assert_ne!(fs::read_to_string(directory.join("refused")).expect("a file"), "0\n");
    }
}
