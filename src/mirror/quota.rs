//! What one user may occupy: a server's threads, and its memory for requests that wait for one. A request may take as
//! long as a user wants it to (an open of a file that has a lease takes until the holder gives it back, fcntl(2)), so
//! without a bound one user could keep all others waiting. Only requests of that kind are counted: others may hold locks
//! of directories in the kernel, and must not wait for them.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many such requests of one user are answered at the same time, on each volume.
const AT_ONCE: usize = 8;

/// How many bytes of a user's requests may wait, and of all users'.
const MOST_OF_ONE: usize = 16 << 20;
const MOST_OF_ALL: usize = 64 << 20;

/// What each user other than root occupies.
#[derive(Debug, Default)]
pub struct Quota {
    state: Mutex<State>,
}

/// A message that waits. The kernel takes the answer only from the descriptor that the message was read from.
#[derive(Debug)]
pub struct Waiting {
    pub message: Vec<u8>,
    pub device: Arc<OwnedFd>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<u32, Use>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Use {
    served: usize,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// When a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// After another one of the same user: its message is kept.
    Later,
    /// Never: too many wait.
    Refused,
}

impl Quota {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of this user has come from this descriptor.
    pub fn begin(&self, user: u32, message: &[u8], device: &Arc<OwnedFd>) -> Turn {
        let mut state = self.state();
        let waiting = state.waiting;
        let usage = state.users.entry(user).or_default();
        if usage.served < AT_ONCE {
            usage.served += 1;
            return Turn::Now;
        }
        if usage.bytes + message.len() > MOST_OF_ONE || waiting + message.len() > MOST_OF_ALL {
            return Turn::Refused;
        }
        usage.bytes += message.len();
        usage.waiting.push_back(Waiting { message: message.to_vec(), device: Arc::clone(device) });
        state.waiting += message.len();
        Turn::Later
    }

    /// A message that waits is not to be answered any more: the one with this number.
    pub fn give_up(&self, unique: u64) -> Option<Waiting> {
        let mut state = self.state();
        let is_it = |waiting: &Waiting| waiting.message.get(8..16) == Some(&unique.to_ne_bytes()[..]);
        let found = state.users.values_mut().find_map(|usage| {
            let place = usage.waiting.iter().position(is_it)?;
            let waiting = usage.waiting.remove(place)?;
            usage.bytes -= waiting.message.len();
            Some(waiting)
        })?;
        state.waiting -= found.message.len();
        Some(found)
    }

    /// A message of this user is answered; the next one is served in its place.
    pub fn finish(&self, user: u32) -> Option<Waiting> {
        let mut state = self.state();
        let usage = state.users.get_mut(&user)?;
        let next = usage.waiting.pop_front();
        match &next {
            Some(Waiting { message, .. }) => {
                usage.bytes -= message.len();
                state.waiting -= message.len();
            }
            None => {
                usage.served -= 1;
                if usage.served == 0 {
                    state.users.remove(&user);
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/dev/null").expect("a device").into())
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
        let first = quota.finish(1).expect("one waits");
        assert_eq!(first.message, b"first");
        assert!(Arc::ptr_eq(&first.device, &other), "it is answered where it was read");
        assert_eq!(begin(1, b"third"), Turn::Later, "the place was taken");
        let rest = [quota.finish(1), quota.finish(1)].map(|waiting| waiting.expect("one waits").message);
        assert_eq!(rest, [&b"second"[..], b"third"]);
        assert!(quota.finish(1).is_none());
        assert_eq!(begin(1, b"x"), Turn::Now);
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
        assert_eq!(quota.state().waiting, 80);
        assert_eq!(quota.finish(1).map(|waiting| waiting.message), Some(message(2)));
        assert_eq!(quota.finish(1).map(|waiting| waiting.message), Some(message(6)));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let (quota, device) = (Quota::default(), device());
        let message = vec![0; 1 << 20];
        for user in 0..8 {
            for _ in 0..AT_ONCE {
                assert_eq!(quota.begin(user, &message, &device), Turn::Now);
            }
        }
        let waiting = |user| {
            let begin = || quota.begin(user, &message, &device);
            (0..100).take_while(|_| begin() == Turn::Later).count()
        };
        assert_eq!((waiting(0), waiting(1), waiting(2), waiting(3), waiting(4)), (16, 16, 16, 16, 0));
        for user in 0..8 {
            while quota.finish(user).is_some() {}
            (1..AT_ONCE).for_each(|_| assert!(quota.finish(user).is_none()));
        }
        let state = quota.state();
        assert_eq!((state.waiting, state.users.len()), (0, 0));
    }
}
