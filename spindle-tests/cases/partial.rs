//! Mirrors of shares only: a share is covered by its mirror, and everything else stays as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::script::said;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("partial::a_share_is_mirrored_and_nothing_else", &["unshare"], only_the_share),
        case("partial::a_command_in_a_share_sees_the_mirror", &["unshare"], inside),
        case("partial::mounts_inside_a_share_are_bound_or_mirrored", &["unshare"], mounts),
        case("partial::a_link_to_a_share_is_followed_once", &["unshare"], link),
        case("partial::a_share_at_several_places_is_one", &["unshare"], several_places),
        case("partial::a_directory_that_cannot_be_a_share_is_an_error", &["unshare"], refused),
        case("partial::what_is_mounted_later_appears_outside_the_shares", &["unshare"], later),
        case("partial::the_root_as_a_share_becomes_the_root", &["unshare"], root),
        case("partial::without_a_share_the_command_runs_as_well", &["unshare"], none),
        case("partial::exit_codes_are_those_of_the_command", &["unshare"], codes),
        case("partial::programs_are_found_through_the_mirror", &["unshare", "strace"], search),
        case("partial::nothing_is_left_when_a_process_is_killed", &["unshare"], killed),
        case("partial::processes_that_entered_from_outside_are_ended", &["unshare", "nsenter"], entered),
        case("partial::one_share_can_be_mounted_at_a_directory", &["unshare"], mount_path),
        case("partial::an_ordinary_user_mirrors_a_share", &["unshare", "setpriv"], ordinary_user),
        case("partial::a_run_inside_another_mirrors_no_mirror", &["unshare"], nested),
    ]
}

fn only_the_share(directory: &Path) {
    let script = "mkdir share other; echo one > share/file; ln -s file share/link
        before=$(device share) root=$(device /) other=$(device other)
        run share sh -c '
            [ $(stat -c %d share) != '$before' ] && echo mirrored
            [ $(stat -c %d /) = '$root' ] && [ $(stat -c %d other) = '$other' ] && echo the rest is not
            cat share/file share/link; echo two >> share/file; echo three > share/new
            awk \"/compat-share/ { print \\$5 }\" /proc/self/mountinfo; readlink /proc/self/root'
        cat share/file share/new; mirrors; echo left";
    let (told, said) = said(directory, script);
    assert_eq!(told, "mirrored\nthe rest is not\none\none\nDIR/share\n/\none\ntwo\nthree\nleft\n", "{said}");
}

fn inside(directory: &Path) {
    let script = "mkdir -p share/in; echo here > share/in/file; before=$(device share); cd share/in
        run .. sh -c 'readlink /proc/self/cwd; pwd; cat file ../in/file
            [ $(stat -c %d .) != '$before' ] && [ $(stat -c %d .) = $(stat -c %d $PWD) ] && echo mirrored'
        pwd; [ $(device .) = $before ] && echo as before";
    let (told, said) = said(directory, script);
    assert_eq!(told, "DIR/share/in\nDIR/share/in\nhere\nhere\nmirrored\nDIR/share/in\nas before\n", "{said}");
}

/// A local file system in a share, a share in that one, and a directory with sockets.
fn mounts(directory: &Path) {
    let script = "mkdir -p share/memory share/agent; mount -t tmpfs memory share/memory
        mkdir -p share/memory/inner/in share/memory/beside; echo deep > share/memory/inner/in/file
        export SSH_AUTH_SOCK=$PWD/share/agent/socket
        device share > 1; device share/memory > 2; device share/memory/inner > 3; device share/agent > 4
        run share:share/memory/inner sh -c '
            test() { [ $(stat -c %d $1) = $(cat $2) ] && echo $1 is bound || echo $1 is mirrored; }
            test share 1; test share/memory 2; test share/memory/inner 3; test share/memory/beside 2; test share/agent 4
            cat share/memory/inner/in/file; echo new > share/memory/inner/new; : > share/memory/beside/new'
        cat share/memory/inner/new; ls share/memory/beside";
    let (told, said) = said(directory, script);
    let expected = "share is mirrored\nshare/memory is bound\nshare/memory/inner is mirrored\n\
        share/memory/beside is bound\nshare/agent is bound\ndeep\nnew\nnew\n";
    assert_eq!(told, expected, "{said}");
}

