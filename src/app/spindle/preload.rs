//! The files that are read ahead, as a user lists them: paths, patterns and lists.
//!
//! `@FILE` is a list. A recording lists the files that its run opened, in the order of their first opens. Any other list
//! has a path or a pattern on each line. Empty lines and lines that begin with `#` are skipped. Directories stand for
//! all files below them. In a list, the name of a directory ends with a slash.
//!
//! The file system is slow, so that it is not asked about the files of lists and recordings. It is only asked about
//! arguments, and to list directories ([`files`]).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use compat_trace::{Name, Order, Reader, Survey, Touched};
use globset::{GlobBuilder, GlobMatcher};

use crate::app::{Failure, Observer, recording};

/// The largest list that is not a recording, in bytes.
const LARGEST_LIST: u64 = 64 << 20;

/// A file or files to read ahead.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A file that a recording lists.
    File(PathBuf),
    /// A file, or all files in a directory.
    Path(PathBuf),
    /// All files that match a pattern.
    Pattern {
        /// The directory that contains all matches.
        directory: PathBuf,
        /// The pattern of the absolute path.
        matcher: GlobMatcher,
    },
}

/// Returns the files that the arguments of `--preload` list. Relative paths begin in `directory`.
///
/// # Errors
///
/// If a list cannot be read, or a pattern is invalid.
pub fn read(
    arguments: &[OsString],
    directory: &Path,
    observer: &dyn Observer,
) -> Result<Vec<Wanted>, Failure> {
    let mut wanted = Vec::new();
    for argument in arguments {
        match argument.as_bytes().strip_prefix(b"@") {
            Some(list) => read_list(Path::new(OsStr::from_bytes(list)), directory, observer, &mut wanted)?,
            None => wanted.push(parse(argument, directory, false)?),
        }
    }
    Ok(wanted)
}

