//! Checks the rules of `docs/architecture.md` that the compiler does not: imports between the modules of a crate, and
//! the length of files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of a crate, by ascending rank. A module imports only modules of a lower rank. The compiler keeps the
/// order of the crates.
const RANKS: &[(&str, &[&[&str]])] = &[
    ("crates/loader/src", &[&["elf", "script", "spec"], &["host"], &["loader"], &["generate", "check"]]),
    ("crates/mirror/src", &[&["mirror", "enter"], &["record"], &["spindle"]]),
    (
        "crates/oci/src",
        &[
            &["format", "limit", "observer"],
            &["choice", "error"],
            &["artifact", "blob", "cache", "credential"],
            &["layout", "remote"],
            &["engine", "referrers"],
            &["store"],
            &["copy", "delete", "find", "push"],
            &["attach", "discover"],
        ],
    ),
    ("src", &[&["app"], &["cli"]]),
];

/// Unit tests that may import modules above their own, each with its reason.
const TESTS_FROM_ABOVE: &[(&str, &str)] = &[
    ("crates/oci/src/layout/tests.rs", "a layout is tested with what is pushed, attached and copied"),
    ("crates/oci/src/remote/tests/", "a registry's answers are tested with the operations that meet them"),
];

/// The code that takes options and returns a report. Only the command line parses arguments and prints.
const WITHOUT_TERMINAL: &str = "src/app";

/// Code that parses arguments, prints or exits the process, and the command line itself.
const OF_THE_TERMINAL: &[&str] = &[
    "ExitCode",
    "anstream",
    "clap",
    "cli",
    "dbg",
    "eprint",
    "eprintln",
    "indicatif",
    "print",
    "println",
    "stderr",
    "stdout",
];

/// The crates whose unit tests create all their input. They pass on every machine, regardless of the installed
/// software.
const MADE_BY_TESTS: &[&str] = &["crates/image/src", "crates/loader/src", "crates/trace/src"];

/// Code that reads the machine on which a test runs.
const OF_THIS_MACHINE: &[&str] =
    &["current_exe(", "env::var", "of_this_machine(", "Host::this_machine(", "Command::new("];

/// Calls that take a path of this machine.
const PATH_CALLS: &[&str] = &[
    "File::open(",
    "Root::at(",
    "fs::canonicalize(",
    "fs::copy(",
    "fs::exists(",
    "fs::metadata(",
    "fs::read(",
    "fs::read_dir(",
    "fs::read_link(",
    "fs::read_to_string(",
    "fs::symlink_metadata(",
];

/// Unit tests that examine the machine itself, each with its reason.
const ABOUT_THIS_MACHINE: &[(&str, &str, &str)] = &[
    (
        "crates/loader/src/host/platform.rs",
        "of_this_machine(",
        "this machine's own platform is what is tested",
    ),
    ("crates/loader/src/host/content/tests.rs", "/proc/", "no test can make a file that the kernel makes up"),
    (
        "crates/image/src/tests/alike.rs",
        "/proc/self",
        "the kernel's own walk is what the others are compared with",
    ),
];

/// The maximum length of a file, in lines.
const FILE_LIMIT: usize = 600;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[test]
fn a_module_imports_only_lower_ranks() {
    let crates = RANKS.iter().map(|(directory, _)| *directory);
    let faults: Vec<String> = crates.flat_map(sources).flat_map(|source| import_faults(&source)).collect();
    let is_excepted = |fault: &&String| TESTS_FROM_ABOVE.iter().any(|(path, _)| fault.starts_with(path));
    let others: Vec<&str> = faults.iter().filter(|fault| !is_excepted(fault)).map(String::as_str).collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
    for (path, _) in TESTS_FROM_ABOVE {
        assert!(faults.iter().any(|fault| fault.starts_with(path)), "{path}: the exception is not needed");
    }
}

