//! The threads of a session that wait at the device. The kernel wakes waiting threads in turn. A program that
//! sends one request at a time would therefore reach a thread with cold caches each time. So only a few
//! threads wait there. The others rest until all waiting threads are busy.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The maximum number of threads that serve one volume: more than users may occupy ([`super::quota`]).
const MOST_THREADS: usize = 512;

/// The threads of one session.
#[derive(Debug)]
pub(super) struct Workers {
    /// The maximum number of threads that wait at the device.
    places: usize,
    state: Mutex<WorkerCounts>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct WorkerCounts {
    threads: usize,
    waiting: usize,
    resting: usize,
    /// The threads that are counted as waiting and will be back soon.
    staying: usize,
    /// Whether a thread was started and has not arrived yet.
    starting: bool,
    ended: bool,
}

impl Workers {
    /// Creates the counts without threads, for a machine with as many processors as this one.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, NonZero::get);
        Self { places: processors.clamp(2, 4), state: Mutex::default(), called: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, WorkerCounts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a new thread. Returns whether it may be started now.
    pub(super) fn admit(&self) -> bool {
        let mut state = self.state();
        let room = !state.starting && state.threads < MOST_THREADS;
        if room {
            state.threads += 1;
            state.starting = true;
        }
        room
    }

    /// Records that the admitted thread has arrived, or that it could not start or serve.
    pub(super) fn arrived(&self, started: bool) {
        let mut state = self.state();
        state.starting = false;
        state.threads -= usize::from(!started);
    }

    /// Rests until there is room at the device. Returns whether the session still runs.
    pub(super) fn take_place(&self) -> bool {
        let mut state = self.state();
        while state.waiting >= self.places && !state.ended {
            state.resting += 1;
            state = self.called.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.resting -= 1;
        }
        state.waiting += 1;
        !state.ended
    }

    /// Leaves the device with a request. If no thread is left there, a resting one is called. Returns whether
    /// another thread is needed.
    pub(super) fn leave_place(&self) -> bool {
        let mut state = self.state();
        state.waiting -= 1;
        let deserted = state.waiting == 0;
        if deserted && state.resting > 0 {
            self.called.notify_one();
        }
        deserted && state.resting == 0
    }

    /// Keeps the place at the device while a short request is answered.
    pub(super) fn stay(&self) {
        self.state().staying += 1;
    }

    /// Ends such a request.
    pub(super) fn stayed(&self) {
        self.state().staying -= 1;
    }

    /// Ends this thread, and with it all others.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.threads -= 1;
        state.ended = true;
        self.called.notify_all();
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.state();
        state.waiting + state.resting < state.threads + state.staying
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers_of(threads: usize) -> Workers {
        let workers = Workers { places: 2, state: Mutex::default(), called: Condvar::new() };
        for _ in 0..threads {
            assert!(workers.admit());
            workers.arrived(true);
        }
        workers
    }

    #[test]
    fn one_more_is_wanted_when_nobody_waits() {
        let workers = workers_of(2);
        assert!(workers.is_busy());
        assert!(workers.take_place() && workers.take_place());
        assert!(!workers.is_busy());
        assert!(!workers.leave_place());
        assert!(workers.leave_place());
        assert!(workers.is_busy());
        assert!(workers.admit());
        assert!(!workers.admit(), "one at a time");
        workers.arrived(false);
        assert_eq!(workers.state().threads, 2);
    }

    #[test]
    fn who_rests_is_called_when_the_others_are_busy_or_all_ends() {
        let workers = std::sync::Arc::new(workers_of(4));
        assert!(workers.take_place() && workers.take_place());
        let resting: Vec<_> = (0..2)
            .map(|_| {
                let workers = std::sync::Arc::clone(&workers);
                std::thread::spawn(move || workers.take_place())
            })
            .collect();
        while workers.state().resting < 2 {
            std::thread::yield_now();
        }
        assert!(!workers.is_busy());
        assert!(!workers.leave_place());
        assert!(!workers.leave_place(), "a resting thread is called instead of a new one");
        while workers.state().waiting < 1 {
            std::thread::yield_now();
        }
        workers.end();
        let going_on: Vec<bool> =
            resting.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert!(going_on.contains(&true), "{going_on:?}");
        assert!(!workers.take_place());
    }
}
