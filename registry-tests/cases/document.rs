//! The pages of the documentation: every command on them is run, and every output that they show is compared.
//!
//! The commands of a page run in one shell, in a directory with nothing but `examples/`, after the page's preparation
//! `registry-tests/documents/PAGE.sh`, which readers do not see. Its first line names its requirements:
//! `# needs: registry roots docker fuse`, and programs. Names of public registries stand for a registry of this
//! machine, `/srv/bullseye` and `/srv/bookworm` for root file systems of these releases.
//!
//! `COMPAT_DOCUMENTS=update` writes outputs that differ into the pages.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::case::{CC, DEBOOTSTRAP, DOCKER, DOCKERD, OLAREG, tool};
use crate::harness::compat::BINARY;
use crate::harness::docker::Engine;
use crate::harness::document::{Step, matches, parse, updated};
use crate::harness::example::file;
use crate::harness::olareg::{Olareg, Settings};
use crate::harness::process::{Program, run as run_tool};
use crate::harness::{Case, Requirement, Workspace, root};

/// Registries that pages name. Each stands for the registry of the test.
const REGISTRIES: &[&str] = &["ghcr.io", "docker.io", "registry.example"];

/// Releases whose roots pages name as `/srv/RELEASE`.
const RELEASES: &[&str] = &["bullseye", "bookworm"];

/// Commands of pages that a test cannot run, each with the file that runs it.
const RUN_ELSEWHERE: &[(&str, &str)] = &[("./registry-tests/setup && cargo test --locked", ".ci/run")];

/// The time limit for a page.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Separates the commands in the output of the shell.
const MARK: char = '\x1e';

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("document::a_session_is_read_and_compared", &[], reader),
        Case::new("document::a_command_that_runs_elsewhere_is_there", &[], elsewhere),
    ];
    cases.extend(pages().into_iter().map(|page| {
        let requirements = requirements(&page);
        let name = page.trim_end_matches(".md").replace(['/', '-', '.'], "_").to_lowercase();
        Case::new(format!("document::{name}"), &requirements, move |workspace| run(workspace, &page))
    }));
    cases
}

/// The README and all pages of `docs/`.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(file("docs")).expect("docs/");
    let names = entries.map(|entry| entry.expect("an entry of docs/").file_name());
    let names = names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".md"));
    let mut pages: Vec<String> = names.map(|name| format!("docs/{name}")).collect();
    pages.push("README.md".to_owned());
    pages.sort();
    pages
}

/// The preparation of a page, if it has one.
fn preparation(page: &str) -> Option<PathBuf> {
    let name = page.trim_end_matches(".md").replace('/', "-");
    let path = file(&format!("registry-tests/documents/{name}.sh"));
    path.is_file().then_some(path)
}

