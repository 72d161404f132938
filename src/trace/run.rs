//! What runs executed and opened, merged: the part of recordings that a specification is made of.
//!
//! A path that the run itself made (created, renamed or linked to) is nothing that it needs of a machine,
//! and is left out; so are paths that are no text, which no specification can name.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::document::{Event, Header, Kind};
use super::read::{ReadError, Reader};

/// The bits of the flags of open(2) that say how a file is opened (`O_ACCMODE`); 0 is for reading.
const ACCESS_MODE: u32 = 3;

/// Several runs of what is taken for one application, in the order in which they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many there are.
    pub count: u32,
    /// The machines they ran on.
    pub hosts: BTreeSet<String>,
    /// What each of them executed first, without repetition.
    pub commands: Vec<String>,
    /// The files that were executed, programs, scripts and interpreters alike, in the order of their
    /// first execution.
    pub executed: Vec<Seen>,
    /// The programs that opened files for reading, with these in the order of the first opening.
    pub openers: Vec<Opener>,
    /// Symbolic links that were read.
    pub links: BTreeSet<String>,
}

/// A path, and what runs had to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The path, links followed.
    pub path: String,
    /// In how many runs.
    pub runs: u32,
}

/// A program and what it opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The program's path, links followed.
    pub program: String,
    /// In how many runs it opened something.
    pub runs: u32,
    /// The files.
    pub opened: Vec<Seen>,
}

impl Runs {
    /// Adds a recording, which is read to its end.
    ///
    /// # Errors
    ///
    /// Where it cannot be read; what was read before is added all the same.
    pub fn add(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        let mut run = Run::of(reader.header());
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

    fn merge(&mut self, run: Run) {
        self.count += 1;
        self.hosts.insert(run.host.clone());
        let Run { executed, openers, links, made, .. } = run;
        let is_brought = |path: &String| !is_made(path, &made);
        let executed: Vec<String> = executed.paths.into_iter().filter(is_brought).collect();
        let first = executed.first().filter(|first| !self.commands.contains(first));
        self.commands.extend(first.cloned());
        add_seen(&mut self.executed, executed);
        for (program, opened) in openers.into_iter().filter(|(program, _)| is_brought(program)) {
            let opened = opened.paths.into_iter().filter(is_brought);
            match self.openers.iter_mut().find(|known| known.program == program) {
                Some(known) => {
                    known.runs += 1;
                    add_seen(&mut known.opened, opened);
                }
                None => {
                    let opened = opened.map(|path| Seen { path, runs: 1 }).collect();
                    self.openers.push(Opener { program, runs: 1, opened });
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

/// Whether the run made a path, or a folder that it lies in.
fn is_made(path: &str, made: &HashSet<String>) -> bool {
    let above = path.match_indices('/').map(|(end, _)| &path[..end]);
    !made.is_empty() && (made.contains(path) || above.skip(1).any(|folder| made.contains(folder)))
}

/// One run.
#[derive(Debug, Default)]
struct Run {
    host: String,
    executed: Paths,
    openers: Vec<(String, Paths)>,
    links: BTreeSet<String>,
    made: HashSet<String>,
}

/// Different paths in the order in which they were met.
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

impl Run {
    fn of(header: &Header) -> Self {
        Self { host: header.host.clone(), ..Self::default() }
    }

    fn add(&mut self, event: &Event) {
        let (Ok(path), Ok(program)) = (std::str::from_utf8(&event.path.0), std::str::from_utf8(&event.exe.0))
        else {
            return;
        };
        if event.error.is_some() {
            return;
        }
        match event.event {
            Kind::Open if event.exec => self.executed.add(path),
            Kind::Open if event.flags.unwrap_or(0) & ACCESS_MODE == 0 => self.opened_by(program).add(path),
            Kind::ReadLink => {
                self.links.insert(path.to_owned());
            }
            Kind::Create | Kind::HardLink | Kind::SymbolicLink | Kind::MakeNode => {
                self.made.insert(path.to_owned());
            }
            Kind::Rename => {
                let to = event.other.as_ref().and_then(|other| std::str::from_utf8(&other.0).ok());
                self.made.extend(to.map(str::to_owned));
            }
            _ => {}
        }
    }

    fn opened_by(&mut self, program: &str) -> &mut Paths {
        let place = self.openers.iter().rposition(|(known, _)| known == program);
        let place = place.unwrap_or_else(|| {
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
}
