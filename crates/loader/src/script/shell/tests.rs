use super::*;

fn body(text: &str) -> Body {
    let body = Body::parse(text);
    assert_eq!(Body::parse(&body.text()), body, "{text:?} became {:?}", body.text());
    body
}

fn command(text: &str) -> String {
    let body = body(text);
    let mark = if body.whole { "" } else { "+ " };
    format!("{mark}{}", body.command.join(" "))
}

#[test]
fn a_redirection_that_may_fail_ends_the_script_before_its_last_command() {
    for (text, expected) in [
        ("exec </no/file\nexec /app", "+ /app"),
        ("exec >>/var/log/app 2>&1\nexec /app", "+ /app"),
        (": > /no/x\nexec /app", "+ /app"),
        ("export A=1 </no/x\nexec /app", "+ /app"),
        ("set -- a </no/x\nexec /app", "+ /app"),
        (". /no/x\nexec /app", "+ /app"),
        ("exec 3>\"$LOG\"\nexec /app", "+ /app"),
        ("set -e\necho a > /no/x\nexec /app", "+ /app"),
        // Other builtins only fail, as do redirections without a command.
        ("echo a > /no/x\nexec /app", "/app"),
        ("> /no/x\nexec /app", "/app"),
        // These do not fail.
        ("exec 2>&1 </dev/null 3>&-\nexec /app", "/app"),
        (": <<X\ntext\nX\nexec /app", "/app"),
    ] {
        assert_eq!(command(text), expected, "{text:?}");
    }
}

/// All cases were tried with dash and bash. The command does not run if the directory of the file is missing.
#[test]
fn a_redirection_that_may_fail_keeps_the_last_command_from_being_run() {
    for (text, expected) in [
        ("exec /app > /no/x", "+ /app"),
        ("/app < /no/x", "+ /app"),
        ("/app -x 2>> \"$LOG\"; exit 0", "+ /app -x"),
        ("exec /app </dev/null 2>&1 3>&-", "/app"),
        ("/app <<X\ntext\nX", "/app"),
        ("set -e\n> /no/x\nexec /app", "+ /app"),
        ("set -e\nX=1 > /no/x\nexec /app", "+ /app"),
        ("> /no/x && exec /app", "+ /app"),
        ("echo a > /no/x && exec /app", "+ /app"),
        ("> /no/x || exec /app", ""),
    ] {
        let expected = if expected.is_empty() { "+ " } else { expected };
        assert_eq!(command(text), expected, "{text:?}");
    }
}

/// All cases were tried with dash and bash.
#[test]
fn what_is_not_quoted_is_split_and_matched() {
    for (text, expected) in [
        ("C='/app --x  y'\nexec $C", "/app --x y"),
        ("C='/app -'; exec ${C}x \"$C\"", "/app -x /app -"),
        ("E=\nexec $E /app $E \"$E\" ''", "/app  "),
        ("C='/app -x'\nexec \"$C\"", "/app -x"),
        ("D=$(dirname \"$0\"); exec $D/app", "${0%/*}/app"),
        ("A='*.so'; exec /app $A *.x [a] ?", "/app … … … …"),
        ("exec /app '*' \\? \"[a]\" ~ '~' a~", "/app * ? [a] … ~ a~"),
        ("IFS=:; A=a:b; exec /app $A", "/app …"),
        ("exec /app {a,b} {}", "/app … {}"),
        ("A='~/x'; exec /app $A", "/app ~/x"),
        ("exec /ap*", ""),
        ("exec ~/app", ""),
        ("H=~/bin; exec $H/app", ""),
        ("PATH=/a:~/b; exec app", ""),
        ("cd /opt/app*; exec ./app", ""),
        ("cd \"$@\"; exec ./app", ""),
        ("E='exec'; $E /app", ""),
        ("\\exec /app", ""),
        ("E=; exec $E", ""),
    ] {
        let found = body(text).command.join(" ");
        assert_eq!(found, expected, "{text:?}");
        assert!(!found.is_empty() || expected.is_empty() && !body(text).whole, "{text:?}");
    }
    assert_eq!(body("C='/app -x'\nexec \"$C\"").command.len(), 1);
}

