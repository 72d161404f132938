//! The facts of one or several recordings: those of each path and of each program.
//!
//! Memory grows with the number of distinct paths, programs, processes and open files. Events are not kept.

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
    /// The number of events of each kind.
    pub counts: BTreeMap<EventKind, u64>,
    /// The facts of each path.
    pub paths: HashMap<Name, Touched>,
    /// The programs, in the order of their first events.
    pub programs: Vec<Program>,
    /// The processes, in the order of their first events.
    pub processes: Vec<Process>,
    known: HashMap<Name, usize>,
    /// The number of opens.
    opens: u64,
}

/// One recording.
#[derive(Clone, Debug)]
pub struct Run {
    /// The name of its file.
    pub file: String,
    /// Its first line.
    pub header: Header,
    /// Its end.
    pub ending: Ending,
    /// The number of events that were read.
    pub events: u64,
    /// The number of events of unknown kinds.
    pub unknown: u64,
    /// The number of events with names that are cut.
    pub cut: u64,
    /// The time of the last line, in nanoseconds since the start.
    pub last: u64,
}

/// The facts of one path. Times are nanoseconds since the start of the run.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// How often it was looked up and found. The kernel sends such a request at most once a second.
    pub found: u64,
    /// How often it was looked up and did not exist.
    pub missed: u64,
    /// How often it was opened, including creations. Opens as a directory are in `listed`.
    pub opened: u64,
    /// How often it was created, or was the target of a rename.
    pub created: u64,
    /// How often it was opened as a directory.
    pub listed: u64,
    /// How often it was opened for execution.
    pub executed: u64,
    /// How often it was removed or renamed.
    pub removed: u64,
    /// How often an access was refused for lack of permission (`EACCES`, `EPERM`, `EROFS`).
    pub refused: u64,
    /// Bytes read. `None` if unknown.
    pub read: Option<u64>,
    /// Bytes written. `None` if unknown.
    pub written: Option<u64>,
    /// How often it was opened for writing.
    pub opened_to_write: u64,
    /// The number of opens that were not closed when the recording ended.
    pub never_closed: u64,
    /// The time of the first open as a file or directory, the earliest of all runs.
    pub first: Option<u64>,
    /// Its position in the order of the first opens.
    pub order: Option<u64>,
    /// The programs that did more than find it, as positions in [`Survey::programs`].
    pub by: BTreeSet<usize>,
    /// The ranks of the processes that did so.
    pub ranks: BTreeSet<u32>,
    /// The name of the link under which it was first searched for.
    pub name: Option<Name>,
    /// The names of all links under which it was searched for.
    pub names: BTreeSet<Name>,
    /// The number of runs in which it was seen.
    pub runs: usize,
    /// The number of bytes omitted from the path, if it is cut. Other paths with the same ends and length are counted
    /// with it.
    pub cut: Option<u64>,
    /// The runs in which it was opened.
    pub(crate) opened_in: RunSet,
    /// The runs in which it was missed.
    pub(crate) missed_in: RunSet,
    last_run: usize,
}

/// A program and the activity of its processes.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its path.
    pub path: Name,
    /// The number of processes that executed it.
    pub processes: u64,
    /// The counts of their actions.
    pub activity: Activity,
    /// The number of runs in which it was seen.
    pub runs: usize,
    last_run: usize,
}

/// A process of one run. If the kernel assigned its number to several processes in turn, they count as one.
#[derive(Clone, Debug)]
pub struct Process {
    /// The position of its run in [`Survey::runs`].
    pub run: usize,
    /// The process number (PID).
    pub pid: u32,
    /// The parent at the first event.
    pub ppid: u32,
    /// The rank in a parallel job.
    pub rank: Option<u32>,
    /// The programs that it executed, as positions in [`Survey::programs`], in order.
    pub programs: Vec<usize>,
    /// The time of its first event, in nanoseconds since the start.
    pub first: u64,
    /// The time of its last event, in nanoseconds since the start.
    pub last: u64,
    /// The counts of its actions.
    pub activity: Activity,
}

impl Touched {
    /// Whether it was opened, listed, created or executed.
    pub fn is_used(&self) -> bool {
        self.opened + self.listed > 0
    }
}

impl Survey {
    /// Reads a recording to its end and adds its facts.
    ///
    /// # Errors
    ///
    /// If the recording cannot be read.
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

    /// The program at this position.
    pub fn program(&self, place: usize) -> &Program {
        &self.programs[place]
    }

    /// The position of a program.
    fn place(&mut self, path: &Name) -> usize {
        if let Some(place) = self.known.get(path) {
            return *place;
        }
        self.programs.push(Program { path: path.clone(), ..Program::default() });
        self.known.insert(path.clone(), self.programs.len() - 1);
        self.programs.len() - 1
    }

    /// The facts of a path that was seen in this run.
    fn touched(&mut self, path: Name, run: usize) -> &mut Touched {
        let touched = self.paths.entry(path).or_default();
        if touched.last_run != run {
            touched.last_run = run;
            touched.runs += 1;
        }
        touched
    }
}

/// The origin of an event: positions of the program and the process, and the rank.
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
    /// Misses that may come from the kernel, which looks up a name before a creation, by thread.
    missed: HashMap<u32, (Name, Doer)>,
    asking: Asking,
    /// The programs that each process executed.
    executed: HashSet<(u32, usize)>,
    /// The positions of processes by their numbers.
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
        // A close is not the next action of the thread. The kernel reports it later, on behalf of the opener.
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

    /// The facts of a path, with the origin of an action on it.
    fn touched(&mut self, path: Name, by: Doer) -> &mut Touched {
        let touched = self.survey.touched(path, self.run);
        touched.by.insert(by.program);
        touched.ranks.extend(by.rank);
        touched
    }

    /// Counts an action.
    fn count(&mut self, by: Doer, count: impl Fn(&mut Activity)) {
        count(&mut self.survey.programs[by.program].activity);
        count(&mut self.survey.processes[by.process].activity);
    }

    /// Marks paths that are cut. A complete path never has the same length.
    fn note_cut(&mut self, event: &Event) {
        let Some(cut) = event.cut else { return };
        if let Some(bytes) = cut.path {
            self.survey.touched(event.path.clone(), self.run).cut = Some(bytes);
        }
        if let (Some(bytes), EventKind::Rename, Some(to)) = (cut.other, event.event, &event.other) {
            self.survey.touched(to.clone(), self.run).cut = Some(bytes);
        }
    }

    /// Counts the previous miss of the same thread, unless it came from the kernel.
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

    /// The position of the process of an event.
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
