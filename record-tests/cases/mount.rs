//! Mounts in the mirror: they keep their flags, what is no volume is closed, and no link leads one elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::case::Case;
use crate::harness::recorder::{COMPAT, assert_code, finish};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("mount::flags_hold_below_a_path_of_any_length", &["unshare", "python3"], flags),
        Case::new("mount::what_is_no_volume_is_seen_closed", &["unshare", "python3"], closed),
        Case::new("mount::no_link_leads_a_bound_directory_elsewhere", &["unshare", "strace"], exchanged),
        Case::new(
            "mount::where_mounts_cannot_be_copied_or_moved_they_are_bound",
            &["unshare", "strace", "chroot"],
            uncopied,
        ),
        Case::new("mount::a_bound_directory_is_the_one_that_was_looked_at", &["unshare", "strace"], replaced),
    ]
}

/// Runs a script in a mount namespace of its own.
fn apart(folder: &Path, script: &str) -> (String, String) {
    let script = format!(
        "mount --make-rprivate /
        wait_for() {{ n=0; until \"$@\" || [ $((n += 1)) -gt 500 ]; do sleep 0.02; done; }}
        {script}"
    );
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", &script]).current_dir(folder);
    let output = finish(run, b"");
    assert_code(&output, 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn flags(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("our folder");
    fs::write(folder.join("deep.py"), include_str!("../fixtures/deep.py")).expect("a file");
    let script = format!(
        "umask 022; python3 deep.py make || exit 1
        python3 deep.py look > native; {COMPAT} record -q -o run.jsonl -- python3 deep.py look > recorded"
    );
    let (_, said) = apart(folder, &script);
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file");
    assert_eq!(read("recorded"), read("native"), "{said}");
    let expected = "5\n\
        nosuid user 1234\nnosuid device None\nnosuid write None\n\
        nodev user 0\nnodev device Permission denied\nnodev write None\n\
        noexec user Permission denied\nnoexec device None\nnoexec write None\n\
        ro user 0\nro device None\nro write Read-only file system\n\
        plain user 0\nplain device None\nplain write None\n";
    assert_eq!(read("native"), expected);
}

/// Another run's mirror is no volume.
fn closed(folder: &Path) {
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
    fs::write(folder.join("acts.py"), acts).expect("a file");
    let script = format!(
        "{COMPAT} record -q --mount-path compat-mirror -o first.jsonl -- sh -c '
            echo > ready; until [ -e done ]; do sleep 0.02; done' & first=$!
        wait_for test -e ready; test -d compat-mirror/etc; echo $?
        {COMPAT} record -q -o second.jsonl -- python3 acts.py; echo > done; wait $first; echo $?"
    );
    let (told, said) = apart(folder, &script);
    let denied = ["list", "enter", "read", "make", "execute", "close", "own", "attribute"];
    let denied: String = denied.iter().map(|act| format!("{act} Permission denied\n")).collect();
    let expected = format!(
        "0\nmode 0o40000\n{denied}remove Device or resource busy\nmove Device or resource busy\n\
        size Permission denied\n\
        ['acts.py', 'compat-mirror', 'first.jsonl', 'ready', 'second.jsonl']\n0\n"
    );
    assert_eq!(told, expected, "{said}");
}

/// Runs a command in a mirror; others do something while its mirror is put together.
fn slowly(folder: &Path, before: &str, meanwhile: &str, command: &str) -> String {
    let script = format!(
        "{before}
        strace -f -qq -o trace -e trace=chroot -e inject=chroot:delay_enter=700000 \
            {COMPAT} record -q -o run.jsonl -- sh -c '{command}' & run=$!
        wait_for grep -qs 'chroot(' trace; {meanwhile}; wait $run"
    );
    let (told, said) = apart(folder, &script);
    assert_eq!(said, "");
    told
}

fn exchanged(folder: &Path) {
    let told = slowly(
        folder,
        "mkdir agent; echo > agent/socket; export SSH_AUTH_SOCK=$PWD/agent/socket",
        "mv agent before; ln -s /etc agent",
        "grep -c \" /etc \" /proc/self/mountinfo; ls -d agent/passwd before/socket",
    );
    assert_eq!(told, "0\nagent/passwd\nbefore/socket\n");
}

fn replaced(folder: &Path) {
    let told = slowly(
        folder,
        "mkdir agent; echo > agent/socket; export SSH_AUTH_SOCK=$PWD/agent/socket",
        "mv agent before; mkdir agent; echo > agent/other",
        "ls agent",
    );
    assert_eq!(told, "socket\n", "what was looked at is bound, and not what has its name now");
}

fn uncopied(folder: &Path) {
    for call in ["open_tree", "move_mount"] {
        let folder = folder.join(call);
        fs::create_dir(&folder).expect("a directory");
        let script = format!(
            "mkdir agent; echo > agent/socket; export SSH_AUTH_SOCK=$PWD/agent/socket
            strace -f -qq -o trace -e trace={call} -e inject={call}:error=ENOSYS \
                {COMPAT} record -q --mount-path compat-mirror -o run.jsonl -- sh -c '
                cat /proc/self/comm; ls agent /dev/null; echo > ready; until [ -e done ]; do sleep 0.02; done' & run=$!
            wait_for test -e ready; chroot compat-mirror sh -c \"cat /proc/self/comm; ls $PWD/agent /dev/null\"
            echo > done; wait $run; echo $?; grep -c ENOSYS trace > refused
            grep -c \" $PWD/compat-mirror\" /proc/self/mountinfo; true"
        );
        let (told, said) = apart(&folder, &script);
        let inside = "cat\n/dev/null\n\nagent:\nsocket\n";
        let outside = format!("cat\n/dev/null\n\n{}/agent:\nsocket\n", folder.display());
        assert_eq!(told, format!("{inside}{outside}0\n0\n"), "{said}");
        assert_ne!(fs::read_to_string(folder.join("refused")).expect("a file"), "0\n");
    }
}
