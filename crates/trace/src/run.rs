//! The files that runs executed and opened, merged: the part of recordings from which a specification is made.
//!
//! A path that the run itself created, renamed or linked before it used it is not a requirement on a host, and is left
//! out. Paths that are not UTF-8 are represented as text, as everywhere else ([`raw`]).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::asking::is_library;
use super::document::{Event, EventKind, Header};
use super::read::{ReadError, Reader};
use compat_sys::raw;

/// The bits of the flags of open(2) for the access mode (`O_ACCMODE`). 0 is for reading.
pub(super) const ACCESS_MODE: u32 = 3;

/// The suffix that the kernel adds to the path of a program whose file was removed or replaced (proc_pid_exe(5)).
const REMOVED: &str = " (deleted)";

/// Several runs of the same application, in the order in which they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// The number of runs.
    pub count: u32,
    /// The hosts of the runs.
    pub hosts: BTreeSet<String>,
    /// The program that each run executed first, without repetition.
    pub commands: Vec<String>,
    /// The files that were executed (programs, scripts and interpreters), in the order of the first execution.
    pub executed: Vec<Seen>,
    /// The programs that opened files for reading, and these files in the order of the first open.
    pub openers: Vec<Opener>,
    /// The symbolic links that were read.
    pub links: BTreeSet<String>,
    /// The number of events that were skipped because their path or program is cut, and therefore not the name of a
    /// file.
    pub cut: u64,
}

/// A path and the number of runs that used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The path with links resolved.
    pub path: String,
    /// The number of runs.
    pub runs: u32,
}

/// A program and the files that it opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The path of the program with links resolved.
    pub program: String,
    /// The number of runs in which it opened files.
    pub runs: u32,
    /// The files.
    pub opened: Vec<Seen>,
    /// The names that it looked up.
    pub lookups: Lookups,
}

/// The lookups of a program that show where its loader searched. The kernel reports a hit only now and then, but every
/// miss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Whether any was recorded.
    pub any: bool,
    /// The directories in which glibc looked for its subdirectories for the CPU ([`HWCAPS`]), as it does in each
    /// directory that it searches.
    pub with_hwcaps: BTreeSet<String>,
    /// The paths with the name of a library that did not exist.
    pub missed: BTreeSet<String>,
}

/// The subdirectory that glibc 2.33 and newer look for first in each directory that they search (`elf/dl-hwcaps.c`).
pub const HWCAPS: &str = "/glibc-hwcaps";

impl Lookups {
    fn add(&mut self, path: &str, is_miss: bool) {
        self.any = true;
        if let Some(directory) = path.strip_suffix(HWCAPS) {
            self.with_hwcaps.insert(directory.to_owned());
        } else if is_miss && is_library(path.as_bytes()) {
            self.missed.insert(path.to_owned());
        }
    }

    fn extend(&mut self, other: Self) {
        self.any |= other.any;
        self.with_hwcaps.extend(other.with_hwcaps);
        self.missed.extend(other.missed);
    }
}

