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
fn a_single_command_and_a_last_exec_are_followed() {
    for (text, expected) in [
        ("exec /app", "/app"),
        ("\n# comment\nset -eu\n/app --flag 'a b'\n", "/app --flag a b"),
        ("cd / && X=1 ./app", "./app"),
        ("umask 022; ulimit -n 1024; exec app \"$@\"", "app $@"),
        ("exec \"$@\"", "$@"),
        ("exec ${1+\"$@\"}", "$@"),
        ("exec -a name /app", "/app"),
        ("exec 2>&1\nexec /app >/log 2>&1 </dev/null", "/app"),
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
        // A shell takes the end of a Windows line for a part of the word.
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
    // It is no variable of the environment, so the command does not get it.
    assert!(super::Body::parse("LD_LIBRARY_PATH=/x\nexec /app").variables.is_empty());
    let prefix = super::Body::parse("LD_LIBRARY_PATH=/x exec /app");
    assert_eq!(prefix.variables["LD_LIBRARY_PATH"], "/x");
}

proptest::proptest! {
    /// Invariant: any text is read without a panic, and what is known of it reads the same once more.
    #[test]
    fn any_text_is_read(text in "[a-z$\"'\\\\`(){};&|<>#=/ \n]{0,80}") {
        body(&text);
    }
}
