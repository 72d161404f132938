use super::super::made::survey;
use super::super::{Order, Role, files, libraries, summary};
use super::*;

fn of<'a>(survey: &'a Survey, path: &str) -> &'a Touched {
    survey.paths.get(&Name::from(path.as_bytes())).unwrap_or_else(|| panic!("{path} is not there"))
}

#[test]
fn opens_are_counted_from_open_to_close() {
    let survey = survey(&[&[
        "lookup /a",
        "open /a open=1",
        "open /a open=2 exe=/bin/b pid=2 tid=2",
        "first-read /a open=1",
        "close /a open=1 read=10 written=0",
        "create /new open=3",
        "close /a open=2 read=5 written=1",
        "open /mapped open=4 exec=true",
        "close /mapped open=4",
        "open-folder /d open=5",
        "close /never open=99",
    ]]);
    let a = of(&survey, "/a");
    assert_eq!((a.found, a.opened, a.missed, a.never_closed), (1, 2, 0, 0));
    assert_eq!((a.read, a.written, a.first), (Some(15), Some(1), Some(1000)));
    assert_eq!(a.by.len(), 2);
    let new = of(&survey, "/new");
    assert_eq!((new.opened, new.created, new.never_closed), (1, 1, 1));
    assert_eq!((of(&survey, "/mapped").executed, of(&survey, "/mapped").read), (1, None));
    assert_eq!((of(&survey, "/d").listed, of(&survey, "/d").opened), (1, 0));
    let app = survey.programs.iter().find(|program| program.path.0 == b"/bin/app").expect("it is there");
    assert_eq!(
        (app.processes, app.activity.opened, app.activity.created, app.activity.read),
        (1, 3, 1, Some(15))
    );
    assert!(!survey.paths.contains_key(&Name::from(&b"/never"[..])), "its open was not recorded");
}

#[test]
fn a_miss_right_before_a_creation_is_the_kernels_own() {
    let survey = survey(&[&[
        "lookup /made error=ENOENT",
        "lookup /other error=ENOENT tid=2",
        "create /made open=1",
        "close /made open=1",
        "lookup /to error=ENOENT",
        "rename /from other=/to",
        "lookup /folder error=ENOENT",
        "close /made open=1",
        "make-folder /folder",
        "lookup /missed error=ENOENT",
        "open /found open=2",
        "lookup /last error=ENOENT",
        "open /locked error=EACCES",
        "open /busy error=ETXTBSY",
        "lookup /end error=ENOENT",
    ]]);
    let missed = files(&survey, Order::Path, |_, touched| touched.missed > 0);
    let paths: Vec<_> = missed.iter().map(|file| file.path.text().into_owned()).collect();
    assert_eq!(paths, ["/end", "/last", "/missed", "/other"]);
    assert_eq!((of(&survey, "/from").removed, of(&survey, "/to").created), (1, 1));
    assert_eq!((of(&survey, "/locked").refused, of(&survey, "/busy").refused), (1, 0));
}

#[test]
fn several_runs_are_merged_with_how_many_saw_each() {
    let first: &[&str] = &["open /both open=1", "close /both open=1", "lookup /missed error=ENOENT"];
    let second: &[&str] = &["lookup /x", "lookup /y", "open /both open=1", "open /one open=2"];
    let survey = survey(&[first, second]);
    let both = of(&survey, "/both");
    assert_eq!((both.runs, both.opened, both.first, both.never_closed), (2, 2, Some(0), 1));
    assert_eq!((of(&survey, "/one").runs, of(&survey, "/missed").runs), (1, 1));
    let summary = summary(&survey, 10);
    assert_eq!((summary.programs[0].runs, summary.programs[0].processes), (2, 2));
    assert_eq!((summary.paths.opened, summary.paths.missed, summary.paths.never_closed), (2, 1, 2));
}