impl Runs {
    /// Adds a recording, reading it to its end.
    ///
    /// # Errors
    ///
    /// If it cannot be read. The events before the error are added anyway.
    pub fn add(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        let mut run = RunInProgress::of(reader.header());
        let outcome = loop {
            match reader.read_event() {
                Ok(Some(event)) => run.add(&event),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.merge(run);
        outcome
    }

    fn merge(&mut self, run: RunInProgress) {
        self.count += 1;
        self.hosts.insert(run.host.clone());
        let RunInProgress { executed, openers, links, mut lookups, cut, .. } = run;
        self.cut += cut;
        let executed = executed.paths;
        let first = executed.first().filter(|first| !self.commands.contains(first));
        self.commands.extend(first.cloned());
        add_seen(&mut self.executed, executed);
        let known = self.openers.iter().enumerate();
        let places: HashMap<String, usize> =
            known.map(|(place, opener)| (opener.program.clone(), place)).collect();
        for (program, opened) in openers {
            let lookups = lookups.remove(&program).unwrap_or_default();
            match places.get(&program) {
                Some(place) => {
                    let known = &mut self.openers[*place];
                    known.runs += 1;
                    add_seen(&mut known.opened, opened.paths);
                    known.lookups.extend(lookups);
                }
                None => {
                    let opened = opened.paths.into_iter().map(|path| Seen { path, runs: 1 }).collect();
                    self.openers.push(Opener { program, runs: 1, opened, lookups });
                }
            }
        }
        self.links.extend(links);
    }
}

fn add_seen(known: &mut Vec<Seen>, paths: impl IntoIterator<Item = String>) {
    let places: HashMap<String, usize> =
        known.iter().enumerate().map(|(place, seen)| (seen.path.clone(), place)).collect();
    for path in paths {
        match places.get(&path) {
            Some(place) => known[*place].runs += 1,
            None => known.push(Seen { path, runs: 1 }),
        }
    }
}

/// One run.
#[derive(Debug, Default)]
struct RunInProgress {
    host: String,
    executed: Paths,
    openers: Vec<(String, Paths)>,
    /// The positions of programs among the openers.
    places: HashMap<String, usize>,
    links: BTreeSet<String>,
    /// The names that programs looked up.
    lookups: HashMap<String, Lookups>,
    made: Made,
    /// The programs that were executed after the run had created them.
    executed_as_made: HashSet<String>,
    /// The number of events that were skipped.
    cut: u64,
}

/// Distinct paths in the order in which they were encountered.
#[derive(Debug, Default)]
struct Paths {
    paths: Vec<String>,
    known: HashSet<String>,
}

impl Paths {
    fn add(&mut self, path: &str) {
        if !self.known.contains(path) {
            self.known.insert(path.to_owned());
            self.paths.push(path.to_owned());
        }
    }
}

/// The paths that the run has created so far.
#[derive(Debug, Default)]
struct Made {
    paths: HashSet<String>,
    /// The last hash of each path, as returned by `hashes`.
    known: HashSet<u64>,
    keys: RandomState,
}

impl Made {
    fn insert(&mut self, path: &str) {
        let last = self.hashes(path).last();
        self.known.extend(last.map(|(_, hash)| hash));
        self.paths.insert(path.to_owned());
    }

    /// Whether the run created a path, or a directory above it.
    fn holds(&self, path: &str) -> bool {
        // The hash excludes most directories. A path is read only once for all of its directories.
        let is_made = |(end, hash)| self.known.contains(&hash) && self.paths.contains(&path[..end]);
        !self.paths.is_empty() && self.hashes(path).any(is_made)
    }

    /// Returns the hash of each directory above a path, with the length of the directory's path, and finally of the
    /// path itself. Each hash continues the previous one, so the path is read only once, regardless of its depth.
    fn hashes(&self, path: &str) -> impl Iterator<Item = (usize, u64)> {
        let ends = path.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0);
        let (mut hasher, mut begin) = (self.keys.build_hasher(), 0);
        ends.chain([path.len()]).map(move |end| {
            hasher.write(&path.as_bytes()[begin..end]);
            begin = end;
            (end, hasher.finish())
        })
    }
}

impl RunInProgress {
    fn of(header: &Header) -> Self {
        Self { host: header.host.clone(), ..Self::default() }
    }

