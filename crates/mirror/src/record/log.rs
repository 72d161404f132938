//! The log: a queue, and the thread that writes it. Lines are written completely, many at a time. If the writer is
//! killed, the surviving process removes a partial line and adds the last line.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use compat_trace::{End, Event, Format, Header, Writer};

/// The maximum number of waiting events, and the memory that they may use until they are written. A caller with a
/// further event must wait.
const MOST_WAITING: usize = 1 << 17;
const MOST_BYTES: usize = 32 << 20;

/// The number of bytes that are written at once.
const BATCH: usize = 1 << 16;

/// The number of events for which memory is kept after a burst.
const MOST_KEPT: usize = 4096;

/// The time that an event waits to be written together with others.
const PACE: Duration = Duration::from_millis(20);

/// The events to be written, in the order in which they happened.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    more: Condvar,
    room: Condvar,
    started: Instant,
}

#[derive(Debug, Default)]
struct QueueState {
    events: Vec<Event>,
    /// The memory of all unwritten events, including those that the writer has taken.
    bytes: usize,
    ending: Option<(&'static str, Option<i32>)>,
    broken: bool,
}

impl Queue {
    /// Creates an empty queue. Times count from `started`.
    pub(super) fn new(started: Instant) -> Arc<Self> {
        let (state, more, room) = (Mutex::default(), Condvar::new(), Condvar::new());
        Arc::new(Self { state, more, room, started })
    }

