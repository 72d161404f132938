//! The loader's trace as sets: glibc's `LD_TRACE_LOADED_OBJECTS=1 LD_WARN=1 LD_BIND_NOW=1`, and the output of
//! musl's loader when it is called as `ldd`.

use std::collections::BTreeSet;

/// Everything that a program's start finds and misses. The loader's trace and the model's load produce the same
/// structure.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// Each object except the program and the loader: the name under which it was first requested, and its
    /// path.
    pub resolved: BTreeSet<(String, String)>,
    /// The names that were not found.
    pub missing_libraries: BTreeSet<String>,
    /// The version, the file that lacks it, and the object that needs it.
    pub missing_versions: BTreeSet<(String, String, String)>,
    /// The file that should define versions but defines none, and the object that needs them.
    pub unversioned: BTreeSet<(String, String)>,
    /// The symbol, its version (empty if it has none), and the object that needs it.
    pub missing_symbols: BTreeSet<(String, String, String)>,
}

impl Sets {
    /// Reads a trace. `None` if the loader aborted it, or if the program needs nothing itself: it is traced as
    /// "statically linked", even with preloads. `interpreter` is not included in the objects.
    pub fn parse(text: &str, shown: &str, interpreter: &str) -> Option<Self> {
        let mut sets = Self::default();
        let own = format!("{shown}: ");
        for line in text.lines() {
            let line = line.strip_prefix(&own).unwrap_or(line);
            let is_void = line.contains("error while loading shared libraries")
                || line.starts_with("Inconsistency")
                || line == "\tstatically linked";
            if is_void {
                return None;
            }
            sets.read_line(line, interpreter);
        }
        Some(sets)
    }

    fn read_line(&mut self, line: &str, interpreter: &str) {
        if let Some((path, rest)) = line.split_once(": version `") {
            let Some((version, wanted_by)) = rest.split_once("' not found (required by ") else { return };
            self.missing_versions.insert(triple(version, path, wanted_by.trim_end_matches(')')));
        } else if let Some((path, wanted_by)) =
            line.split_once(": no version information available (required by ")
        {
            self.unversioned.insert((path.to_owned(), wanted_by.trim_end_matches(')').to_owned()));
        } else if let Some(rest) = line.strip_prefix("undefined symbol: ") {
            let (symbol, wanted_by) = rest.split_once("\t(").unwrap_or((rest, ""));
            let (symbol, version) = symbol.split_once(", version ").unwrap_or((symbol, ""));
            self.missing_symbols.insert(triple(symbol, version, wanted_by.trim_end_matches(')')));
        } else if let Some(object) = line.strip_prefix('\t') {
            self.read_object(object, interpreter);
        } else {
            self.read_musl_line(line);
        }
    }

    /// `libz.so.1 => /lib/libz.so.1 (0x…)`, `libz.so.1 => not found`, `/lib/libz.so.1 (0x…)`.
    fn read_object(&mut self, object: &str, interpreter: &str) {
        let (name, place) = object.split_once(" => ").unwrap_or((object, object));
        let without_address = |text: &str| text.split(" (0x").next().unwrap_or(text).to_owned();
        let (name, path) = (without_address(name), without_address(place));
        if place == "not found" {
            self.missing_libraries.insert(name);
        } else if path != interpreter && !is_of_the_kernel(&name) {
            self.resolved.insert((name, path));
        }
    }

    fn read_musl_line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("Error loading shared library ") {
            let name = rest.split(": ").next().unwrap_or(rest);
            self.missing_libraries.insert(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("Error relocating ")
            && let Some((wanted_by, rest)) = rest.split_once(": ")
        {
            let symbol = rest.split(": ").next().unwrap_or(rest);
            self.missing_symbols.insert(triple(symbol, "", wanted_by));
        }
    }

    /// Removes consequences: the symbols of a missing version, and every symbol if a whole library is missing.
    pub fn without_consequences(mut self) -> Self {
        let versions = &self.missing_versions;
        let follows = |(_, version, wanted_by): &(String, String, String)| {
            versions.iter().any(|(missing, _, by)| missing == version && by == wanted_by)
        };
        self.missing_symbols.retain(|symbol| !follows(symbol));
        if !self.missing_libraries.is_empty() {
            self.missing_symbols.clear();
        }
        self
    }

    /// Returns the differences, one line for each element.
    pub fn differences(&self, model: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("resolved", &self.resolved, &model.resolved, &mut lines);
        compare("missing library", &self.missing_libraries, &model.missing_libraries, &mut lines);
        compare("missing version", &self.missing_versions, &model.missing_versions, &mut lines);
        compare("no version information", &self.unversioned, &model.unversioned, &mut lines);
        compare("missing symbol", &self.missing_symbols, &model.missing_symbols, &mut lines);
        lines
    }
}

fn triple(a: &str, b: &str, c: &str) -> (String, String, String) {
    (a.to_owned(), b.to_owned(), c.to_owned())
}

fn compare<T: Ord + std::fmt::Debug>(
    what: &str,
    truth: &BTreeSet<T>,
    model: &BTreeSet<T>,
    lines: &mut Vec<String>,
) {
    lines.extend(truth.difference(model).map(|element| format!("{what}: only the loader: {element:?}")));
    lines.extend(model.difference(truth).map(|element| format!("{what}: only compat: {element:?}")));
}

/// Checks the reader with a made-up trace that has a line of each kind: a reader that ignores one would
/// invalidate every comparison.
pub fn check_reader() {
    let text = "git: /lib/libc.so.6: version `GLIBC_2.34' not found (required by git)\n\
        git: /lib/libz.so.1: no version information available (required by git)\n\
        \tlinux-vdso.so.1 (0x00007ffe)\n\tlibz.so.1 => /lib/libz.so.1 (0x00007f)\n\tlibq.so => not found\n\
        \t/lib64/ld.so (0x00007f)\n\t/opt/liba.so (0x00007f)\n\
        undefined symbol: lstat64, version GLIBC_2.33\t(git)\nundefined symbol: f\t(/opt/liba.so)\n";
    let sets = Sets::parse(text, "git", "/lib64/ld.so").expect("the trace is whole");
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let resolved = [pair("/opt/liba.so", "/opt/liba.so"), pair("libz.so.1", "/lib/libz.so.1")];
    assert_eq!(sets.resolved, BTreeSet::from(resolved));
    assert_eq!(sets.missing_libraries, BTreeSet::from(["libq.so".to_owned()]));
    assert_eq!(sets.missing_versions, BTreeSet::from([triple("GLIBC_2.34", "/lib/libc.so.6", "git")]));
    assert_eq!(sets.unversioned, BTreeSet::from([pair("/lib/libz.so.1", "git")]));
    let symbols = [triple("lstat64", "GLIBC_2.33", "git"), triple("f", "", "/opt/liba.so")];
    assert_eq!(sets.missing_symbols, BTreeSet::from(symbols));
    assert!(sets.without_consequences().missing_symbols.is_empty());
    let fatal = "git: error while loading shared libraries: liba.so: file too short\n";
    assert_eq!(Sets::parse(fatal, "git", ""), None);
}

/// Returns whether a name is that of the vDSO, which the kernel maps itself.
fn is_of_the_kernel(name: &str) -> bool {
    name.starts_with("linux-vdso.so") || name.starts_with("linux-gate.so")
}
