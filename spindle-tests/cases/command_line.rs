//! The command line of `compat spindle`: its options, exit codes, messages and documents.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::case::{Case, case};
use crate::harness::script;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("command_line::exit_codes_are_those_of_the_command", &["unshare"], codes),
        case("command_line::if_nothing_is_cached_the_command_replaces_the_program", &["unshare"], nothing),
        case("command_line::under_its_old_name_everything_is_cached", &["unshare"], old_name),
        case("command_line::the_figures_are_one_line_or_a_document", &["unshare"], figures),
        case("command_line::the_mirror_waits_after_the_command", &["unshare"], wait),
        case("command_line::a_session_has_one_cache_for_many_commands", &["unshare"], session),
        case("command_line::a_recording_is_preloaded_in_the_order_of_its_opens", &["unshare"], preload),
        case("command_line::the_log_is_that_of_a_recording", &["unshare"], log),
        case("command_line::a_kept_cache_serves_the_next_run", &["unshare"], keep),
        case("command_line::writes_go_to_the_share_unless_it_is_read_only", &["unshare"], writes),
        case("command_line::ranks_of_a_job_share_a_mirror", &["unshare"], ranks),
        case("command_line::a_dry_run_counts_what_was_recorded", &["unshare"], dry_run),
        case("command_line::wrong_values_are_refused_before_anything_runs", &["unshare"], refused),
    ]
}

/// The start of each script: no file system of this machine is a share by itself, and `share` has some files, which are
/// old enough to be kept.
const START: &str = r#"
for place in $(awk '$0 ~ / - fuse/ { print $5 }' /proc/self/mountinfo | sort -r); do umount -l "$place"; done
export TMPDIR="$PWD/tmp" XDG_RUNTIME_DIR="$PWD/run"; mkdir -p tmp share/lib; chmod 700 run
echo one > share/one; echo two > share/two; echo library > share/lib/a; cp "$(command -v cat)" share/cat; sleep 1.2
compat() { "$COMPAT" "$@"; }
spindle() { compat spindle --share share "$@"; }
"#;

/// Runs a script, which must succeed, and returns its standard output and error.
fn said(directory: &Path, text: &str) -> (String, String) {
    let program = env!("CARGO_BIN_EXE_compat");
    script::said(directory, &format!("COMPAT={program}\n{START}{text}"))
}

fn document(directory: &Path, name: &str) -> Value {
    let text = fs::read_to_string(directory.join(name)).expect(name);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
}

fn codes(directory: &Path) {
    let (told, said) = said(
        directory,
        "spindle -q -- sh -c 'exit 7'; echo $?; spindle -q -- sh -c 'kill -TERM $$'; echo $?
        spindle -q none; echo $?; spindle -q share/one; echo $?; echo in | spindle -q -- cat; mirrors",
    );
    assert_eq!(told, "7\n143\n127\n126\nin\n");
    assert!(said.contains("could not execute none: No such file or directory"), "{said}");
    assert!(!said.contains("opens served"), "{said}");
}

fn nothing(directory: &Path) {
    let (told, said) = said(
        directory,
        "(exec \"$COMPAT\" spindle --workdir share --stats stats.json -- sh -c 'echo $$; pwd; exit 3') > out & pid=$!
        wait $pid; echo $?; [ $(head -n 1 out) = $pid ] && echo the same process; tail -n 1 out
        compat spindle none; echo $?; compat spindle --workdir none true; echo $?",
    );
    assert_eq!(told, "3\nthe same process\nDIR/share\n127\n3\n", "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("note: nothing is cached")).collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert_eq!(document(directory, "stats.json")["figures"]["opens"], 0);
}

fn old_name(directory: &Path) {
    let (told, said) = said(
        directory,
        "ln -s \"$COMPAT\" spindle; PATH=$PWD:$PATH; unset -f spindle
        spindle -v -read-only=false -workdir share sh -c 'pwd; cat one; echo new > three'; cat share/three
        spindle -v -share=share -workdir share -- cat one",
    );
    assert_eq!(told, "DIR/share\none\nnew\none\n", "{said}");
    let cached: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("note: caching ")?.split(' ').next()).collect();
    // A further share means that something else is to be cached.
    assert!(cached.contains(&"/") && cached.last() == Some(&"DIR/share"), "{cached:?}");
}

