//! Sessions: one mirror in the background for many commands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::script::said;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("session::commands_share_one_mirror_until_the_session_ends", &["unshare"], one_mirror),
        case(
            "session::a_start_returns_when_the_mirror_is_ready_and_keeps_nothing_open",
            &["unshare", "flock"],
            start,
        ),
        case("session::a_session_that_cannot_start_is_an_error", &["unshare"], not_started),
        case("session::members_keep_directory_input_codes_and_signals", &["unshare"], members),
        case("session::a_member_has_the_terminal", &["unshare", "python3", "bash"], terminal),
        case("session::members_of_an_ended_session_are_asked_to_end", &["unshare"], ended),
        case("session::a_session_without_members_ends", &["unshare"], idle),
        case("session::a_killed_server_ends_all_with_an_error", &["unshare"], server_killed),
        case("session::a_killed_session_is_cleaned_up", &["unshare"], session_killed),
        case("session::a_killed_member_leaves_the_session", &["unshare"], member_killed),
        case("session::other_users_are_refused", &["unshare", "setpriv", "python3"], others),
        case("session::an_ordinary_user_has_a_session", &["unshare", "setpriv"], ordinary_user),
        case("session::the_root_can_be_shared", &["unshare"], root),
        case("session::figures_are_reported_at_any_time_and_at_the_end", &["unshare"], figures),
        case("session::a_server_that_hangs_does_not_delay_the_end", &["unshare"], hung_figures),
        case("session::a_directory_of_sessions_can_be_named", &["unshare"], named),
        case("session::a_session_that_nobody_waits_for_ends", &["unshare"], unwanted),
        case("session::many_members_at_once", &["unshare", "xargs"], many_at_once),
        case("session::a_thousand_members_one_after_another", &["unshare"], thousand),
    ]
}

fn one_mirror(directory: &Path) {
    let script = "mkdir share; echo content > share/file; before=$(device share); export COMPAT_TEST_SHARES=share
        id=$(session start); session list | sed \"s/$id/ID/; s/ [0-9]* / PID /\"; mirrors
        session join $id sh -c '[ $(stat -c %d share) != '$before' ] && echo mirrored; cat share/file; stat -c %d share > 1'
        session join $id sh -c 'stat -c %d share > 2; echo new > share/new'; cmp 1 2 && cat share/new
        session end $id; echo $?; session list; ls run; session join $id true; echo $?";
    let (told, said) = said(directory, script);
    let kind = told.lines().next().and_then(|line| line.rsplit_once('=')).expect("a listed session").1;
    let expected = format!("ID PID 0 DIR/share={kind}\nmirrored\ncontent\nnew\n0\n2\n");
    assert_eq!(told, expected, "{said}");
    assert!(said.starts_with("error: session ") && said.ends_with(" does not exist\n"), "{said}");
}

/// The session has its own session, `/` as its directory, no streams and no inherited files.
fn start(directory: &Path) {
    let script = "mkdir share; exec 9> lock; flock 9; export COMPAT_TEST_SHARES=share
        session start job-1.0 | cat; exec 9>&-; flock --nonblock lock echo unlocked
        process=$(session list | cut -d ' ' -f 2)
        for one in $process $(cat /proc/$process/task/$process/children); do
            ls -l /proc/$one/fd | awk '$9 ~ /^[012]$/ { print $11 }' | sort -u
            readlink /proc/$one/cwd; ps -o tty= -p $one
        done
        [ $(ps -o sid= -p $process) = $process ] && echo its own session
        session start job-1.0; echo $?; session end job-1.0";
    let (told, said) = said(directory, script);
    let process = "/dev/null\n/\n?\n";
    let expected = format!("job-1.0\nunlocked\n{}its own session\n2\n", process.repeat(3));
    assert_eq!(told.replace("?       ", "?"), expected, "{said}");
    assert_eq!(said, "error: session job-1.0 is already running\n");
}

