//! A program with many libraries over many directories, as Pynamic (LLNL) generates it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{Error, Work, at, in_parallel, length, noise, run};

/// The step at which a library's function reads its contents: at most the size of a page, so that a run reads
/// all pages.
const STEP: usize = 4096;

/// The bytes of a library without its contents, about: headers, tables, and the gaps between the segments.
const FRAME: u64 = 14_000;

/// The options of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Libraries {
    /// The number of libraries.
    pub count: usize,
    /// The number of directories over which they are spread.
    pub directories: usize,
    /// The bytes of all libraries, about. Their sizes differ by up to a factor of 50.
    pub bytes: u64,
}

impl Default for Libraries {
    /// 200 libraries of 100 MB in 20 directories.
    fn default() -> Self {
        Self { count: 200, directories: 20, bytes: 100_000_000 }
    }
}

impl Libraries {
    /// Generates the work in an empty directory: `app`, and `lib0` and so on with the libraries.
    /// `libwork7.so.1` is a link to `libwork7.so.1.0`. The program needs all of them, searches all directories
    /// (`DT_RUNPATH`), calls one function of each, and prints the sum. A function reads all pages of its
    /// library.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or if the compiler (`cc`) fails.
    pub fn generate(&self, directory: &Path) -> Result<Work, Error> {
        let error = at(directory);
        let directories = self.directories.max(1);
        for number in 0..directories {
            fs::create_dir_all(directory.join(format!("lib{number}"))).map_err(&error)?;
        }
        let sizes = self.sizes();
        let made = in_parallel(self.count, |number| library(directory, number, directories, sizes[number]))?;
        let sum: u64 = made.iter().map(|(sum, _)| sum).sum();
        self.link(directory, directories)?;
        let program = length(&directory.join("app")).map_err(&error)?;
        Ok(Work {
            program: "app".into(),
            arguments: Vec::new(),
            output: format!("{sum}\n"),
            files: self.count as u64 + 1,
            bytes: made.iter().map(|(_, bytes)| bytes).sum::<u64>() + program,
            directories: directories as u64 + 1,
        })
    }

    /// The sizes of the libraries: 10 to 500 shares of the whole.
    fn sizes(&self) -> Vec<u64> {
        let shares: Vec<u64> = (0..self.count as u64).map(|number| 10 + number * 7919 % 491).collect();
        let all: u64 = shares.iter().sum();
        shares.into_iter().map(|share| self.bytes * share / all).collect()
    }

    fn link(&self, directory: &Path, directories: usize) -> Result<(), Error> {
        let all: String = (0..self.count).map(|number| format!("WORK({number})\n")).collect();
        let source = include_str!("fixtures/app.c").replace("ALL", &all);
        let file = directory.join("app.c");
        fs::write(&file, source).map_err(at(directory))?;
        let search: Vec<String> = (0..directories).map(|number| format!("$ORIGIN/lib{number}")).collect();
        let mut arguments: Vec<OsString> =
            ["-O1", "-Wl,--no-as-needed,--enable-new-dtags", "-o"].map(Into::into).into();
        arguments.extend([directory.join("app").into(), file.clone().into()]);
        arguments.push(format!("-Wl,-rpath,{}", search.join(":")).into());
        arguments.extend((0..self.count).map(|number| real_name(directory, number, directories).into()));
        run("cc", &arguments)?;
        fs::remove_file(file).map_err(at(directory))
    }
}

fn real_name(directory: &Path, number: usize, directories: usize) -> std::path::PathBuf {
    directory.join(format!("lib{}/libwork{number}.so.1.0", number % directories))
}

/// Generates a library. Returns the result of its function, and its size.
fn library(directory: &Path, number: usize, directories: usize, size: u64) -> Result<(u64, u64), Error> {
    let error = at(directory);
    let content =
        noise(number as u64 + 1, usize::try_from(size.saturating_sub(FRAME)).unwrap_or(0).max(STEP));
    let [data, source] = ["bin", "c"].map(|kind| directory.join(format!("work{number}.{kind}")));
    fs::write(&data, &content).map_err(&error)?;
    let text = include_str!("fixtures/library.c")
        .replace("NUMBER", &number.to_string())
        .replace("LENGTH", &content.len().to_string())
        .replace("STEP", &STEP.to_string())
        .replace("DATA", &data.display().to_string());
    fs::write(&source, text).map_err(&error)?;
    let library = real_name(directory, number, directories);
    let name = format!("libwork{number}.so.1");
    let mut arguments: Vec<OsString> = ["-O1", "-shared", "-fPIC", "-nostdlib", "-o"].map(Into::into).into();
    arguments.extend([library.clone().into(), source.clone().into(), format!("-Wl,-soname,{name}").into()]);
    run("cc", &arguments)?;
    fs::remove_file(data).and_then(|()| fs::remove_file(source)).map_err(&error)?;
    std::os::unix::fs::symlink(format!("{name}.0"), library.with_file_name(&name)).map_err(&error)?;
    let sum: u64 = content.iter().step_by(STEP).map(|byte| u64::from(*byte)).sum();
    Ok((sum + number as u64, length(&library).map_err(&error)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_add_up_and_differ() {
        let sizes = Libraries::default().sizes();
        let all: u64 = sizes.iter().sum();
        assert!((99_999_000..=100_000_000).contains(&all), "{all}");
        let (least, most) = (sizes.iter().min().expect("sizes"), sizes.iter().max().expect("sizes"));
        assert!(most / least > 20, "{least} to {most}");
    }
}
