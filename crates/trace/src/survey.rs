//! What one or several recordings touched: the facts of each path and of each program.
//!
//! Its size is that of the distinct paths, programs, processes and open files; events are not kept.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::activity::{Activity, sum};
use super::asking::Asking;
use super::document::{Event, EventKind, Header};
use super::name::Name;
use super::read::{Ending, ReadError, Reader};
use super::run::ACCESS_MODE;
use super::run_set::RunSet;

/// The facts of several recordings, merged.
#[derive(Debug, Default)]
pub struct Survey {
    /// The recordings, in the order in which they were added.
    pub runs: Vec<Run>,
    /// How many events of each kind there are.
    pub counts: BTreeMap<EventKind, u64>,
    /// What happened to each path.
    pub paths: HashMap<Name, Touched>,
    /// The programs, in the order in which they were first seen.
    pub programs: Vec<Program>,
    /// The processes, in the order of their first events.
    pub processes: Vec<Process>,
    known: HashMap<Name, usize>,
    /// How many opens there were.
    opens: u64,
}

/// One recording.
#[derive(Clone, Debug)]
pub struct Run {
    /// How its file is called.
    pub file: String,
    /// Its first line.
    pub header: Header,
    /// How it ends.
    pub ending: Ending,
    /// How many events were read.
    pub events: u64,
    /// How many events have a kind that this program does not know.
    pub unknown: u64,
    /// How many events have names that are not whole.
    pub cut: u64,
    /// The time of the last line, nanoseconds since the start.
    pub last: u64,
}

/// What happened to one path. Times are nanoseconds since the start of the run.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// How often it was looked up and found; the kernel asks at most once a second.
    pub found: u64,
    /// How often it was looked for and not there.
    pub missed: u64,
    /// How often it was opened, creations included; as a directory it is `listed`.
    pub opened: u64,
    /// How often it was made, or something renamed to it.
    pub created: u64,
    /// How often it was opened as a directory.
    pub listed: u64,
    /// How often it was opened to be executed.
    pub executed: u64,
    /// How often it was removed, or renamed to something else.
    pub removed: u64,
    /// How often something was refused for want of rights (`EACCES`, `EPERM`, `EROFS`).
    pub refused: u64,
    /// Bytes read; nothing where the mirror was not told.
    pub read: Option<u64>,
    /// Bytes written; nothing where the mirror was not told.
    pub written: Option<u64>,
    /// How often it was opened to be written.
    pub opened_to_write: u64,
    /// Opens that were not closed when the recording ended.
    pub never_closed: u64,
    /// When it was first opened or listed, in whichever run that was earliest.
    pub first: Option<u64>,
    /// Its place in the order of the first opens.
    pub order: Option<u64>,
    /// The programs that did something to it, more than find it, as places in [`Survey::programs`].
    pub by: BTreeSet<usize>,
    /// The ranks whose processes did.
    pub ranks: BTreeSet<u32>,
    /// The name of the link under which it was first asked for.
    pub name: Option<Name>,
    /// All names of links under which it was asked for.
    pub names: BTreeSet<Name>,
    /// In how many runs it was seen.
    pub runs: usize,
    /// How many bytes of the path are left out, where it is not whole: other paths of the same ends and length are
    /// counted as this one.
    pub cut: Option<u64>,
    /// The runs in which it was opened.
    pub(crate) opened_in: RunSet,
    /// The runs in which it was missed.
    pub(crate) missed_in: RunSet,
    last_run: usize,
}

/// A program and what its processes did.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its path.
    pub path: Name,
    /// How many processes executed it.
    pub processes: u64,
    /// What these processes did.
    pub activity: Activity,
    /// In how many runs it was seen.
    pub runs: usize,
    last_run: usize,
}

/// A process of one run. A number that the kernel gave to several processes, one after the other, is one process here.
#[derive(Clone, Debug)]
pub struct Process {
    /// The place of its run in [`Survey::runs`].
    pub run: usize,
    /// Its number (PID).
    pub pid: u32,
    /// Its parent, when it was seen first.
    pub ppid: u32,
    /// Its rank in a parallel job.
    pub rank: Option<u32>,
    /// What it executed, as places in [`Survey::programs`], in order.
    pub programs: Vec<usize>,
    /// When it did something for the first time, nanoseconds since the start.
    pub first: u64,
    /// When it did something for the last time, nanoseconds since the start.
    pub last: u64,
    /// What it did.
    pub activity: Activity,
}

impl Touched {
    /// Whether it was opened, listed, created or executed.
    pub fn is_used(&self) -> bool {
        self.opened + self.listed > 0
    }
}

