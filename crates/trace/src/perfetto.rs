//! A recording in the JSON array form of the Trace Event Format, which Perfetto's viewer opens ("Trace Event Format",
//! document of the Catapult project). The closing bracket is optional.
//!
//! - Each open is a complete event (`X`) from open to close. Files that are never closed end with the recording.
//! - Complete events of one track must nest, but opens of one thread overlap arbitrarily. A thread therefore has as
//!   many tracks as it has open files at once: its own, and additional lanes. Beyond a number of lanes, an open is a
//!   pair of asynchronous events (`b`, `e`).
//! - Memory is bounded. If the paths of open files or the names of programs use too much, an open is asynchronous as
//!   well, and its end has no name. Processes are then named again.
//! - Misses, failures and changes are instants (`i`) of the thread. Names of processes and threads are metadata (`M`).
//!   They are written at first sight and whenever they change.
//! - Process numbers have 22 bits (`PID_MAX_LIMIT`). The higher bits distinguish runs and lanes, and numbers of the
//!   first run are unchanged.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use serde::Serialize;

use super::asking::last_part;
use super::document::{Cut, End, Event, EventKind, Header};
use super::name::Name;

/// The number of bits of a process number (`include/linux/threads.h`).
const PROCESS_BITS: u32 = 22;

/// The number of runs and lanes that fit into 32 bits.
pub const MOST_SPACES: u32 = 1 << (32 - PROCESS_BITS);

/// The maximum number of lanes of a thread.
const MOST_LANES: u32 = 256;

/// The maximum memory for the paths of open files, and for the programs of processes, in bytes.
const MOST_BYTES: usize = 32 << 20;

/// The maximum number of stored processes, and of stored threads without open files.
const MOST_KNOWN: usize = 65_536;

/// The assignment of number ranges to runs and lanes.
#[derive(Debug)]
pub struct Spaces {
    next: u32,
    of: HashMap<(u32, u32), u32>,
}

impl Spaces {
    /// Ranges for this number of runs. Runs beyond [`MOST_SPACES`] would share ranges.
    pub fn new(runs: u32) -> Self {
        Self { next: runs, of: HashMap::new() }
    }

    /// The number of a thread in a lane of its run.
    fn number(&self, number: u32, run: u32, lane: u32) -> u32 {
        let space = if lane == 0 { run } else { self.of.get(&(run, lane)).copied().unwrap_or(run) };
        (number & ((1 << PROCESS_BITS) - 1)) | space << PROCESS_BITS
    }

    /// Reserves a lane for a run. Returns false if there are too many.
    fn has(&mut self, run: u32, lane: u32) -> bool {
        if lane == 0 || self.of.contains_key(&(run, lane)) {
            return true;
        }
        let is_room = self.next < MOST_SPACES && lane < MOST_LANES;
        if is_room {
            self.of.insert((run, lane), self.next);
            self.next += 1;
        }
        is_room
    }
}

/// The processes, threads and open files of one run.
#[derive(Debug)]
pub struct Tracks {
    run: u32,
    /// A prefix for the names of processes, if there are several runs.
    label: Option<String>,
    opens: HashMap<u64, Slice>,
    /// The bytes of their paths.
    open_bytes: usize,
    processes: HashMap<u32, ProcessTrack>,
    /// The bytes of their programs.
    process_bytes: usize,
    threads: HashMap<u32, Lanes>,
    /// The current maximum of threads. It grows with the number of threads that have open files.
    most_threads: usize,
}

/// The program of a process, and its rank in a parallel job.
#[derive(Debug)]
struct ProcessTrack {
    program: Name,
    rank: Option<u32>,
}

/// A file that is open.
#[derive(Debug)]
struct Slice {
    path: Name,
    t: u64,
    pid: u32,
    tid: u32,
    /// `None` if there are too many.
    lane: Option<u32>,
    kind: EventKind,
    flags: Option<u32>,
    exec: bool,
    cut: Option<Cut>,
    first_read: Option<u64>,
}

/// The lanes of a thread.
#[derive(Debug)]
struct Lanes {
    pid: u32,
    free: BTreeSet<u32>,
    count: u32,
}

