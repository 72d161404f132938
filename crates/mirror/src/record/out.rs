//! A file for what names everybody's private files: a log. What it had before stays until the run begins; where
//! nothing is run it is as it was.
//!
//! The rule (`trusted_path` has that for the way to it):
//!
//! - A new file is made exclusively, mode 0600. Its directory may be anybody's: who may write to that can take the
//!   file away, but not read it.
//! - A file that is there must be this user's and have one name. If others could open it so far they may have it open
//!   still, so it is replaced by a new one when the run begins; one that is bound there, which cannot be replaced,
//!   gets mode 0600.
//! - A FIFO must belong to somebody who is trusted. Devices are taken as they are, since only root makes them, and so is
//!   what a process has open already (`/dev/stdout`, `/dev/fd/3`).

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::refusal::Refusal;
use super::trusted_path::{self, TrustedPath};

/// How often it is tried anew while others make and remove the file.
const ATTEMPTS: u32 = 16;

/// The file of a log, before the run.
#[derive(Debug)]
pub struct Out {
    place: TrustedPath,
    how: How,
}

/// How the file came to be, and what is done with it when the run begins.
#[derive(Debug)]
enum How {
    /// It was made here.
    Made(LogIdentity),
    /// It was there, and is emptied if it is a regular file; `tighten` takes it from others.
    There { tighten: bool },
    /// It was made here by another name, and takes the place of the one that is there.
    Replaces { temporary: String, identity: LogIdentity },
}

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LogIdentity(u64, u64);

impl LogIdentity {
    fn of(stat: &Stat) -> Self {
        Self(stat.st_dev, stat.st_ino)
    }
}

impl Out {
    /// Opens the file, or makes it where there is none; what is in it stays.
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
                // It was there and is gone.
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Refusal::Exchanged.into())
    }

    /// Takes out what an older log has left, when the new one begins.
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

    /// Nothing was run: removes the file if it was made here and is still what is found by its name. Who could put
    /// another one there in between may remove that as well.
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

/// Makes a directory for logs, and those above it, where they are missing: root's are for root alone.
///
/// # Errors
///
/// If a link on the way is not to be trusted, or a directory cannot be made.
pub fn make_directories(path: &Path) -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    trusted_path::make_directories(path, if is_root { Mode::RWXU } else { Mode::from_raw_mode(0o777) })
}

/// Opens what is no regular file, to be written to: a device or pipe, or what is open already; nothing where it is a
/// file, or not there. A FIFO is waited for until somebody reads it.
///
/// # Errors
///
/// As [`Out::open`].
pub fn open_special(path: &Path) -> io::Result<Option<File>> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {
            // A file is replaced, and the link that is at its path. What is open already is neither.
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

/// Opens what a process has open already.
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

/// Opens what is there, and says how a run begins with it; nothing if it is gone.
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

/// Opens what may be written to; nothing if it is gone.
fn open_judged(place: &TrustedPath, access: OFlags) -> io::Result<Option<(File, Stat)>> {
    let stat = match rustix::fs::statat(&place.directory, &*place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    // Judged before it is opened, which a device or FIFO may notice, and after.
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

/// A new file that takes the place of the one that is there when the run begins.
fn replacement(place: &TrustedPath) -> io::Result<(File, How)> {
    for number in 0..ATTEMPTS {
        let temporary = format!(".compat-{}-{number}", std::process::id());
        match make(place, &temporary) {
            Ok((file, identity)) => return Ok((file, How::Replaces { temporary, identity })),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Refusal::Readable { reason: io::Error::from(error).to_string() }.into()),
        }
    }
    Err(Refusal::Readable { reason: "too many files of its temporary name".to_owned() }.into())
}

/// Whether it may be written to.
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
