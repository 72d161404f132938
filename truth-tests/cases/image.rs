//! Compares every ELF object of images that the engine built: the result of the image's own loader inside the
//! image, and the specification that `compat gen --image --all` derives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use compat_loader::check::{Host, Options};
use compat_loader::loader::{
    Application, Environment, Load, Problem, Rule, ScopeContext, ScopeFiles, SealedFiles,
};
use compat_loader::spec::{self, Object, ObjectKind, Specification};

use crate::harness::docker::Docker;
use crate::harness::image_root::ImageRoot;
use crate::harness::made_image::{self, REQUIREMENTS, TAGS};
use crate::harness::process::run;
use crate::harness::{Case, Sets, Workspace, exception, print_figure};

/// The text before the trace of an object. `END` precedes its exit code.
const BEGIN: &str = "=====begin ";
const END: &str = "=====end ";

/// Returns one case, because the images take a while to build.
pub fn all() -> Vec<Case> {
    vec![Case::new("images::every_object_resolves_as_in_the_running_image", &REQUIREMENTS, compare)]
}

fn compare(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    made_image::small(workspace, &docker);
    made_image::large(workspace, &docker);
    let mut faults = Vec::new();
    for tag in TAGS {
        let image = Image::of(workspace, &docker, tag);
        let differing = image.differences();
        print_figure(&format!("image {tag}: {}", image.figures(&differing)));
        let exceptions = exception::of(&format!("image:{tag}"));
        let excepted: BTreeSet<&str> = exceptions.iter().map(|exception| exception.name.as_str()).collect();
        for (path, lines) in &differing {
            if !excepted.contains(path.as_str()) {
                faults.push(format!("{tag} {path}:\n    {}", lines.join("\n    ")));
            }
        }
        let needless = excepted.iter().filter(|path| !differing.contains_key(**path));
        faults.extend(needless.map(|path| format!("{tag} {path}: no longer needs its exception")));
    }
    assert!(faults.is_empty(), "{} differ\n{}", faults.len(), faults.join("\n"));
}

/// The way in which an object is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// It is started with the variables of a trace.
    Started,
    /// It is passed to glibc's loader.
    ToLoader,
    /// It is passed to musl's loader.
    ToMusl,
}

/// One image: its root, its loader's results, and the derived specification.
struct Image {
    root: ImageRoot,
    specification: Specification,
    truth: BTreeMap<String, String>,
    asked: BTreeMap<String, Asked>,
    model: BTreeMap<String, Answer>,
}

impl Image {
    fn of(workspace: &Workspace, docker: &Docker, tag: &str) -> Self {
        let image = format!("compat-tests:{tag}");
        let archive = workspace.text(format!("{tag}.saved.tar"));
        docker.run(&["save", "-o", &archive, &image]);
        let document = format!("{tag}.json");
        let source = format!("docker-archive:{archive}");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_compat"));
        command.args(["gen", "--all", "--image", &source, "-o", &workspace.text(&document)]);
        run(workspace, &mut command);
        fs::remove_file(archive).expect("the saved image");
        let specification = spec::parse(&workspace.read(&document)).expect("the specification is one");
        let root = ImageRoot::of(workspace, docker, &image);
        let asked = asked(&specification, &root);
        let truth = ask(workspace, docker, &image, &asked, &root);
        let model = model(&specification, &asked);
        Self { root, specification, truth, asked, model }
    }

    /// Returns the differences, by the object's path.
    fn differences(&self) -> BTreeMap<String, Vec<String>> {
        let mut differing = BTreeMap::new();
        for path in self.root.objects.keys() {
            let is_known =
                self.specification.objects.iter().any(|object| format!("/{}", object.path) == *path);
            if !is_known {
                differing.insert(path.clone(), vec!["the specification does not have it".to_owned()]);
            }
        }
        for path in self.asked.keys() {
            let lines = self.difference(path);
            if !lines.is_empty() {
                differing.insert(path.clone(), lines);
            }
        }
        differing
    }

