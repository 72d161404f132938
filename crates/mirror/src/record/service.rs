//! The recording service, which serves the mirror's volumes.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, PipeWriter, Write as _};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::News;
use super::log::{self, Queue};
use super::out::Out;
use super::recorder::Recorder;
use crate::enter::{End, Mounted, Ready, Service, Users};
use crate::mirror::{self, Observer, Session, Volume};
use compat_trace::{Format, Header};

/// The time for which the kernel may cache existing names and their attributes.
const REMEMBER: Duration = Duration::from_secs(1);

/// The time that each of the last requests may take after all processes have ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time without requests after which the remaining open files count as kept open.
const QUIET: Duration = Duration::from_millis(100);

/// Serves the mirror and records its notifications.
pub(super) struct RecordingService<'a> {
    out: &'a Out,
    log: File,
    format: Format,
    header: Header,
    queue: Arc<Queue>,
    recorder: Arc<Recorder>,
    volumes: Vec<Arc<Volume>>,
    sharing: Arc<mirror::Sharing>,
    sessions: Vec<Session>,
    /// The descriptors of this process as the server, which has separate limits.
    descriptors: OnceCell<Arc<mirror::Holders>>,
    counts_bytes: bool,
    writer: Option<JoinHandle<io::Result<compat_trace::End>>>,
    /// The pipe through which this process, as the server, reports a failed log.
    unwritten: PipeWriter,
    tell: &'a mut dyn FnMut(&News<'_>),
}

impl<'a> RecordingService<'a> {
    /// Creates a service that writes to this log. The command descends from this process. If the log cannot be written,
    /// the error number is sent to `unwritten` in native byte order.
    pub(super) fn new(
        out: &'a Out,
        log: File,
        unwritten: PipeWriter,
        options: &super::Options,
        header: Header,
        tell: &'a mut dyn FnMut(&News<'_>),
    ) -> Self {
        let queue = Queue::new(Instant::now());
        let recorder = Arc::new(Recorder::new(Arc::clone(&queue), options.selection.clone()));
        if let Some(rank) = options.rank {
            recorder.joined(std::process::id(), rank);
        }
        let (volumes, sessions) = (Vec::new(), Vec::new());
        let (format, writer) = (options.format, None);
        let descriptors = OnceCell::new();
        let sharing = mirror::Sharing::new(REMEMBER);
        Self {
            out,
            log,
            format,
            header,
            queue,
            recorder,
            volumes,
            sharing,
            sessions,
            descriptors,
            counts_bytes: options.counts_bytes,
            writer,
            unwritten,
            tell,
        }
    }

    fn start_log(&mut self) -> io::Result<()> {
        self.out.begin(&self.log)?;
        let queue = Arc::clone(&self.queue);
        self.writer = Some(log::start(self.log.try_clone()?, self.format, &self.header, queue)?);
        Ok(())
    }

    /// Waits until the files that the last process left open are closed. The kernel sends these requests
    /// asynchronously, perhaps after the process has ended. Processes outside may keep files open through
    /// `--mount-path`.
    fn drain(&self) {
        let (mut left, mut since, mut quiet_since) = (usize::MAX, Instant::now(), None);
        loop {
            let open = self.volumes.iter().map(|volume| volume.open_count()).sum();
            if open < left {
                (left, since) = (open, Instant::now());
            }
            if self.sessions.iter().zip(&self.volumes).any(is_busy) {
                quiet_since = None;
            } else if quiet_since.get_or_insert_with(Instant::now).elapsed() > QUIET {
                return;
            }
            if open == 0 || since.elapsed() > PATIENCE {
                return;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

/// Allows a quarter of the descriptors of this process for nodes, because most are needed for open files.
fn holders() -> Arc<mirror::Holders> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    mirror::Holders::new(usize::try_from(limit / 4).unwrap_or(usize::MAX).min(16_384))
}

fn is_busy((session, volume): (&Session, &Arc<Volume>)) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let device = volume.device();
    let mut devices = [PollFd::new(&device, PollFlags::IN)];
    // The device of an unmounted volume is ready as well, with an error.
    let asked = poll(&mut devices, Some(&now)).is_ok();
    asked && devices[0].revents().contains(PollFlags::IN) || session.is_busy()
}

impl Service for RecordingService<'_> {
    fn mounted(&mut self, mounted: Mounted) -> io::Result<()> {
        if let Some(directory) = &mounted.outside {
            self.recorder.mounted_at(directory);
        }
        let only_user = match mounted.users {
            Users::Many => None,
            Users::One { user, group } => Some((user, group)),
        };
        let options = mirror::Options {
            place: mounted.place,
            further: mounted.further,
            only_user,
            sharing: Arc::clone(&self.sharing),
            closed_to_others: only_user.is_none() && mirror::has_further_rules(),
            depth: mounted.depth,
            read_only: mounted.read_only,
            counts_bytes: self.counts_bytes,
            descriptors: Arc::clone(self.descriptors.get_or_init(holders)),
        };
        let observer: Arc<dyn Observer> = Arc::<Recorder>::clone(&self.recorder);
        let volume = Volume::new(mounted.device, mounted.root, options, Some(observer))?;
        let volume = Arc::new(volume);
        self.sessions.push(Session::start(Arc::clone(&volume))?);
        self.volumes.push(volume);
        Ok(())
    }

    fn begin(&mut self, _command: u32) -> io::Result<()> {
        self.start_log()?;
        self.recorder.begin();
        Ok(())
    }

    fn joining(&mut self, process: u32) {
        self.recorder.joining(process);
    }

    fn joined(&mut self, process: u32, rank: u32) {
        self.recorder.joined(process, rank);
    }

    fn ready(&mut self, ready: &Ready<'_>) {
        (self.tell)(&News::Ready(ready));
    }

    fn still_inside(&mut self, processes: &[Pid]) {
        let numbers: Vec<u32> = processes.iter().map(|pid| pid.as_raw_nonzero().get() as u32).collect();
        (self.tell)(&News::StillInside(&numbers));
    }

    fn ranks_missing(&mut self, came: u32, expected: u32) {
        (self.tell)(&News::RanksMissing { came, expected });
    }

    fn end(&mut self, end: End) {
        self.drain();
        match end {
            End::Code(code) => self.queue.end("exited", Some(code)),
            End::Killed => self.queue.end("supervisor killed", None),
        }
        if let Some(Ok(Err(error))) = self.writer.take().map(JoinHandle::join) {
            let number = error.raw_os_error().unwrap_or(libc::EIO);
            // If the supervisor was killed, the pipe has no reader.
            let _ = self.unwritten.write_all(&number.to_ne_bytes());
        }
    }

    fn server_killed(&mut self) {
        // No other process writes to the log any more, and no process is left to receive an error.
        let _ = log::repair(&mut self.log, self.format, "server killed");
    }
}
