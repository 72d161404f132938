//! The directives of a fixture: a C source with comments that list the files to make from it, their order, and
//! the loader's expected result. `README.md` describes each directive.

/// The expected result of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program reaches its entry point with every kind of binding, without any problem.
    Loads,
    /// The program reaches its entry point and fails later.
    Misbehaves,
    /// The program does not reach its entry point.
    Refused,
}

/// One step in the making of a case. Paths are inside the root; relative ones are in `/case`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Compiles the source, with a macro defined, into a program (`-pie`) or library (`-shared`).
    Compile { output: String, flags: Vec<String>, shared: bool },
    /// Writes a text to an executable file.
    Write { path: String, text: Vec<u8> },
    /// Creates a symbolic link.
    Link { path: String, target: String },
    /// Creates a hard link to a file.
    HardLink { path: String, target: String },
    /// Copies a file.
    Copy { from: String, to: String },
    /// Moves a file.
    Move { from: String, to: String },
    /// Renames a file or directory within its directory. The new name is given as bytes.
    Rename { path: String, name: Vec<u8> },
    /// Removes a file.
    Remove { path: String },
    /// Creates a directory.
    Directory { path: String },
    /// Truncates a file.
    Cut { path: String, length: u64 },
    /// Overwrites bytes of a file.
    Bytes { path: String, offset: usize, bytes: Vec<u8> },
    /// Overwrites every occurrence of a text in a file. If there are fewer bytes, the rest of the text stays.
    Replace { path: String, text: String, bytes: Vec<u8> },
    /// Marks a needed version as one that may be missing (`VER_FLG_WEAK`).
    Weaken { path: String, version: String },
    /// Sets permissions.
    Mode { path: String, mode: u32 },
    /// Runs `ldconfig` with the current `/etc/ld.so.conf`.
    Cache,
}

/// One case of a fixture.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    /// Its name.
    pub name: String,
    /// `glibc` (all of them), `musl`, or a release.
    pub libraries: Vec<String>,
    /// The steps that make it.
    pub steps: Vec<Step>,
    /// `LD_LIBRARY_PATH`.
    pub library_path: Option<String>,
    /// The working directory.
    pub directory: Option<String>,
    /// The user that starts it.
    pub user: u32,
    /// The path that is started.
    pub start: Option<String>,
    /// The library that it then opens with dlopen(3).
    pub plugin: Option<String>,
    /// The expected results, for one C library or for all.
    expected: Vec<(Option<String>, Outcome)>,
}

impl Fixture {
    /// Returns the expected result with a C library.
    pub fn expected(&self, library: &str) -> Option<Outcome> {
        let own = self.expected.iter().rev().find(|(name, _)| name.as_deref() == Some(library));
        let all = || self.expected.iter().rev().find(|(name, _)| name.is_none());
        own.or_else(all).map(|(_, outcome)| *outcome)
    }

