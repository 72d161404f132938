//! The file of a log, which names everybody's private files. An existing file keeps its content until the run begins,
//! and is unchanged if nothing is run.
//!
//! The rules (`trusted_path` has those for the way to the file):
//!
//! - A new file is created exclusively, with mode 0600. Its directory may belong to anybody. A user with write access
//!   to the directory can remove the file, but not read it.
//! - An existing file must belong to this user and have one name. If other users could open it, they may still have it
//!   open. It is therefore replaced by a new file when the run begins. A file that is a bind mount cannot be replaced.
//!   It gets mode 0600 instead.
//! - A FIFO must belong to a trusted user. Devices are used as they are, because only root can create them. The same
//!   applies to files that are already open (`/dev/stdout`, `/dev/fd/3`).

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::refusal::Refusal;
use super::trusted_path::{self, TrustedPath};

/// The number of attempts while other processes create and remove the file.
const ATTEMPTS: u32 = 16;

/// The file of a log, before the run.
#[derive(Debug)]
pub struct Out {
    place: TrustedPath,
    how: How,
}

/// The origin of the file, which determines the action at the beginning of the run.
#[derive(Debug)]
enum How {
    /// It was created here.
    Made(LogIdentity),
    /// It existed. A regular file is truncated. `tighten` removes the permissions of others.
    There { tighten: bool },
    /// It was created here with a temporary name, and replaces the existing file.
    Replaces { temporary: String, identity: LogIdentity },
}

/// The identity of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LogIdentity(u64, u64);

impl LogIdentity {
    fn of(stat: &Stat) -> Self {
        Self(stat.st_dev, stat.st_ino)
    }
}

impl Out {
    /// Opens the file, or creates it if it does not exist. Its content is kept.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], and those of open(2).
    pub fn open(path: &Path) -> io::Result<(Self, File)> {
        let place = trusted_path::find(path)?;
        if place.is_open_file {
            let file = open_again(&place, OFlags::RDWR)?;
            return Ok((Self { place, how: How::There { tighten: false } }, file));
        }
        for _ in 0..ATTEMPTS {
            match make(&place, &place.name) {
                Ok((file, identity)) => return Ok((Self { place, how: How::Made(identity) }, file)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            match open_there(&place) {
                Ok(Some((file, how))) => return Ok((Self { place, how }, file)),
                // The file was removed meanwhile.
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Refusal::Exchanged.into())
    }

    /// Removes the content of an older log when the new one begins.
    ///
    /// # Errors
    ///
    /// Those of ftruncate(2), fchmod(2) and renameat(2).
    pub fn begin(&self, file: &File) -> io::Result<()> {
        match &self.how {
            How::Replaces { temporary, identity } => {
                let directory = &self.place.directory;
                rustix::fs::renameat(directory, temporary, directory, &*self.place.name)?;
                if self.identity(&self.place.name) == Some(*identity) {
                    Ok(())
                } else {
                    Err(Refusal::Exchanged.into())
                }
            }
            How::Made(_) | How::There { .. } if !file.metadata()?.is_file() => Ok(()),
            How::There { tighten: true } => {
                rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR)?;
                file.set_len(0)
            }
            How::Made(_) | How::There { .. } => file.set_len(0),
        }
    }

    /// Removes the file after a run that did not start, if it was created here and its name still leads to it. A user
    /// who can replace the file at this moment could remove the replacement as well.
    pub(super) fn take_back(&self) {
        let (name, identity) = match &self.how {
            How::Made(identity) => (self.place.name.as_os_str(), identity),
            How::Replaces { temporary, identity } => (temporary.as_ref(), identity),
            How::There { .. } => return,
        };
        if self.identity(name) == Some(*identity) {
            let _ = rustix::fs::unlinkat(&self.place.directory, name, AtFlags::empty());
        }
    }

    fn identity(&self, name: &std::ffi::OsStr) -> Option<LogIdentity> {
        let stat = rustix::fs::statat(&self.place.directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(LogIdentity::of(&stat))
    }
}

/// Creates a directory for logs, and its parents, if they do not exist. Directories that root creates are accessible
/// only to root.
///
/// # Errors
///
/// If a link on the way is not trusted, or a directory cannot be created.
pub fn make_directories(path: &Path) -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    trusted_path::make_directories(path, if is_root { Mode::RWXU } else { Mode::from_raw_mode(0o777) })
}

/// Opens a device, a pipe or a file that is already open, for writing. Returns `None` for a regular file or a path that
/// does not exist. Waits until a FIFO has a reader.
///
/// # Errors
///
/// As [`Out::open`].
pub fn open_special(path: &Path) -> io::Result<Option<File>> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {
            // A regular file is replaced, including a link at its path. A file that is already open is not.
            let Some(place) = trusted_path::find(path).ok().filter(|place| place.is_open_file) else {
                return Ok(None);
            };
            let file = open_again(&place, OFlags::WRONLY)?;
            file.set_len(0)?;
            Ok(Some(file))
        }
        Ok(_) => {
            let place = trusted_path::find(path)?;
            if place.is_open_file {
                return open_again(&place, OFlags::WRONLY).map(Some);
            }
            match open_judged(&place, OFlags::WRONLY)? {
                Some((file, stat)) if !is_regular(&stat) => Ok(Some(file)),
                Some(_) | None => Err(Refusal::Exchanged.into()),
            }
        }
        Err(_) => Ok(None),
    }
}

