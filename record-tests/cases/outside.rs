//! What others do to the same files outside the mirror, while they are in use inside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::case::Case;
use crate::harness::recorder::{assert_code, record};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![Case::new("outside::files_that_come_and_go_are_opened_as_natively", &["python3"], come_and_go)]
}

/// Runs a script in a folder that it sees from outside, too: through the root of this process. Tells what
/// it says.
fn run(folder: &Path, text: &str) -> String {
    let place = folder.join("place");
    fs::create_dir(&place).expect("a folder");
    for open in [folder, &place] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o777)).expect("our folder");
    }
    let script = folder.join("script.py");
    fs::write(&script, text).expect("a file");
    let outside = format!("/proc/{}/root{}", std::process::id(), place.display());
    let run = format!("cd place && exec python3 {} {outside}", script.display());
    let output = record(folder, &["sh", "-c", &run]);
    assert_code(&output, 0);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn come_and_go(folder: &Path) {
    let said = run(folder, include_str!("../fixtures/race.py"));
    let wanted = "own ['of 0']\nthrough a link ['of 0']\nof root True \nexclusive True\nthere or not True\n";
    assert_eq!(said, wanted);
}
