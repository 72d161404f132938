//! Whether the end of a run is asked for: then what its command leaves behind is ended, and not waited for.

use compat_sys::Received;

/// The signals that ask for an end.
pub(super) const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// The requests to this process to end.
///
/// What somebody has sent to it asks for the end. The kernel's, on behalf of a terminal, the command gets, too, and
/// may handle: it asks for an end where the command is ended by it, or has ended before it came.
pub(super) struct EndRequest {
    /// The signals that this process was started to ignore: they are queued all the same where they are blocked.
    ignored: Vec<i32>,
    asked: bool,
    /// The terminal's, which the command got, too.
    shared: Vec<i32>,
}

impl EndRequest {
    /// Nothing was asked yet, of a process that ignores what it was started to ignore.
    pub(super) fn new() -> Self {
        Self::ignoring(ENDING.into_iter().filter(|signal| compat_sys::is_ignored(*signal)).collect())
    }

    fn ignoring(ignored: Vec<i32>) -> Self {
        Self { ignored, asked: false, shared: Vec::new() }
    }

    /// Whether this signal leaves things as they are.
    pub(super) fn ignores(&self, signal: i32) -> bool {
        self.ignored.contains(&signal)
    }

    /// A signal has come; `alone` where no command got it, too, that could handle it.
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

    /// Whether the end is asked for, where the command has ended with this code.
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
