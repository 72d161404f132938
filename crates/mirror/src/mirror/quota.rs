//! Limits on the resources of one user: threads of the server, and memory for requests that wait for a
//! thread. A user can make a request take arbitrarily long. For example, an open of a file with a lease waits
//! until the holder gives up the lease (fcntl(2)). Without a limit, one user could keep all others waiting.
//! Only requests of that kind wait for their turn. Other requests may hold locks of directories in the
//! kernel, so they are served at once, or refused if too many are being served.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The maximum number of such requests of one user that are answered at the same time, on each volume.
const AT_ONCE: usize = 8;

/// The same for all users together. One user may have many ids (subuid(5)), and others need threads, too.
const OF_ALL_AT_ONCE: usize = 192;

/// The maximum number of other requests of users. A file system, or somebody who holds a directory, may delay
/// these as well. They cannot wait for a turn, because they would hold locks meanwhile. Root always has
/// threads left.
const OTHERS_AT_ONCE: usize = 256;

/// The maximum numbers of waiting requests, of one user and of all users.
const MOST_OF_ONE: usize = 1_024;
const MOST_OF_ALL: usize = 8_192;

/// The resources that each user other than root occupies.
#[derive(Debug, Default)]
pub(super) struct Quota {
    state: Mutex<QuotaState>,
    /// The number of other requests that are being answered.
    others: AtomicUsize,
}

/// A message that waits. The kernel accepts the reply only on the descriptor from which the message was read.
#[derive(Debug)]
pub(super) struct Waiting {
    pub message: Vec<u8>,
    pub device: Arc<OwnedFd>,
}

#[derive(Debug, Default)]
struct QuotaState {
    users: HashMap<u32, Use>,
    served: usize,
    /// The waiting messages with their users, in order of arrival.
    waiting: VecDeque<(u32, Waiting)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Use {
    served: usize,
    waiting: usize,
}

impl QuotaState {
    fn has_room(&self, user: u32) -> bool {
        let served = self.users.get(&user).map_or(0, |usage| usage.served);
        served < AT_ONCE && self.served < OF_ALL_AT_ONCE
    }

    fn serve(&mut self, user: u32) {
        self.users.entry(user).or_default().served += 1;
        self.served += 1;
    }

    /// Removes a message from those that wait.
    fn take(&mut self, place: usize) -> Option<(u32, Waiting)> {
        let taken = self.waiting.remove(place)?;
        if let Some(usage) = self.users.get_mut(&taken.0) {
            usage.waiting -= 1;
        }
        Some(taken)
    }
}

/// When a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// After another request. The message is stored.
    Later,
    /// Never: too many wait.
    Refused,
}

impl Quota {
    fn state(&self) -> MutexGuard<'_, QuotaState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request of another kind. Returns whether it can be answered.
    pub(super) fn begin_other(&self) -> bool {
        let before = self.others.fetch_add(1, Ordering::AcqRel);
        if before >= OTHERS_AT_ONCE {
            self.finish_other();
        }
        before < OTHERS_AT_ONCE
    }

    /// Counts the end of such a request.
    pub(super) fn finish_other(&self) {
        self.others.fetch_sub(1, Ordering::AcqRel);
    }

    /// Counts a message of this user that was read from this descriptor.
    pub(super) fn begin(&self, user: u32, message: &[u8], device: &Arc<OwnedFd>) -> Turn {
        let mut state = self.state();
        if state.has_room(user) {
            state.serve(user);
            return Turn::Now;
        }
        let all = state.waiting.len();
        let usage = state.users.entry(user).or_default();
        if usage.waiting >= MOST_OF_ONE || all >= MOST_OF_ALL {
            return Turn::Refused;
        }
        usage.waiting += 1;
        let waiting = Waiting { message: message.to_vec(), device: Arc::clone(device) };
        state.waiting.push_back((user, waiting));
        Turn::Later
    }

    /// Removes the waiting message with this number, which is not to be answered any more.
    pub(super) fn give_up(&self, unique: u64) -> Option<Waiting> {
        let mut state = self.state();
        let number = unique.to_ne_bytes();
        let place =
            state.waiting.iter().position(|(_, waiting)| waiting.message.get(8..16) == Some(&number[..]))?;
        state.take(place).map(|(_, waiting)| waiting)
    }

