//! The data that the supervisor hands to the two processes that it starts.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::Path;

use super::external_mount::ExternalMount;
use super::namespace::Users;
use super::namespace_processes::NamespaceProcesses;
use super::plan::Plan;
use super::{Mounted, Options};
use compat_sys::SignalSet;

/// The data that the three processes start from.
pub(super) struct Start<'a> {
    pub options: &'a Options,
    pub directory: &'a Path,
    pub plan: &'a Plan,
    pub inside: &'a NamespaceProcesses,
    pub users: Users,
    /// The volumes in the order of the plan, and once more where they are mounted outside, too.
    pub volumes: Vec<Mounted>,
    /// The bound places, opened, in the order of the plan.
    pub bound: Vec<OwnedFd>,
    pub outside: Option<&'a ExternalMount>,
    /// Whether the namespace has a user namespace of its own.
    pub as_user: bool,
    /// The signals that the command is to have blocked.
    pub before: SignalSet,
}

/// The ends of the pipes that the command's process holds.
pub(super) struct CommandPipes {
    pub server: PipeWriter,
    pub answer: PipeReader,
    pub report: PipeWriter,
}

/// The ends of the pipes that the server holds.
pub(super) struct ServerPipes {
    pub control: PipeReader,
    /// To the command's process.
    pub answer: PipeWriter,
    /// To the supervisor, which reads it when the server has ended.
    pub report: PipeWriter,
}
