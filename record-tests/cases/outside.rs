//! Actions of others outside the mirror on the same files, while they are in use inside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::pair;
use crate::harness::recorder::{COMPAT, log};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("outside::files_that_come_and_go_are_opened_as_natively", &["python3"], come_and_go),
        case("outside::a_retried_call_leaves_no_descriptor_open", &["python3"], sent_back),
        case("outside::open_files_stay_the_same_without_their_names", &["python3"], taken),
        case("outside::open_files_stay_the_same_without_passthrough", &["python3", "unshare"], taken_served),
        case("outside::appending_begins_and_ends_without_passthrough", &["python3", "unshare"], appended),
    ]
}

/// Writes the script and creates a directory that anybody may enter, in this one.
fn prepare(directory: &Path, text: &str) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    fs::write(directory.join("script.py"), text).expect("a file");
    for name in ["native", "mirror"] {
        fs::create_dir(directory.join(name)).expect("a directory");
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o777)).expect("our directory");
    }
}

/// Runs a script natively and in the mirror, each in a directory that it also sees from outside: through the
/// root of the shell that starts it. Both outputs must be the same.
fn assert_same(directory: &Path, text: &str, prepares: &str) -> String {
    prepare(directory, text);
    let commands = format!(
        "set -e; top=$PWD
        {prepares}
        cd $top/native; python3 $top/script.py /proc/$$/root$top/native > $top/native.out
        cd $top/mirror; {COMPAT} record -q -o $top/run.jsonl -- python3 $top/script.py /proc/$$/root$top/mirror > $top/mirror.out"
    );
    pair::assert_same_outputs(directory, &commands)
}

/// Two stacked overlays are too deep for FUSE passthrough, so every byte goes through the server.
const SERVED: &str = "mkdir lower memory1 memory2 over1 over2
    for number in 1 2; do
        mount -t tmpfs memory memory$number; mkdir memory$number/upper memory$number/work
    done
    mount -t overlay over -o lowerdir=lower,upperdir=memory1/upper,workdir=memory1/work over1
    mount -t overlay over -o lowerdir=over1,upperdir=memory2/upper,workdir=memory2/work over2
    mkdir over2/native over2/mirror; mount --rbind over2/native native; mount --rbind over2/mirror mirror";

fn come_and_go(directory: &Path) {
    let said = assert_same(directory, include_str!("../fixtures/race.py"), "");
    let wanted = "own ['of 0']\nthrough a link ['of 0']\nof root True \nexclusive True\nthere or not True\n";
    assert_eq!(said, wanted);
}

/// A file is replaced outside and changed inside at the same time. Then others are read.
const SENT_BACK: &str = "import os, sys
outside = sys.argv[1]
def descriptors():
    # How many the server has, a child of the same parent.
    counts = []
    for process in filter(str.isdigit, os.listdir('/proc')):
        try:
            parent = int(open(f'/proc/{process}/stat').read().rsplit(')', 1)[1].split()[1])
            if parent == os.getppid(): counts.append(len(os.listdir(f'/proc/{process}/fd')))
        except OSError: pass
    return max(counts)
os.mkdir(outside + '/files')
for n in range(2000): open(f'{outside}/files/{n}', 'w').close()
open('victim', 'w').close(); os.stat('victim')
os.rename(outside + '/victim', outside + '/old'); open(outside + '/victim', 'w').close()
os.chmod('victim', 0o600)
before = descriptors()
for n in range(2000): os.lstat(f'files/{n}')
print(oct(os.stat('victim').st_mode), descriptors() - before < 100)";

fn sent_back(directory: &Path) {
    assert_eq!(assert_same(directory, SENT_BACK, ""), "0o100600 True\n");
}

const TAKEN: &str = include_str!("../fixtures/taken.py");

fn taken(directory: &Path) {
    assert_same(directory, TAKEN, "");
}

fn taken_served(directory: &Path) {
    assert_same(directory, TAKEN, SERVED);
    assert!(read(&log(directory)).served() > 0, "no read or write went through the mirror");
}

fn appended(directory: &Path) {
    assert_same(directory, include_str!("../fixtures/append.py"), SERVED);
    assert!(read(&log(directory)).served() > 0, "no read or write went through the mirror");
}