#[test]
fn the_search_for_a_library_is_counted_by_the_name_that_was_asked_for() {
    let survey = survey(&[&[
        "open /bin/app open=1 exec=true",
        "open /lib/ld-linux-x86-64.so.2 open=2 exec=true",
        "lookup /s1/libz.so.1 error=ENOENT",
        "lookup /s2/libz.so.1 error=ENOENT",
        "lookup /s1/libz.so.1 error=ENOENT tid=2 pid=2 exe=/bin/b",
        "read-link /lib/libz.so.1",
        "lookup /lib/libz.so.1.2",
        "open /lib/libz.so.1.2 open=3",
        "open /lib/plugin.so open=4",
        "lookup /s1/libnone.so error=ENOENT",
        "lookup /s1/data.txt error=ENOENT",
        "open /etc/ld.so.cache open=5",
        "lookup /lib/libz.so.1.2",
    ]]);
    let rows = libraries(&survey);
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.name.text().into_owned(), row.role, row.places.len(), row.misses, row.directories))
        .collect();
    let row =
        |name: &str, role, places, misses, directories| (name.to_owned(), role, places, misses, directories);
    assert_eq!(
        shown,
        [
            row("app", Role::Program, 1, 0, 0),
            row("ld-linux-x86-64.so.2", Role::Interpreter, 1, 0, 0),
            row("libz.so.1", Role::Library, 1, 3, 2),
            row("plugin.so", Role::Plugin, 1, 0, 0),
            row("libnone.so", Role::Library, 0, 1, 1),
        ]
    );
    assert_eq!(rows[2].programs.len(), 2, "a program that found nothing is included");
}