    fn add(&mut self, event: &Event) {
        // The content of a symbolic link is not needed here.
        let cut = event.cut();
        if cut.path.is_some() || cut.exe.is_some() || cut.other.is_some() && event.event == EventKind::Rename
        {
            self.cut += 1;
            return;
        }
        if event.event == EventKind::Lookup {
            self.add_lookup(event);
        }
        if event.error.is_some() {
            return;
        }
        let path = raw::text(&event.path.0);
        match event.event {
            EventKind::Open if event.exec && self.made.holds(&path) => {
                self.executed_as_made.insert(path.into_owned());
            }
            EventKind::Open if event.exec => self.executed.add(&path),
            EventKind::Open if event.flags.unwrap_or(0) & ACCESS_MODE == 0 && !self.made.holds(&path) => {
                let exe = raw::text(&event.exe.0);
                if let Some(program) = self.program(&exe) {
                    self.opened_by(program).add(&path);
                }
            }
            EventKind::ReadLink => {
                self.links.insert(path.into_owned());
            }
            EventKind::Create | EventKind::HardLink | EventKind::SymbolicLink | EventKind::MakeNode => {
                self.made.insert(&path);
            }
            EventKind::Rename => {
                if let Some(to) = &event.other {
                    self.made.insert(&raw::text(&to.0));
                }
            }
            _ => {}
        }
    }

    fn add_lookup(&mut self, event: &Event) {
        let exe = raw::text(&event.exe.0);
        let Some(program) = self.program(&exe) else { return };
        if !self.lookups.contains_key(program) {
            self.lookups.insert(program.to_owned(), Lookups::default());
        }
        if let Some(lookups) = self.lookups.get_mut(program) {
            lookups.add(&raw::text(&event.path.0), event.error.is_some());
        }
    }

