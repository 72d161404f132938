//! Many files, many threads, few descriptors.

use std::fs;
use std::path::Path;

use crate::harness::case::Case;
use crate::harness::recorder::{assert_code, log, record};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("limit::few_descriptors_are_enough_for_many_files", &["python3"], few_descriptors),
        Case::new("limit::threads_open_files_at_once", &["python3"], threads),
    ]
}

fn few_descriptors(folder: &Path) {
    let script = "import os\n\
        for d in range(300):\n  os.mkdir(f'd{d}')\n  for f in range(100):\n    open(f'd{d}/f{f}', 'w').close()\n\
        count = sum(len(files) for _, _, files in os.walk('.'))\n\
        kept = [open(f'd{n}/f{n % 100}') for n in range(300)] + [open('d1/f1') for _ in range(500)]\n\
        for d in range(300):\n  for f in range(100):\n    assert os.stat(f'd{d}/f{f}').st_size == 0\n\
        print(count, len(kept))";
    fs::write(folder.join("many.py"), script).expect("a file");
    let limited = "ulimit -n 1024; exec python3 many.py";
    let mut run = std::process::Command::new("sh");
    let inner = format!(
        "ulimit -Hn 1024; exec {} record -o run.jsonl -- sh -c '{limited}'",
        crate::harness::recorder::COMPAT
    );
    run.args(["-c", &inner]).current_dir(folder);
    let output = crate::harness::recorder::finish(run, b"");
    assert_code(&output, 0);
    // The script and nothing else was there before.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.split_whitespace().last(), Some("800"), "{text}");
    assert!(read(&log(folder)).end.events.is_some_and(|events| events > 60_000));
}

fn threads(folder: &Path) {
    let script = "import threading, os\n\
        def work(n):\n  os.mkdir(str(n))\n  for i in range(400):\n    with open(f'{n}/{i}', 'w') as file: file.write(str(i))\n  \
        assert sum(int(open(f'{n}/{i}').read()) for i in range(400)) == 79800\n\
        all = [threading.Thread(target=work, args=(n,)) for n in range(16)]\n\
        [t.start() for t in all]; [t.join() for t in all]\n\
        print(sum(len(os.listdir(str(n))) for n in range(16)))";
    let output = record(folder, &["python3", "-c", script]);
    assert_code(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6400\n");
}
