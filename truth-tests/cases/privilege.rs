//! Programs with set-id bits or capabilities, started on this machine, against `compat check` and `compat tree`
//! of the same caller. They find their library only through `LD_LIBRARY_PATH`, which the loader reads unless
//! the kernel raised their privileges.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::case::tool;
use crate::harness::{Case, Requirement, Workspace};

const USER: &[&str] = &["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"];
const NOSUID: &str = "mount --bind . . && mount -o remount,bind,nosuid . && cd . && exec \"$@\"";

/// Returns every case.
pub fn all() -> Vec<Case> {
    let requirements = [Requirement::Root, Requirement::Tool("gcc"), Requirement::Tool("setpriv")];
    let case = |name: &str, run: fn(&Workspace)| Case::new(format!("privilege::{name}"), &requirements, run);
    let mut cases = vec![
        case("set_id_bits", set_id_bits),
        case("set_id_bits_that_do_not_count", without_effect),
        case("a_document_is_judged_as_started_by_somebody_else", document),
    ];
    let requirements = [&requirements[..], &[Requirement::Tool("setcap")]].concat();
    cases.push(Case::new("privilege::capabilities", &requirements, capabilities));
    cases
}

/// A program and its library in separate directories.
struct Made {
    directory: PathBuf,
}

impl Made {
    fn new(workspace: &Workspace) -> Self {
        let made = Self { directory: workspace.path("open") };
        let script = "mkdir lib && echo 'int x(void) { return 0; }' >x.c && echo 'int x(void); \
            int main(void) { return x(); }' >app.c && gcc -shared -fPIC x.c -o lib/libx.so -Wl,-soname,libx.so && \
            gcc app.c -o base -Llib -lx && cp \"$COMPAT\" compat";
        std::fs::create_dir(&made.directory).expect("a directory");
        made.sh(&["sh", "-c", "chmod 755 .. ."]);
        made.sh(&["sh", "-c", script]);
        made
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.directory).stdin(Stdio::null());
        command.env("COMPAT", env!("CARGO_BIN_EXE_compat"));
        command
    }

    fn sh(&self, words: &[&str]) {
        let output = self.command(words).output().expect("sh starts");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns whether the program starts, and checks that `compat` agrees. `before` is the command before its
    /// name.
    fn starts(&self, before: &[&str], what: &str) -> bool {
        let library_path = self.directory.join("lib");
        let run = |words: &str| {
            let words = [before, &["sh", "-c", words]].concat();
            let mut command = self.command(&words);
            command.env("LD_LIBRARY_PATH", &library_path).output().expect("it is started")
        };
        let started = run("./app").status.success();
        for subcommand in ["check", "tree"] {
            let output = run(&format!("./compat {subcommand} ./app"));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let text = text + &String::from_utf8_lossy(&output.stderr);
            let expected = if started { 0 } else { 1 };
            assert_eq!(output.status.code(), Some(expected), "{what} {before:?}, {subcommand}: {text}");
        }
        started
    }

    fn make(&self, mode: &str, owner: &str) {
        let script = format!("rm -f app && cp base app && chown {owner} app && chmod {mode} app");
        self.sh(&["sh", "-c", &script]);
    }
}

fn set_id_bits(workspace: &Workspace) {
    let made = Made::new(workspace);
    // Started by root and by an ordinary user.
    for (mode, owner, expected) in [
        ("755", "0:0", (true, true)),
        ("4755", "0:0", (true, false)),
        ("2755", "0:0", (true, false)),
        ("6755", "0:0", (true, false)),
        ("2745", "0:0", (true, true)),
        ("4755", "1000:1000", (false, true)),
        ("2755", "0:1000", (false, true)),
        ("6755", "1000:0", (false, false)),
    ] {
        made.make(mode, owner);
        let what = format!("{mode} {owner}");
        assert_eq!((made.starts(&["env"], &what), made.starts(USER, &what)), expected, "{what}");
    }
}

fn without_effect(workspace: &Workspace) {
    let made = Made::new(workspace);
    made.make("6755", "0:0");
    let bound = [USER, &["--no-new-privs"]].concat();
    assert!(made.starts(&bound, "no new privileges"));
    let nosuid = [&["unshare", "--mount", "sh", "-c", NOSUID, "sh"], USER].concat();
    assert!(made.starts(&nosuid, "nosuid"));
    // Some machines do not allow users to create namespaces.
    for map in ["-U", "-Ur"] {
        let inside = [USER, &["unshare", map]].concat();
        let may = made.command(&[&inside[..], &["true"]].concat()).output();
        if may.is_ok_and(|output| output.status.success()) {
            assert!(made.starts(&inside, "in a user namespace"));
        }
    }
    // The effective user already differs from the real one.
    made.make("755", "0:0");
    assert!(!made.starts(&["setpriv", "--euid", "1000"], "borrowed"));
}

fn capabilities(workspace: &Workspace) {
    let made = Made::new(workspace);
    let setcap = tool("setcap");
    for (set, more, expected) in [
        ("cap_net_raw=ep", &[][..], false),
        ("cap_net_raw=p", &[], false),
        ("cap_net_raw=i", &[], true),
        ("cap_net_raw=ei", &[], false),
        ("cap_net_raw=i", &["--inh-caps", "+net_raw"], false),
        ("cap_net_raw=p", &["--bounding-set", "-net_raw"], true),
        ("cap_net_raw=p", &["--no-new-privs"], true),
        ("cap_net_raw=ep", &["--no-new-privs"], false),
    ] {
        made.make("755", "0:0");
        made.sh(&[&setcap.to_string_lossy(), set, "app"]);
        assert!(made.starts(&["env"], set), "by root: {set}");
        assert_eq!(made.starts(&[USER, more].concat(), set), expected, "{set} {more:?}");
    }
}

fn document(workspace: &Workspace) {
    let made = Made::new(workspace);
    made.make("4755", "0:0");
    assert!(made.starts(&["env"], "by its owner"));
    let script = "./compat gen app >app.json; export LD_LIBRARY_PATH=lib; ./compat check app.json; test $? = 1 && \
        { ./compat check --root / --library-path $PWD/lib $PWD/app; test $? = 1; }";
    made.sh(&["sh", "-c", script]);
}
