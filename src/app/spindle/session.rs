//! Reports about sessions, and the figures of runs.

use std::time::UNIX_EPOCH;

use compat_mirror::enter::session::{self, Id};
use compat_mirror::enter::{self, Share};
use compat_mirror::spindle::figures::Figures;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Failure;

/// The sessions of this user on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionList {
    /// The sessions, by their names.
    pub sessions: Vec<SessionEntry>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    /// Its name.
    pub id: String,
    /// Its status. Absent if it did not report it within a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SessionStatus>,
}

/// The status of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// The process ID of its supervisor.
    pub process: u32,
    /// The time at which it was ready, in seconds since 1970.
    pub since: u64,
    /// The number of commands that are running in it.
    pub members: u32,
    /// The cached shares.
    pub shares: Vec<ShareEntry>,
}

/// A cached share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShareEntry {
    /// The directory.
    pub path: String,
    /// The type of its file system.
    pub kind: String,
    /// The source of its mount, such as `server:/path`.
    pub source: String,
}

/// The figures of a run, or of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FiguresReport {
    /// The figures of the run, or the sum of those of the sessions.
    pub figures: Figures,
    /// The figures of each session. Absent for a run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionFigures>,
}

/// The figures of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionFigures {
    /// The name of the session.
    pub id: String,
    /// Its figures since its start.
    pub figures: Figures,
}

impl From<&Share> for ShareEntry {
    fn from(share: &Share) -> Self {
        let path = share.place.display().to_string();
        Self { path, kind: share.kind.clone(), source: share.source.clone() }
    }
}

/// Returns the sessions of this user on this node.
///
/// # Errors
///
/// If the directory of the sessions is not private.
pub fn list() -> Result<SessionList, Failure> {
    let entry = |listed: session::Listed| SessionEntry {
        id: listed.id.to_string(),
        status: listed.status.map(|status| SessionStatus {
            process: status.process,
            since: status.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            members: status.members,
            shares: status.shares.iter().map(ShareEntry::from).collect(),
        }),
    };
    let listed = session::list().map_err(|error| failure(&error))?;
    Ok(SessionList { sessions: listed.into_iter().map(entry).collect() })
}

/// Ends sessions, and waits for their ends.
///
/// # Errors
///
/// If one of them does not exist or does not end. The others are ended all the same.
pub fn end(ids: &[Id]) -> Result<(), Failure> {
    let mut first = Ok(());
    for id in ids {
        let ended = session::end(id).map_err(|error| failure(&error));
        first = first.and(ended);
    }
    first
}

/// Returns the figures of these sessions, or of all sessions that report theirs.
///
/// # Errors
///
/// If a named session does not exist or does not report its figures.
pub fn figures(ids: &[Id]) -> Result<FiguresReport, Failure> {
    let mut report = FiguresReport::default();
    let all: Vec<Id> = match ids {
        [] => session::list().map_err(|error| failure(&error))?.into_iter().map(|listed| listed.id).collect(),
        ids => ids.to_vec(),
    };
    for id in all {
        let figures = match session::figures(&id) {
            Ok(bytes) => parse(&id, &bytes)?,
            // It has ended since it was listed.
            Err(_) if ids.is_empty() => continue,
            Err(error) => return Err(failure(&error)),
        };
        report.figures.add(&figures);
        report.sessions.push(SessionFigures { id: id.to_string(), figures });
    }
    Ok(report)
}

fn parse(id: &Id, bytes: &[u8]) -> Result<Figures, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|source| Failure::undecided(&FiguresError { id: id.clone(), source }))
}

#[derive(Debug, thiserror::Error)]
#[error("session {id} sent figures that cannot be read")]
struct FiguresError {
    id: Id,
    source: serde_json::Error,
}

fn failure(error: &enter::Error) -> Failure {
    Failure::undecided(error).with_hint(error.hint())
}