#[test]
fn a_library_is_in_the_runs_that_opened_it_wherever_that_was() {
    let first: &[&str] = &[
        "open /l1/liba.so open=1",
        "lookup /l/libb.so",
        "lookup /s1/libnone.so error=ENOENT",
        "lookup /s1/libc.so error=ENOENT",
    ];
    let second: &[&str] = &[
        "open /l2/liba.so open=1",
        "open /l/libb.so open=2",
        "lookup /s2/libnone.so error=ENOENT",
        "open /l/libc.so open=3",
    ];
    let third: &[&str] = &["open /l2/liba.so open=1"];
    let rows = libraries(&survey(&[first, second, third]));
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            let places: Vec<usize> = row.places.iter().map(|place| place.runs).collect();
            (row.name.text().into_owned(), row.runs, places)
        })
        .collect();
    let row = |name: &str, runs, places: &[usize]| (name.to_owned(), runs, places.to_vec());
    let expected = [
        row("liba.so", 3, &[1, 2]),
        row("libb.so", 1, &[1]),
        row("libc.so", 1, &[1]),
        row("libnone.so", 2, &[]),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn many_programs_and_links_of_one_file_end_soon() {
    let begin = std::time::Instant::now();
    let events: Vec<String> = (0..50_000)
        .flat_map(|number| {
            [
                format!("read-link /l/lib{number}.so exe=/bin/{number}"),
                format!("lookup /l/libz.so exe=/bin/{number}"),
                format!("open /l/libz.so open={number} exe=/bin/{number}"),
            ]
        })
        .collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let survey = survey(&[&events]);
    assert_eq!(of(&survey, "/l/libz.so").names.len(), 50_000);
    assert_eq!(libraries(&survey)[0].programs.len(), 50_000);
    assert_eq!(files(&survey, Order::Opened, |_, _| true)[0].programs.len(), 50_000);
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn the_order_is_that_of_what_is_asked_for() {
    let survey = survey(&[&[
        "open /b open=1",
        "open /a open=2",
        "close /b open=1 read=1",
        "close /a open=2 read=7",
        "lookup /c error=ENOENT",
        "open /a open=3",
    ]]);
    let order = |order| -> Vec<String> {
        let files = files(&survey, order, |_, _| true);
        files.iter().map(|file| file.path.text().into_owned()).collect()
    };
    assert_eq!(order(Order::First), ["/b", "/a", "/c"]);
    assert_eq!(order(Order::Path), ["/a", "/b", "/c"]);
    assert_eq!(order(Order::Opened), ["/a", "/b", "/c"]);
    assert_eq!(order(Order::Missed), ["/c", "/a", "/b"]);
    assert_eq!(order(Order::Read), ["/a", "/b", "/c"]);
}

#[test]
fn a_summary_has_the_largest_first() {
    let survey = survey(&[&[
        "lookup /x/1 error=ENOENT",
        "lookup /x/2 error=ENOENT",
        "lookup /y/1 error=ENOENT",
        "open /d/a open=1",
        "open /d/b open=2",
        "open /e/c open=3",
    ]]);
    let summary = summary(&survey, 1);
    let row = &summary.misses_by_directory[0];
    assert_eq!((row.directory.text().as_ref(), row.misses, row.names), ("/x", 2, 2));
    assert_eq!(summary.misses_by_directory.len(), 1);
    assert_eq!((summary.directories[0].directory.text().as_ref(), summary.directories[0].files), ("/d", 2));
    let touched = summary.touched.expect("times");
    assert_eq!((touched.first, touched.half, touched.last), (3000, 4000, 5000));
    assert_eq!(summary.latest[0].path.text(), "/e/c");
    assert_eq!((summary.runs[0].end.as_deref(), summary.runs[0].duration), (Some("exited"), 6000));
}

#[test]
fn a_path_that_is_not_whole_says_so() {
    let survey = survey(&[&[
        r#"open /a[9_bytes_cut]b open=1 cut={"path":9}"#,
        "open /whole open=2",
        r#"rename /x other=/y[7_bytes_cut]z cut={"other":7}"#,
    ]]);
    let files = files(&survey, Order::Path, |_, _| true);
    let cut: Vec<_> = files.iter().map(|file| (file.path.text().into_owned(), file.cut)).collect();
    let named = |path: &str, cut| (path.to_owned(), cut);
    let expected = [
        named("/a[9_bytes_cut]b", Some(9)),
        named("/whole", None),
        named("/x", None),
        named("/y[7_bytes_cut]z", Some(7)),
    ];
    assert_eq!(cut, expected);
    assert_eq!(summary(&survey, 9).runs[0].cut, Some(2));
}

#[test]
fn programs_that_change_a_path_or_are_refused_are_named_with_their_ranks() {
    let survey = survey(&[&[
        "make-folder /d rank=3 exe=/bin/mkdir",
        "hard-link /l other=/a rank=1 pid=2 exe=/bin/ln",
        "rename /m other=/n exe=/bin/mv",
        "make-node /p exe=/bin/mknod",
        "unlink /u exe=/bin/rm",
        "open /r error=EACCES exe=/bin/cat",
        "lookup /found exe=/bin/ls",
    ]]);
    let files = files(&survey, Order::Path, |_, _| true);
    let row = |path: &str| files.iter().find(|file| file.path.0 == path.as_bytes()).expect(path);
    let programs =
        |path: &str| row(path).programs.iter().map(|name| name.text().into_owned()).collect::<Vec<_>>();
    for (path, program) in [
        ("/d", "mkdir"),
        ("/l", "ln"),
        ("/m", "mv"),
        ("/n", "mv"),
        ("/p", "mknod"),
        ("/u", "rm"),
        ("/r", "cat"),
    ] {
        assert_eq!(programs(path), [format!("/bin/{program}")], "{path}");
    }
    assert!(programs("/found").is_empty(), "the kernel reports a hit only now and then");
    assert_eq!(
        (&row("/d").ranks[..], &row("/l").ranks[..], &row("/n").ranks[..]),
        (&[3][..], &[1][..], &[][..])
    );
    let ranks: Vec<_> = summary(&survey, 9).ranks.iter().map(|rank| (rank.rank, rank.processes)).collect();
    assert_eq!(ranks, [(1, 1), (3, 1)]);
}

#[test]
fn directories_are_ordered_by_opens_and_show_their_files() {
    let mut events = vec!["open /often/a".to_owned(); 5];
    events.extend(["/many/a", "/many/b", "/many/c"].map(|path| format!("open {path}")));
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let directories = summary(&survey(&[&events]), 1).directories;
    assert_eq!(
        (directories[0].directory.0.as_slice(), directories[0].opened, directories[0].files),
        (&b"/often"[..], 5, 1)
    );
}
