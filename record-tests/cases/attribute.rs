//! Times, modes and flags of files, and how soon changes are visible. Files by their handles. The results of
//! statx(2).

use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::pair::{self, script};
use crate::harness::recorder::assert_code;

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["python3", "unshare", "chattr", "lsattr"];
    vec![
        case("attribute::times_and_set_id_bits_change_at_once", tools, passed),
        case("attribute::times_and_set_id_bits_change_at_once_without_passthrough", tools, served),
        case("attribute::a_file_is_found_by_its_handle_when_the_kernel_has_forgotten_it", tools, handles),
        case("attribute::statx_and_lsattr_return_the_flags_of_files", tools, statx),
    ]
}

const TIMES: &str = include_str!("../fixtures/times.py");

/// An inherent difference: the kernel sends the server the same request for this call and before a write,
/// which must not fail.
const NO_OWNER: (&str, &str) = ("0o2666 other no owner EPERM", "0o2666 other no owner 0o102666 0o102666");

/// Returns the lines that differ, natively and in the mirror.
fn differences<'a>(native: &'a str, mirrored: &'a str) -> Vec<(&'a str, &'a str)> {
    assert_eq!(mirrored.lines().count(), native.lines().count(), "{mirrored}");
    native.lines().zip(mirrored.lines()).filter(|(native, mirrored)| native != mirrored).collect()
}

/// Runs a script natively and recorded, and returns both outputs.
fn both(directory: &Path, text: &str, arguments: &[&str]) -> (String, String) {
    let script = script(directory, text);
    let mut command = vec!["python3", &script];
    command.extend(arguments);
    let pair = pair::run(directory, &command);
    assert_code(&pair.native, 0);
    assert_code(&pair.mirrored, 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&pair.native.stdout), text(&pair.mirrored.stdout))
}

fn passed(directory: &Path) {
    let (native, mirrored) = both(directory, TIMES, &["passed"]);
    assert!(native.contains("stored modified changed True") && native.contains("\nno owner  changed True"));
    assert_eq!(differences(&native, &mirrored), [NO_OWNER]);
}

fn served(directory: &Path) {
    let command = format!("python3 {} served", script(directory, TIMES));
    let (native, mirrored) = pair::outputs(directory, &pair::served(&command));
    assert_eq!(differences(&native, &mirrored), [NO_OWNER]);
}

/// If a file has several names, the server knows the one that was used last.
fn handles(directory: &Path) {
    let (native, mirrored) = both(directory, include_str!("../fixtures/handles.py"), &[]);
    let gone = ("another name is gone b'content of second'", "another name is gone ESTALE");
    assert_eq!(differences(&native, &mirrored), [gone]);
}

/// The protocol has room for the flags, but the kernel passes on none of them, nor the requirements of direct
/// reads.
fn statx(directory: &Path) {
    let (native, mirrored) = both(directory, include_str!("../fixtures/statx.py"), &[]);
    for (native, mirrored) in differences(&native, &mirrored) {
        let ours = mirrored.split_once(' ').map_or("", |(_, ours)| ours);
        let is_known = [
            "is []",
            "may be ['automount', 'root of a mount', 'dax']",
            "has ['basic', 'birth', 'unique mount']",
            "was born True direct 0 0",
        ];
        assert!(is_known.contains(&ours), "native: {native}\nmirror: {mirrored}");
    }
    for told in ["nodump listed ['d']", "appends listed ['a']", "still listed ['i']"] {
        assert!(mirrored.contains(told), "{mirrored}");
    }
}