fn figures(directory: &Path) {
    let (told, said) = said(
        directory,
        "read='for i in 1 2 3; do cat share/one share/two; ls share/none 2> /dev/null; done; :'
        spindle --stats stats.json -- sh -c \"$read\" > /dev/null
        spindle --format json -- sh -c \"$read\" > /dev/null 2> err.json; spindle -q -- cat share/one",
    );
    assert_eq!(told, "one\n");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("note: 6 opens served from 2 files; share read 8 B once, saved 16 B and "),
        "{said}"
    );
    for name in ["stats.json", "err.json"] {
        let figures = &document(directory, name)["figures"];
        assert_eq!((&figures["opens"], &figures["files"]), (&6.into(), &2.into()), "{figures:#}");
        assert_eq!((&figures["bytes"]["served"], &figures["bytes"]["read"]), (&24.into(), &8.into()));
        assert!(figures["topByOpens"][0]["path"].as_str().is_some_and(|path| path.ends_with("share/one")));
    }
}

fn wait(directory: &Path) {
    let (told, said) = said(
        directory,
        "\"$COMPAT\" spindle --share share --mount-path place --wait -- sh -c 'echo ran; exit 5' > out & pid=$!
        wait_for grep -q ran out; wait_for test -e place/one; sleep 0.2; cat place/one place/lib/a
        kill $pid; wait $pid; echo $?; mirrors; [ -e place ] || echo removed",
    );
    assert_eq!(told, "one\nlibrary\n5\nremoved\n", "{said}");
    assert!(said.contains("note: the mirror stays at DIR/place until SIGTERM or SIGINT"), "{said}");
}

fn session(directory: &Path) {
    let (told, said) = said(
        directory,
        "id=$(compat spindle session start --share share --id job.1 --idle 1m); echo \"$id\"
        for i in 1 2 3; do compat spindle --session \"$id\" --workdir share -- cat one; done
        compat spindle --session \"$id\" -- sh -c 'exit 9'; echo $?
        compat spindle session list | cut -d ' ' -f 1-4; compat spindle session list --format json > list.json
        compat spindle session stats job.1 | head -n 1
        compat spindle session stats --format json > stats.json
        compat spindle session stats --format prometheus | grep '^compat_spindle_opens_total'
        compat spindle session end job.1; compat spindle session list; mirrors
        compat spindle --session job.1 -- true; echo $?; ls tmp/compat-spindle-0",
    );
    let expected = "job.1\none\none\none\n9\njob.1  0 commands,\njob.1: 3 opens served from 1 file; share read 4 B once, saved 8 B and ";
    assert!(told.starts_with(expected), "{told}\n{said}");
    assert!(told.contains("\ncompat_spindle_opens_total{session=\"job.1\"} 3\n3\n"), "{told}");
    assert!(said.contains("session job.1 does not exist"), "{said}");
    let listed = &document(directory, "list.json")["sessions"][0];
    assert_eq!((&listed["id"], &listed["status"]["members"]), (&"job.1".into(), &0.into()), "{listed:#}");
    let stats = document(directory, "stats.json");
    assert_eq!((&stats["sessions"][0]["id"], &stats["figures"]["opens"]), (&"job.1".into(), &3.into()));
}

fn preload(directory: &Path) {
    let (told, said) = said(
        directory,
        "compat record -o run.jsonl --include \"$PWD/share/**\" -- cat share/two share/one
        printf 'share/lib/*\\n# share/none\\n' > list
        spindle --preload @run.jsonl --preload @list --stats stats.json -- sh -c 'sleep 1; cat share/two share/lib/a'
        spindle --preload @none true; echo $?; spindle --preload 'a[' true; echo $?",
    );
    assert_eq!(told, "two\none\ntwo\nlibrary\n3\n2\n", "{said}");
    let figures = &document(directory, "stats.json")["figures"];
    assert_eq!((&figures["fills"]["ahead"], &figures["fills"]["completed"]), (&3.into(), &3.into()));
    assert_eq!(figures["bytes"]["read"], 16, "{figures:#}");
}

fn log(directory: &Path) {
    let (told, said) = said(
        directory,
        "spindle --out run.jsonl -- sh -c 'cat share/one; cat share/one; cat share/none; :'
        compat trace files --paths run.jsonl | sed 's,.*/share,share,' | sort
        spindle --out run.txt --log-format compat-lib -- cat share/one; tail -n 1 run.txt | grep -c Complete",
    );
    let paths = "share\nshare/none\nshare/one\n";
    let whole = format!("one\none\n{paths}one\n1\n");
    // Whether the directory itself is looked up depends on the kernel.
    let without = whole.replacen("share\n", "", 1);
    assert!(told == whole || told == without, "{told}\n{said}");
}

