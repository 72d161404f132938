//! Tests of the savings.

use super::*;
use crate::made::recording;

fn requests(runs: &[&[&str]]) -> Requests {
    let mut requests = Requests::default();
    for events in runs {
        let bytes = recording(events);
        requests.add(Reader::new("run.jsonl", &bytes[..]).expect("a recording")).expect("events");
    }
    requests
}

fn name(text: &str) -> Name {
    Name::from(text.as_bytes())
}

fn of_share(runs: &[&[&str]]) -> ShareSavings {
    let size = |path: &Name| (path.0.ends_with(b".so")).then_some(100);
    let mut savings = savings(&requests(runs), &[name("/s")], |_| true, size);
    assert_eq!(savings.outside, 0);
    savings.shares.remove(0)
}

#[test]
fn a_name_is_asked_once_and_a_miss_never() {
    let events: &[&str] = &[
        "lookup /s",
        "lookup /s/lib",
        "lookup /s/lib/a.so",
        "lookup /s/lib/a.so",
        "lookup /s/lib/b.so error=ENOENT",
        "lookup /s/lib/b.so error=ENOENT",
        "lookup /s/none error=ENOENT",
        "lookup /s/secret error=EACCES",
        "read-link /s/link",
        "read-link /s/link",
        "open-folder /s/data open=1",
        "close-folder /s/data open=1",
        "open-folder /s/data open=2",
    ];
    let share = of_share(&[events, &["lookup /s/lib"]]);
    assert_eq!((share.look_ups, share.look_ups_asked, share.misses, share.look_ups_saved), (5, 3, 3, 5));
    assert_eq!((share.listings, share.listings_asked), (2, 3), "/s, /s/lib and /s/data");
    assert_eq!((share.link_targets, share.link_targets_asked), (2, 1));
    assert_eq!(share.requests_saved, 12 - 7);
}

#[test]
fn a_file_is_read_once_instead_of_at_each_open() {
    let share = of_share(&[&[
        "open /s/a.so open=1",
        "open /s/a.so open=2",
        "close /s/a.so open=1",
        "open /s/b.so open=3",
        "open /s/b.so open=4",
        "close /s/b.so open=3 read=100",
        "close /s/b.so open=4 read=30",
        "open /s/mean open=5",
        "open /s/mean open=6",
        "close /s/mean open=5 read=7",
        "close /s/mean open=6 read=4",
        "open /s/unknown open=7",
    ]]);
    assert_eq!((share.opens, share.files), (7, 4));
    assert_eq!(share.sizes, SizeSources { file_system: 2, recording: 1, unknown: 1 });
    assert_eq!((share.bytes, share.bytes_once), (200 + 130 + 11, 100 + 100 + 6));
    assert_eq!(share.bytes_saved, 135);
    let top: Vec<String> = share.top.iter().map(|file| file.path.text().into_owned()).collect();
    assert_eq!(top, ["/s/a.so", "/s/b.so", "/s/mean"]);
}

#[test]
fn a_changed_file_is_not_cached() {
    let share = of_share(&[&[
        "open /s/written open=1 flags=2",
        "open /s/written open=2",
        "create /s/new open=3",
        "open /s/new open=4",
        "open /s/old open=5",
        "rename /s/old other=/s/target",
        "open /s/target open=6",
        "truncate /s/short size=0",
        "open /s/short open=7",
        "open /s/a.so open=8 flags=32768",
        "close /s/a.so open=8 written=0",
    ]]);
    assert_eq!((share.opens, share.files, share.opens_of_changed), (1, 1, 6));
}

#[test]
fn the_innermost_share_counts_and_the_rest_is_outside() {
    let events: &[&str] =
        &["lookup /s/in/x", "lookup /s/out", "lookup /sibling", "lookup /s/in/skip", "open /s/in/x open=1"];
    let requests = requests(&[events]);
    let shares = [name("/s/in"), name("/s/")];
    let of = savings(&requests, &shares, |path| !path.0.ends_with(b"skip"), |_| None);
    assert_eq!((of.shares[0].look_ups, of.shares[1].look_ups, of.outside), (1, 1, 2));
    let whole = savings(&requests, &[name("/")], |_| true, |_| None);
    assert_eq!((whole.shares[0].look_ups, whole.outside), (4, 0));
}
