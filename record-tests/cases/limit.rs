//! Many files, many threads, few descriptors.

use std::fs;
use std::path::Path;
use std::process::Command;

use compat_trace::Event;

use crate::harness::case::{Case, case};
use crate::harness::pair;
use crate::harness::recorder::{COMPAT, assert_code, finish, log, record, record_as_user};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "limit::few_descriptors_are_enough_for_many_files",
            &["python3", "find", "grep"],
            few_descriptors,
        ),
        case(
            "limit::an_ordinary_user_has_nearly_all_descriptors_for_files",
            &["python3", "setpriv", "unshare"],
            ordinary_user,
        ),
        case("limit::volumes_share_the_descriptors", &["python3", "setpriv", "unshare"], volumes),
        case("limit::limits_of_the_command_do_not_apply_to_the_log", &["bash", "python3"], commands_own),
        case("limit::threads_open_files_at_once", &["python3"], threads),
        case("limit::paths_of_any_length_take_bounded_memory", &["python3", "rm"], long_paths),
        case("limit::one_user_does_not_block_others", &["python3"], leases),
    ]
}

/// Sixty opens of one user wait in the server for leases. The kernel limits the wait for the holder
/// (`/proc/sys/fs/lease-break-time`).
fn leases(directory: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/record-tests/fixtures/leases.py");
    let mut run = Command::new("python3");
    run.args([script, "hold", COMPAT, "record", "-q", "-o", "run.jsonl", "--", "python3", script, "open"]);
    run.current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "another user was served\n");
}

