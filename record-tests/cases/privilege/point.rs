//! Attempts to gain rights, one by one. Each is made by the command of a recorded run and at a mount path.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::TOOLS;
use crate::harness::case::{Case, case};
use crate::harness::privilege::run::Outcome;
use crate::harness::privilege::world::{Options, Place, World, is_success};
use crate::harness::recorder::{COMPAT, assert_code, finish, record};

/// The cases.
pub fn cases() -> Vec<Case> {
    let limits = &["python3", "unshare", "nsenter", "strace"];
    vec![
        case("privilege::chmod_of_a_file_that_root_took_over", TOOLS, chmod),
        case("privilege::overwrite_of_a_file_that_root_took_over_and_set_4755", TOOLS, overwrite),
        case("privilege::write_to_a_file_open_before_root_took_it_over", TOOLS, write_open),
        case("privilege::chmod_of_a_file_open_before_root_took_it_over", TOOLS, chmod_open),
        case("privilege::create_in_a_directory_that_became_roots", TOOLS, create),
        case("privilege::sticky_unlink_and_rename_after_replacement", TOOLS, sticky),
        case(
            "privilege::reserved_blocks_of_a_file_system",
            &["python3", "unshare", "nsenter", "strace", "mkfs.ext4"],
            reserved,
        ),
        case("privilege::file_size_limit", limits, file_size),
        case("privilege::a_user_namespace_gives_no_rights_of_root", &["python3"], namespaces),
        case(
            "privilege::append_only_files_are_not_overwritten_in_a_mapping",
            &["python3", "chattr"],
            appended,
        ),
    ]
}

/// The directory of the case, on both sides.
const HERE: &str = "here";

/// Acts in each place through which a mirror is reached, in a directory of root with this mode.
fn play(directory: &Path, mode: &str, act: impl Fn(&mut World)) {
    for place in [Place::Inside, Place::MountPath] {
        in_world(directory, Options { place, is_served: false, before: "" }, mode, &act);
    }
}

fn in_world(directory: &Path, options: Options<'_>, mode: &str, act: impl FnOnce(&mut World)) {
    let directory = tempfile::tempdir_in(directory).expect("a directory");
    let mut world = World::start(directory.path(), options);
    world.root(HERE, &format!("dir . 0 0 {mode}"));
    act(&mut world);
}

/// Runs a script on both sides, and asserts the same outcomes and the same files. Returns the outcomes.
fn same(world: &mut World, who: &str, script: &str) -> Vec<String> {
    let [native, mirrored] = world.both(who, HERE, script, true);
    let outcome = Outcome { native, mirrored, states: world.states(HERE) };
    assert!(outcome.class().is_none(), "{who}: {script}\n{}", outcome.details());
    outcome.native
}

/// Like [`same`], for a script that succeeds.
fn done(world: &mut World, who: &str, script: &str) {
    let outcomes = same(world, who, script);
    assert!(is_success(&outcomes), "{who}: {script}: {outcomes:?}");
}

/// Like [`same`], for a script that is refused.
fn refused(world: &mut World, who: &str, script: &str, error: &str) {
    assert_eq!(same(world, who, script), [error], "{who}: {script}");
}

fn chmod(directory: &Path) {
    play(directory, "1777", |world| {
        done(world, "nobody", "program p 65534 65534 755; stat p");
        done(world, "root", "chown p 0 0");
        refused(world, "nobody", "chmod p 6755", "EPERM");
        assert_eq!(same(world, "nobody", "exec p -u"), ["ok 65534"]);
    });
}

fn overwrite(directory: &Path) {
    for act in ["open p WRONLY|TRUNC", "open p WRONLY", "open p RDWR|APPEND", "truncate p 0"] {
        play(directory, "1777", |world| {
            done(world, "nobody", "make p 65534 65534 755 of-nobody; stat p; open p WRONLY; close");
            done(world, "root", "chown p 0 0; chmod p 4755");
            refused(world, "nobody", act, "EACCES");
        });
    }
}

/// A time longer than the kernel's caches are valid. Nothing makes the kernel request attributes of a file
/// that is open already.
const FORGOTTEN: Duration = Duration::from_millis(1200);

/// A user with an open descriptor for writing may continue to write, which removes the set-user-ID bit.
fn write_open(directory: &Path) {
    for act in ["write W", "ftruncate 1", "fallocate 9000", "punch 4"] {
        play(directory, "1777", |world| {
            done(world, "nobody", "make p 65534 65534 755 of-nobody; open p RDWR");
            done(world, "root", "chown p 0 0; chmod p 4755");
            std::thread::sleep(FORGOTTEN);
            done(world, "nobody", act);
            let [native, _] = world.states(HERE);
            assert!(native.contains("./p 100755 0:0"), "natively the bit was not removed: {native}");
        });
    }
}

/// An open descriptor gives no right to change a file that now belongs to another user.
fn chmod_open(directory: &Path) {
    for act in ["fchmod 4755", "futimens set", "fsetacl u.7,U.7.65534,g.7,m.7,o.7", "setflags 40"] {
        play(directory, "1777", |world| {
            done(world, "nobody", "make p 65534 65534 755 of-nobody; open p RDWR");
            done(world, "root", "chown p 0 0");
            std::thread::sleep(FORGOTTEN);
            refused(world, "nobody", act, "EPERM");
        });
    }
}

