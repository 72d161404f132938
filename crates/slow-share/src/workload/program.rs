//! A shell script that starts many short programs from many directories of `PATH`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Error, Work, at, length, run};

/// The program. The number is replaced in each copy.
const SOURCE: &str = include_str!("fixtures/program.c");

/// The replaced part.
const PLACE: &[u8] = b"number=00000";

/// The options of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Programs {
    /// The number of different programs.
    pub count: usize,
    /// The number of directories in `PATH`.
    pub directories: usize,
    /// The number of programs that are started.
    pub starts: usize,
}

impl Default for Programs {
    /// 500 starts of 50 programs in ten directories.
    fn default() -> Self {
        Self { count: 50, directories: 10, starts: 500 }
    }
}

impl Programs {
    /// Generates the work in an empty directory: `storm.sh`, `bin0` and so on with links, and `store` with the
    /// programs. For each start the script starts a shell that searches the program in `PATH`. Each program
    /// prints its number.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or if the compiler (`cc`) fails.
    pub fn generate(&self, directory: &Path) -> Result<Work, Error> {
        let error = at(directory);
        let (count, directories) = (self.count.max(1), self.directories.max(1));
        let store = directory.join("store");
        fs::create_dir_all(&store).map_err(&error)?;
        let template = template(directory)?;
        let mut bytes = 0;
        for number in 0..count {
            let name = format!("program{number}");
            let bin = directory.join(format!("bin{}", number % directories));
            fs::create_dir_all(&bin).map_err(&error)?;
            let file = store.join(format!("{name}-1.0"));
            fs::write(&file, numbered(&template, number)).map_err(&error)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(&error)?;
            std::os::unix::fs::symlink(format!("../store/{name}-1.0"), bin.join(&name)).map_err(&error)?;
            bytes += length(&file).map_err(&error)?;
        }
        let script = directory.join("storm.sh");
        fs::write(&script, self.script(count, directories)).map_err(&error)?;
        Ok(Work {
            program: "/bin/sh".into(),
            arguments: vec!["storm.sh".to_owned()],
            output: (0..self.starts).map(|start| format!("{:05}\n", start % count)).collect(),
            files: count.min(self.starts) as u64 + 1,
            bytes: bytes + length(&script).map_err(&error)?,
            directories: directories as u64 + 2,
        })
    }

    fn script(&self, count: usize, directories: usize) -> String {
        let path: Vec<String> = (0..directories).map(|number| format!("$root/bin{number}")).collect();
        include_str!("fixtures/storm.sh")
            .replace("SEARCH", &path.join(":"))
            .replace("STARTS", &self.starts.to_string())
            .replace("COUNT", &count.to_string())
    }
}

/// Compiles the program.
fn template(directory: &Path) -> Result<Vec<u8>, Error> {
    let error = at(directory);
    let [source, program] = ["template.c", "template"].map(|name| directory.join(name));
    fs::write(&source, SOURCE).map_err(&error)?;
    run("cc", &["-O1".into(), "-o".into(), program.clone().into(), source.clone().into()])?;
    let bytes = fs::read(&program).map_err(&error)?;
    fs::remove_file(source).and_then(|()| fs::remove_file(program)).map_err(&error)?;
    Ok(bytes)
}

/// Returns the program with its number.
fn numbered(template: &[u8], number: usize) -> Vec<u8> {
    let mut program = template.to_vec();
    let place = program.windows(PLACE.len()).position(|window| window == PLACE);
    if let Some(place) = place {
        let number = format!("number={number:05}");
        program[place..place + number.len()].copy_from_slice(number.as_bytes());
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_replaces_the_place() {
        assert_eq!(numbered(b"\0number=00000\0", 42), b"\0number=00042\0");
    }
}