#[derive(Serialize)]
struct Trace<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'a str>,
    ph: &'a str,
    /// Microseconds, like `dur`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The scope of an instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    args: TrackFacts<'a>,
}

#[derive(Default, Serialize)]
struct TrackFacts<'a> {
    /// The name of a process or thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The rank of a process in a parallel job.
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<u32>,
    /// The path, if it is not valid UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<&'a Name>,
    /// The number of bytes omitted from names, if any name is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<Cut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<u64>,
    /// Microseconds after the open.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_read: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a End>,
}

impl Tracks {
    /// The tracks of a run, given its position in the trace.
    pub fn new(run: u32, label: Option<String>) -> Self {
        let (opens, processes, threads) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (open_bytes, process_bytes, most_threads) = (0, 0, MOST_KNOWN);
        Self { run, label, opens, open_bytes, processes, process_bytes, threads, most_threads }
    }

    /// Writes the beginning of the trace if this is the first run, and the header.
    ///
    /// # Errors
    ///
    /// Those of `out`, as for the other functions.
    pub fn begin(&mut self, out: &mut impl Write, header: &Header) -> io::Result<()> {
        let facts = TrackFacts { header: Some(header), ..TrackFacts::default() };
        let trace = metadata("recording", 0, 0, facts);
        if self.run > 0 {
            return write(out, &trace);
        }
        out.write_all(b"[\n")?;
        Ok(serde_json::to_writer(out, &trace)?)
    }

    /// Writes an event.
    ///
    /// # Errors
    ///
    /// See [`Tracks::begin`].
    pub fn event(&mut self, out: &mut impl Write, spaces: &mut Spaces, event: &Event) -> io::Result<()> {
        let is_close = matches!(event.event, EventKind::Close | EventKind::CloseDirectory);
        if !is_close {
            self.name_process(out, spaces, event)?;
        }
        match (event.event, event.open) {
            (EventKind::Open | EventKind::Create | EventKind::OpenDirectory, Some(open))
                if event.error.is_none() =>
            {
                self.open(out, spaces, event, open)
            }
            (EventKind::Close | EventKind::CloseDirectory, Some(open)) => match self.opens.remove(&open) {
                Some(slice) => {
                    self.open_bytes -= slice.path.0.len();
                    self.close(out, spaces, open, &slice, event.t, Some(event))
                }
                None => Ok(()),
            },
            (EventKind::FirstRead, Some(open)) => {
                if let Some(slice) = self.opens.get_mut(&open) {
                    slice.first_read = Some(event.t.saturating_sub(slice.t));
                }
                Ok(())
            }
            // Successful lookups only lead to another action.
            (EventKind::Lookup | EventKind::ReadLink | EventKind::FirstRead, _) if event.error.is_none() => {
                Ok(())
            }
            _ => self.instant(out, spaces, event),
        }
    }

    fn instant(&self, out: &mut impl Write, spaces: &Spaces, event: &Event) -> io::Result<()> {
        let name = event.path.text();
        let is_miss = event.event == EventKind::Lookup && event.error.as_deref() == Some("ENOENT");
        let facts = TrackFacts {
            path: bytes(&event.path),
            error: event.error.as_deref(),
            flags: event.flags,
            other: event.other.as_ref(),
            cut: event.cut,
            size: event.size,
            ..TrackFacts::default()
        };
        let trace = Trace {
            name: &name,
            cat: Some(if is_miss { "miss" } else { event.event.word() }),
            ph: "i",
            ts: Some(microseconds(event.t)),
            dur: None,
            pid: spaces.number(event.pid, self.run, 0),
            tid: spaces.number(event.tid, self.run, 0),
            id: None,
            s: Some("t"),
            args: facts,
        };
        write(out, &trace)
    }