fn link(directory: &Path) {
    let script = "mkdir real; echo content > real/file; ln -s real link; before=$(device real)
        run link/../link sh -c '[ $(stat -c %d real) != '$before' ] && echo mirrored; cat link/file; readlink link
            rm link; cat real/file'";
    let (told, said) = said(directory, script);
    assert_eq!(told, "mirrored\ncontent\nreal\ncontent\n", "{said}");
}

fn several_places(directory: &Path) {
    let script =
        "mkdir source a b; mount -t tmpfs memory source; mount --bind source a; mount --bind source b
        mount -o remount,bind,ro b; umount source
        run a:b sh -c '[ $(stat -c %d a) = $(stat -c %d b) ] && echo one; echo new > a/file; cat b/file
            touch b/other 2> /dev/null || echo read-only'";
    let (told, said) = said(directory, script);
    assert_eq!(told, "one\nnew\nread-only\n", "{said}");
}

fn refused(directory: &Path) {
    let script = "echo > file; ln -s none link
        for share in none file link /proc/self /dev; do run $share true; echo $?; done; mirrors";
    let (told, said) = said(directory, script);
    assert_eq!(told, "2\n".repeat(5));
    let mut expected: Vec<String> = [
        ("none", "No such file or directory (os error 2)"),
        ("file", "Not a directory (os error 20)"),
        ("link", "No such file or directory (os error 2)"),
    ]
    .map(|(share, why)| format!("error: could not mirror the share {share}: {why}"))
    .into();
    let kernel = "it is part of a file system of the kernel or of a mirror";
    expected.push(format!("error: could not mirror the share /dev: {kernel}"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!([&lines[..3], &lines[4..]].concat(), expected, "{said}");
    assert!(lines[3].ends_with(kernel), "{said}");
}

/// As natively: an automounter or an administrator mounts something while the command runs.
fn later(directory: &Path) {
    let script = "mkdir share place; run share sh -c 'echo > ready
            n=0; until [ -e place/mounted ] || [ $((n += 1)) -gt 250 ]; do sleep 0.02; done
            ls place; echo > seen; n=0; while [ -e place/mounted ] && [ $((n += 1)) -le 250 ]; do sleep 0.02; done
            ls place' & run=$!
        wait_for test -e ready; mount -t tmpfs memory place; touch place/mounted; wait_for test -e seen
        umount place; wait $run; mirrors";
    let (told, said) = said(directory, script);
    assert_eq!(told, "mounted\n", "{said}");
}

fn root(directory: &Path) {
    let script = "mkdir memory; mount -t tmpfs memory memory; device / > 1; device memory > 2; device . > 3
        run / sh -c '
            test() { [ $(stat -c %d $1) = $(cat $2) ] && echo $1 is bound || echo $1 is mirrored; }
            test / 1; test memory 2; pwd; : > memory/new'; ls memory; mirrors";
    let (told, said) = said(directory, script);
    assert_eq!(told, "/ is mirrored\nmemory is bound\nDIR\nnew\n", "{said}");
}

fn none(directory: &Path) {
    let (told, said) = said(directory, "run '' sh -c 'pwd; exit 7'; echo $?");
    assert_eq!(told, "DIR\n7\n", "{said}");
}

fn codes(directory: &Path) {
    let script = "mkdir share; echo text > share/text; printf '#!/bin/sh\\nexit 9\\n' > share/script; chmod +x share/script
        run share sh -c 'exit 5'; echo $?; run share sh -c 'kill -TERM $$'; echo $?
        run share none; echo $?; run share share/text; echo $?; run share share/script; echo $?
        PATH=$PWD/share:$PATH run share script; echo $?; cd share; run . ./script; echo $?
        mkdir gone; cd gone; rmdir ../gone; run .. true; echo $?";
    let (told, said) = said(directory, script);
    assert_eq!(told, "5\n143\n127\n126\n9\n9\n9\n2\n", "{said}");
}

/// Failed lookups of a search are lookups on a slow share, too.
fn search(directory: &Path) {
    let script = "mkdir -p share/a share/b; printf '#!/bin/sh\\necho found\\n' > share/b/program; chmod +x share/b/program
        export PATH=$PWD/share/a:$PWD/share/b:$PATH
        strace -f -qq -o trace -e trace=faccessat,faccessat2,access,mount \
            env COMPAT_TEST_TASK=run COMPAT_TEST_SHARES=share \"$PLAIN\" program
        awk '/mount\\(.*fuse/ { mounted = 1 } /share\\/a\\/program/ { print mounted + 0 }' trace";
    let (told, said) = said(directory, script);
    assert_eq!(told, "found\n1\n", "{said}");
}

/// The process that a script starts is the supervisor. Its children are the server and the command.
fn killed(directory: &Path) {
    let script = "mkdir share
        for victim in supervisor server command; do
            rm -f ready; start share sh -c 'echo $$ > ready; exec sleep 60' & run=$!
            wait_for test -s ready; command=$(cat ready)
            server=$(cat /proc/$run/task/$run/children | tr ' ' '\\n' | grep -vx -e $command -e '')
            case $victim in supervisor) kill -9 $run;; server) kill -9 $server;; command) kill -9 $command;; esac
            wait $run 2> /dev/null; echo $victim $?
            for process in $server $command; do wait_for sh -c \"! kill -0 $process 2> /dev/null\"; done
            ls share; mirrors
        done";
    let (told, said) = said(directory, script);
    assert_eq!(told, "supervisor 137\nserver 3\ncommand 137\n");
    assert!(said.contains("the server was killed\nServerKilled"), "{said}");
}

