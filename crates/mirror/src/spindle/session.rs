//! Sessions with a cache: one mirror and one cache for many commands of a user.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use super::foresee::Foresee;
use super::service::CachingService;
use super::{Error, News, Options, parts};
use crate::enter::session::{self, Failure, Id};
use crate::enter::{self, Service, Task};
use crate::record;

/// Starts a session in the background, and returns its name when its mirror is ready. Without a name, one is chosen. The
/// session ends by itself when it had no member for the time `idle`. `tell` is called in the background process until
/// the mirror is created. Afterwards, the session has no streams.
///
/// `options.task`, `options.directory`, `options.rank` and `options.log` have no effect. This process must have no other
/// threads.
///
/// # Errors
///
/// If the cache is unsafe, the mirror cannot be created, or a session of this name exists.
pub fn start(
    id: Option<Id>,
    options: &Options,
    idle: Duration,
    foresee: Option<Arc<dyn Foresee>>,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<Id, Error> {
    let entering = enter::Options {
        task: Task::Wait,
        mirrored: options.shares.clone(),
        directory: None,
        read_only: options.read_only,
        place: options.place.clone(),
    };
    let service = |_: &Id| -> Result<Box<dyn Service + '_>, Failure> {
        let (parts, depth) = parts(options, foresee, tell).map_err(|error| failure(&error))?;
        Ok(Box::new(CachingService::new(parts, options.preload.clone(), None, depth, tell)))
    };
    session::start(id, &entering, idle, service).map_err(|error| Error::Record(record::Error::Enter(error)))
}

/// The error as text, which crosses the border of the process.
fn failure(error: &Error) -> Failure {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        message.push_str(&format!(": {source}"));
        cause = source.source();
    }
    Failure { message, hint: error.hint() }
}