    fn open(
        &mut self,
        out: &mut impl Write,
        spaces: &mut Spaces,
        event: &Event,
        open: u64,
    ) -> io::Result<()> {
        let is_room = self.open_bytes + event.path.0.len() <= MOST_BYTES;
        let lane = if is_room { self.lane(out, spaces, event)? } else { None };
        let mut slice = Slice {
            path: event.path.clone(),
            t: event.t,
            pid: event.pid,
            tid: event.tid,
            lane,
            kind: event.event,
            flags: event.flags,
            exec: event.exec,
            cut: event.cut,
            first_read: None,
        };
        if lane.is_none() {
            self.write_slice(out, spaces, open, &slice, ("b", event.t), TrackFacts::default())?;
        }
        if !is_room {
            slice.path = Name::default();
        }
        self.open_bytes += slice.path.0.len();
        self.opens.insert(open, slice);
        Ok(())
    }

    /// Returns the first free lane of a thread.
    fn lane(&mut self, out: &mut impl Write, spaces: &mut Spaces, event: &Event) -> io::Result<Option<u32>> {
        let Some(lanes) = self.threads.get_mut(&event.tid) else { return Ok(None) };
        if let Some(lane) = lanes.free.pop_first() {
            return Ok(Some(lane));
        }
        let lane = lanes.count;
        if !spaces.has(self.run, lane) {
            return Ok(None);
        }
        lanes.count += 1;
        self.name_thread(out, spaces, event.tid, lane)?;
        Ok(Some(lane))
    }

    fn close(
        &mut self,
        out: &mut impl Write,
        spaces: &Spaces,
        open: u64,
        slice: &Slice,
        t: u64,
        event: Option<&Event>,
    ) -> io::Result<()> {
        let facts = TrackFacts {
            read: event.and_then(|event| event.read),
            written: event.and_then(|event| event.written),
            closed: event.is_none().then_some(false),
            ..TrackFacts::default()
        };
        let phase = match slice.lane {
            None => ("e", t),
            Some(lane) => {
                if let Some(lanes) = self.threads.get_mut(&slice.tid) {
                    lanes.free.insert(lane);
                }
                ("X", t)
            }
        };
        self.write_slice(out, spaces, open, slice, phase, facts)
    }

    /// Writes the begin, the end, or the whole of an open. `t` is the current time.
    fn write_slice(
        &self,
        out: &mut impl Write,
        spaces: &Spaces,
        open: u64,
        slice: &Slice,
        (ph, t): (&str, u64),
        facts: TrackFacts<'_>,
    ) -> io::Result<()> {
        let name = slice.path.text();
        let is_whole = ph == "X";
        let args = TrackFacts {
            path: bytes(&slice.path),
            open: Some(open),
            flags: slice.flags,
            cut: slice.cut,
            first_read: slice.first_read.map(microseconds),
            ..facts
        };
        let trace = Trace {
            name: &name,
            cat: Some(if slice.exec { "exec" } else { slice.kind.word() }),
            ph,
            ts: Some(microseconds(if is_whole { slice.t } else { t })),
            dur: is_whole.then(|| microseconds(t.saturating_sub(slice.t))),
            pid: spaces.number(slice.pid, self.run, 0),
            tid: spaces.number(slice.tid, self.run, slice.lane.unwrap_or(0)),
            id: (!is_whole).then(|| format!("{}.{open}", self.run)),
            s: None,
            args,
        };
        write(out, &trace)
    }

    /// Writes the names of the process and the thread when they are first seen or execute another program. Numbers are
    /// reused, so a thread may belong to a different process than before.
    fn name_process(&mut self, out: &mut impl Write, spaces: &Spaces, event: &Event) -> io::Result<()> {
        self.forget_some();
        let new = Lanes { pid: event.pid, free: BTreeSet::from([0]), count: 1 };
        let mut is_named = true;
        let lanes = self.threads.entry(event.tid).or_insert_with(|| {
            is_named = false;
            new
        });
        is_named &= std::mem::replace(&mut lanes.pid, event.pid) == event.pid;
        let count = lanes.count;
        let known = self.processes.get(&event.pid);
        if known.is_none_or(|known| (&known.program, known.rank) != (&event.exe, event.rank)) {
            is_named = false;
            let process = ProcessTrack { program: event.exe.clone(), rank: event.rank };
            self.process_bytes += process.program.0.len();
            let old = self.processes.insert(event.pid, process);
            self.process_bytes -= old.map_or(0, |old| old.program.0.len());
            let name = Some(self.process_name(event.pid));
            let pid = spaces.number(event.pid, self.run, 0);
            let facts = TrackFacts { name, rank: event.rank, ..TrackFacts::default() };
            write(out, &metadata("process_name", pid, pid, facts))?;
        }
        if is_named {
            return Ok(());
        }
        (0..count).try_for_each(|lane| self.name_thread(out, spaces, event.tid, lane))
    }

