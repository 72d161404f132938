//! How many files and directories a user may have open in the mirrors of a session: each may take a descriptor of the server,
//! which has a limit of its own, and root and other users need some, too.

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

/// Something that is open, until it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    /// Root's are not counted.
    counted: Option<(Arc<Admissions>, u32)>,
}

impl Admissions {
    /// Half of the descriptors that this process may have for one user, and seven eighths for all.
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
    /// `ENFILE` where the user, or all users together, have too much open.
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
