//! The data that the supervisor passes to the two processes that it starts.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::Path;

use super::external_mount::ExternalMount;
use super::figures_channel::FiguresReply;
use super::inner_namespace::InnerNamespace;
use super::namespace::Users;
use super::namespace_processes::NamespaceProcesses;
use super::plan::Plan;
use super::{Mounted, Options};
use compat_sys::SignalSet;

/// The data that the three processes start with.
pub(super) struct Start<'a> {
    pub options: &'a Options,
    pub directory: &'a Path,
    pub plan: &'a Plan,
    pub inside: &'a NamespaceProcesses,
    /// The namespace of the command if its root is not mirrored. Otherwise, all processes share one namespace.
    pub inner: Option<&'a InnerNamespace>,
    pub users: Users,
    /// The volumes in the order of the plan, followed by those of the external mount, if any.
    pub volumes: Vec<Mounted>,
    /// The bound places, opened, in the order of the plan.
    pub bound: Vec<OwnedFd>,
    pub outside: Option<&'a ExternalMount>,
    /// Whether the mirror has its own user namespace.
    pub as_user: bool,
    /// The signal mask of the command.
    pub before: SignalSet,
}

/// The pipe ends of the command's process.
pub(super) struct CommandPipes {
    pub server: PipeWriter,
    pub answer: PipeReader,
    pub report: PipeWriter,
}

/// The pipe ends of the server.
pub(super) struct ServerPipes {
    pub control: PipeReader,
    /// To the command's process.
    pub answer: PipeWriter,
    /// To the supervisor, which asks for the figures.
    pub figures: FiguresReply,
    /// To the supervisor, which reads it after the server has ended.
    pub report: PipeWriter,
}