    fn read(&mut self, directive: &str) -> Option<()> {
        let (keyword, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        let mut words = rest.split_whitespace().map(str::to_owned);
        let mut word = || words.next();
        match keyword {
            "libc" => self.libraries = words.collect(),
            "library_path" => self.library_path = Some(repeated(rest)),
            "directory" => self.directory = word(),
            "user" => self.user = word()?.parse().ok()?,
            "start" => self.start = word(),
            "plugin" => self.plugin = word(),
            "expect" => {
                let (first, second) = (word()?, word());
                let (library, outcome) = second.map_or((None, first.clone()), |second| (Some(first), second));
                self.expected.push((library, outcome_of(&outcome)?));
            }
            _ => self.steps.push(step(keyword, rest)?),
        }
        Some(())
    }
}

/// Returns the cases of a fixture. Directives before the first `case` belong to all of them.
///
/// # Panics
///
/// If a directive is unknown or malformed.
pub fn parse(source: &str, file: &str) -> Vec<Fixture> {
    let mut common = Fixture { libraries: vec!["glibc".to_owned()], ..Fixture::default() };
    let mut cases: Vec<Fixture> = Vec::new();
    for line in source.lines() {
        let Some(directive) = line.strip_prefix("//! ") else { continue };
        if let Some(name) = directive.strip_prefix("case ") {
            cases.push(Fixture { name: name.to_owned(), ..common.clone() });
            continue;
        }
        let case = cases.last_mut().unwrap_or(&mut common);
        case.read(directive).unwrap_or_else(|| panic!("{file}: no directive: {directive}"));
    }
    cases
}

fn outcome_of(word: &str) -> Option<Outcome> {
    Some(match word {
        "loads" => Outcome::Loads,
        "misbehaves" => Outcome::Misbehaves,
        "refused" => Outcome::Refused,
        _ => return None,
    })
}

fn step(keyword: &str, rest: &str) -> Option<Step> {
    let mut words = rest.split_whitespace().map(str::to_owned);
    let path = words.next();
    if keyword == "cache" {
        return Some(Step::Cache);
    }
    let path = path?;
    let compile = |shared, words: &mut dyn Iterator<Item = String>| Step::Compile {
        output: path.clone(),
        flags: words.collect(),
        shared,
    };
    Some(match keyword {
        "program" => compile(false, &mut words),
        "library" => compile(true, &mut words),
        "write" => Step::Write { text: unescape(rest.split_once(' ').map_or("", |(_, text)| text)), path },
        "link" => Step::Link { path, target: repeated(&words.next()?) },
        "hardlink" => Step::HardLink { path, target: words.next()? },
        "copy" => Step::Copy { from: path, to: words.next()? },
        "move" => Step::Move { from: path, to: words.next()? },
        "rename" => Step::Rename { path, name: hexadecimal(words)? },
        "remove" => Step::Remove { path },
        "folder" => Step::Directory { path },
        "cut" => Step::Cut { path, length: words.next()?.parse().ok()? },
        "bytes" => {
            let offset = words.next()?.parse().ok()?;
            Step::Bytes { path, offset, bytes: hexadecimal(words)? }
        }
        "replace" => Step::Replace { path, text: words.next()?, bytes: hexadecimal(words)? },
        "weaken" => Step::Weaken { path, version: words.next()? },
        "mode" => Step::Mode { path, mode: u32::from_str_radix(&words.next()?, 8).ok()? },
        _ => return None,
    })
}

fn hexadecimal(words: impl Iterator<Item = String>) -> Option<Vec<u8>> {
    words.map(|byte| u8::from_str_radix(&byte, 16).ok()).collect()
}

/// Replaces `\n`, `\r` and the sequences of [`repeated`].
fn unescape(text: &str) -> Vec<u8> {
    repeated(&text.replace("\\n", "\n").replace("\\r", "\r")).into_bytes()
}

/// Replaces `{300*x}` by 300 times `x`.
fn repeated(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some((before, rest)) = text.split_once('{') {
        let Some((count, rest)) = rest.split_once('*') else { break };
        let (Ok(count), Some((what, after))) = (count.parse(), rest.split_once('}')) else { break };
        text = format!("{before}{}{after}", what.repeat(count));
    }
    text
}

/// Checks the reader: a wrongly read directive would make another case than intended.
pub fn check_reader() {
    let source = "//! libc glibc musl\n//! library lib/libx.so.1 -Wl,-soname,libx.so.1\n//! case one\n\
        //! write s #!/{3*x}\\r\\n\n//! expect loads\n//! expect musl refused\nint f(void);\n//! case two\n";
    let cases = parse(source, "sample");
    assert_eq!(cases.iter().map(|case| &*case.name).collect::<Vec<_>>(), ["one", "two"]);
    let flags = vec!["-Wl,-soname,libx.so.1".to_owned()];
    let compile = Step::Compile { output: "lib/libx.so.1".to_owned(), flags, shared: true };
    let write = Step::Write { path: "s".to_owned(), text: b"#!/xxx\r\n".to_vec() };
    assert_eq!(cases[0].steps, [compile.clone(), write]);
    assert_eq!(cases[1].steps, [compile]);
    assert_eq!(cases[0].expected("musl"), Some(Outcome::Refused));
    assert_eq!(cases[0].expected("bullseye"), Some(Outcome::Loads));
    assert_eq!(cases[1].libraries, ["glibc", "musl"]);
}
