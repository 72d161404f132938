//! The log: a queue, and the thread that writes it. Lines are written whole, many at a time; whoever
//! outlives a killed writer cuts off what it left of a line and adds the last one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::trace::{End, Event, Format, Header, Writer};

/// How many events may wait; then whoever has one more waits.
const MOST_WAITING: usize = 1 << 17;

/// How many bytes are written at once.
const BATCH: usize = 1 << 16;

/// How long an event waits to be written, so that many are written together.
const PACE: Duration = Duration::from_millis(20);

/// The events that wait to be written, in the order in which they happened.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    more: Condvar,
    room: Condvar,
    started: Instant,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    ending: Option<(&'static str, Option<i32>)>,
    broken: bool,
}

impl Queue {
    /// An empty queue; times count from `started`.
    pub fn new(started: Instant) -> Arc<Self> {
        let (state, more, room) = (Mutex::default(), Condvar::new(), Condvar::new());
        Arc::new(Self { state, more, room, started })
    }

    /// Adds an event, and gives it its time: the order in the log is that of the times.
    pub fn put(&self, mut event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.events.len() >= MOST_WAITING && !state.broken {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.broken {
            return;
        }
        event.t = nanoseconds(self.started.elapsed());
        state.events.push(event);
        if state.events.len() == 1024 {
            self.more.notify_one();
        }
    }

    /// Nothing comes any more.
    pub fn end(&self, how: &'static str, code: Option<i32>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ending = Some((how, code));
        self.more.notify_one();
    }

    /// Waits for events, takes those that are there and tells the ending when they are the last.
    fn take(&self, taken: &mut Vec<Event>) -> Option<(&'static str, Option<i32>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ending.is_none() && state.events.len() < 1024 {
            let waited = self.more.wait_timeout(state, PACE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut state.events, taken);
        self.room.notify_all();
        state.ending
    }

    /// The log cannot be written, or is written: nobody waits for it, and nothing is kept for it.
    fn give_up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.broken = true;
        state.events = Vec::new();
        self.room.notify_all();
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Starts the thread that writes what is queued.
///
/// # Errors
///
/// Where the header cannot be written or no thread be started.
pub fn start(
    log: File,
    format: Format,
    header: &Header,
    queue: Arc<Queue>,
) -> io::Result<JoinHandle<io::Result<End>>> {
    let mut broken = log.try_clone()?;
    let lines = Lines { log, waiting: Vec::with_capacity(2 * BATCH) };
    let writer = Writer::new(lines, format, header)?;
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        let result = write(writer, &queue);
        queue.give_up();
        if result.is_err() {
            // What there is stays readable; the last line may find the room that the cut one had.
            let _ = repair(&mut broken, format, NOT_WRITTEN);
        }
        result
    })
}

fn write(mut writer: Writer<Lines>, queue: &Queue) -> io::Result<End> {
    let mut events = Vec::new();
    loop {
        let ending = queue.take(&mut events);
        for event in events.drain(..) {
            writer.event(&event)?;
            if writer.out().waiting.len() >= BATCH {
                writer.flush()?;
            }
        }
        writer.flush()?;
        if let Some((how, code)) = ending {
            return writer.end(how, code, nanoseconds(queue.started.elapsed()));
        }
    }
}

/// Keeps lines until they are flushed together, so that no write ends within one.
#[derive(Debug)]
pub struct Lines {
    log: File,
    waiting: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.log.write_all(&self.waiting);
        self.waiting.clear();
        result
    }
}

/// How a log ends that could not be written any more.
const NOT_WRITTEN: &str = "log not written";

/// Ends a log whose writer was killed or could not go on: what is there of a line is cut off. Tells how.
///
/// # Errors
///
/// Those of reading and writing the log.
pub fn repair(log: &mut File, format: Format, how: &str) -> io::Result<()> {
    let length = log.seek(SeekFrom::End(0))?;
    let whole = whole_lines(log, length)?;
    log.set_len(whole)?;
    if format != Format::Jsonl || whole == 0 {
        return Ok(());
    }
    add_end(log, whole, how).or_else(|_| {
        // A full disk has room where one event less is told.
        let less = whole_lines(log, whole - 1)?;
        log.set_len(less)?;
        add_end(log, less, how).inspect_err(|_| drop(log.set_len(less)))
    })
}

/// Where the last line ends that begins and ends before this place.
fn whole_lines(log: &mut File, length: u64) -> io::Result<u64> {
    let mut start = length;
    let mut block = vec![0; BATCH];
    while start > 0 {
        let size = start.min(BATCH as u64) as usize;
        start -= size as u64;
        log.seek(SeekFrom::Start(start))?;
        log.read_exact(&mut block[..size])?;
        if let Some(end) = memchr::memrchr(b'\n', &block[..size]) {
            return Ok(start + end as u64 + 1);
        }
    }
    Ok(0)
}

/// Writes the last line.
fn add_end(log: &mut File, place: u64, how: &str) -> io::Result<()> {
    let end = End {
        end: how.to_owned(),
        code: None,
        t: None,
        events: None,
        dropped: None,
        counts: std::collections::BTreeMap::new(),
    };
    let mut line = serde_json::to_vec(&end)?;
    line.push(b'\n');
    log.seek(SeekFrom::Start(place))?;
    log.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_is_taken_away_and_the_end_added() {
        let mut log = tempfile::tempfile().expect("a file");
        let long = format!("{{\"a\":1}}\n{}\n{{\"cut", "x".repeat(100_000));
        log.write_all(long.as_bytes()).expect("room");
        repair(&mut log, Format::Jsonl, "killed").expect("it can be repaired");
        let mut text = String::new();
        log.seek(SeekFrom::Start(0)).expect("a file");
        log.read_to_string(&mut text).expect("text");
        assert!(text.ends_with("x\n{\"end\":\"killed\"}\n"), "{}", &text[100_000..]);
    }
}
