//! Requests to terminate a run. After such a request, processes that the command leaves behind are killed instead of
//! waited for.

use compat_sys::Received;

/// The signals that request termination.
pub(super) const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// The termination requests that this process received.
///
/// A signal that a process sent to this one is always a request. The command also receives the signals of a terminal
/// and may handle them. Such a signal is a request only if it killed the command or came after the command ended.
pub(super) struct EndRequest {
    /// The signals that were ignored when this process started. They are queued anyway while they are blocked.
    ignored: Vec<i32>,
    asked: bool,
    /// Signals of a terminal, which the command also received.
    shared: Vec<i32>,
}

impl EndRequest {
    /// No requests yet. Signals that were ignored when this process started stay ignored.
    pub(super) fn new() -> Self {
        Self::ignoring(ENDING.into_iter().filter(|signal| compat_sys::is_ignored(*signal)).collect())
    }

    fn ignoring(ignored: Vec<i32>) -> Self {
        Self { ignored, asked: false, shared: Vec::new() }
    }

    /// Whether this signal is ignored.
    pub(super) fn ignores(&self, signal: i32) -> bool {
        self.ignored.contains(&signal)
    }

    /// Handles a signal. `alone` means that no command that could handle it received it, too.
    pub(super) fn take(&mut self, Received { signal, sent }: Received, alone: bool) {
        if !ENDING.contains(&signal) || self.ignores(signal) {
            return;
        }
        if sent || alone {
            self.asked = true;
        } else {
            self.shared.push(signal);
        }
    }

    /// Whether termination was requested, given the exit code of the command.
    pub(super) fn is_for_end(&self, code: Option<i32>) -> bool {
        self.asked || code.is_some_and(|code| self.shared.iter().any(|signal| code == 128 + signal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Received = Received { signal: libc::SIGINT, sent: false };
    const HANGUP: Received = Received { signal: libc::SIGHUP, sent: false };

    fn after(received: &[(Received, bool)]) -> EndRequest {
        let mut request = EndRequest::ignoring(vec![libc::SIGQUIT]);
        for (received, alone) in received {
            request.take(*received, *alone);
        }
        request
    }

    #[test]
    fn what_was_sent_asks_for_an_end() {
        let sent = after(&[(Received { signal: libc::SIGTERM, sent: true }, false)]);
        assert!(sent.is_for_end(None) && sent.is_for_end(Some(0)));
        let other = after(&[(Received { signal: libc::SIGUSR1, sent: true }, true)]);
        assert!(!other.is_for_end(Some(128 + libc::SIGUSR1)));
    }

    #[test]
    fn a_terminals_asks_for_an_end_where_the_command_is_ended_by_it() {
        for received in [KEY, HANGUP] {
            let shared = after(&[(received, false)]);
            assert!(shared.is_for_end(Some(128 + received.signal)));
            assert!(!shared.is_for_end(Some(0)) && !shared.is_for_end(Some(128 + libc::SIGTERM)));
            assert!(after(&[(received, true)]).is_for_end(Some(0)), "nobody else can handle it");
        }
    }

    #[test]
    fn what_is_ignored_asks_for_nothing() {
        for sent in [true, false] {
            let received = Received { signal: libc::SIGQUIT, sent };
            let ignored = after(&[(received, true), (received, false)]);
            assert!(!ignored.is_for_end(Some(128 + libc::SIGQUIT)));
        }
    }
}
