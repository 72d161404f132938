//! The recording service, which serves the mirror's volumes.

use std::fs::File;
use std::io::{self, PipeWriter, Write as _};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::News;
use super::log::{self, Queue};
use super::out::Out;
use super::recorder::Recorder;
use super::served::{Hooks, ServedVolumes};
use crate::enter::{End, Mounted, Ready, Service};
use crate::mirror::Observer;
use compat_trace::{Format, Header};

/// The time for which the kernel may cache existing names and their attributes.
const REMEMBER: Duration = Duration::from_secs(1);

/// Serves the mirror and records its notifications.
pub(crate) struct RecordingService<'a> {
    out: &'a Out,
    log: File,
    format: Format,
    header: Header,
    queue: Arc<Queue>,
    recorder: Arc<Recorder>,
    served: ServedVolumes,
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
        let (format, writer) = (options.format, None);
        let served = ServedVolumes::new(REMEMBER, options.counts_bytes);
        Self { out, log, format, header, queue, recorder, served, writer, unwritten, tell }
    }

    /// Returns the observer of a volume.
    pub(crate) fn observer(&self, mounted: &Mounted) -> Arc<dyn Observer> {
        if let Some(directory) = &mounted.outside {
            self.recorder.mounted_at(directory);
        }
        Arc::<Recorder>::clone(&self.recorder)
    }

    fn start_log(&mut self) -> io::Result<()> {
        self.out.begin(&self.log)?;
        let queue = Arc::clone(&self.queue);
        self.writer = Some(log::start(self.log.try_clone()?, self.format, &self.header, queue)?);
        Ok(())
    }
}

impl Service for RecordingService<'_> {
    fn mounted(&mut self, mounted: Mounted) -> io::Result<()> {
        let hooks = Hooks { observer: Some(self.observer(&mounted)), ..Hooks::default() };
        self.served.serve(mounted, hooks).map(drop)
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
        self.served.drain();
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