/// Adds the files of a list.
fn read_list(
    path: &Path,
    directory: &Path,
    observer: &dyn Observer,
    wanted: &mut Vec<Wanted>,
) -> Result<(), Failure> {
    let mut input = recording::input(path)?;
    let failed = |source| Failure::undecided(&ListError { path: path.to_owned(), source });
    if recording::is_recording(input.fill_buf().map_err(failed)?) {
        let reader = Reader::new(recording::name(path), input).map_err(|error| recording::failure(&error))?;
        let mut survey = Survey::default();
        recording::add(&mut survey, path, reader, observer)?;
        // Files that the run made or changed are not worth a copy.
        let is_read = |_: &Name, touched: &Touched| {
            touched.opened > 0 && touched.created + touched.opened_to_write == 0 && touched.cut.is_none()
        };
        let files = compat_trace::files(&survey, Order::First, is_read);
        wanted.extend(files.into_iter().map(|file| Wanted::File(OsString::from_vec(file.path.0).into())));
        return Ok(());
    }
    let mut text = Vec::new();
    input.take(LARGEST_LIST).read_to_end(&mut text).map_err(failed)?;
    for line in text.split(|byte| *byte == b'\n') {
        if !line.is_empty() && !line.starts_with(b"#") {
            wanted.push(parse(OsStr::from_bytes(line), directory, true)?);
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("could not read the list {}", path.display())]
struct ListError {
    path: PathBuf,
    source: std::io::Error,
}

/// Parses a path or a pattern, of a list or an argument.
fn parse(text: &OsStr, directory: &Path, is_listed: bool) -> Result<Wanted, Failure> {
    let path = directory.join(text);
    let of_path = |path| {
        let is_file = is_listed && !text.as_bytes().ends_with(b"/");
        if is_file { Wanted::File(path) } else { Wanted::Path(path) }
    };
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'{');
    if !text.as_bytes().iter().any(is_special) {
        return Ok(of_path(path));
    }
    let Some(pattern) = path.to_str() else { return Ok(of_path(path)) };
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(|error| Failure::usage(format!("--preload: invalid pattern: {error}")))?;
    let is_literal = |part: &Component<'_>| !part.as_os_str().as_bytes().iter().any(is_special);
    let directory = path.components().take_while(is_literal).collect();
    Ok(Wanted::Pattern { directory, matcher: glob.compile_matcher() })
}

/// Returns the paths of the files, in order, each at least once. Directories are listed when their turn comes, in the
/// order of names. Links to directories inside them are not followed. Paths that do not exist are included.
pub fn files(wanted: Vec<Wanted>) -> impl Iterator<Item = PathBuf> + Send {
    wanted.into_iter().flat_map(|wanted| {
        let (file, walk) = match wanted {
            Wanted::File(path) => (Some(path), None),
            Wanted::Path(path) => (None, Some(Walk { pending: vec![path], matcher: None, first: true })),
            Wanted::Pattern { directory, matcher } => {
                (None, Some(Walk { pending: vec![directory], matcher: Some(matcher), first: true }))
            }
        };
        file.into_iter().chain(walk.into_iter().flatten())
    })
}

/// A walk through a directory.
struct Walk {
    /// The paths to visit, the next one last.
    pending: Vec<PathBuf>,
    matcher: Option<GlobMatcher>,
    /// Whether the next path is that of the user, which may be a link.
    first: bool,
}

impl Iterator for Walk {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        while let Some(path) = self.pending.pop() {
            let is_first = std::mem::take(&mut self.first);
            let facts = if is_first { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            let kind = facts.as_ref().map(fs::Metadata::file_type);
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                let mut inside: Vec<PathBuf> =
                    fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
                inside.sort_by(|one, other| other.cmp(one));
                self.pending.append(&mut inside);
                continue;
            }
            let is_taken = match &self.matcher {
                Some(matcher) => matcher.is_match(&path),
                None => is_first || kind.is_ok_and(|kind| kind.is_file() || kind.is_symlink()),
            };
            if is_taken {
                return Some(path);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::spindle::Quiet;

    fn listed(directory: &Path, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        let wanted = read(&arguments, directory, &Quiet).expect("lists");
        let name = |path: PathBuf| path.strip_prefix(directory).expect("inside").display().to_string();
        files(wanted).map(name).collect()
    }

    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("lib/sub")).unwrap();
        for name in ["app", "lib/b.so", "lib/a.so", "lib/sub/c.so", "lib/notes"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a.so", at("lib/link.so")).unwrap();
        std::os::unix::fs::symlink("/", at("lib/root")).unwrap();
        place
    }

    #[test]
    fn directories_and_patterns_stand_for_their_files() {
        let place = place();
        let listed = |arguments: &[&str]| listed(place.path(), arguments);
        assert_eq!(listed(&["app", "none"]), ["app", "none"]);
        let all = ["lib/a.so", "lib/b.so", "lib/link.so", "lib/notes", "lib/root", "lib/sub/c.so"];
        assert_eq!(listed(&["lib"]), all);
        assert_eq!(listed(&["lib/*.so"]), ["lib/a.so", "lib/b.so", "lib/link.so"]);
        assert_eq!(listed(&["**/c.so", "{app,x}"]), ["lib/sub/c.so", "app"]);
        assert_eq!(listed(&["none/*"]), [""; 0]);
    }

    #[test]
    fn a_list_has_one_entry_on_each_line() {
        let place = place();
        let list = place.path().join("list");
        fs::write(&list, "# libraries\nlib/b.so\n\nlib/a*\nlib/sub/\nlib/sub\n").unwrap();
        let argument = format!("@{}", list.display());
        assert_eq!(
            listed(place.path(), &[&argument, "app"]),
            ["lib/b.so", "lib/a.so", "lib/sub/c.so", "lib/sub", "app"]
        );
        let missing = read(&["@/nowhere/list".into()], place.path(), &Quiet).unwrap_err();
        assert!(missing.message.contains("/nowhere/list"), "{}", missing.message);
        let wrong = read(&["a[".into()], place.path(), &Quiet).unwrap_err();
        assert!(wrong.message.contains("invalid pattern"), "{}", wrong.message);
    }

    #[test]
    fn a_recording_lists_its_files_in_the_order_of_their_opens() {
        let place = place();
        let at = |name: &str| place.path().join(name).display().to_string();
        let event = |t: u64, kind: &str, name: &str, more: &str| {
            let path = at(name);
            format!(
                r#"{{"t":{t},"event":"{kind}","path":"{path}","pid":1,"tid":1,"ppid":0,"exe":"/a","uid":0{more}}}"#
            )
        };
        let lines = [
            r#"{"compat_recording":1,"command":["a"],"folder":"/","host":"n","kernel":"6","started":0}"#
                .to_owned(),
            event(1, "open", "lib/b.so", r#","open":1"#),
            event(2, "lookup", "lib/notes", ""),
            event(3, "create", "new", r#","open":2"#),
            event(4, "open", "log", r#","open":3,"flags":1"#),
            event(5, "open", "app", r#","open":4"#),
            event(6, "open", "lib/b.so", r#","open":5"#),
            r#"{"end":"exited","code":0}"#.to_owned(),
        ];
        let run = place.path().join("run.jsonl");
        fs::write(&run, lines.join("\n") + "\n").unwrap();
        assert_eq!(listed(place.path(), &[&format!("@{}", run.display())]), ["lib/b.so", "app"]);
        fs::remove_dir_all(place.path().join("lib")).unwrap();
        fs::create_dir_all(place.path().join("lib/b.so/sub")).unwrap();
        let unasked = listed(place.path(), &[&format!("@{}", run.display())]);
        assert_eq!(unasked, ["lib/b.so", "app"], "the files of a recording are not looked up");
    }
}