/// Opens a file that a process already has open.
fn open_again(place: &TrustedPath, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(&place.directory, &*place.name, flags, Mode::empty())?.into())
}

fn make(place: &TrustedPath, name: impl rustix::path::Arg) -> Result<(File, LogIdentity), Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&place.directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    let identity = LogIdentity::of(&rustix::fs::fstat(&file)?);
    Ok((file.into(), identity))
}

/// Opens an existing file, and returns how a run begins with it. Returns `None` if the file was removed.
fn open_there(place: &TrustedPath) -> io::Result<Option<(File, How)>> {
    let Some((file, stat)) = open_judged(place, OFlags::RDWR | OFlags::NONBLOCK)? else { return Ok(None) };
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK))?;
    let is_open_to_others = stat.st_mode & 0o077 != 0;
    if !is_regular(&stat) || !is_open_to_others {
        return Ok(Some((file, How::There { tighten: false })));
    }
    let bound = rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    if bound.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(Some((file, How::There { tighten: true })));
    }
    replacement(place).map(Some)
}

/// Opens a file if writing to it is safe. Returns `None` if the file was removed.
fn open_judged(place: &TrustedPath, access: OFlags) -> io::Result<Option<(File, Stat)>> {
    let stat = match rustix::fs::statat(&place.directory, &*place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    // The file is checked before it is opened, which a device or FIFO may notice, and again afterwards.
    judge(&stat)?;
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::openat(&place.directory, &*place.name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        other => other?,
    };
    let opened = rustix::fs::fstat(&file)?;
    if LogIdentity::of(&opened) != LogIdentity::of(&stat) {
        return Ok(None);
    }
    judge(&opened)?;
    Ok(Some((file.into(), opened)))
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Creates a file that replaces the existing one when the run begins.
fn replacement(place: &TrustedPath) -> io::Result<(File, How)> {
    for number in 0..ATTEMPTS {
        let temporary = format!(".compat-{}-{number}", std::process::id());
        match make(place, &temporary) {
            Ok((file, identity)) => return Ok((file, How::Replaces { temporary, identity })),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Refusal::Readable { reason: io::Error::from(error).to_string() }.into()),
        }
    }
    Err(Refusal::Readable { reason: "too many temporary files exist".to_owned() }.into())
}

/// Whether writing to the file is safe.
fn judge(stat: &Stat) -> Result<(), Refusal> {
    let owner = stat.st_uid;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if owner != rustix::process::geteuid().as_raw() => {
            Err(Refusal::Foreign { owner })
        }
        FileType::RegularFile if stat.st_nlink != 1 => Err(Refusal::Linked),
        FileType::Fifo if !trusted_path::is_trusted(owner) => Err(Refusal::Foreign { owner }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