/// All cases were tried with dash and bash.
#[test]
fn variables_of_the_loader_that_are_unset_or_not_exported_count() {
    for (text, expected) in [
        ("unset PATH; exec app", ""),
        ("unset -v PATH\nexec /app", "+ /app"),
        ("unset LD_PRELOAD; exec /app", "+ /app"),
        ("LD_PRELOAD=/x.so exec /app", "+ /app"),
        ("LD_LIBRARY_PATH=; exec /app", "+ /app"),
        ("readonly LD_LIBRARY_PATH=/x; exec /app", "+ /app"),
        ("declare LD_LIBRARY_PATH=/x; exec /app", "+ /app"),
        ("export -n LD_LIBRARY_PATH; exec /app", "+ /app"),
        ("X=/app; unset X; exec $X", ""),
        ("set -u; unset X; exec /app $X", "+ /app …"),
        ("[ -d /x ] && unset LD_LIBRARY_PATH; exec /app", "+ "),
        ("unset X Y; exec /app", "/app"),
        ("unset -f f; exec /app", "/app"),
    ] {
        let found = command(text);
        assert!(found == expected || expected.is_empty() && found == "+ ", "{text:?}: {found}");
    }
    for text in ["unset LD_LIBRARY_PATH; exec /app", "export A=1; unset A LD_LIBRARY_PATH\nexec /app"] {
        let body = body(text);
        assert_eq!(body.variables["LD_LIBRARY_PATH"], "", "{text:?}");
        assert!(body.whole, "{text:?}");
    }
}

/// All cases were tried with dash and bash.
#[test]
fn what_a_trap_runs_at_the_end_is_not_passed_over() {
    for (text, expected) in [
        ("trap '/b' EXIT; /app", "+ /app"),
        ("trap '/b' 0\n/app", "+ /app"),
        ("trap '/b' INT exit\n/app\nexit 0", "+ /app"),
        ("trap '/b' $X\n/app", "+ /app"),
        ("trap '/b' EXIT\n", "+ "),
        ("trap '/b' DEBUG\nexec /app", "+ /app"),
        ("trap '/b' EXIT; exec /app", "/app"),
        ("trap '/b' INT TERM; /app", "/app"),
        ("trap - EXIT; /app", "/app"),
        ("trap '' EXIT; /app", "/app"),
    ] {
        assert_eq!(command(text), expected, "{text:?}");
    }
}

#[test]
fn an_option_that_no_shell_or_not_this_one_knows_may_end_the_script() {
    let is_whole = |text, words| Body::parse_with(text, words).whole;
    assert!(!is_whole("set -o nosuch; exec /app", "/bin/sh"));
    assert!(!is_whole("set -o posix; exec /app", "/bin/dash"));
    assert!(is_whole("set -o posix; exec /app", "/bin/bash"));
    assert!(is_whole("set -o errexit -o nounset +o xtrace; exec /app", "/bin/sh"));
}

/// Each command has many variables before it. Copying them for each command would take twelve million copies.
#[test]
fn a_long_script_is_read_to_its_end() {
    let mut text: String = (0..3000).map(|number| format!("A{number}=x\n")).collect();
    text.push_str(&"X=1 /b\n".repeat(4000));
    text.push_str("exec \"$A7\" $X");
    assert!(text.len() < LONGEST);
    assert_eq!(command(&text), "+ x …");
}