    /// Removes processes, and threads without open files, if there are too many. They are named again later.
    fn forget_some(&mut self) {
        if self.processes.len() >= MOST_KNOWN || self.process_bytes > MOST_BYTES {
            (self.processes, self.process_bytes) = (HashMap::new(), 0);
        }
        if self.threads.len() >= self.most_threads {
            self.threads.retain(|_, lanes| lanes.free.len() < lanes.count as usize);
            self.most_threads = MOST_KNOWN.max(2 * self.threads.len());
        }
    }

    fn name_thread(&self, out: &mut impl Write, spaces: &Spaces, tid: u32, lane: u32) -> io::Result<()> {
        let process = self.threads.get(&tid).map_or(tid, |lanes| lanes.pid);
        let program = self.processes.get(&process).map_or(String::new(), ProcessTrack::name);
        let name = if lane == 0 { program } else { format!("{program} {tid}, open file {}", lane + 1) };
        let (pid, tid) = (spaces.number(process, self.run, 0), spaces.number(tid, self.run, lane));
        write(
            out,
            &metadata("thread_name", pid, tid, TrackFacts { name: Some(name), ..TrackFacts::default() }),
        )
    }

    fn process_name(&self, pid: u32) -> String {
        let process = self.processes.get(&pid);
        let program = process.map_or(String::new(), ProcessTrack::name);
        let rank = process.and_then(|process| process.rank);
        let program = rank.map_or(program.clone(), |rank| format!("rank {rank}: {program}"));
        match &self.label {
            Some(label) => format!("{label}: {program} {pid}"),
            None => program,
        }
    }

    /// Ends all open slices, and writes the end of the run if it is known.
    ///
    /// # Errors
    ///
    /// See [`Tracks::begin`].
    pub fn end(
        &mut self,
        out: &mut impl Write,
        spaces: &Spaces,
        t: u64,
        end: Option<&End>,
    ) -> io::Result<()> {
        self.open_bytes = 0;
        let mut open: Vec<(u64, Slice)> = std::mem::take(&mut self.opens).into_iter().collect();
        open.sort_unstable_by_key(|(open, _)| *open);
        for (open, slice) in open {
            self.close(out, spaces, open, &slice, t, None)?;
        }
        if end.is_none() {
            return Ok(());
        }
        let args = TrackFacts { end, ..TrackFacts::default() };
        let (cat, ts, s) = (Some("end"), Some(microseconds(t)), Some("g"));
        let trace = Trace { name: "end", cat, ph: "i", ts, dur: None, pid: 0, tid: 0, id: None, s, args };
        write(out, &trace)
    }
}

fn metadata<'a>(name: &'a str, pid: u32, tid: u32, args: TrackFacts<'a>) -> Trace<'a> {
    Trace { name, cat: None, ph: "M", ts: None, dur: None, pid, tid, id: None, s: None, args }
}

/// Writes an element of the array that is not the first.
fn write(out: &mut impl Write, trace: &Trace<'_>) -> io::Result<()> {
    out.write_all(b",\n")?;
    Ok(serde_json::to_writer(out, trace)?)
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// Returns the path if its text does not represent it exactly.
fn bytes(path: &Name) -> Option<&Name> {
    std::str::from_utf8(&path.0).is_err().then_some(path)
}

impl ProcessTrack {
    fn name(&self) -> String {
        String::from_utf8_lossy(last_part(&self.program.0)).into_owned()
    }
}

#[cfg(test)]
mod tests;