#[test]
fn the_application_neither_parses_arguments_nor_prints() {
    let sources = sources(WITHOUT_TERMINAL);
    assert!(!sources.is_empty());
    let faults: Vec<String> = sources.iter().flat_map(terminal_faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn unit_tests_make_what_they_read() {
    let sources: Vec<Source> = MADE_BY_TESTS.iter().flat_map(|directory| sources(directory)).collect();
    let faults: Vec<String> =
        test_code(&sources).iter().flat_map(|(path, text)| machine_faults(path, text)).collect();
    let (excepted, others): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| {
        ABOUT_THIS_MACHINE.iter().any(|(path, what, _)| fault.starts_with(path) && fault.contains(what))
    });
    assert!(others.is_empty(), "{others:#?}");
    assert_eq!(excepted.len(), ABOUT_THIS_MACHINE.len(), "an exception is not needed: {excepted:#?}");
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for directory in [
        "src",
        "crates",
        "tests",
        "registry-tests",
        "record-tests",
        "spindle-tests",
        "truth-tests",
        "benches",
    ] {
        for source in sources(directory) {
            let lines = source.text.lines().count();
            let excepted = LONG_FILES.iter().any(|(path, _)| *path == source.path);
            if lines > FILE_LIMIT && !excepted {
                faults.push(format!("{}: {lines} lines, {FILE_LIMIT} is the limit", source.path));
            }
            if lines <= FILE_LIMIT && excepted {
                faults.push(format!("{}: no longer needs its exception", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_has_a_rank() {
    for (directory, ranks) in RANKS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        for entry in fs::read_dir(root).expect(directory).flatten() {
            let name = entry.file_name().into_string().expect("a module's name is text");
            let module = name.trim_end_matches(".rs");
            let known = matches!(module, "lib" | "main") || rank(ranks, module).is_some();
            assert!(known, "{directory}/{name} has no rank: give it one here and in docs/architecture.md");
        }
    }
}

/// One file.
struct Source {
    /// The path from the root of the repository.
    path: String,
    text: String,
}

impl Source {
    /// The ranks of its crate, and its module there: `elf` of `crates/loader/src/elf/parse.rs` or of
    /// `crates/loader/src/elf.rs`.
    fn module(&self) -> Option<(&'static [&'static [&'static str]], &str)> {
        let (directory, ranks) = RANKS.iter().find(|(directory, _)| self.path.starts_with(directory))?;
        let inner = self.path[directory.len()..].trim_start_matches('/');
        Some((ranks, inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")))
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join(directory), &mut files);
    files.sort();
    let source = |file: &PathBuf| Source {
        path: file.strip_prefix(root).expect("a file of the repository").display().to_string(),
        text: fs::read_to_string(file).expect("a source file is text"),
    };
    files.iter().map(source).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn rank(ranks: &[&[&str]], module: &str) -> Option<usize> {
    ranks.iter().position(|modules| modules.contains(&module))
}

fn import_faults(source: &Source) -> Vec<String> {
    let Some((ranks, module)) = source.module() else { return Vec::new() };
    let Some(own) = rank(ranks, module) else { return Vec::new() };
    let mut faults = Vec::new();
    for imported in imports(&code_of(&source.text)) {
        let allowed = imported == module || rank(ranks, &imported).is_none_or(|rank| rank < own);
        if !allowed {
            faults.push(format!("{}: `{module}` imports `{imported}`, which is not below it", source.path));
        }
    }
    faults
}

/// The parts of a source that parse arguments or print.
fn terminal_faults(source: &Source) -> Vec<String> {
    let code = code_of(&source.text);
    let words: BTreeSet<&str> = code.split(|character| !is_word(character)).collect();
    let named = OF_THE_TERMINAL.iter().filter(|word| words.contains(**word));
    named.map(|word| format!("{}: `{word}` belongs to `cli`", source.path)).collect()
}

/// The test-only files and parts of files in modules whose tests create all their input.
fn test_code(sources: &[Source]) -> Vec<(String, String)> {
    let places: Vec<String> = sources.iter().flat_map(test_modules).collect();
    let is_for_tests = |path: &str| {
        let stem = path.trim_end_matches(".rs");
        places
            .iter()
            .any(|place| stem.strip_prefix(&place[..]).is_some_and(|rest| !rest.starts_with(is_word)))
    };
    let text = |source: &Source| {
        let is_whole = is_for_tests(&source.path);
        if is_whole { source.text.clone() } else { inline_tests(&source.text).to_owned() }
    };
    sources.iter().map(|source| (source.path.clone(), text(source))).collect()
}

/// The text from a file's test module to its end.
fn inline_tests(text: &str) -> &str {
    let places = text.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at);
    let is_inline =
        |at: &usize| text[*at..].find(['{', ';']).is_some_and(|end| text[at + end..].starts_with('{'));
    places.into_iter().find(is_inline).map_or("", |at| &text[at..])
}

/// The test-only modules that a file declares, as paths without extension.
fn test_modules(source: &Source) -> Vec<String> {
    let directory = Path::new(&source.path).parent().expect("a file is in a directory").display().to_string();
    let stem = source.path.trim_end_matches(".rs");
    let own =
        if stem.ends_with("/mod") || stem.ends_with("/lib") { directory.clone() } else { stem.to_owned() };
    let declared = source.text.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix("#[path = \"") {
            let (file, _) = rest.split_once(".rs\"")?;
            return Some(format!("{directory}/{file}"));
        }
        let declaration = rest.split(';').next()?;
        let (_, name) = declaration.rsplit_once("mod ")?;
        name.chars().all(is_word).then(|| format!("{own}/{name}"))
    });
    declared.collect()
}

/// The parts of a test's code that read the machine on which it runs.
fn machine_faults(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let joined = lines.collect::<Vec<_>>().join("\n");
    let code = joined.replace("(\n", "(").split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let mut faults: Vec<String> = OF_THIS_MACHINE
        .iter()
        .filter(|call| code.contains(**call))
        .map(|call| format!("{path}: `{call}` in a unit test: make what it reads"))
        .collect();
    let given = PATH_CALLS.iter().flat_map(|call| {
        let arguments =
            code.match_indices(call).map(|(at, _)| code[at + call.len()..].trim_start_matches('&'));
        arguments.map(|rest| rest.strip_prefix("Path::new(").unwrap_or(rest))
    });
    let absolute =
        given.filter(|argument| argument.starts_with("\"/")).filter_map(|rest| rest.split('"').nth(1));
    faults.extend(absolute.map(|read| format!("{path}: `{read}` is read in a unit test: make it")));
    if code.contains("\"/proc/self/") {
        faults.push(format!("{path}: `/proc/self` in a unit test: make what it reads"));
    }
    faults
}

/// The modules named in `crate::module` and `crate::{module::…, other}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (position, marker) in code.match_indices("crate::") {
        let before = code[..position].chars().next_back();
        if before.is_some_and(|before| is_word(before) || before == ':') {
            continue;
        }
        let rest = &code[position + marker.len()..];
        match rest.trim_start().strip_prefix('{') {
            Some(group) => found.extend(heads_of_group(group)),
            None => {
                found.insert(word_at(rest));
            }
        }
    }
    found
}

/// The first word of each member of a `use` group, after its opening brace.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (1, Vec::new(), true);
    let mut rest = group;
    while let Some(character) = rest.chars().next() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' => start |= depth == 1,
            _ if start && is_word(character) => {
                heads.push(word_at(rest));
                start = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        rest = &rest[character.len_utf8()..];
    }
    heads
}

fn word_at(text: &str) -> String {
    text.chars().take_while(|character| is_word(*character)).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The code without comments and without the content of string literals.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = skipped(rest, code.chars().next_back());
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    code
}

/// The length of the comment, string or character literal at this position, or 0 for code.
fn skipped(text: &str, before: Option<char>) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |end| end + 2);
    }
    if text.starts_with('\'') {
        // A character literal, but not a lifetime.
        let escaped = text.starts_with("'\\");
        let end = text.char_indices().skip(if escaped { 3 } else { 2 }).find(|(_, c)| *c == '\'');
        let limit = if escaped { 12 } else { 6 };
        return end
            .filter(|(end, _)| *end < limit && (escaped || text[1..*end].chars().count() == 1))
            .map_or(0, |(end, _)| end + 1);
    }
    if text.starts_with('r') && !before.is_some_and(is_word) {
        let hashes = text[1..].chars().take_while(|character| *character == '#').count();
        if text[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            return text[body..].find(&close).map_or(text.len(), |end| body + end + close.len());
        }
    }
    if text.starts_with('"') {
        let mut escaped = false;
        for (position, character) in text.char_indices().skip(1) {
            match character {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => return position + 1,
                _ => escaped = false,
            }
        }
        return text.len();
    }
    0
}

/// These rules depend on their scanner, which is tested here.
mod scanner {
    use super::*;

    fn sample(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn finds_an_import_of_a_higher_rank() {
        let faults =
            import_faults(&sample("crates/loader/src/loader/search.rs", "use crate::check::Report;\n"));
        assert_eq!(
            faults,
            ["crates/loader/src/loader/search.rs: `loader` imports `check`, which is not below it"]
        );
    }

    #[test]
    fn finds_an_import_of_the_same_rank_in_a_group() {
        let text = "use crate::{elf::{self, Object}, check, spec};\n";
        let faults = import_faults(&sample("crates/loader/src/loader/mod.rs", text));
        assert_eq!(
            faults,
            ["crates/loader/src/loader/mod.rs: `loader` imports `check`, which is not below it"]
        );
    }

    #[test]
    fn finds_a_path_in_the_middle_of_code() {
        let text = "fn f<'a>(x: &'a str) -> crate::host::Root { todo() }";
        assert_eq!(import_faults(&sample("crates/loader/src/elf.rs", text)).len(), 1);
    }

    #[test]
    fn takes_lower_ranks_and_the_module_itself() {
        let text = "use crate::loader::scope;\nuse crate::elf::Object;\nuse mycrate::check;\n";
        assert!(import_faults(&sample("crates/loader/src/loader/mod.rs", text)).is_empty());
    }

    #[test]
    fn finds_what_parses_arguments_or_prints() {
        let faults = |text| terminal_faults(&sample("src/app/check.rs", text));
        assert_eq!(faults("fn f() { println!(\"x\") }"), ["src/app/check.rs: `println` belongs to `cli`"]);
        assert_eq!(faults("#[derive(clap::Args)]").len(), 1);
        assert_eq!(faults("std::io::stderr().write_all(b\"x\")").len(), 1);
        assert_eq!(faults("use super::super::cli::Exit;\nuse std::process::ExitCode;").len(), 2);
        assert_eq!(faults("// println!\nlet clap_on = fingerprint(\"clap\");").len(), 0);
        let above = sample("src/app/check.rs", "use crate::cli::Failure;");
        assert_eq!(import_faults(&above), ["src/app/check.rs: `app` imports `cli`, which is not below it"]);
    }

    #[test]
    fn finds_a_test_that_reads_the_machine() {
        let faults = |text| machine_faults("x", text).len();
        assert_eq!(faults("let a = fs::read(\n    \"/usr/bin/env\").unwrap();"), 1);
        assert_eq!(faults("let a = File::open(Path::new(\"/etc/passwd\"));"), 1);
        assert_eq!(faults("let a = Platform::of_this_machine();"), 1);
        assert_eq!(faults("is_mapped(\"/proc/self/exe\")"), 1);
        assert_eq!(faults("// fs::read(\"/usr/bin/env\")\nfs::read(directory.join(\"etc\"))"), 0);
        assert_eq!(faults("let a = tree.file(\"/usr/bin/env\");"), 0);
    }

    #[test]
    fn finds_what_is_compiled_for_tests_alone() {
        let file = |path, text| sample(path, text);
        let sources = [
            file("src/elf/mod.rs", "mod a;\n#[cfg(test)]\npub(crate) mod made;\n"),
            file("src/elf/made.rs", "made"),
            file("src/elf/made_of_iron.rs", "iron"),
            file("src/elf/a.rs", "code\n#[cfg(test)]\nmod tests;\n"),
            file("src/elf/a/tests.rs", "tests"),
            file("src/elf/b.rs", "code\n#[cfg(test)]\nmod tests { inner }"),
        ];
        let found = test_code(&sources);
        let text =
            |path: &str| found.iter().find(|(own, _)| own == path).map(|(_, text)| text.trim()).unwrap();
        assert_eq!((text("src/elf/made.rs"), text("src/elf/a/tests.rs")), ("made", "tests"));
        assert_eq!(
            (text("src/elf/made_of_iron.rs"), text("src/elf/b.rs")),
            ("", "#[cfg(test)]\nmod tests { inner }")
        );
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        let text = "//! see [`crate::host`]\n/* crate::host */ let quote = '\"'; let s = \"crate::host \\\" println!\";\n\
                    let raw = r#\"crate::check \" \"#; // unsafe\n";
        let source = sample("crates/loader/src/elf/mod.rs", text);
        assert!(import_faults(&source).is_empty());
        assert!(code_of(text).contains("let raw ="));
    }
}