#[test]
fn a_single_command_and_a_last_exec_are_followed() {
    for (text, expected) in [
        ("exec /app", "/app"),
        ("\n# comment\nset -eu\n/app --flag 'a b'\n", "/app --flag a b"),
        ("cd / && X=1 ./app", "./app"),
        ("umask 022; ulimit -n 1024; exec app \"$@\"", "app $@"),
        ("exec \"$@\"", "$@"),
        ("exec ${1+\"$@\"}", "$@"),
        ("exec -a name /app", "/app"),
        ("exec 2>&1\nexec /app 2>&1 </dev/null", "/app"),
        ("D=/opt/app\nexec \"$D/bin/run\" \"$HOME\"", "/opt/app/bin/run …"),
        ("exec \\\n  /app \\\n  -x", "/app -x"),
        ("cat <<EOF\nexec /no\nEOF\nexec /app", "+ /app"),
        ("mkdir -p /run/x\nexec /app", "+ /app"),
        ("[ -d /x ] && exec /a\nexec /b", "+ /b"),
        ("if true; then exec /a; fi\nexec /b", "+ /b"),
        ("case $1 in a|b) exec /a;; *) ;; esac\nexec \"$@\"", "+ $@"),
        ("f() { exec /no; }\nexec /b", "/b"),
        ("function f { if x; then y; fi; }\nexec /b", "/b"),
        ("for x in a b; do echo $x; done; exec /b", "+ /b"),
        ("/a || exit 1\nexec /b\nexec /c", "+ /b"),
        ("/a && exec /b", "+ /b"),
        ("/app; exit 0", "/app"),
        // A shell treats a carriage return as part of the word.
        ("exec /app -x\r\n", "+ /app …"),
        ("set -e\r\nexec /app\n", "+ /app"),
        ("# comment\r\nexec /app\n\r\n", "/app"),
        ("HERE=$(dirname \"$0\")\nexec \"$HERE/app\"", "${0%/*}/app"),
        ("exec \"$(cd \"$(dirname \"${BASH_SOURCE[0]}\")\" && pwd)/app\"", "${0%/*}/app"),
        ("exec `dirname $0`/app", "${0%/*}/app"),
    ] {
        assert_eq!(command(text), expected, "{text:?}");
    }
}

/// All cases were tried with dash, bash and busybox. The last command runs only in some cases or in some
/// shells.
#[test]
fn what_may_end_a_script_before_its_last_command_is_not_passed_over() {
    for text in [
        "[ -d /x ] || exit 1\nexec /b",
        "[ -d /x ] && exit 0\n/b",
        "test -f /x || command exit 1\nexec /b",
        "set -e\n[ -d /x ]\nexec /b",
        "set -e\n[ -d /x ] && false\nexec /b",
        "set -o errexit\ncommand -v x\nexec /b",
        "set -eu\nulimit -n 5\nexec /b",
        "set -e\ncd $X\nexec /b",
        "cd $X || exit\nexec /b",
        "cd $X && exec /b",
        ": ${X:?is not set}\nexec /b",
        "exec /b \"${1?}\"",
        "set -u\necho $X\nexec /b",
        "set -u\nexec /b $1 ${X%.*}",
        "set -n\nexec /b",
        "shift 2\nexec /b",
        "kill $$\nexec /b",
    ] {
        let command = command(text);
        assert!(command.starts_with("+ /b"), "{text:?}: {command}");
    }
    for text in
        ["return\nexec /b", "return 3; exec /b", "exit() { :; }\nexit\nexec /b", "builtin exit\nexec /b"]
    {
        assert_ne!(body(text), Body { whole: true, ..Body::default() }, "{text:?}");
    }
    let body = |text, arguments| Body::parse_with(text, arguments);
    for arguments in ["-e", "-xe", "-S sh -e", "-o errexit", "-euo pipefail"] {
        assert!(!body("[ -d /x ]\nexec /b", arguments).whole, "{arguments}");
    }
    assert!(!body("exec /b", "-n").whole);
    // Dash exits at an unknown option.
    assert!(!body("set -o pipefail; exec /b", "/bin/sh").whole);
    assert!(body("set -o pipefail; exec /b", "/bin/busybox sh").whole);
}