impl Survey {
    /// Reads a recording to its end and adds what it touched.
    ///
    /// # Errors
    ///
    /// Those of reading it.
    pub fn add(&mut self, mut reader: Reader<'_>) -> Result<(), ReadError> {
        let mut adding = Adding::new(self);
        let (mut events, mut cut, mut last) = (0, 0, 0);
        while let Some(event) = reader.read_event()? {
            events += 1;
            cut += u64::from(event.cut.is_some());
            last = event.t;
            adding.event(event);
        }
        adding.finish();
        let ending = reader.ending().cloned().unwrap_or(Ending::Cut);
        if let Ending::Whole(end) = &ending {
            last = end.t.unwrap_or(last);
        }
        let (file, header) = (reader.file().to_owned(), reader.header().clone());
        self.runs.push(Run { file, header, ending, events, unknown: reader.unknown(), cut, last });
        Ok(())
    }

    /// The program at this place.
    pub fn program(&self, place: usize) -> &Program {
        &self.programs[place]
    }

    /// The place of a program.
    fn place(&mut self, path: &Name) -> usize {
        if let Some(place) = self.known.get(path) {
            return *place;
        }
        self.programs.push(Program { path: path.clone(), ..Program::default() });
        self.known.insert(path.clone(), self.programs.len() - 1);
        self.programs.len() - 1
    }

    /// The facts of a path, seen in this run.
    fn touched(&mut self, path: Name, run: usize) -> &mut Touched {
        let touched = self.paths.entry(path).or_default();
        if touched.last_run != run {
            touched.last_run = run;
            touched.runs += 1;
        }
        touched
    }
}

/// The origin of an event: places among the programs and processes, and the rank.
#[derive(Clone, Copy, Debug)]
struct Doer {
    program: usize,
    process: usize,
    rank: Option<u32>,
}

/// A recording that is being added.
struct Adding<'a> {
    survey: &'a mut Survey,
    run: usize,
    /// The path of each open that is not closed.
    open: HashMap<u64, Name>,
    /// Misses of threads that may be the kernel's own question before a creation.
    missed: HashMap<u32, (Name, Doer)>,
    asking: Asking,
    /// Which process executed which program.
    executed: HashSet<(u32, usize)>,
    /// The places of processes by their numbers.
    processes: HashMap<u32, usize>,
}

impl<'a> Adding<'a> {
    fn new(survey: &'a mut Survey) -> Self {
        let run = survey.runs.len() + 1;
        let (open, missed, asking) = (HashMap::new(), HashMap::new(), Asking::default());
        Self { survey, run, open, missed, asking, executed: HashSet::new(), processes: HashMap::new() }
    }

    fn event(&mut self, event: Event) {
        *self.survey.counts.entry(event.event).or_default() += 1;
        self.note_cut(&event);
        let by = self.doer(&event);
        let asked = self.asking.name_of(&event);
        // A close is not the thread's next action: the kernel reports it later, for the opener.
        if !matches!(event.event, EventKind::Close | EventKind::CloseDirectory) {
            self.settle(&event);
        }
        match (&event.error, event.event) {
            (Some(error), EventKind::Lookup) if error == "ENOENT" => {
                if let Some((path, by)) = self.missed.insert(event.tid, (event.path, by)) {
                    self.miss(path, by);
                }
            }
            (Some(error), _) => {
                let is_refusal = matches!(error.as_str(), "EACCES" | "EPERM" | "EROFS");
                self.touched(event.path, by).refused += u64::from(is_refusal);
            }
            (None, EventKind::Open | EventKind::Create | EventKind::OpenDirectory) => {
                self.opened(event, by, asked)
            }
            (None, EventKind::Close | EventKind::CloseDirectory) => self.closed(&event, by),
            (None, EventKind::Lookup) => self.survey.touched(event.path, self.run).found += 1,
            (None, EventKind::Unlink | EventKind::RemoveDirectory | EventKind::Rename) => {
                self.touched(event.path, by).removed += 1;
                if let (EventKind::Rename, Some(to)) = (event.event, event.other) {
                    self.touched(to, by).created += 1;
                }
            }
            (
                None,
                EventKind::MakeDirectory
                | EventKind::MakeNode
                | EventKind::SymbolicLink
                | EventKind::HardLink,
            ) => {
                self.touched(event.path, by).created += 1;
                self.count(by, |activity| activity.created += 1);
            }
            (None, EventKind::FirstRead | EventKind::ReadLink | EventKind::Truncate) => {
                self.touched(event.path, by);
            }
        }
    }

    /// The facts of a path to which somebody did something.
    fn touched(&mut self, path: Name, by: Doer) -> &mut Touched {
        let touched = self.survey.touched(path, self.run);
        touched.by.insert(by.program);
        touched.ranks.extend(by.rank);
        touched
    }