    fn difference(&self, path: &str) -> Vec<String> {
        let Some(text) = self.truth.get(path) else { return vec!["its loader said nothing".to_owned()] };
        let Some(ours) = self.model.get(path) else { return vec!["compat did not start it".to_owned()] };
        let Some(mut theirs) = Sets::parse(text, path, &self.interpreter(path)) else {
            return difference_of_failure(text, ours);
        };
        if !ours.left.is_empty() {
            // The symbols of a library that its loading program defines: by their names, as compat reports
            // them.
            let own = |(.., by): &(String, String, String)| by == path;
            let missing = theirs.missing_symbols.iter().filter(|symbol| own(symbol));
            let missing: BTreeSet<String> = missing.map(|(name, ..)| name.clone()).collect();
            if missing != ours.left && theirs.missing_libraries.is_empty() {
                let wrong: Vec<_> = missing.symmetric_difference(&ours.left).collect();
                return vec![format!("symbols left to the program: {wrong:?}")];
            }
            theirs.missing_symbols.retain(|symbol| !own(symbol));
        }
        let image = self.specification.image.as_ref();
        let directory = image.and_then(|image| image.working_directory.as_deref()).unwrap_or("/");
        let (theirs, ours) =
            (self.root.real_sets(&theirs, directory), self.root.real_sets(&ours.sets, directory));
        theirs.without_consequences().differences(&ours.without_consequences())
    }

    fn interpreter(&self, path: &str) -> String {
        let own = self.object(path).and_then(|object| object.interpreter.clone());
        own.unwrap_or_else(|| loader(&self.specification).unwrap_or_default())
    }

    fn object(&self, path: &str) -> Option<&Object> {
        self.specification.objects.iter().find(|object| format!("/{}", object.path) == path)
    }

    fn figures(&self, differing: &BTreeMap<String, Vec<String>>) -> String {
        let count = |asked: Asked| self.asked.values().filter(|how| **how == asked).count();
        let resolved: usize = self.model.values().map(|answer| answer.sets.resolved.len()).sum();
        format!(
            "{} of {} ELF objects equal ({} programs started, {} files given to the loader, {} to musl's, {} not \
             dynamic; {} with whole traces); {resolved} resolved names",
            self.root.objects.len() - differing.len().min(self.root.objects.len()),
            self.root.objects.len(),
            count(Asked::Started),
            count(Asked::ToLoader),
            count(Asked::ToMusl),
            self.root.objects.len() - self.asked.len().min(self.root.objects.len()),
            self.truth.iter().filter(|(path, text)| Sets::parse(text, path, "").is_some()).count(),
        )
    }
}

/// Returns a difference if the loader failed or did nothing, and the model has no problem with the same
/// message.
fn difference_of_failure(text: &str, ours: &Answer) -> Vec<String> {
    let same = match text.contains("\tstatically linked") {
        true => ours.problems.is_empty(),
        false => ours.problems.iter().filter_map(Problem::loader_message).any(|said| text.contains(&said)),
    };
    if same { Vec::new() } else { vec![format!("{text} [{:?}]", ours.problems)] }
}

/// Returns the loader that the programs of an image name.
fn loader(specification: &Specification) -> Option<String> {
    specification.objects.iter().find_map(|object| object.interpreter.clone())
}

/// Returns the dynamic objects and how each is loaded. Static programs are omitted because they would run.
fn asked(specification: &Specification, root: &ImageRoot) -> BTreeMap<String, Asked> {
    let loader = loader(specification);
    let is_musl = loader.as_deref().is_some_and(|path| path.contains("ld-musl"));
    let how = |object: &Object| -> Option<(String, Asked)> {
        let path = format!("/{}", object.path);
        let mode = root.objects.get(&path)?;
        let is_loader = loader.as_deref().is_some_and(|loader| root.real(loader) == path);
        let is_dynamic = object.kind == ObjectKind::Library || object.interpreter.is_some();
        if is_loader || !is_dynamic {
            return None;
        }
        let is_started = object.interpreter.is_some() && mode & 0o111 != 0;
        let asked = match (is_musl, is_started) {
            (true, _) => Asked::ToMusl,
            (false, true) => Asked::Started,
            (false, false) => Asked::ToLoader,
        };
        Some((path, asked))
    };
    specification.objects.iter().filter_map(how).collect()
}

