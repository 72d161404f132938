//! A Python program with many modules over many entries of `sys.path`.

use std::fs;
use std::path::Path;

use super::{Error, Work, at, length, noise, run};

/// The packages of an entry.
const PACKAGES: usize = 5;
/// The modules of a package, besides its `__init__`.
const MODULES: usize = 4;
/// The modules of its inner package, besides their `__init__`.
const INNER_MODULES: usize = 8;

/// The modules of an entry.
const OF_ENTRY: usize = PACKAGES * (MODULES + INNER_MODULES + 2);

/// The options of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modules {
    /// The number of entries of `sys.path`. Each has 70 modules in five packages, each with an inner package.
    pub entries: usize,
}

impl Default for Modules {
    /// 700 modules over ten entries.
    fn default() -> Self {
        Self { entries: 10 }
    }
}

impl Modules {
    /// Generates the work in an empty directory: `main.py`, and `path0` and so on with the modules, compiled.
    /// The program imports all modules and prints a checksum of their data.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or if `python3` fails.
    pub fn generate(&self, directory: &Path) -> Result<Work, Error> {
        let error = at(directory);
        let mut names = Vec::new();
        for entry in 0..self.entries {
            for (module, path) in modules(entry) {
                let path = directory.join(path);
                let number = names.len();
                fs::create_dir_all(path.parent().unwrap_or(directory)).map_err(&error)?;
                fs::write(path, source(number)).map_err(&error)?;
                names.push(module);
            }
        }
        fs::write(directory.join("main.py"), main(self.entries, &names)).map_err(&error)?;
        let program = run("python3", &["-c", "import sys; print(sys.executable)"].map(Into::into))?;
        // Without the directory in the compiled names, so that they are the same everywhere.
        let compile = ["-m", "compileall", "-q", "-s"].map(Into::into);
        run("python3", &[&compile[..], &[directory.into(), directory.into()]].concat())?;
        // The compiled program itself is not read.
        fs::remove_dir_all(directory.join("__pycache__")).map_err(&error)?;
        let sum: u64 = (0..names.len()).map(checksum).sum();
        let (files, bytes, directories) = compiled(directory).map_err(&error)?;
        Ok(Work {
            program: program.trim().into(),
            arguments: ["-I", "-S", "main.py"].map(str::to_owned).into(),
            output: format!("{} {sum}\n", self.entries * OF_ENTRY),
            files: files + 1,
            bytes: bytes + length(&directory.join("main.py")).map_err(&error)?,
            directories: directories + 1,
        })
    }
}

/// The names and paths of the modules of an entry, packages before their modules.
fn modules(entry: usize) -> Vec<(String, String)> {
    let mut modules = Vec::new();
    let mut package = |name: &str, path: &str, count: usize| {
        modules.push((name.to_owned(), format!("{path}/__init__.py")));
        modules.extend((0..count).map(|m| (format!("{name}.m{m}"), format!("{path}/m{m}.py"))));
    };
    for number in 0..PACKAGES {
        let name = format!("work{entry}_{number}");
        let path = format!("path{entry}/{name}");
        package(&name, &path, MODULES);
        package(&format!("{name}.inner"), &format!("{path}/inner"), INNER_MODULES);
    }
    modules
}

/// The data of a module: a few hundred bytes to 16 KiB.
fn data(number: usize) -> String {
    let length = 200 + number * 7919 % 8000;
    noise(number as u64 + 1, length).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number that the program adds for a module.
fn checksum(number: usize) -> u64 {
    number as u64 + data(number).bytes().map(u64::from).sum::<u64>()
}

fn source(number: usize) -> String {
    let function =
        |number: usize| include_str!("fixtures/function.py").replace("NUMBER", &number.to_string());
    include_str!("fixtures/module.py")
        .replace("NUMBER", &number.to_string())
        .replace("FUNCTIONS\n", &(0..10).map(function).collect::<String>())
        .replace("CONTENT", &data(number))
}

fn main(entries: usize, names: &[String]) -> String {
    include_str!("fixtures/main.py")
        .replace("ENTRIES", &entries.to_string())
        .replace("NAMES", &names.join("\n"))
}

/// Counts the compiled modules, their bytes, and the directories below a directory.
fn compiled(directory: &Path) -> std::io::Result<(u64, u64, u64)> {
    let (mut files, mut bytes, mut directories) = (0, 0, 0);
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories += 1;
                open.push(path);
            } else if path.extension().is_some_and(|kind| kind == "pyc") {
                files += 1;
                bytes += length(&path)?;
            }
        }
    }
    Ok((files, bytes, directories))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_entries_have_seven_hundred_modules_with_different_names() {
        let names: std::collections::BTreeSet<String> =
            (0..10).flat_map(modules).map(|(name, _)| name).collect();
        assert_eq!((names.len(), OF_ENTRY), (700, 70));
        assert!(names.contains("work3_2.inner.m7"));
    }
}
