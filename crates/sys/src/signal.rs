//! Signals that the program waits for instead of handling them.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SignalSet")
    }
}

impl SignalSet {
    /// Returns the set of these signals, by number.
    pub fn of(signals: &[i32]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set. `sigaddset` rejects invalid signal numbers.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            Self(set.assume_init())
        }
    }
}

/// A received signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Whether a process sent it, and not the kernel for a terminal or a child.
    pub sent: bool,
}

/// Blocks signals in this thread and in the threads and processes that it starts. Returns the previously
/// blocked set.
pub fn block(signals: &SignalSet) -> SignalSet {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are valid through the call, which initialises the second. It fails only for an invalid
    // first argument.
    unsafe {
        libc::sigemptyset(before.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals.0, before.as_mut_ptr());
        SignalSet(before.assume_init())
    }
}

/// Restores a set of blocked signals.
pub fn restore(signals: &SignalSet) {
    // SAFETY: the set is valid through the call.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const signals.0, std::ptr::null_mut());
    }
}

/// Ignores a signal in this process and in programs that it executes (`ignored`), or restores the default
/// action. Returns whether it was ignored before.
pub fn ignore(signal: i32, ignored: bool) -> bool {
    let action = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: no handler of this program is installed. The system's own dispositions are always valid.
    unsafe { libc::signal(signal, action) == libc::SIG_IGN }
}

/// Whether this program was started with `SIGPIPE` ignored.
static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Reads the disposition before Rust's startup code ignores the signal in every program. The C library calls
/// the functions in this section before `main` (elf(5), `DT_INIT_ARRAY`).
#[used]
// SAFETY: the section contains pointers to functions without required arguments. This one only reads the
// disposition.
#[unsafe(link_section = ".init_array")]
static ASK_AT_START: extern "C" fn() = ask_at_start;

extern "C" fn ask_at_start() {
    PIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// Whether this process ignores a signal.
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set. The current action is written to the structure, which is valid as zeros.
    let handler = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction
    };
    handler == libc::SIG_IGN
}

/// Whether this program was started with `SIGPIPE` ignored, as must be the programs that it executes.
pub(crate) fn pipe_was_ignored() -> bool {
    PIPE_IGNORED.load(Ordering::Relaxed)
}

/// Waits for one of these signals, which must be blocked. Returns `None` after the time limit.
///
/// # Errors
///
/// Errors of sigtimedwait(2).
pub fn wait_for(signals: &SignalSet, limit: Duration) -> io::Result<Option<Received>> {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: all three are valid through the call, and the second is valid as zeros.
    let result =
        unsafe { libc::sigtimedwait(&raw const signals.0, information.as_mut_ptr(), &raw const limit) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: it is valid as zeros, and the call has filled it in.
    let code = unsafe { information.assume_init() }.si_code;
    Ok(Some(Received { signal: result, sent: code <= 0 }))
}