#[test]
fn what_ends_a_script_for_certain_leaves_the_rest_unread() {
    for text in [
        "exit 3\nexec /b",
        "exit; /b",
        "command exit 3; exec /b",
        "true && exit\nexec /b",
        "set -e; false; exec /b",
        "set -e\ntrue && false\nexec /b",
        "set -euo pipefail\nfalse\n/b | /c",
    ] {
        assert_eq!(body(text), Body { whole: true, ..Body::default() }, "{text:?}");
    }
    for (text, expected) in [
        ("set -e; set +e; false; exec /b", "/b"),
        ("false; exec /b", "/b"),
        ("set -e; false || true; exec /b", "/b"),
        ("set -euo pipefail; exec \"$@\"", "$@"),
        ("set -u; exec /b \"${X:-1}\" $HOME $0", "/b … … …"),
        ("set -e\ncd /srv || exit 1\nexec /b", "/b"),
        ("cd /srv && exec /b", "/b"),
        ("/b\nexit 3\n/c", "/b"),
        ("[ -d /x ] || exit 1", ""),
    ] {
        assert_eq!(command(text), expected, "{text:?}");
    }
}

#[test]
fn what_cannot_be_followed_is_said_to_be() {
    for text in [
        "exec $APP",
        "exec /app\r\n",
        "exec \"$@\"\r\n",
        "X=/app\r\nexec $X",
        "/app\n\r\n",
        "exec \"$(which app)\"",
        "eval \"$X\"",
        ". /etc/profile\nexec app",
        "/a | /b",
        "/app &",
        "if [ x ]; then /a; fi",
        "set -- /x \"$@\"\nexec \"$@\"",
        "shift; exec \"$@\"",
        "PATH=$X:$PATH exec app",
        "export LD_LIBRARY_PATH=$X\nexec /app",
        "f() { exec /app; }\nf",
        "exec 'unterminated",
        "while true; do x",
        "cd $X; exec ./app",
        "! /app",
        "(exec /app)",
        "/a || /b\n/c | /d",
        "[ -x /a ] && /a",
        "command -v app && app",
        "/a || exec /b",
    ] {
        assert_eq!(body(text), Body::default(), "{text:?}");
    }
    assert_eq!(Body::parse(&"x".repeat(LONGEST + 1)), Body::default());
}

#[test]
fn a_script_that_starts_nothing_is_known_to() {
    for text in ["", "echo hello", "# nothing\nset -e\ncd /x; exit 0\n", "exec >/log"] {
        assert_eq!(body(text), Body { whole: true, ..Body::default() }, "{text:?}");
    }
    assert!(!body("echo $(date)").is_known());
}

#[test]
fn the_directory_and_the_search_paths_of_the_command_are_known() {
    let body = body(
        "export PATH=/opt/bin:$PATH LD_LIBRARY_PATH='/opt/lib'\nLD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH\ncd /opt\ncd app\nexec run",
    );
    assert_eq!(body.directory.as_deref(), Some("/opt/app"));
    assert_eq!(body.variables["PATH"], "/opt/bin:$PATH");
    assert_eq!(body.variables["LD_LIBRARY_PATH"], "/x:/opt/lib");
    assert!(body.whole);
    // The variable is not exported, so the command does not get it.
    assert!(super::Body::parse("LD_LIBRARY_PATH=/x\nexec /app").variables.is_empty());
    let prefix = super::Body::parse("LD_LIBRARY_PATH=/x exec /app");
    assert_eq!(prefix.variables["LD_LIBRARY_PATH"], "/x");
}

proptest::proptest! {
    /// Invariant: any text is read without a panic, and the text of the result is read with the same result.
    #[test]
    fn any_text_is_read(text in "[a-z$\"'\\\\`(){};&|<>#=/ \n]{0,80}") {
        body(&text);
    }
}