    /// Counts the end of a message of this user. Returns the next message whose turn has come.
    pub(super) fn finish(&self, user: u32) -> Option<(u32, Waiting)> {
        let mut state = self.state();
        state.served -= 1;
        if let Some(usage) = state.users.get_mut(&user) {
            usage.served -= 1;
            if usage.served + usage.waiting == 0 {
                state.users.remove(&user);
            }
        }
        let place = state.waiting.iter().position(|(user, _)| state.has_room(*user))?;
        let next = state.take(place)?;
        state.serve(next.0);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/dev/null").expect("a device").into())
    }

    fn next(quota: &Quota, user: u32) -> Option<(u32, Vec<u8>)> {
        quota.finish(user).map(|(user, waiting)| (user, waiting.message))
    }

    #[test]
    fn a_user_who_occupies_much_waits_and_others_do_not() {
        let (quota, device, other) = (Quota::default(), device(), device());
        let begin = |user, message: &[u8]| quota.begin(user, message, &device);
        for _ in 0..AT_ONCE {
            assert_eq!(begin(1, b"x"), Turn::Now);
        }
        assert_eq!(quota.begin(1, b"first", &other), Turn::Later);
        assert_eq!(begin(1, b"second"), Turn::Later);
        assert_eq!(begin(2, b"x"), Turn::Now);
        let (_, first) = quota.finish(1).expect("one waits");
        assert_eq!(first.message, b"first");
        assert!(Arc::ptr_eq(&first.device, &other), "it is answered where it was read");
        assert_eq!(begin(1, b"third"), Turn::Later, "the place was taken");
        assert_eq!(next(&quota, 2), None, "another's place is not");
        assert_eq!(next(&quota, 1), Some((1, b"second".to_vec())));
        assert_eq!(next(&quota, 1), Some((1, b"third".to_vec())));
        assert_eq!(next(&quota, 1), None);
        assert_eq!(begin(1, b"x"), Turn::Now);
    }

    #[test]
    fn many_users_leave_threads_to_root() {
        let (quota, device) = (Quota::default(), device());
        let users = (OF_ALL_AT_ONCE / AT_ONCE) as u32;
        for user in 0..users {
            (0..AT_ONCE).for_each(|_| assert_eq!(quota.begin(user, b"x", &device), Turn::Now));
        }
        assert_eq!(quota.begin(users, b"late", &device), Turn::Later);
        assert_eq!(next(&quota, 0), Some((users, b"late".to_vec())));
        assert_eq!(next(&quota, users), None);
    }

    #[test]
    fn what_waits_is_given_up_by_its_number() {
        let (quota, device) = (Quota::default(), device());
        let message = |unique: u64| [&[0; 8], &unique.to_ne_bytes()[..], &[0; 24]].concat();
        (0..AT_ONCE).for_each(|_| assert_eq!(quota.begin(1, &message(1), &device), Turn::Now));
        for unique in [2, 4, 6] {
            assert_eq!(quota.begin(1, &message(unique), &device), Turn::Later);
        }
        assert_eq!(quota.give_up(4).map(|waiting| waiting.message), Some(message(4)));
        assert!(quota.give_up(4).is_none() && quota.give_up(1).is_none());
        assert_eq!(next(&quota, 1), Some((1, message(2))));
        assert_eq!(next(&quota, 1), Some((1, message(6))));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (quota, device) = (Quota::default(), device());
        let users = 12;
        for user in 0..users {
            (0..AT_ONCE).for_each(|_| assert_eq!(quota.begin(user, b"x", &device), Turn::Now));
        }
        let waiting =
            |user| (0..2_000).take_while(|_| quota.begin(user, b"x", &device) == Turn::Later).count();
        let counts: Vec<usize> = (0..users).map(waiting).collect();
        assert_eq!(counts[0], MOST_OF_ONE);
        assert_eq!(counts.iter().sum::<usize>(), MOST_OF_ALL);
        let mut served: VecDeque<u32> = (0..users).flat_map(|user| [user; AT_ONCE]).collect();
        while let Some(user) = served.pop_front() {
            served.extend(next(&quota, user).map(|(user, _)| user));
        }
        let state = quota.state();
        assert_eq!((state.waiting.len(), state.served, state.users.len()), (0, 0, 0));
    }
}