    /// The path of a program that opens a file. `None` if the run created the program.
    fn program<'e>(&self, exe: &'e str) -> Option<&'e str> {
        let was_executed = |path| self.executed.known.contains(path);
        if let Some(path) = exe.strip_suffix(REMOVED).filter(|_| !was_executed(exe)) {
            return (was_executed(path) || !self.made.holds(path)).then_some(path);
        }
        let is_old = was_executed(exe) && !self.executed_as_made.contains(exe);
        (is_old || !self.made.holds(exe)).then_some(exe)
    }

    fn opened_by(&mut self, program: &str) -> &mut Paths {
        let place = self.places.get(program).copied().unwrap_or_else(|| {
            self.places.insert(program.to_owned(), self.openers.len());
            self.openers.push((program.to_owned(), Paths::default()));
            self.openers.len() - 1
        });
        &mut self.openers[place].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        r#"{"compat_recording":1,"command":["app"],"folder":"/","host":"node1","kernel":"6","started":1}"#;

    fn line(event: &str, path: &str, exe: &str, more: &str) -> String {
        format!(
            r#"{{"t":1,"event":"{event}","path":"{path}","pid":1,"tid":1,"ppid":1,"exe":"{exe}","uid":0{more}}}"#
        )
    }

    fn add(runs: &mut Runs, lines: &[String]) {
        let text = format!("{HEADER}\n{}\n", lines.join("\n"));
        let mut reader = Reader::new("run", text.as_bytes()).unwrap();
        runs.add(&mut reader).unwrap();
    }

    fn paths(seen: &[Seen]) -> Vec<(&str, u32)> {
        seen.iter().map(|seen| (seen.path.as_str(), seen.runs)).collect()
    }

    #[test]
    fn what_several_runs_opened_is_counted_by_run() {
        let mut runs = Runs::default();
        let exec = line("open", "/bin/app", "/compat", r#","exec":true,"open":1"#);
        let open = |path: &str, more: &str| line("open", path, "/bin/app", more);
        let (a, b) = (open("/lib/a.so", r#","flags":32768"#), open("/lib/b.so", r#","flags":32768"#));
        add(&mut runs, &[exec.clone(), a.clone(), a.clone()]);
        add(&mut runs, &[exec, b, a]);
        assert_eq!((runs.count, paths(&runs.executed)), (2, vec![("/bin/app", 2)]));
        assert_eq!(runs.commands, ["/bin/app"]);
        let [opener] = &runs.openers[..] else { panic!("{runs:?}") };
        assert_eq!((opener.program.as_str(), opener.runs), ("/bin/app", 2));
        assert_eq!(paths(&opener.opened), [("/lib/a.so", 2), ("/lib/b.so", 1)]);
    }

    #[test]
    fn what_failed_was_written_or_made_by_the_run_is_left_out() {
        let mut runs = Runs::default();
        let open = |path: &str, more: &str| line("open", path, "/bin/app", more);
        add(
            &mut runs,
            &[
                line("create", "/tmp/a.so", "/bin/cc", r#","flags":1"#),
                line("rename", "/tmp/x", "/bin/mv", r#","other":"/tmp/dir""#),
                open("/tmp/a.so", r#","flags":0"#),
                open("/tmp/dir/b.so", r#","flags":0"#),
                open("/lib/none.so", r#","error":"EACCES""#),
                open("/var/log", r#","flags":1025"#),
                open("/lib/c.so", r#","flags":0"#),
                open("/tmp/direct.so", r#","flags":0"#),
            ],
        );
        let opened = &runs.openers[0].opened;
        assert_eq!(paths(opened), [("/lib/c.so", 1), ("/tmp/direct.so", 1)]);
    }

    #[test]
    fn what_the_run_replaced_after_it_was_used_was_there_before() {
        let mut runs = Runs::default();
        let app = |event: &str, path: &str, more: &str| line(event, path, "/opt/app", more);
        let (exec, read) = (r#","exec":true,"open":1"#, r#","flags":0"#);
        add(
            &mut runs,
            &[
                line("open", "/opt/app", "/compat", exec),
                line("open", "/lib64/ld.so.2", "/compat", exec),
                app("open", "/site/ssl.so", read),
                app("rename", "/site/new", r#","other":"/site/ssl.so""#),
                app("open", "/site/ssl.so", read),
                app("rename", "/site/app", r#","other":"/opt/app""#),
                app("open", "/site/late.so", read),
                line("open", "/site/later.so", "/opt/app (deleted)", read),
                line("open", "/opt/app", "/opt/app (deleted)", exec),
                app("open", "/site/of-the-new.so", read),
            ],
        );
        assert_eq!(runs.commands, ["/opt/app"]);
        let [opener] = &runs.openers[..] else { panic!("{runs:?}") };
        assert_eq!(opener.program, "/opt/app");
        let expected = [("/site/ssl.so", 1), ("/site/late.so", 1), ("/site/later.so", 1)];
        assert_eq!(paths(&opener.opened), expected);
    }

    #[test]
    fn where_a_program_looked_for_libraries_is_kept() {
        let mut runs = Runs::default();
        let look = |path: &str, more: &str| line("lookup", path, "/bin/app", more);
        let miss = r#","error":"ENOENT""#;
        let open = line("open", "/d2/a.so", "/bin/app", r#","flags":0"#);
        add(&mut runs, &[look("/d1/glibc-hwcaps", miss), look("/d1/a.so", miss), open.clone()]);
        add(&mut runs, &[look("/d2/glibc-hwcaps", ""), look("/d2/a.so", ""), look("/etc/x", miss), open]);
        let [opener] = &runs.openers[..] else { panic!("{runs:?}") };
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let (with_hwcaps, missed) = (set(&["/d1", "/d2"]), set(&["/d1/a.so"]));
        assert_eq!(opener.lookups, Lookups { any: true, with_hwcaps, missed });
    }

    #[test]
    fn a_program_that_the_run_made_and_removed_is_left_out() {
        let mut runs = Runs::default();
        let (exec, read) = (r#","exec":true,"open":1"#, r#","flags":0"#);
        add(
            &mut runs,
            &[
                line("create", "/tmp/a.out", "/bin/cc", r#","flags":1"#),
                line("open", "/tmp/a.out", "/bin/sh", exec),
                line("open", "/lib/a.so", "/tmp/a.out", read),
                line("open", "/lib/b.so", "/tmp/a.out (deleted)", read),
                line("open", "/lib/c.so", "/bin/removed (deleted)", read),
            ],
        );
        assert!(runs.executed.is_empty());
        let [opener] = &runs.openers[..] else { panic!("{runs:?}") };
        assert_eq!(opener.program, "/bin/removed");
    }

    #[test]
    fn a_path_that_is_not_whole_is_passed_over_and_counted() {
        let mut runs = Runs::default();
        let open = |path: &str, more: &str| line("open", path, "/bin/app", more);
        let cut = |which: &str| format!(r#","flags":0,"cut":{{"{which}":9}}"#);
        let miss = r#","error":"ENOENT","cut":{"path":9}"#;
        add(
            &mut runs,
            &[
                open("/lib/a.so", &cut("path")),
                open("/lib/b.so", &cut("exe")),
                open("/lib/c.so", r#","flags":0"#),
                line("lookup", "/lib/d.so", "/bin/app", miss),
                line("rename", "/lib/c.so", "/bin/app", r#","other":"/lib/e.so","cut":{"other":9}"#),
                open("/lib/e.so", r#","flags":0,"cut":{"new":1}"#),
            ],
        );
        let [opener] = &runs.openers[..] else { panic!("{runs:?}") };
        assert_eq!(paths(&opener.opened), [("/lib/c.so", 1), ("/lib/e.so", 1)]);
        assert_eq!((runs.cut, opener.lookups.any), (4, false));
    }

    #[test]
    fn a_path_that_is_no_text_is_kept_with_its_bytes() {
        let mut runs = Runs::default();
        let open = line("open", "PATH", "/bin/app", r#","flags":0"#);
        let open = open.replace("\"PATH\"", "{\"hex\":\"2f6c2fff2e736f\"}");
        let by = line("open", "/l/b.so", "EXE", r#","flags":0"#);
        let by = by.replace("\"EXE\"", "{\"hex\":\"2fff\"}");
        add(&mut runs, &[open, by]);
        let opener =
            |number: usize| (runs.openers[number].program.as_str(), paths(&runs.openers[number].opened));
        assert_eq!(opener(0), ("/bin/app", vec![("/l/\u{efff}.so", 1)]));
        assert_eq!(opener(1), ("/\u{efff}", vec![("/l/b.so", 1)]));
    }

    #[test]
    fn what_lies_in_what_was_made_was_made() {
        let mut made = Made::default();
        assert!(!made.holds("/a"));
        made.insert("/a/b");
        made.insert("/long//way");
        let held = ["/a/b", "/a/b/c", "/a/b/c/d", "/a/b/", "/long//way/on"];
        let others = ["/a", "/", "", "/a/bc", "/a/", "/b", "a/b", "/long/way", "/c/a/b"];
        assert!(held.iter().all(|path| made.holds(path)));
        assert!(!others.iter().any(|path| made.holds(path)));
    }

    #[test]
    fn many_deep_paths_end_soon_where_the_run_made_deep_ones() {
        let begin = std::time::Instant::now();
        let mut runs = Runs::default();
        let deep = "/d".repeat(8_000);
        let mut lines = vec![line("create", &format!("{deep}/made"), "/bin/app", "")];
        lines.extend((0..1_000).map(|number| {
            line("open", &format!("{deep}/{number}.so"), &format!("{deep}/app"), r#","flags":0"#)
        }));
        lines.push(line("open", &format!("{deep}/made/a.so"), "/bin/app", r#","flags":0"#));
        add(&mut runs, &lines);
        let [opener] = &runs.openers[..] else { panic!("{} openers", runs.openers.len()) };
        assert_eq!(opener.opened.len(), 1_000);
        assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
    }

    #[test]
    fn many_programs_and_deep_paths_end_soon() {
        let begin = std::time::Instant::now();
        let mut runs = Runs::default();
        let deep = format!("/made{}", "/d".repeat(1 << 20));
        let mut lines = vec![line("create", "/made2", "/bin/app", "")];
        lines.extend((0..40_000).map(|number| {
            line("open", &format!("/lib/{number}.so"), &format!("/bin/{number}"), r#","flags":0"#)
        }));
        lines.push(line("open", &deep, "/bin/app", r#","flags":0"#));
        add(&mut runs, &lines);
        add(&mut runs, &lines);
        assert_eq!(runs.openers.len(), 40_001);
        assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
    }
}