    /// Counts something that was done.
    fn count(&mut self, by: Doer, count: impl Fn(&mut Activity)) {
        count(&mut self.survey.programs[by.program].activity);
        count(&mut self.survey.processes[by.process].activity);
    }

    /// Keeps in mind which paths are not whole. No whole path that is recorded is as long.
    fn note_cut(&mut self, event: &Event) {
        let Some(cut) = event.cut else { return };
        if let Some(bytes) = cut.path {
            self.survey.touched(event.path.clone(), self.run).cut = Some(bytes);
        }
        if let (Some(bytes), EventKind::Rename, Some(to)) = (cut.other, event.event, &event.other) {
            self.survey.touched(to.clone(), self.run).cut = Some(bytes);
        }
    }

    /// Counts the miss that came before this event of the same thread, unless it was the kernel's own.
    fn settle(&mut self, event: &Event) {
        let Some((path, by)) = self.missed.remove(&event.tid) else { return };
        let makes = matches!(
            event.event,
            EventKind::Create
                | EventKind::MakeDirectory
                | EventKind::MakeNode
                | EventKind::SymbolicLink
                | EventKind::HardLink
        );
        let moves = event.event == EventKind::Rename && event.other.as_ref() == Some(&path);
        if !(makes && event.path == path || moves) {
            self.miss(path, by);
        }
    }

    fn miss(&mut self, path: Name, by: Doer) {
        self.count(by, |activity| activity.missed += 1);
        let run = self.run;
        let touched = self.touched(path, by);
        touched.missed += 1;
        touched.missed_in.insert(run);
    }

    fn opened(&mut self, event: Event, by: Doer, asked: Option<Name>) {
        let (created, listed) = (event.event == EventKind::Create, event.event == EventKind::OpenDirectory);
        self.count(by, |activity| {
            activity.opened += u64::from(!listed);
            activity.created += u64::from(created);
        });
        if let Some(open) = event.open {
            self.open.insert(open, event.path.clone());
        }
        self.survey.opens += 1;
        let (order, run) = (self.survey.opens, self.run);
        let touched = self.touched(event.path, by);
        touched.opened += u64::from(!listed);
        touched.listed += u64::from(listed);
        touched.created += u64::from(created);
        touched.opened_to_write += u64::from(!listed && event.flags.unwrap_or(0) & ACCESS_MODE != 0);
        touched.executed += u64::from(event.exec);
        touched.first = Some(touched.first.map_or(event.t, |first| first.min(event.t)));
        touched.order.get_or_insert(order);
        if !listed {
            touched.opened_in.insert(run);
        }
        if let Some(asked) = asked {
            touched.name.get_or_insert_with(|| asked.clone());
            touched.names.insert(asked);
        }
    }

    fn closed(&mut self, event: &Event, by: Doer) {
        let Some(path) = event.open.and_then(|open| self.open.remove(&open)) else { return };
        self.count(by, |activity| activity.add_bytes(event.read, event.written));
        let touched = self.survey.touched(path, self.run);
        touched.read = sum(touched.read, event.read);
        touched.written = sum(touched.written, event.written);
    }

    fn doer(&mut self, event: &Event) -> Doer {
        let program = self.survey.place(&event.exe);
        let facts = &mut self.survey.programs[program];
        if facts.last_run != self.run {
            facts.last_run = self.run;
            facts.runs += 1;
        }
        let process = self.process(event);
        if self.executed.insert((event.pid, program)) {
            self.survey.programs[program].processes += 1;
            self.survey.processes[process].programs.push(program);
        }
        let by = Doer { program, process, rank: event.rank };
        self.count(by, |activity| activity.events += 1);
        by
    }

    /// The place of the process of an event.
    fn process(&mut self, event: &Event) -> usize {
        let processes = &mut self.survey.processes;
        let place = *self.processes.entry(event.pid).or_insert(processes.len());
        if place == processes.len() {
            processes.push(Process {
                run: self.run - 1,
                pid: event.pid,
                ppid: event.ppid,
                rank: event.rank,
                programs: Vec::new(),
                first: event.t,
                last: event.t,
                activity: Activity::default(),
            });
        }
        let process = &mut processes[place];
        process.last = event.t;
        process.rank = process.rank.or(event.rank);
        place
    }

    fn finish(mut self) {
        for (path, by) in std::mem::take(&mut self.missed).into_values() {
            self.miss(path, by);
        }
        for path in std::mem::take(&mut self.open).into_values() {
            self.survey.touched(path, self.run).never_closed += 1;
        }
    }
}

#[cfg(test)]
mod tests;