    /// Adds an event and sets its time, so that the order in the log matches the times.
    pub(super) fn put(&self, mut event: Event) {
        let memory = event.memory();
        let mut state = self.state();
        while !state.has_room(memory) && !state.broken {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.broken {
            return;
        }
        event.t = nanoseconds(self.started.elapsed());
        state.bytes += memory;
        state.events.push(event);
        if state.events.len() == 1024 || state.bytes > MOST_BYTES / 2 {
            self.more.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the queue: no further events follow.
    pub(super) fn end(&self, how: &'static str, code: Option<i32>) {
        self.state().ending = Some((how, code));
        self.more.notify_one();
    }

    /// Waits for events and takes them. Returns the ending if they are the last ones.
    fn take(&self, taken: &mut Vec<Event>) -> Option<(&'static str, Option<i32>)> {
        let mut state = self.state();
        if state.ending.is_none() && state.events.len() < 1024 && state.bytes <= MOST_BYTES / 2 {
            let waited = self.more.wait_timeout(state, PACE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut state.events, taken);
        self.room.notify_all();
        state.ending
    }

    /// Releases the memory of events that were written.
    fn written(&self, memory: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(memory);
        self.room.notify_all();
    }

    /// Stops queueing, because the log is complete or cannot be written. No caller waits any longer.
    fn give_up(&self) {
        let mut state = self.state();
        state.broken = true;
        (state.events, state.bytes) = (Vec::new(), 0);
        self.room.notify_all();
    }
}

impl QueueState {
    fn has_room(&self, memory: usize) -> bool {
        self.events.len() < MOST_WAITING && self.bytes + memory <= MOST_BYTES
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Starts the thread that writes queued events.
///
/// # Errors
///
/// If the header cannot be written or the thread cannot be started.
pub(super) fn start(
    log: File,
    format: Format,
    header: &Header,
    queue: Arc<Queue>,
) -> io::Result<JoinHandle<io::Result<End>>> {
    let mut broken = log.try_clone()?;
    let writer = Writer::new(LineSink::new(log), format, header)?;
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        let result = write(writer, &queue);
        queue.give_up();
        if result.is_err() {
            // The written part stays readable. The last line may fit into the space of the removed one.
            let _ = repair(&mut broken, format, NOT_WRITTEN);
        }
        result
    })
}

fn write(mut writer: Writer<LineSink>, queue: &Queue) -> io::Result<End> {
    let mut events = Vec::new();
    loop {
        let ending = queue.take(&mut events);
        let mut memory = 0;
        for event in events.drain(..) {
            memory += event.memory();
            writer.event(&event)?;
            drop(event);
            if writer.out().waiting.len() >= BATCH {
                writer.flush()?;
                queue.written(std::mem::take(&mut memory));
            }
        }
        writer.flush()?;
        queue.written(memory);
        // Release the memory of a burst.
        events.shrink_to(MOST_KEPT);
        if let Some((how, code)) = ending {
            return writer.end(how, code, nanoseconds(queue.started.elapsed()));
        }
    }
}

/// Collects lines until they are flushed together, so that no write ends within a line. If lines are not flushed for
/// long, all complete ones are written.
#[derive(Debug)]
pub(super) struct LineSink {
    log: File,
    waiting: Vec<u8>,
}

impl LineSink {
    fn new(log: File) -> Self {
        Self { log, waiting: Vec::with_capacity(2 * BATCH) }
    }

    fn write_whole_lines(&mut self) -> io::Result<()> {
        let Some(end) = memchr::memrchr(b'\n', &self.waiting) else { return Ok(()) };
        let result = self.log.write_all(&self.waiting[..=end]);
        self.waiting.drain(..=end);
        result
    }
}

impl Write for LineSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= 4 * BATCH && bytes.contains(&b'\n') {
            self.write_whole_lines()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.log.write_all(&self.waiting);
        self.waiting.clear();
        self.waiting.shrink_to(4 * BATCH);
        result
    }
}

/// The ending of a log that could not be written further.
const NOT_WRITTEN: &str = "log not written";

/// Removes a partial line after the writer was killed or failed, and adds the last line with `how` as its ending.
///
/// # Errors
///
/// Those of reading and writing the log.
pub(super) fn repair(log: &mut File, format: Format, how: &str) -> io::Result<()> {
    let length = log.seek(SeekFrom::End(0))?;
    let whole = whole_lines(log, length)?;
    log.set_len(whole)?;
    if format != Format::Jsonl || whole == 0 {
        return Ok(());
    }
    add_end(log, whole, how).or_else(|_| {
        // On a full disk, removing one event makes room for the last line.
        let less = whole_lines(log, whole - 1)?;
        log.set_len(less)?;
        add_end(log, less, how).inspect_err(|_| drop(log.set_len(less)))
    })
}

/// Returns the end of the last line that is complete within the first `length` bytes.
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
    use compat_trace::Name;

    fn header() -> Header {
        let name = || Name::from(&b"/"[..]);
        let (host, kernel) = ("node1".to_owned(), "6.12".to_owned());
        Header {
            compat_recording: 1,
            command: vec![name()],
            directory: name(),
            host,
            kernel,
            image: None,
            started: 0,
        }
    }

    fn event(length: usize) -> Event {
        let line =
            r#"{"t":0,"event":"open","path":"/","open":1,"pid":1,"tid":1,"ppid":0,"exe":"/a","uid":0}"#;
        Event { path: Name(vec![b'a'; length]), ..serde_json::from_str(line).expect("an event") }
    }

    /// A pipe without a reader stands for a slow disk.
    #[test]
    fn what_waits_for_a_stalled_writer_is_bounded_by_its_bytes() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::new(Instant::now());
        let log = File::from(std::os::fd::OwnedFd::from(writer));
        let writer = start(log, Format::Jsonl, &header(), Arc::clone(&queue)).expect("a thread");
        let long = (0..8).map(|_| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || (0..200).for_each(|_| queue.put(event(60_000))))
        });
        let callers: Vec<_> = long.collect();
        let (mut last, mut same) = (0, 0);
        while same < 20 {
            let bytes = queue.state().bytes;
            assert!(bytes <= MOST_BYTES, "{bytes}");
            same = if bytes == last { same + 1 } else { 0 };
            last = bytes;
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(last + event(60_000).memory() > MOST_BYTES, "it is full: {last}");
        assert!(!callers.iter().all(JoinHandle::is_finished), "the callers wait");
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("a pipe");
            bytes
        });
        callers.into_iter().for_each(|caller| caller.join().expect("no panic"));
        queue.end("exited", Some(0));
        let end = writer.join().expect("no panic").expect("it is written");
        let log = reading.join().expect("no panic");
        assert_eq!((end.events, queue.state().bytes), (Some(1600), 0));
        assert_eq!(memchr::memchr_iter(b'\n', &log).count(), 1602, "nothing is dropped");
    }

    #[test]
    fn lines_that_are_not_flushed_are_written_when_they_are_many() {
        let log = tempfile::tempfile().expect("a file");
        let mut lines = LineSink::new(log.try_clone().expect("a descriptor"));
        for _ in 0..100_000 {
            lines.write_all(b"{\"a\":1}").expect("room");
            lines.write_all(b",\n").expect("room");
            assert!(lines.waiting.len() <= 4 * BATCH + 16);
        }
        lines.write_all(b"end").expect("room");
        let written = log.metadata().expect("a file").len();
        assert!(written > 0 && written.is_multiple_of(9), "whole lines: {written}");
        lines.flush().expect("room");
        assert_eq!(log.metadata().expect("a file").len(), 900_003);
    }

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
