//! Questions that are asked in the background. A share that does not answer in time keeps nobody waiting who can use
//! the last known facts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::mirror::identity::Credentials;

/// The longest wait for a confirmation.
const LIMIT: Duration = Duration::from_secs(1);

/// The most threads of a volume.
const MOST_THREADS: usize = 32;

/// The most threads that do work for which nobody waits.
const MOST_IDLE_WORK: usize = 16;

/// The most pieces of such work that are kept.
const MOST_WAITING: usize = 65_536;

type Work = Box<dyn FnOnce() + Send>;

/// The background threads of one volume.
#[derive(Default)]
pub(in crate::mirror) struct Patience {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Pool>,
    called: Condvar,
    /// Whether the last answer did not come in time.
    is_stalled: AtomicBool,
}

#[derive(Default)]
struct Pool {
    urgent: VecDeque<Work>,
    idle: VecDeque<Work>,
    threads: usize,
    resting: usize,
    /// The threads that do idle work.
    idling: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Pool> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of work in another thread.
struct Slot<T> {
    result: Mutex<Option<T>>,
    done: Condvar,
}

impl Patience {
    /// Runs a question in another thread and waits for its answer. Returns `None` if it does not come in time. While
    /// that is so, further questions are not asked.
    pub(in crate::mirror) fn ask<T: Send + 'static>(
        &self,
        only_user: bool,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.shared.is_stalled.load(Ordering::Acquire) {
            return None;
        }
        let slot = Arc::new(Slot { result: Mutex::new(None), done: Condvar::new() });
        let (for_thread, shared) = (Arc::clone(&slot), Arc::clone(&self.shared));
        let work = Box::new(move || {
            let result = question();
            *for_thread.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            for_thread.done.notify_all();
            shared.is_stalled.store(false, Ordering::Release);
        });
        if !self.start(only_user, work, true) {
            return None;
        }
        let deadline = Instant::now() + LIMIT;
        let mut result = slot.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = result.take() {
                return Some(result);
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                self.shared.is_stalled.store(true, Ordering::Release);
                return None;
            }
            result = slot.done.wait_timeout(result, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Runs work for which nobody waits. Returns false if it is dropped, because too much is waiting or the share does
    /// not answer.
    pub(in crate::mirror) fn later(&self, only_user: bool, work: impl FnOnce() + Send + 'static) -> bool {
        !self.shared.is_stalled.load(Ordering::Acquire) && self.start(only_user, Box::new(work), false)
    }

    /// Queues work, and starts a thread for it if all are busy. Returns whether it will be done.
    fn start(&self, only_user: bool, work: Work, is_urgent: bool) -> bool {
        let mut state = self.shared.state();
        if is_urgent {
            state.urgent.push_back(work);
        } else if state.idle.len() < MOST_WAITING {
            state.idle.push_back(work);
        } else {
            return false;
        }
        let needed =
            state.urgent.len() + usize::from(!state.idle.is_empty() && state.idling < MOST_IDLE_WORK);
        if state.resting < needed && state.threads < MOST_THREADS {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("asker".to_owned());
            if thread.spawn(move || serve(&shared, only_user)).is_ok() {
                state.threads += 1;
            } else if state.threads == 0 {
                state.urgent.clear();
                state.idle.clear();
                return false;
            }
        }
        drop(state);
        self.shared.called.notify_one();
        true
    }
}

fn serve(shared: &Shared, only_user: bool) {
    // This thread must not have more rights than those that answer requests.
    let credentials = Credentials::of_thread(only_user);
    let mut state = shared.state();
    while credentials.is_ok() {
        let (work, is_idle) = match state.urgent.pop_front() {
            Some(work) => (work, false),
            None if state.idling < MOST_IDLE_WORK && !state.idle.is_empty() => {
                let Some(work) = state.idle.pop_front() else { continue };
                (work, true)
            }
            None => {
                state.resting += 1;
                state = shared.called.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.resting -= 1;
                continue;
            }
        };
        state.idling += usize::from(is_idle);
        drop(state);
        // A panic ends the work, not the thread.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        state = shared.state();
        state.idling -= usize::from(is_idle);
    }
    state.threads -= 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_time_is_returned_and_a_late_one_is_not_waited_for() {
        let patience = Patience::default();
        assert_eq!(patience.ask(false, || 7), Some(7));
        let begun = Instant::now();
        let late = patience.ask(false, || std::thread::sleep(LIMIT * 2));
        assert!(
            late.is_none()
                && begun.elapsed() < LIMIT * 2
                && patience.shared.is_stalled.load(Ordering::Acquire)
        );
        let begun = Instant::now();
        assert!(patience.ask(false, || 7).is_none() && begun.elapsed() < LIMIT / 2, "nobody else waits");
        while patience.shared.is_stalled.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(patience.ask(false, || 8), Some(8), "it answers again");
    }

    #[test]
    fn work_is_done_by_several_threads_at_once() {
        let (patience, done) = (Patience::default(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let begun = Instant::now();
        for _ in 0..MOST_IDLE_WORK * 2 {
            let done = Arc::clone(&done);
            patience.later(false, move || {
                std::thread::sleep(Duration::from_millis(100));
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(patience.ask(false, || ()), Some(()), "a question does not wait for it");
        while done.load(Ordering::Relaxed) < MOST_IDLE_WORK * 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(begun.elapsed() < Duration::from_millis(100 * MOST_IDLE_WORK as u64));
    }
}