/// Runs the image's own loader on each object inside the image, with the environment of its configuration.
fn ask(
    workspace: &Workspace,
    docker: &Docker,
    image: &str,
    asked: &BTreeMap<String, Asked>,
    root: &ImageRoot,
) -> BTreeMap<String, String> {
    let loader = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"]
        .into_iter()
        .find(|path| root.objects.contains_key(&root.real(path)))
        .unwrap_or_default();
    let mut script = String::from("trace() { LD_TRACE_LOADED_OBJECTS=1 LD_WARN=1 LD_BIND_NOW=1 \"$@\"; }\n");
    for (path, asked) in asked {
        let command = match asked {
            Asked::Started => format!("trace '{path}'"),
            Asked::ToLoader => format!("trace {loader} '{path}'"),
            Asked::ToMusl => format!("{loader} --list '{path}'"),
        };
        script.push_str(&format!("echo '{BEGIN}{path}'; {command} 2>&1; echo; echo '{END}'$?\n"));
    }
    let tools = workspace.directory("tools");
    fs::copy(crate::harness::case::tool("busybox"), tools.join("busybox")).expect("a shell");
    fs::write(tools.join("script"), script).expect("a script");
    let mount = format!("{}:/truth-tools:ro", tools.display());
    let arguments = ["run", "--rm", "--network=none", "--security-opt=no-new-privileges", "-v", &mount];
    let shell = ["--entrypoint", "/truth-tools/busybox", image, "sh", "/truth-tools/script"];
    let output = docker.run(&[&arguments[..], &shell].concat());
    let mut said = BTreeMap::new();
    for part in output.split(BEGIN).skip(1) {
        let (path, rest) = part.split_once('\n').unwrap_or((part, ""));
        let text = rest.split(END).next().unwrap_or_default();
        said.insert(path.to_owned(), text.trim_end_matches('\n').to_owned());
    }
    said
}

/// Returns the starts of the objects in the specification, on a machine that adds nothing.
fn model(specification: &Specification, asked: &BTreeMap<String, Asked>) -> BTreeMap<String, Answer> {
    let empty = tempfile::tempdir().expect("an empty root");
    let host = Host::at(empty.path(), &Options::default()).expect("an empty root is one");
    let image = specification.image.clone().expect("it is of an image");
    let environment = Environment {
        working_directory: image.working_directory.unwrap_or_else(|| "/".to_owned()),
        program_path: image.program_path.unwrap_or_else(|| host.environment.program_path.clone()),
        ..host.environment.clone()
    };
    let sealed = SealedFiles::new(specification, host.files.as_ref());
    let mut application = Application::of_specification(specification);
    application.subjects = asked.keys().map(|path| path.trim_start_matches('/').to_owned()).collect();
    let files = ScopeFiles::new(&application, &sealed);
    let mut answers = BTreeMap::new();
    let context = ScopeContext { files: &files, environment: &environment };
    application.start_all(context, false, |subject, load| {
        answers.insert(format!("/{subject}"), Answer::of(load));
    });
    answers
}

/// The answer of `compat` for one object.
struct Answer {
    sets: Sets,
    /// The names of symbols that the program that loads the library must define.
    left: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Answer {
    fn of(load: &Load) -> Self {
        let mut sets = Sets::default();
        for object in &load.objects {
            if !matches!(object.rule, Rule::Program | Rule::Interpreter) {
                let name = object.names.first().cloned().unwrap_or_default();
                sets.resolved.insert((name, object.path.clone()));
            }
        }
        load.problems.iter().for_each(|problem| sets.add(problem));
        Self {
            sets,
            left: load.left_to_program.iter().flat_map(|left| left.symbols.clone()).collect(),
            problems: load.problems.clone(),
        }
    }
}