/// The words of the preparation's first line, `# needs: …`.
fn needs(page: &str) -> Vec<String> {
    let text = preparation(page).map(|path| fs::read_to_string(path).expect("a preparation"));
    let line =
        text.as_deref().and_then(|text| text.lines().next()).and_then(|line| line.strip_prefix("# needs:"));
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn requirements(page: &str) -> Vec<Requirement> {
    let of = |name: &String| match name.as_str() {
        "registry" => vec![OLAREG],
        "roots" => vec![DEBOOTSTRAP, Requirement::Root],
        "docker" => vec![DOCKER, DOCKERD, Requirement::Root],
        "fuse" => vec![Requirement::Fuse, Requirement::Root],
        "cc" => vec![CC],
        // Requirements live as long as the list of cases.
        name => vec![Requirement::Tool(Box::leak(name.to_owned().into_boxed_str()))],
    };
    needs(page).iter().flat_map(of).collect()
}

/// The servers and names that a page uses.
struct Setting {
    registry: Option<Olareg>,
    engine: Option<Engine>,
    /// Texts of pages, each with the text of this run that it stands for.
    names: Vec<(String, String)>,
}

impl Setting {
    fn new(workspace: &Workspace, needs: &[String]) -> Self {
        let needed = |name: &str| needs.iter().any(|need| need == name);
        let registry = needed("registry").then(|| Olareg::start(workspace, &Settings::default()));
        let engine = needed("docker").then(|| Engine::start(&workspace.path("dockerd.log")));
        let address = registry.as_ref().map_or("127.0.0.1:9".to_owned(), Olareg::address);
        let mut names: Vec<_> = REGISTRIES.iter().map(|name| ((*name).to_owned(), address.clone())).collect();
        for release in RELEASES.iter().filter(|_| needed("roots")) {
            let root = root::debian(workspace, release);
            names.push((format!("/srv/{release}"), root.to_str().expect("a root's path is text").to_owned()));
        }
        Self { registry, engine, names }
    }

    /// A text of the page in the words of this run.
    fn here(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, here)| text.replace(name, here))
    }

    /// An output of this run in the words of the page.
    fn on_page(&self, output: &str, command: &str) -> String {
        let mut names: Vec<_> = self.names.iter().collect();
        // Several names stand for one registry: the one of the command comes first.
        names.sort_by_key(|(name, _)| !command.contains(name));
        names.iter().fold(output.to_owned(), |text, (name, here)| text.replace(here, name))
    }
}

fn run(workspace: &Workspace, page: &str) {
    let text = fs::read_to_string(file(page)).expect("a page");
    let steps = parse(&text).unwrap_or_else(|error| panic!("{page}: {error}"));
    let steps: Vec<Step> = steps.into_iter().filter(|step| !is_run_elsewhere(step)).collect();
    if steps.is_empty() {
        return;
    }
    let setting = Setting::new(workspace, &needs(page));
    let outputs = outputs(workspace, page, &steps, &setting);
    let mut faults = String::new();
    let mut new_page = text.clone();
    for (number, step) in steps.iter().enumerate().rev() {
        let fault = match (&step.expected, outputs.get(number)) {
            (_, None) => "was not run: the shell ended before".to_owned(),
            (None, Some(_)) => continue,
            (Some(expected), Some(output)) => {
                let output = setting.on_page(output, &step.command);
                let actual: Vec<String> = output.lines().map(str::to_owned).collect();
                if matches(expected, &actual) {
                    continue;
                }
                let shown: String =
                    updated(expected, &actual).iter().map(|line| format!("{line}\n")).collect();
                new_page.replace_range(step.shown_at.clone(), &shown);
                format!("shows\n{}\n  and prints\n{}", expected.join("\n"), actual.join("\n"))
            }
        };
        let _ = writeln!(faults, "{page}:{}: $ {}\n  {fault}", step.line, step.command);
    }
    if std::env::var("COMPAT_DOCUMENTS").is_ok_and(|value| value == "update") {
        fs::write(file(page), new_page).expect("the page");
    }
    assert!(faults.is_empty(), "{faults}");
}

