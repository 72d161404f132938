//! The volumes of a mirror that are being served, with or without an observer and a cache.

use std::cell::OnceCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::enter::{Mounted, Users};
use crate::mirror::{self, Cache, Observer, Session, Volume};

/// The time that each of the last requests may take after all processes have ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time without requests after which the remaining open files count as kept open.
const QUIET: Duration = Duration::from_millis(100);

/// Served volumes.
pub(crate) struct ServedVolumes {
    volumes: Vec<Arc<Volume>>,
    sessions: Vec<Session>,
    sharing: Arc<mirror::Sharing>,
    /// The descriptors of this process as the server, which has separate limits.
    descriptors: OnceCell<Arc<mirror::Holders>>,
    counts_bytes: bool,
}

/// The parts that a volume has in addition.
#[derive(Default)]
pub(crate) struct Hooks {
    pub observer: Option<Arc<dyn Observer>>,
    pub cache: Option<Arc<dyn Cache>>,
    /// The stacking depth of the file system with the cache. 0 means none.
    pub depth: u32,
}

impl ServedVolumes {
    /// Creates the state without volumes. `remember` is the time for which the kernel may cache existing names and
    /// their attributes.
    pub(crate) fn new(remember: Duration, counts_bytes: bool) -> Self {
        let (volumes, sessions, descriptors) = (Vec::new(), Vec::new(), OnceCell::new());
        Self { volumes, sessions, sharing: mirror::Sharing::new(remember), descriptors, counts_bytes }
    }

    /// Serves a mounted volume.
    ///
    /// # Errors
    ///
    /// If the root of the volume cannot be read, or no thread can be started.
    pub(crate) fn serve(&mut self, mounted: Mounted, hooks: Hooks) -> io::Result<Arc<Volume>> {
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
            depth: mounted.depth.max(hooks.depth),
            read_only: mounted.read_only,
            counts_bytes: self.counts_bytes,
            descriptors: Arc::clone(self.descriptors.get_or_init(holders)),
        };
        let mut volume = Volume::new(mounted.device, mounted.root, options, hooks.observer)?;
        if let Some(cache) = hooks.cache {
            volume = volume.cached_by(cache)?;
        }
        let volume = Arc::new(volume);
        self.sessions.push(Session::start(Arc::clone(&volume))?);
        self.volumes.push(Arc::clone(&volume));
        Ok(volume)
    }

    /// Waits until the files that the last process left open are closed. The kernel sends these requests
    /// asynchronously, perhaps after the process has ended. Processes outside may keep files open through
    /// `--mount-path`.
    pub(crate) fn drain(&self) {
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