fn create(directory: &Path) {
    play(directory, "1777", |world| {
        for (number, act) in [
            "open n/new WRONLY|CREAT|EXCL 755",
            "open n/new WRONLY|CREAT 755",
            "open n RDWR|TMPFILE 600",
            "mkdir n/new",
            "mkfifo n/new",
            "symlink f n/new",
            "link f n/new",
            "rename f n/new",
            "unlink n/old",
        ]
        .into_iter()
        .enumerate()
        {
            let act =
                act.replace("n/", &format!("n{number}/")).replace("open n ", &format!("open n{number} "));
            let own = format!(
                "dir n{number} 65534 65534 755; make n{number}/old 65534 65534 644 old; list n{number}"
            );
            done(world, "nobody", &own);
            same(world, "nobody", "make f 65534 65534 644 of-nobody");
            done(world, "root", &format!("chown n{number} 0 0"));
            refused(world, "nobody", &act, "EACCES");
        }
    });
}

fn sticky(directory: &Path) {
    for act in ["unlink s/x", "rename s/x s/mine", "rename mine s/x", "exchange mine s/x"] {
        play(directory, "1777", |world| {
            done(world, "root", "dir s 0 0 1777");
            done(
                world,
                "nobody",
                "make s/x 65534 65534 644 of-nobody; make mine 65534 65534 644 mine; stat s/x",
            );
            done(world, "outside nobody", "rename s/x s/moved");
            done(world, "outside daemon", "make s/x 1 1 600 of-daemon");
            refused(world, "nobody", act, "EPERM");
        });
    }
}

/// The permitted difference of the free space in a file system of 64 MiB: its metadata are laid out anew each
/// time.
const SLACK: u64 = 512 << 10;

fn reserved(directory: &Path) {
    for is_served in [false, true] {
        let top = tempfile::tempdir_in(directory).expect("a directory");
        let image = top.path().join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("an image");
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-m", "20", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&image);
        assert_code(&finish(make, b""), 0);
        let before = "mount -o loop {top}/image {top}/both";
        let mut world = World::start(top.path(), Options { place: Place::Inside, is_served, before });
        world.root(HERE, "dir . 0 0 777");
        for fill in ["fill big", "reserve big 65536"] {
            let mut fits = |who: &str, is_mirrored: bool| -> u64 {
                let ask = if is_mirrored { World::mirrored } else { World::natively };
                let outcomes = ask(&mut world, who, HERE, fill, false);
                world.root(HERE, "syncfs .");
                assert!(is_success(&ask(&mut world, who, HERE, "unlink big; syncfs .", false)));
                // After an unlink in a mirror, the kernel releases the file a moment later (FORGET), and its
                // space then.
                std::thread::sleep(std::time::Duration::from_millis(500));
                outcomes[0].strip_prefix("ok ").expect("a size").parse().expect("a number")
            };
            let (natively, of_root) = (fits("nobody", false), fits("root", false));
            assert!(
                of_root > natively + 4 * SLACK,
                "root does not have the reserved blocks: {of_root}, {natively}"
            );
            let mirrored = fits("nobody", true);
            assert!(
                natively.abs_diff(mirrored) < SLACK,
                "{fill}: {mirrored} instead of {natively}, served: {is_served}"
            );
            let of_root_mirrored = fits("root", true);
            assert!(
                of_root.abs_diff(of_root_mirrored) < SLACK,
                "{fill}: {of_root_mirrored} instead of {of_root}"
            );
        }
    }
}

/// One user enters a namespace between two requests. Another user's namespace contains the owner of a file
/// that root keeps taking over.
fn namespaces(directory: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/record-tests/fixtures/namespaces.py");
    let mut run = Command::new("python3");
    run.args([
        script,
        "outside",
        COMPAT,
        "record",
        "-q",
        "-o",
        "run.jsonl",
        "--",
        "python3",
        script,
        "inside",
    ]);
    run.current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "p 755, q was set 0 times\n");
}

/// Natively such a file cannot be mapped for writing at all.
fn appended(directory: &Path) {
    let script = "import mmap, os, subprocess
os.chmod('.', 0o777); open('log', 'w').write('line one\\n'); os.chown('log', 1301, 1301)
subprocess.run(['chattr', '+a', 'log'], check=True)
if os.fork() == 0:
    os.setgroups([]); os.setresgid(1301, 1301, 1301); os.setresuid(1301, 1301, 1301)
    file = os.open('log', os.O_RDWR | os.O_APPEND)
    os.write(file, b'line two\\n')
    try:
        memory = mmap.mmap(file, 8); memory[:8] = b'TAMPERED'; memory.flush()
    except OSError: pass
    os._exit(0)
os.wait()
os.sync()";
    assert_code(&record(directory, &["python3", "-c", script]), 0);
    let content = std::fs::read_to_string(directory.join("log")).expect("the log");
    let mut open_again = Command::new("chattr");
    assert_code(
        &finish(
            {
                open_again.args(["-a", "log"]).current_dir(directory);
                open_again
            },
            b"",
        ),
        0,
    );
    assert_eq!(content, "line one\nline two\n");
}

fn file_size(directory: &Path) {
    for is_served in [false, true] {
        in_world(directory, Options { place: Place::Inside, is_served, before: "" }, "777", |world| {
            done(world, "nobody", "limit 100000; open f RDWR|CREAT 644; pwrite 0 90000");
            assert_eq!(same(world, "nobody", "pwrite 99000 5000"), ["ok 1000"]);
            for act in [
                "pwrite 100000 1",
                "pwrite 200000 1",
                "ftruncate 100001",
                "truncate f 100001",
                "fallocate 100001",
            ] {
                refused(world, "nobody", act, "EFBIG");
            }
            done(world, "nobody", "ftruncate 100000; truncate f 99999; fallocate 100000");
            done(world, "nobody", "open g RDWR|CREAT|APPEND 644; write 1; close");
        });
    }
}
