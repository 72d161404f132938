use super::super::made::survey;
use super::*;

fn compared(first: &[&str], second: &[&str], counts: bool) -> Difference {
    difference(&survey(&[first]), &survey(&[second]), counts, |_| true)
}

#[test]
fn processes_times_order_and_hits_do_not_matter() {
    let first =
        &["lookup /a", "open /a open=1", "close /a open=1", "lookup /n error=ENOENT", "open /b open=2"];
    let second = &[
        "open /b open=1 pid=5 tid=6 ppid=2",
        "lookup /n error=ENOENT pid=5 tid=6",
        "open /a open=2 pid=5 tid=6",
        "lookup /dir",
    ];
    let found = compared(first, second, true);
    assert!(found.same, "{found:?}");
    assert_eq!(found.totals["close"], [1, 0], "totals are included anyway");
}

#[test]
fn differences_are_reported_by_kind() {
    let first =
        &["lookup /conf error=ENOENT", "open /l1/libz.so.1 open=1", "open /a open=2", "open /x open=3"];
    let second = &["open /conf open=1", "open /l2/libz.so.1 open=2", "open /a open=3", "open /a open=4"];
    let found = compared(first, second, true);
    assert!(!found.same);
    let paths = |rows: &[PathOutcome]| -> Vec<String> {
        rows.iter().map(|row| row.path.text().into_owned()).collect()
    };
    assert_eq!(paths(&found.only_first), ["/l1/libz.so.1", "/x"]);
    assert_eq!(paths(&found.only_second), ["/l2/libz.so.1"]);
    assert_eq!(found.changed.len(), 1);
    assert_eq!(found.changed[0].first, [Outcome::Missed]);
    assert_eq!(found.changed[0].second, [Outcome::Opened]);
    assert_eq!(found.elsewhere[0].name.text(), "libz.so.1");
    assert_eq!(found.elsewhere[0].second[0].text(), "/l2/libz.so.1");
    assert_eq!((found.counts[0].first.opened, found.counts[0].second.opened), (1, 2));
    assert!(found.ends.is_none());
}

#[test]
fn counts_differ_only_if_they_are_compared() {
    let (first, second): (&[&str], &[&str]) = (&["open /a open=1"], &["open /a open=1", "open /a open=2"]);
    assert!(compared(first, second, false).same);
    assert!(!compared(first, second, true).same);
}

#[test]
fn a_library_is_elsewhere_only_if_both_places_are_wanted() {
    let (first, second) =
        (survey(&[&["open /l1/libz.so.1 open=1"]]), survey(&[&["open /l2/libz.so.1 open=1"]]));
    for unwanted in ["/l1/", "/l2/"] {
        let found = difference(&first, &second, false, |path| !path.0.starts_with(unwanted.as_bytes()));
        assert!(found.elsewhere.is_empty() && !found.same, "{found:?}");
    }
    assert_eq!(difference(&first, &second, false, |_| true).elsewhere.len(), 1);
}

#[test]
fn only_wanted_paths_are_compared() {
    let (first, second) = (survey(&[&["open /tmp/a1 open=1"]]), survey(&[&["open /tmp/b2 open=1"]]));
    assert!(!difference(&first, &second, false, |_| true).same);
    assert!(difference(&first, &second, false, |path| !path.0.starts_with(b"/tmp/")).same);
}