/// Runs the commands, and returns the output of each that ended.
fn outputs(workspace: &Workspace, page: &str, steps: &[Step], setting: &Setting) -> Vec<String> {
    let script = workspace.write("session.sh", script(page, steps, setting));
    let mut shell = Command::new(tool("bash"));
    shell.arg(script).current_dir(directory(workspace)).env_clear();
    let bin = Path::new(BINARY).parent().expect("a directory");
    let stand_ins = file("registry-tests/documents/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    shell
        .env("PATH", format!("{}:{}:{path}", stand_ins.display(), bin.display()))
        .env("HOME", workspace.home());
    shell.env("XDG_CACHE_HOME", workspace.path("cache")).env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
    shell.env("DOCUMENTS", file("registry-tests/documents"));
    shell.envs(setting.registry.iter().map(|registry| ("REGISTRY", registry.address())));
    shell.envs(setting.engine.iter().map(|engine| ("DOCKER_HOST", engine.host())));
    let ended = Program::start(&mut shell, None, LIMIT).wait();
    let (stdout, stderr) = (ended.output.stdout, ended.output.stderr);
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    workspace.note(format!("$ bash session.sh\n{stdout}{}", String::from_utf8_lossy(&stderr)));
    assert!(ended.in_time, "{page}: its commands did not end within {LIMIT:?}");
    let (mut outputs, mut running) = (Vec::new(), None);
    for part in stdout.split(MARK).skip(1) {
        match part.split_once('\n') {
            Some(("end", _)) => outputs.extend(running.take()),
            Some((_, output)) => running = Some(output.to_owned()),
            None => {}
        }
    }
    outputs
}

/// The directory in which the commands run. It has `examples/`, as a clone has.
fn directory(workspace: &Workspace) -> PathBuf {
    let directory = workspace.directory("work");
    run_tool(workspace, Command::new(tool("cp")).arg("-R").arg(file("examples")).arg(&directory));
    directory
}

/// The shell script: the preparation, then each command between marks.
fn script(page: &str, steps: &[Step], setting: &Setting) -> String {
    let mut script = String::from("exec 2>&1\nexport BASH_ENV=\n");
    // An engine of the tests has no network to give.
    script.push_str(
        "docker() { if [ \"$1\" = run ]; then shift; command docker run --network=host \"$@\"; \
         else command docker \"$@\"; fi; }\n",
    );
    if let Some(path) = preparation(page) {
        let text = fs::read_to_string(path).expect("a preparation");
        let _ = writeln!(script, "set -e\n{}\nset +e", setting.here(&text));
    }
    script.push_str("status=0\n");
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(script, "printf '\\036%s\\n' {number}");
        let command = setting.here(&step.command);
        match step.expected {
            // The next command may ask for the status of this one.
            Some(_) => {
                let _ = writeln!(script, "(exit $status)\n{command}\nstatus=$?");
            }
            None => {
                let _ = writeln!(script, "set -e\n{command}\nset +e; status=0");
            }
        }
        script.push_str("printf '\\036end\\n'\n");
    }
    script.push_str("for job in $(jobs -p); do kill \"$job\"; done; wait\n");
    script
}

fn is_run_elsewhere(step: &Step) -> bool {
    RUN_ELSEWHERE.iter().any(|(command, _)| *command == step.command)
}

fn elsewhere(_: &Workspace) {
    for (command, place) in RUN_ELSEWHERE {
        let text = fs::read_to_string(file(place)).expect("a file of the project");
        for part in command.split(" && ") {
            let runs = text.lines().map(str::trim).any(|line| !line.starts_with('#') && line.contains(part));
            assert!(runs, "{place} does not run {part}");
        }
    }
}

fn reader(_: &Workspace) {
    let page = "# A page\n\n```console\n$ echo a \\\n    b\na b\n$ cat <<END\nx\nEND\nx\n$ true\n```\n\n```sh\ntrue\n```\n\n\
                ```json\n{}\n```\n";
    let steps = parse(page).expect("a page");
    let commands: Vec<_> = steps.iter().map(|step| (step.line, step.command.as_str())).collect();
    assert_eq!(commands, [(4, "echo a \\\n    b"), (7, "cat <<END\nx\nEND"), (11, "true"), (15, "true")]);
    let shown: Vec<_> = steps.iter().map(|step| &page[step.shown_at.clone()]).collect();
    assert_eq!(shown, ["a b\n", "x\n", "", ""]);
    assert!(parse("```\n$ true\n```\n").is_err() && parse("```console\nx\n```\n").is_err());

    assert!(matches(&["a…c", "…", "d"], &["abbc", "x", "y", "d"]) && matches(&["…"], &[] as &[&str]));
    for (expected, actual) in [("a", "ab"), ("a…c", "ab"), ("…b", "ba"), ("a…b…c", "acb")] {
        assert!(!matches(&[expected], &[actual]), "{expected} matches {actual}");
    }
    assert!(!matches(&["a"], &["a", "b"]) && !matches(&["a", "b"], &["a"]));
}
