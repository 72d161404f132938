//! Reads files from beginning to end: regular files and pipes, such as those that a shell creates for `<(…)`.
//! Nothing here waits forever for a writer.
//!
//! Sources: fifo(7), pipe(7), and `Documentation/admin-guide/devices.txt` for the numbers of devices.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// The time that a named pipe may have no writer. It is enough if both commands are started together.
const WAIT: Duration = Duration::from_secs(3);
/// The interval at which a named pipe is checked.
const STEP: Duration = Duration::from_millis(20);
/// The devices of memory, such as `/dev/null` and `/dev/zero`, and of terminals: opening one has no side
/// effects.
const HARMLESS: [u32; 11] = [1, 4, 5, 136, 137, 138, 139, 140, 141, 142, 143];

/// A file that is read once.
#[derive(Debug)]
pub struct Stream {
    /// The byte that was read to find out whether the pipe has a writer.
    head: Option<u8>,
    file: File,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.head, buffer) {
            (Some(byte), [first, ..]) => {
                (*first, self.head) = (byte, None);
                Ok(1)
            }
            (_, buffer) => self.file.read(buffer),
        }
    }
}

/// Opens a file that a user names for reading: a regular file, or a pipe with a writer.
///
/// # Errors
///
/// If it cannot be opened, is a device without text, or is a named pipe without a writer.
pub fn open_stream(path: &Path) -> io::Result<Stream> {
    let is_device = |metadata: &fs::Metadata| {
        let kind = metadata.file_type();
        let is_harmless = HARMLESS.contains(&rustix::fs::major(metadata.rdev()));
        kind.is_block_device() || (kind.is_char_device() && !is_harmless)
    };
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is a device");
    // Opening a device can have side effects.
    if is_device(&fs::metadata(path)?) {
        return Err(refused());
    }
    // The path may lead to another file by now.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let metadata = file.metadata()?;
    if is_device(&metadata) {
        return Err(refused());
    }
    let head =
        if metadata.file_type().is_fifo() && has_name(&file) { wait_for_writer(&mut file)? } else { None };
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    Ok(Stream { head, file })
}

/// Whether a pipe has a name, so that another process may open it for writing later.
fn has_name(pipe: &File) -> bool {
    let target = fs::read_link(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
    !target.is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"pipe:["))
}

/// Waits briefly for a writer of a pipe. Returns the first byte if one was read.
fn wait_for_writer(pipe: &mut File) -> io::Result<Option<u8>> {
    let start = Instant::now();
    let mut first = [0];
    loop {
        match pipe.read(&mut first) {
            Ok(0) if start.elapsed() < WAIT => std::thread::sleep(STEP),
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is a named pipe that no process writes",
                ));
            }
            Ok(_) => return Ok(Some(first[0])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn text(path: &Path) -> io::Result<String> {
        let mut text = String::new();
        open_stream(path)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn named_pipe(directory: &Path) -> std::path::PathBuf {
        let path = directory.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        path
    }

    #[test]
    fn a_named_pipe_is_read_if_somebody_writes_it_and_is_an_error_if_nobody_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = named_pipe(directory.path());
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(Duration::from_millis(200));
                let mut pipe = OpenOptions::new().write(true).open(path).unwrap();
                std::thread::sleep(Duration::from_millis(200));
                io::Write::write_all(&mut pipe, b"{}\n").unwrap();
            }
        });
        assert_eq!(text(&path).unwrap(), "{}\n");
        writer.join().unwrap();
        let start = Instant::now();
        assert_eq!(text(&path).unwrap_err().to_string(), "it is a named pipe that no process writes");
        assert!(start.elapsed() < WAIT + Duration::from_secs(5));
    }

    #[test]
    fn a_pipe_without_a_name_is_read_to_its_end_at_once() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = std::path::PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        io::Write::write_all(&mut writer, b"x").unwrap();
        drop(writer);
        let start = Instant::now();
        assert_eq!(text(&path).unwrap(), "x");
        assert_eq!(text(&path).unwrap(), "");
        assert!(start.elapsed() < WAIT);
    }

    #[test]
    fn what_holds_no_text_is_never_opened_or_ends_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(text(&socket).is_err());
        assert!(text(directory.path()).is_err());
        assert_eq!(text(Path::new("/dev/null")).unwrap(), "");
        let fuse = Path::new("/dev/fuse");
        if fuse.exists() {
            assert_eq!(text(fuse).unwrap_err().to_string(), "it is a device");
        }
        let mut byte = [1];
        open_stream(Path::new("/dev/zero")).unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(byte, [0]);
    }
}