/// With a limit of 1,024 descriptors for every process, 20,000 files (100,000 at full size) are created,
/// found and read. Each of two processes holds 1,000 of them open.
fn few_descriptors(directory: &Path) {
    let directories = if pair::is_full_size() { 1000 } else { 200 };
    let script = format!(
        "import os\n\
        for d in range({directories}):\n  os.mkdir(f'd{{d}}')\n  for f in range(100):\n    with open(f'd{{d}}/f{{f}}', 'w') as file: file.write('content')\n\
        count = sum(len(files) for _, _, files in os.walk('.'))\n\
        def hold():\n  kept = [open(f'd{{n % {directories}}}/f{{n % 97}}') for n in range(1000)]\n  \
        for d in range({directories}):\n    for f in range(100): assert os.stat(f'd{{d}}/f{{f}}').st_size == 7\n  \
        return len(kept)\n\
        if os.fork() == 0: os._exit(hold() != 1000)\n\
        print(hold(), os.wait()[1], count)"
    );
    fs::write(directory.join("many.py"), script).expect("a file");
    let search =
        "python3 many.py && find . -name 'f*' -type f | wc -l && grep -rl content d* | wc -l && rm -r d*";
    let inner = format!(
        "ulimit -Hn 1024; exec {} record -o run.jsonl -- sh -c 'ulimit -n 1024; {search}'",
        crate::harness::recorder::COMPAT
    );
    let mut run = std::process::Command::new("sh");
    run.args(["-c", &inner]).current_dir(directory);
    let output = crate::harness::recorder::finish(run, b"");
    assert_code(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let files = directories * 100;
    let lines: Vec<&str> = text.lines().collect();
    // Only the script was there before.
    let made = lines[0].split(' ').map(|number| number.parse().expect("a number")).collect::<Vec<u64>>();
    assert!(made[..2] == [1000, 0] && made[2] > files, "{text}");
    assert_eq!(lines[1..], [files.to_string(), files.to_string()], "{text}");
    assert!(read(&log(directory)).end.events.is_some_and(|events| events > 5 * files));
}

/// The server of an ordinary user has no more descriptors than its command, and needs one for each open.
fn ordinary_user(directory: &Path) {
    let before = "mkdir files; for number in $(seq 900); do echo $number > files/$number; done
        ulimit -Sn 1024; ulimit -Hn 1024";
    let script = "import os
for round in range(2):
    files = [os.open(f\"files/{number}\", os.O_RDONLY) for number in range(1, 901)]
    print(sum(os.fstat(file).st_size > 0 and int(os.read(file, 9)) for file in files))
    for file in files: os.close(file)";
    let output = record_as_user(directory, before, &format!("python3 -c '{script}'"));
    assert_code(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "405450\n405450\n");
}

/// Seven volumes with 300 directories each share a limit of 1,024 descriptors.
fn volumes(directory: &Path) {
    let before = "for volume in 1 2 3 4 5 6 7; do
            mkdir v$volume; mount -t tmpfs memory v$volume
            for number in $(seq 300); do mkdir v$volume/$number; echo $number > v$volume/$number/file; done
        done; ulimit -n 1024";
    let script = "print(sum(int(open(f\"v{volume}/{number}/file\").read()) for volume in range(1, 8) \
        for number in range(1, 301)))";
    let output = record_as_user(directory, before, &format!("python3 -c '{script}'"));
    assert_code(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "316050\n");
}

/// The command writes up to its own size limit of 20 KiB, and the log grows beyond that. The server can raise
/// the soft limit of the first round, but perhaps not the hard limit of the second. In both rounds the
/// command reaches its limit, and nothing else terminates it.
fn commands_own(directory: &Path) {
    let script = "import os, resource, signal
print(resource.getrlimit(resource.RLIMIT_FSIZE)[0], resource.getrlimit(resource.RLIMIT_CPU)[0])
for n in range(3000):
    try: os.stat(f'/etc/not-there-{n}')
    except FileNotFoundError: pass
with open('large', 'wb', 0) as large: large.write(bytes(20480))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try: open('large', 'ab', 0).write(b'x')
except OSError as error: print(error.strerror, flush=True)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
open('large', 'ab', 0).write(b'x')";
    fs::write(directory.join("work.py"), script).expect("a file");
    for which in ["-S", "-H -S"] {
        let inner = format!(
            "ulimit -c 0; ulimit {which} -f 20; ulimit {which} -t 20; exec {} record -o run.jsonl -- python3 work.py",
            crate::harness::recorder::COMPAT
        );
        let mut run = std::process::Command::new("bash");
        run.args(["-c", &inner]).current_dir(directory);
        let output = crate::harness::recorder::finish(run, b"");
        assert_code(&output, 128 + rustix::process::Signal::XFSZ.as_raw());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "20480 20\nFile too large\n");
        if which == "-S" {
            let missed =
                read(&log(directory)).missed(|event| event.path.text().starts_with("/etc/not-there"));
            assert_eq!(missed.len(), 3000);
        }
    }
}

fn threads(directory: &Path) {
    let script = "import threading, os\n\
        def work(n):\n  os.mkdir(str(n))\n  for i in range(400):\n    with open(f'{n}/{i}', 'w') as file: file.write(str(i))\n  \
        assert sum(int(open(f'{n}/{i}').read()) for i in range(400)) == 79800\n\
        all = [threading.Thread(target=work, args=(n,)) for n in range(16)]\n\
        [t.start() for t in all]; [t.join() for t in all]\n\
        print(sum(len(os.listdir(str(n))) for n in range(16)))";
    let output = record(directory, &["python3", "-c", script]);
    assert_code(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6400\n");
}

/// Directories whose names add up to 256,000 bytes, in which eight processes miss 150 files each. The server
/// is a child of the command's parent.
fn long_paths(directory: &Path) {
    let script = "import os
name = 'd' * 255
os.mkdir('deep'); os.chdir('deep')
def miss(number):
    try: os.stat(f'miss-{number}')
    except FileNotFoundError: pass
for level in range(1000):
    os.mkdir(name); os.chdir(name)
    if level == 99: miss('exact')
for process in range(8):
    if os.fork() == 0:
        for number in range(150): miss(f'{process}-{number}')
        os._exit(0)
for _ in range(8): os.wait()
most = 0
for process in filter(str.isdigit, os.listdir('/proc')):
    try: status = dict(line.split(':', 1) for line in open(f'/proc/{process}/status'))
    except OSError: continue
    if int(status['PPid']) == os.getppid() and status['Name'].strip() == 'compat':
        most = max(most, int(status['VmHWM'].split()[0]))
print(most)";
    let output = record(directory, &["python3", "-c", script]);
    let mut remove = std::process::Command::new("rm");
    remove.args(["-rf", "deep"]).current_dir(directory);
    assert_code(&crate::harness::recorder::finish(remove, b""), 0);
    assert_code(&output, 0);
    let peak: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("kibibytes");
    assert!(0 < peak && peak < 300 << 10, "{peak} KiB");
    let recording = read(&log(directory));
    let base = directory.join("deep").as_os_str().len();
    let missed = |name: &str| {
        let is_meant = |event: &&Event| event.error.is_some() && event.path.text().ends_with(name);
        recording.events.iter().find(is_meant).expect("the path was looked up")
    };
    let exact = missed("/miss-exact");
    assert_eq!((exact.path.0.len(), exact.cut), (base + 100 * 256 + "/miss-exact".len(), None));
    for name in ["/miss-0-0", "/miss-7-149"] {
        let event = missed(name);
        let left_out = event.cut().path.expect("the path is shortened");
        let path = event.path.text();
        assert!(
            path.contains(&format!("[{left_out} bytes cut]")) && path.len() < 66_000,
            "{} bytes",
            path.len()
        );
        let mark = format!("[{left_out} bytes cut]").len();
        assert_eq!(path.len() - mark + left_out as usize, base + 1000 * 256 + name.len());
    }
}
