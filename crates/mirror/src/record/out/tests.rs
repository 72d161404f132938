use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::PathBuf;

use super::*;

/// A directory with this mode.
fn directory(mode: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(mode)).expect("it is ours");
    directory
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

fn refusal(path: &Path) -> Refusal {
    let error = Out::open(path).expect_err("it is refused");
    Refusal::of(&error).unwrap_or_else(|| panic!("{error}")).clone()
}

/// Gives a file to another user. Returns false if this user cannot do that.
fn give_away(path: &Path) -> bool {
    rustix::process::geteuid().is_root() && chown(path, Some(1234), Some(1234)).is_ok()
}

#[test]
fn only_what_was_made_here_is_taken_back() {
    let directory = directory(0o700);
    let path = directory.path().join("log");
    let (out, _file) = Out::open(&path).expect("it is made");
    out.take_back();
    assert!(!path.exists());
    let (out, _file) = Out::open(&path).expect("it is made");
    fs::write(directory.path().join("other"), "other").expect("a file");
    fs::rename(directory.path().join("other"), &path).expect("it is replaced");
    out.take_back();
    assert_eq!(fs::read(&path).expect("it stays"), b"other");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    let (out, file) = Out::open(&path).expect("it is there");
    out.take_back();
    assert_eq!(fs::read(&path).expect("it stays"), b"other");
    out.begin(&file).expect("a file");
    assert_eq!(fs::read(&path).expect("it stays"), b"");
}

#[test]
fn a_new_file_is_for_its_owner_alone() {
    for of_directory in [0o700, 0o777, 0o1777] {
        let directory = directory(of_directory);
        let path = directory.path().join("log");
        Out::open(&path).expect("it is made");
        assert_eq!(mode(&path), 0o600);
    }
}

#[test]
fn a_file_that_others_may_have_open_is_replaced_when_the_run_begins() {
    let directory = directory(0o1777);
    let path = directory.path().join("log");
    fs::write(&path, "older").expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
    let mut kept = File::open(&path).expect("everyone can read it");
    let (out, _file) = Out::open(&path).expect("it is ours");
    assert_eq!((fs::read(&path).expect("it stays"), mode(&path)), (b"older".to_vec(), 0o644));
    out.take_back();
    assert_eq!(fs::read_dir(directory.path()).expect("ours").count(), 1, "nothing is left");
    let (out, mut file) = Out::open(&path).expect("it is ours");
    out.begin(&file).expect("it is replaced");
    io::Write::write_all(&mut file, b"private").expect("room");
    assert_eq!((fs::read(&path).expect("it is there"), mode(&path)), (b"private".to_vec(), 0o600));
    assert_eq!(io::read_to_string(&mut kept).expect("a file"), "older");
    assert_eq!(fs::read_dir(directory.path()).expect("ours").count(), 1);
}

#[test]
fn files_of_others_and_hard_links_are_refused() {
    let directory = directory(0o1777);
    let (path, link) = (directory.path().join("log"), directory.path().join("link"));
    fs::write(&path, "older").expect("a file");
    fs::hard_link(&path, &link).expect("a link");
    assert_eq!(refusal(&link), Refusal::Linked);
    fs::remove_file(&link).expect("it is ours");
    if give_away(&path) {
        assert_eq!(refusal(&path), Refusal::Foreign { owner: 1234 });
    }
    assert_eq!(fs::read(&path).expect("it stays"), b"older");
}

#[test]
fn a_fifo_of_somebody_else_is_refused_and_ones_own_is_written_to() {
    let directory = directory(0o1777);
    let path = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .expect("a FIFO");
    let (out, file) = Out::open(&path).expect("it is ours");
    out.begin(&file).expect("nothing to do");
    let _reader = file;
    assert!(open_special(&path).expect("it is ours").is_some());
    if give_away(&path) {
        assert_eq!(refusal(&path), Refusal::Foreign { owner: 1234 });
        assert!(open_special(&path).is_err());
    }
}

#[test]
fn a_link_is_followed_only_where_nobody_else_can_have_put_it() {
    let directory = directory(0o700);
    let at = |name: &str| directory.path().join(name);
    symlink("log", at("link")).expect("a link");
    symlink(".", at("here")).expect("a link");
    Out::open(&at("here/link")).expect("it is made");
    assert!(at("log").is_file() && at("link").is_symlink());
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).expect("it is ours");
    for path in [at("link"), at("here/log")] {
        assert!(matches!(refusal(&path), Refusal::Link { .. }), "{}", path.display());
    }
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(at("link"), Some(1234), Some(1234)).expect("root gives it away");
        assert!(matches!(refusal(&at("link")), Refusal::Link { owner: 1234, .. }));
    }
    symlink("loop", at("loop")).expect("a link");
    let error = Out::open(&at("loop")).expect_err("it leads nowhere");
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn devices_and_what_is_open_already_are_written_to() {
    for path in ["/dev/null", "/dev/zero"] {
        let (out, file) = Out::open(Path::new(path)).expect("it is there");
        out.begin(&file).expect("nothing to do");
        out.take_back();
    }
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
    for name in [format!("/dev/fd/{number}"), format!("/proc/self/fd/{number}")] {
        let (out, mut file) = Out::open(Path::new(&name)).expect("it is open");
        out.begin(&file).expect("nothing to do");
        io::Write::write_all(&mut file, b"log").expect("room");
        let mut read = [0; 3];
        io::Read::read_exact(&mut reader, &mut read).expect("a pipe");
        assert_eq!(&read, b"log");
    }
}

#[test]
fn a_file_that_is_open_already_is_no_file_to_be_replaced() {
    let directory = directory(0o700);
    let path = directory.path().join("file");
    fs::write(&path, "a longer text").expect("a file");
    assert!(open_special(&path).expect("it is a file").is_none());
    assert!(open_special(&directory.path().join("none")).expect("it is not there").is_none());
    let open = File::open(&path).expect("it is there");
    let name = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
    let mut special = open_special(Path::new(&name)).expect("it is open").expect("it is written to");
    io::Write::write_all(&mut special, b"text").expect("room");
    assert_eq!(fs::read(&path).expect("it is there"), b"text");
}

#[test]
fn what_is_no_file_or_not_there_is_named_as_by_the_kernel() {
    let directory = directory(0o700);
    let error = |name: &str| Out::open(&directory.path().join(name)).expect_err("it fails").raw_os_error();
    fs::write(directory.path().join("file"), "").expect("a file");
    assert_eq!(error("none/log"), Some(libc::ENOENT));
    assert_eq!(error("file/log"), Some(libc::ENOTDIR));
    assert_eq!((error(""), error(".")), (Some(libc::EISDIR), Some(libc::EISDIR)));
}

#[test]
fn directories_for_logs_are_made_along_the_same_way() {
    let directory = directory(0o1777);
    let at = |name: &str| -> PathBuf { directory.path().join(name) };
    make_directories(&at("runs/today")).expect("it is made");
    make_directories(&at("runs/today/")).expect("it is there");
    let expected = if rustix::process::geteuid().is_root() { 0o700 } else { mode(&at("runs")) };
    assert_eq!((mode(&at("runs")), mode(&at("runs/today"))), (expected, expected));
    symlink("/tmp", at("elsewhere")).expect("a link");
    let error = make_directories(&at("elsewhere/compat-test-of-links")).expect_err("it is a link");
    assert!(matches!(Refusal::of(&error), Some(Refusal::Link { .. })), "{error}");
    fs::write(at("file"), "").expect("a file");
    assert_eq!(make_directories(&at("file/x")).expect_err("a file").raw_os_error(), Some(libc::ENOTDIR));
}
