//! Shares and processes that stop, hang or are killed.

use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::script::said;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("fault::a_stopped_share_delays_only_those_who_ask_it", &["unshare"], stopped),
        case("fault::a_share_that_was_killed_is_an_error_for_those_who_ask_it", &["unshare"], share_killed),
        case("fault::a_share_can_be_unmounted_while_it_is_mirrored", &["unshare"], unmounted),
        case("fault::nothing_is_left_whenever_a_process_is_killed", &["unshare"], killed),
        case("fault::no_session_is_left_whenever_its_process_is_killed", &["unshare"], session_killed),
    ]
}

/// `slow` shows `source` at `mount`, in the background.
const SLOW: &str = "mkdir source mount; echo content > source/file
    env COMPAT_TEST_TASK=slow \"$PLAIN\" source mount & slow=$!
    wait_for grep -q \" $PWD/mount .* - fuse\" /proc/self/mountinfo; export COMPAT_TEST_SHARES=mount\n";

fn stopped(directory: &Path) {
    let script = format!(
        "{SLOW} id=$(session start); session join $id cat mount/file; kill -STOP $slow
        session join $id echo member; session list | cut -d ' ' -f 3
        (session join $id cat mount/file; echo $?) & wait_for sh -c '[ $(session list | cut -d \" \" -f 3) = 1 ]' 2> /dev/null
        session end $id; echo $?; wait $!; kill -CONT $slow; kill $slow; wait $slow; mirrors"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, "content\nmember\n0\n143\n0\n", "{said}");
}

fn share_killed(directory: &Path) {
    let script = format!(
        "{SLOW} id=$(session start); session join $id cat mount/file; kill -9 $slow; wait $slow 2> /dev/null
        session join $id sh -c 'cat mount/new 2> /dev/null || echo refused'; session join $id echo member
        session end $id; umount mount; mirrors"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, "content\nrefused\nmember\n", "{said}");
}

/// As natively, a file system in use is busy.
fn unmounted(directory: &Path) {
    let script = "mkdir share; mount -t tmpfs memory share; echo content > share/file
        start share sh -c 'cat share/file; echo > ready; while [ ! -e done ]; do sleep 0.02; done; cat share/file' & run=$!
        wait_for test -e ready; umount share; umount --lazy share; ls share; echo > done; wait $run; echo $?";
    let (told, said) = said(directory, script);
    assert_eq!(told, "content\ncontent\n0\n");
    assert_eq!(said, "umount: DIR/share: target is busy.\n");
}

/// `random NUMBER` prints a number below NUMBER. `left` prints the processes of a run.
const AT_RANDOM: &str = "random() { echo $(($(od -An -N2 -tu2 /dev/urandom) % $1)); }
    left() { grep -lsz \"^MARK=$PWD$\" /proc/[0-9]*/environ | cut -d / -f 3; }
    none_left() { [ -z \"$(left)\" ]; }
    mkdir share; echo content > share/file\n";

fn killed(directory: &Path) {
    let script = format!(
        "{AT_RANDOM} time=0; while [ $((time += 1)) -le 100 ]; do
            (exec env MARK=$PWD COMPAT_TEST_TASK=run COMPAT_TEST_SHARES=share \"$PLAIN\" \
                sh -c 'for one in 1 2 3 4 5; do cat share/file > /dev/null; done; sleep 0.02') 2> /dev/null & run=$!
            sleep 0.0$(printf %03d $(random 400))
            all=\"$run $(cat /proc/$run/task/$run/children 2> /dev/null)\"
            set -- $all; shift $(random $#); kill -9 $1 2> /dev/null
            wait $run 2> /dev/null; code=$?
            case $code in 0|3|137) ;; *) echo \"$time: code $code\";; esac
            wait_for none_left || left
        done; mirrors; cat share/file"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, "content\n", "{said}");
}

fn session_killed(directory: &Path) {
    let script = format!(
        "{AT_RANDOM} export COMPAT_TEST_SHARES=share; time=0; while [ $((time += 1)) -le 40 ]; do
            (export MARK=$PWD; session start one) > /dev/null 2>&1 & start=$!
            sleep 0.0$(printf %03d $(random 400))
            for one in $(left); do [ $(random 2) = 1 ] && kill -9 $one 2> /dev/null; done
            wait $start 2> /dev/null; (export MARK=$PWD; session join one true; session end one) 2> /dev/null
            wait_for none_left || left; session list
        done; mirrors; ls run; cat share/file"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, "content\n", "{said}");
}
