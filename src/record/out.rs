//! The log's file. What it had before stays until the run begins; where nothing is run it is as it was.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file of a log, before the run.
#[derive(Debug)]
pub struct Out {
    path: PathBuf,
    /// The device and number of the file, where it was made here.
    made: Option<(u64, u64)>,
}

impl Out {
    /// Opens the file, or makes it where there is none; what is in it stays.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<(Self, File)> {
        let options = || File::options().read(true).write(true).clone();
        let (file, made) = match options().create_new(true).open(path) {
            Ok(file) => {
                let stat = file.metadata()?;
                (file, Some((stat.dev(), stat.ino())))
            }
            // A file, a device, a link to what is not there yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options().create(true).truncate(false).open(path)?, None)
            }
            Err(error) => return Err(error),
        };
        Ok((Self { path: path.to_owned(), made }, file))
    }

    /// Nothing was run: removes the file if it was made here and is still what is found by its name.
    pub fn take_back(&self) {
        let found = std::fs::symlink_metadata(&self.path).ok().filter(std::fs::Metadata::is_file);
        if self.made.is_some() && found.map(|stat| (stat.dev(), stat.ino())) == self.made {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes out what an older log has left, when the new one begins.
///
/// # Errors
///
/// Those of ftruncate(2).
pub fn empty(log: &File) -> io::Result<()> {
    if log.metadata()?.is_file() { log.set_len(0) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_was_made_here_is_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let (out, _file) = Out::open(&path).expect("it is made");
        out.take_back();
        assert!(!path.exists());
        let (out, _file) = Out::open(&path).expect("it is made");
        fs::write(folder.path().join("other"), "other").expect("a file");
        fs::rename(folder.path().join("other"), &path).expect("it is replaced");
        out.take_back();
        assert_eq!(fs::read(&path).expect("it stays"), b"other");
        let (out, file) = Out::open(&path).expect("it is there");
        out.take_back();
        assert_eq!(fs::read(&path).expect("it stays"), b"other");
        empty(&file).expect("a file");
        assert_eq!(fs::read(&path).expect("it stays"), b"");
    }

    #[test]
    fn a_device_is_not_emptied_and_a_link_followed() {
        let (out, file) = Out::open(Path::new("/dev/null")).expect("it is there");
        empty(&file).expect("nothing to do");
        assert_eq!(out.made, None);
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("log", folder.path().join("link")).expect("a link");
        Out::open(&folder.path().join("link")).expect("it is made");
        assert!(folder.path().join("log").is_file());
    }
}