fn not_started(directory: &Path) {
    let script = "mkdir share; COMPAT_TEST_SHARES=none session start; echo $?
        COMPAT_TEST_SHARES=share COMPAT_TEST_NO_SERVICE=1 session start; echo $?
        mount -t tmpfs none /dev; mknod /dev/urandom c 1 9; mknod /dev/null c 1 3; COMPAT_TEST_SHARES=share session start 2>&1; echo $?; ls run";
    let (told, said) = said(directory, script);
    let device = "error: could not open /dev/fuse: No such file or directory (os error 2)";
    assert_eq!(told, format!("2\n2\n{device}\n2\n"));
    let share = "error: could not mirror the share none: No such file or directory (os error 2)";
    assert_eq!(said, format!("{share}\nerror: no service\n"));
}

fn members(directory: &Path) {
    let script = "mkdir -p share/in; export COMPAT_TEST_SHARES=share; id=$(session start)
        cd share/in; mkdir run; session() { task=$1; shift; env COMPAT_TEST_TASK=$task XDG_RUNTIME_DIR=$OLDPWD/run \"$PLAIN\" \"$@\"; }
        echo input | session join $id cat; session join $id pwd; session join $id sh -c 'readlink /proc/self/cwd'
        session join $id sh -c 'exit 5'; echo $?; session join $id sh -c 'kill -TERM $$'; echo $?
        session join $id none; echo $?; session join $id /etc/passwd; echo $?
        session join $id sh -c 'echo \"$#\" \"$@\"' name 'a b' ''
        session join $id sh -c 'trap \"echo terminated; exit 9\" TERM; echo > ready; while :; do sleep 0.05; done' & member=$!
        wait_for test -e ready; kill -TERM $(cat /proc/$member/task/$member/children); wait $member; echo $?
        session end $id";
    let (told, said) = said(directory, script);
    let expected = "input\nDIR/share/in\nDIR/share/in\n5\n143\n127\n126\n2 a b \nterminated\n9\n";
    assert_eq!(told, expected, "{said}");
}

/// A person types at a shell, which is a member.
fn terminal(directory: &Path) {
    fs::write(directory.join("type.py"), include_str!("../../record-tests/fixtures/terminal.py"))
        .expect("a file");
    let script = "mkdir share; export COMPAT_TEST_SHARES=share XDG_RUNTIME_DIR=$PWD/run; id=$(session start)
        cd share; python3 ../type.py bash --norc -i > ../native; rm -f typed
        COMPAT_TEST_TASK=join python3 ../type.py \"$PLAIN\" $id bash --norc -i > ../member
        cd ..; cmp native member; tail -n 1 member; session end $id";
    let (told, said) = said(directory, script);
    assert_eq!(told, "7\n", "{said}");
}

/// One member ends when it is asked to, another does not.
fn ended(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share; id=$(session start)
        session join $id sh -c 'trap \"echo asked; exit 0\" TERM; echo > one; while :; do sleep 0.02; done' & one=$!
        session join $id sh -c 'trap \"\" TERM; echo > two; while :; do sleep 0.02; done' & two=$!
        wait_for test -e one; wait_for test -e two; session list | cut -d ' ' -f 3
        session end $id; echo $?; wait $one; echo $?; wait $two; echo $?; session list; ls run; mirrors";
    let (told, said) = said(directory, script);
    assert_eq!(told, "2\nasked\n0\n0\n3\n");
    // The shell also reports the program that it was running.
    assert!(said.ends_with("LeadKilled\n") && said.matches("LeadKilled").count() == 1, "{said}");
}

fn idle(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share COMPAT_TEST_IDLE=1; id=$(session start)
        process=$(session list | cut -d ' ' -f 2); session join $id sleep 2.5; session list | grep -c .
        wait_for sh -c \"! kill -0 $process 2> /dev/null\"; session list; ls run; echo ended";
    let (told, said) = said(directory, script);
    assert_eq!(told, "1\nended\n", "{said}");
}

/// The processes of a session: its supervisor has two children, the server and the process that waits.
const PROCESSES: &str = "supervisor=$(session list | cut -d ' ' -f 2)
    children=$(cat /proc/$supervisor/task/$supervisor/children)
    wait=$(for one in $children; do [ $(readlink /proc/$one/ns/mnt) != $(readlink /proc/$supervisor/ns/mnt) ] && echo $one; done)
    server=$(for one in $children; do [ $one != $wait ] && echo $one; done)
    gone() { for one in \"$@\"; do wait_for sh -c \"! kill -0 $one 2> /dev/null\"; done; }\n";

fn server_killed(directory: &Path) {
    let script = format!(
        "mkdir share; export COMPAT_TEST_SHARES=share; id=$(session start)
        {PROCESSES}
        for number in 1 2 3; do
            (session join $id sh -c \"echo > ready-$number; cd share; sleep 60\" 2> said-$number; echo $? > code-$number) &
        done
        for number in 1 2 3; do wait_for test -e ready-$number; done
        kill -9 $server; wait; cat code-* said-*; gone $supervisor $wait; mirrors; ls share run"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, format!("{}{}run:\n\nshare:\n", "3\n".repeat(3), "LeadKilled\n".repeat(3)), "{said}");
}

fn session_killed(directory: &Path) {
    let script = format!(
        "mkdir share; export COMPAT_TEST_SHARES=share; id=$(session start)
        {PROCESSES}
        (session join $id sh -c 'echo > ready; sleep 60' 2> said; echo $? > code) &
        wait_for test -e ready; kill -9 $supervisor; wait; cat code said; gone $server $wait; ls run | grep -c $id
        session join $id true; echo $?; session list; ls run; id=$(session start $id); session end $id"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, "3\nLeadKilled\n2\n2\n");
    assert!(said.ends_with("does not exist\n"), "{said}");
}

fn member_killed(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share; id=$(session start)
        session join $id sh -c 'echo $$ > ready; exec sleep 60' & wait_for test -s ready; command=$(cat ready)
        member=$(ps -o ppid= -p $command); kill -9 $member; wait 2> /dev/null
        wait_for sh -c \"! kill -0 $command 2> /dev/null\"
        members() { [ $(session list | cut -d ' ' -f 3) = 0 ]; }; wait_for members
        session join $id echo still; session end $id";
    let (told, said) = said(directory, script);
    assert_eq!(told, "still\n", "{said}");
}

/// Even if they can reach the socket.
fn others(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    let script = "cp \"$PLAIN\" plain; chmod 755 plain; mkdir share; export COMPAT_TEST_SHARES=share; session start one > id
        socket=run/compat-session-one; chmod 711 run; chmod 666 $socket
        cat > ask.py <<'end'
import socket, struct, sys
for request in range(4):
    connection = socket.socket(socket.AF_UNIX); connection.connect(sys.argv[1])
    try: connection.send(struct.pack('=I', request))
    except BrokenPipeError: pass
    try: print(connection.recv(9))
    except ConnectionResetError: print('reset')
end
        setpriv --reuid=1234 --regid=1235 --clear-groups env PATH=/usr/bin:/bin python3 ask.py $socket
        chmod 700 run; session list | cut -d ' ' -f 1; session end one";
    let (told, said) = said(directory, script);
    assert_eq!(told, format!("{}one\n", "b'x'\n".repeat(4)), "{said}");
}

fn ordinary_user(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    let script = "cp \"$PLAIN\" plain; chmod 755 plain; mknod fuse c 10 229; chmod 666 fuse; mount --bind fuse /dev/fuse
        rm -r run; cat > do <<'end'
session() { task=$1; shift; COMPAT_TEST_TASK=$task ./plain \"$@\"; }
umask 077; mkdir share run; export XDG_RUNTIME_DIR=$PWD/run COMPAT_TEST_SHARES=share
echo one > share/file; before=$(stat -c %d share); id=$(session start)
session join $id sh -c '[ $(stat -c %d share) != '$before' ] && echo mirrored; id -u; cat share/file; exit 4'; echo $?
session join $id sh -c 'echo > ready; exec sleep 60' & n=0; until [ -e ready ] || [ $((n += 1)) -gt 500 ]; do sleep 0.02; done
session list | cut -d ' ' -f 3; session end $id; wait $!; echo $?; ls run
end
        setpriv --reuid=1234 --regid=1235 --clear-groups sh do";
    let (told, said) = said(directory, script);
    assert_eq!(told, "mirrored\n1234\none\n4\n1\n143\n", "{said}");
}

fn root(directory: &Path) {
    let script = "export COMPAT_TEST_SHARES=/; before=$(device /); id=$(session start)
        session join $id sh -c '[ $(stat -c %d /) != '$before' ] && echo mirrored; pwd; : > new'; ls new; session end $id";
    let (told, said) = said(directory, script);
    assert_eq!(told, "mirrored\nDIR\nnew\n", "{said}");
}

fn figures(directory: &Path) {
    let script =
        "mkdir share; export COMPAT_TEST_SHARES=share COMPAT_TEST_FIGURES=$PWD/figures; id=$(session start)
        session figures $id; session join $id true; session join $id true; session figures $id
        session end $id; cat figures; echo; rm figures; run share true; cat figures; echo";
    let (told, said) = said(directory, script);
    assert_eq!(told, "0 joined\n2 joined\n2 joined\n0 joined\n", "{said}");
}

/// The server sleeps for four seconds. After two, its figures are given up.
fn hung_figures(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share COMPAT_TEST_FIGURES=hang; id=$(session start)
        session figures $id; echo $?; session end $id; echo $?; test -e hang || echo none; session list";
    let (told, said) = said(directory, script);
    assert_eq!(told, "2\n0\nnone\n");
    assert!(said.ends_with("has no figures: its server does not reply\n"), "{said}");
}

/// A job and the program that prepares its node may have different runtime directories.
fn named(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share COMPAT_SESSION_DIR=sessions; id=$(session start)
        ls sessions run | grep -c $id; stat -c %a sessions; session join $id echo member; session end $id; ls sessions
        mkdir open; chmod 755 open; COMPAT_SESSION_DIR=open session start; echo $?";
    let (told, said) = said(directory, script);
    assert_eq!(told, "2\n700\nmember\n2\n");
    assert_eq!(said, "error: could not use DIR/open for sessions: other users can enter it (mode 755)\n");
}

/// The process that starts a session is killed before the mirror is ready.
fn unwanted(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share COMPAT_TEST_SLOW_BEGIN=1
        (session start one; echo no) > said & wait_for sh -c 'ls run | grep -q one.lock'
        kill -9 $(cat /proc/$!/task/$!/children); wait_for sh -c '! ls run | grep -q .'; cat said; session list";
    let (told, said) = said(directory, script);
    assert_eq!(told, "no\n", "{said}");
}

fn many_at_once(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share; id=$(session start); XDG_RUNTIME_DIR=$PWD/run; export XDG_RUNTIME_DIR
        export COMPAT_TEST_TASK=join; seq 256 | xargs -P 64 -I {} \"$PLAIN\" $id sh -c 'echo {} > share/{}'
        echo $?; unset COMPAT_TEST_TASK; ls share | wc -l; session figures $id; session end $id";
    let (told, said) = said(directory, script);
    assert_eq!(told, "0\n256\n256 joined\n", "{said}");
}

fn thousand(directory: &Path) {
    let script = "mkdir share; export COMPAT_TEST_SHARES=share; id=$(session start); XDG_RUNTIME_DIR=$PWD/run; export XDG_RUNTIME_DIR
        export COMPAT_TEST_TASK=join; n=0
        while [ $((n += 1)) -le 1000 ]; do \"$PLAIN\" $id /bin/true || echo $n failed; done
        unset COMPAT_TEST_TASK; session figures $id; session list | cut -d ' ' -f 3
        process=$(session list | cut -d ' ' -f 2); ls /proc/$process/task | wc -l; ls /proc/$process/fd | wc -l
        session end $id";
    let (told, said) = said(directory, script);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..2], ["1000 joined", "0"], "{said}");
    let numbers: Vec<u32> = lines[2..].iter().filter_map(|line| line.parse().ok()).collect();
    assert!(
        numbers.len() == 2 && numbers[0] <= 4 && numbers[1] < 40,
        "threads and files are left: {numbers:?}"
    );
}