fn keep(directory: &Path) {
    let (_, said) = said(
        directory,
        "mkdir cache; chmod 700 cache
        for i in 1 2; do
            spindle --keep --cache-dir cache --cache-size 1M --stats $i.json -- cat share/one share/cat > /dev/null
        done; spindle --cache-dir cache --stats 3.json -- cat share/one",
    );
    let read =
        |number: u32| document(directory, &format!("{number}.json"))["figures"]["bytes"]["read"].clone();
    assert_ne!(read(1), 0, "{said}");
    assert_eq!(read(2), 0, "{said}");
    assert_eq!(read(3), 4, "a run without --keep has its own cache: {said}");
    let limit = &document(directory, "1.json")["figures"]["cache"]["limit"];
    assert_eq!(limit, 1 << 20);
}

fn writes(directory: &Path) {
    let (told, said) = said(
        directory,
        "spindle -q -- sh -c 'cat share/one; echo changed > share/one; cat share/one; mv share/two share/moved'
        cat share/one share/moved; spindle -q --read-only -- sh -c 'echo > share/new || echo refused'; ls share",
    );
    assert_eq!(told, "one\nchanged\nchanged\ntwo\nrefused\ncat\nlib\nmoved\none\n", "{said}");
}

/// The variables are those of Open MPI.
fn ranks(directory: &Path) {
    let (told, said) = said(
        directory,
        "export PMIX_NAMESPACE=job OMPI_COMM_WORLD_LOCAL_SIZE=3
        for rank in 0 1 2; do
            OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_LOCAL_RANK=$rank \"$COMPAT\" spindle --share share \
                --stats $rank.json -- sh -c 'cat share/one; readlink /proc/self/ns/mnt >> namespaces' &
        done; wait; sort -u namespaces | wc -l
        OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_LOCAL_RANK=0 spindle --no-mpi -q -- cat share/two",
    );
    assert_eq!(told, "one\none\none\n1\ntwo\n", "{said}");
    let reports = [0, 1, 2].map(|rank| directory.join(format!("{rank}.json"))).into_iter();
    let reports: Vec<_> = reports.filter(|path| path.exists()).collect();
    assert_eq!(reports.len(), 1, "one rank reports for all: {reports:?}");
    let text = fs::read_to_string(&reports[0]).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!((&report["figures"]["opens"], &report["figures"]["files"]), (&3.into(), &1.into()), "{text}");
}

fn dry_run(directory: &Path) {
    let (told, said) = said(
        directory,
        "compat record -q -o run.jsonl -- sh -c 'cat share/one share/one share/two; ls share/none; :' > /dev/null
        spindle --dry-run run.jsonl | sed -n 3p; spindle --dry-run run.jsonl --format json > savings.json
        spindle --dry-run run.jsonl --exclude '**/one' | sed -n 3p; compat spindle --dry-run run.jsonl | head -n 1",
    );
    let expected = "  3 opens of 2 files: 8 B read once instead of 12 B\n  1 open of 1 file: 4 B read once instead of 4 B\n\
        nothing would be cached: no network file system is mounted here\n";
    assert_eq!(told, expected, "{said}");
    let share = &document(directory, "savings.json")["shares"][0];
    let number = |name: &str| share[name].as_u64().unwrap_or_else(|| panic!("{name} is in {share:#}"));
    assert!(number("misses") > 0 && number("lookUpsSaved") >= number("misses"), "{share:#}");
}

fn refused(directory: &Path) {
    let (told, said) = said(
        directory,
        "for options in '--cache-size 5X' '--revalidate 1' '--coherence some' '--exclude a' '--session ../x'; do
            spindle $options -- echo ran; echo $?
        done
        compat spindle --share none -- echo ran; echo $?; mkdir open; chmod 777 open
        spindle --cache-dir open -- echo ran; echo $?; compat spindle session start; echo $?",
    );
    assert_eq!(told, "2\n2\n2\n2\n2\n3\n3\n3\n", "{said}");
    for part in [
        "\"5X\" is not a size such as 500M, 2G or 10%",
        "could not mirror the share none: No such file or directory",
        "cannot use DIR/open for the cache",
        "nothing is to be cached",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}