/// Also one that has made a namespace of its own from that of the command.
fn entered(directory: &Path) {
    let script = "mkdir share; run share sh -c 'echo $$ > ready; while [ ! -e done ]; do sleep 0.02; done' & run=$!
        wait_for test -s ready; command=$(cat ready)
        nsenter --mount=/proc/$command/ns/mnt sleep 60 & one=$!
        nsenter --mount=/proc/$command/ns/mnt unshare --mount sleep 60 & two=$!
        own=$(readlink /proc/self/ns/mnt)
        differs() { [ -n \"$(readlink /proc/$1/ns/mnt)\" ] && [ $(readlink /proc/$1/ns/mnt) != $own ]; }
        wait_for differs $one; wait_for differs $two; wait_for grep -q sleep /proc/$two/comm; sleep 60 & three=$!
        echo > done; wait $run; echo $?
        wait $one; echo $?; wait $two; echo $?; kill -0 $three && kill $three && echo the third stays";
    let (told, said) = said(directory, script);
    assert_eq!(told, "0\n143\n143\nthe third stays\n", "{said}");
}

fn mount_path(directory: &Path) {
    let script = "mkdir -p share/memory other; echo content > share/file; mount -t tmpfs memory share/memory
        echo deep > share/memory/file
        COMPAT_TEST_MOUNT_PATH=at run share sh -c 'echo > ready; while [ ! -e done ]; do sleep 0.02; done' & run=$!
        wait_for test -e ready; cat at/file at/memory/file; echo new > at/new; mirrors; echo > done; wait $run
        cat share/new; test -e at || echo gone; mirrors
        COMPAT_TEST_MOUNT_PATH=at run share:other true; echo $?; test -e at || echo gone";
    let (told, said) = said(directory, script);
    assert_eq!(told, "content\ndeep\nDIR/at\nnew\ngone\n2\ngone\n", "{said}");
    assert_eq!(
        said,
        "error: could not mount the mirror at at: it has 2 shares, and none contains the others\n"
    );
}

fn ordinary_user(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    let script = "cp \"$PLAIN\" plain; chmod 755 plain; mknod fuse c 10 229; chmod 666 fuse; mount --bind fuse /dev/fuse
        cat > do <<'end'
mkdir share; echo one > share/file; before=$(stat -c %d share)
COMPAT_TEST_TASK=run COMPAT_TEST_SHARES=share ./plain sh -c '
    [ $(stat -c %d share) != '$before' ] && echo mirrored; id -u; cat share/file; echo two > share/new
    stat -c %u:%g share/new'; cat share/new
end
        setpriv --reuid=1234 --regid=1235 --clear-groups sh do; mirrors";
    let (told, said) = said(directory, script);
    assert_eq!(told, "mirrored\n1234\none\n1234:1235\ntwo\n", "{said}");
}

/// The inner run finds a mirror where the network file system was.
fn nested(directory: &Path) {
    let script = "mkdir share
        run share env COMPAT_TEST_SHARES=network \"$PLAIN\" sh -c '
            grep -c \"$PWD/share .*compat-share\" /proc/self/mountinfo; echo inner > share/file'; cat share/file";
    let (told, said) = said(directory, script);
    assert_eq!(told, "1\ninner\n", "{said}");
}
