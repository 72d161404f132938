//! Limits on the files and directories that a user may have open in the mirrors of a session. Each may take a
//! descriptor of the server. The server's descriptors are limited, and root and other users need some as
//! well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// The open files of each user other than root.
#[derive(Debug)]
pub(super) struct Admissions {
    of_one: usize,
    of_all: usize,
    state: Mutex<AdmissionState>,
}

#[derive(Debug, Default)]
struct AdmissionState {
    users: HashMap<u32, usize>,
    all: usize,
}

/// One open file or directory. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Admission {
    /// `None` for root, whose opens are not counted.
    counted: Option<(Arc<Admissions>, u32)>,
}

impl Admissions {
    /// Returns limits for this process: half of its descriptors for one user, seven eighths for all users.
    pub(super) fn of_process() -> Arc<Self> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
        Self::of(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn of(limit: usize) -> Arc<Self> {
        Arc::new(Self { of_one: limit / 2, of_all: limit - limit / 8, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, AdmissionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits an open of this user.
    ///
    /// # Errors
    ///
    /// If the user, or all users together, have too many files open (`ENFILE`).
    pub(super) fn admit(self: &Arc<Self>, user: u32) -> Result<Admission, Errno> {
        if user == 0 {
            return Ok(Admission { counted: None });
        }
        let mut state = self.state();
        let of_one = state.users.get(&user).copied().unwrap_or(0);
        if of_one >= self.of_one || state.all >= self.of_all {
            return Err(Errno::NFILE);
        }
        state.users.insert(user, of_one + 1);
        state.all += 1;
        Ok(Admission { counted: Some((Arc::clone(self), user)) })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some((admissions, user)) = &self.counted else { return };
        let mut state = admissions.state();
        state.all -= 1;
        if let Some(of_one) = state.users.get_mut(user) {
            *of_one -= 1;
            if *of_one == 0 {
                state.users.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_leaves_some_to_others_and_all_users_some_to_root() {
        let admissions = Admissions::of(16);
        let take = |user, count| {
            let taken: Vec<Admission> = (0..count).map_while(|_| admissions.admit(user).ok()).collect();
            taken
        };
        let (one, two) = (take(1, 20), take(2, 20));
        assert_eq!((one.len(), two.len(), take(0, 20).len()), (8, 6, 20));
        drop(one);
        assert_eq!(take(3, 20).len(), 8);
        drop(two);
        let state = admissions.state();
        assert_eq!((state.all, state.users.len()), (0, 0));
    }
}
