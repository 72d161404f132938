//! The supervisor's listener: for the ranks of a job, or for the members of a session.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Signal, getpid, kill_process};

use super::Service;
use super::admission::Admission;
use super::figures_channel::FiguresChannel;
use super::rank_listener::RankListener;
use super::rendezvous::{LeadSocket, Purpose};
use super::session_listener::SessionListener;
use super::share::Share;

/// A listener while the mirror exists.
pub(super) enum Listener {
    Ranks(RankListener),
    Session(SessionListener),
}

impl Listener {
    /// Admits processes in separate threads.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(super) fn open(
        LeadSocket { lock, listener, purpose }: LeadSocket,
        admission: Admission,
        figures: &Arc<FiguresChannel>,
        shares: &[Share],
    ) -> io::Result<Self> {
        let socket = (lock, listener);
        match purpose {
            Purpose::Ranks(expected) => RankListener::open(socket, expected, admission).map(Self::Ranks),
            Purpose::Session { idle, ready } => {
                let figures = Arc::clone(figures);
                let listener = SessionListener::open(socket, idle, admission, figures, shares.to_vec())?;
                if ready.send().is_err() {
                    // The process that started the session was killed. Nobody knows its name.
                    kill_process(getpid(), Signal::TERM)?;
                }
                Ok(Self::Session(listener))
            }
        }
    }

    /// Whether nobody who was admitted has to be waited for, now that the command has ended. After that, nobody is
    /// admitted. `since` holds the time of the first call.
    pub(super) fn is_quiet(&self, since: &mut Option<Instant>, service: &mut dyn Service) -> bool {
        match self {
            Self::Ranks(listener) => listener.is_quiet(since, service),
            Self::Session(listener) => {
                // The members are asked to end.
                listener.close();
                true
            }
        }
    }

    /// Whether a session ends because it has no members.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Ranks(_) => false,
            Self::Session(listener) => listener.is_idle(),
        }
    }
}
