//! The ranks of a parallel job, recorded together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use compat_trace::EventKind;

use crate::harness::case::{Case, case};
use crate::harness::launcher::{Variables, flux, hydra, open_mpi, pmix, rank, slurm, start};
use crate::harness::recorder::{COMPAT, assert_code, descendants, finish, wait_until};
use crate::harness::recording::{Recording, read};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("rank::one_log_has_the_rank_of_each_event_under_each_launcher", &[], launchers),
        case("rank::ranks_start_in_any_order", &[], orders),
        case("rank::each_rank_has_its_own_exit_code", &[], codes),
        case("rank::a_rank_that_ends_last_ends_the_log", &[], last),
        case("rank::one_step_follows_another", &[], steps),
        case("rank::a_killed_lead_ends_the_others_with_an_error", &[], lead_killed),
        case("rank::a_killed_server_ends_all_with_an_error", &[], server_killed),
        case("rank::a_lead_that_cannot_begin_is_reported_by_all", &[], lead_fails),
        case("rank::without_a_lead_or_a_launcher_there_is_an_error", &[], alone),
        case("rank::ranks_of_an_ordinary_user_meet", &["setpriv", "unshare"], ordinary_user),
        case("rank::a_real_launcher_starts_them", &["mpirun"], real),
    ]
}

/// Returns the path of a case's log, which contains the node's name.
fn node_log(directory: &Path) -> PathBuf {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    directory.join(format!("run.{node}.jsonl"))
}

fn outputs(ranks: Vec<(u32, Child)>) -> Vec<Output> {
    ranks.into_iter().map(|(_, child)| child.wait_with_output().expect("the process ends")).collect()
}

/// Returns the file that each rank has created, with its rank in the log.
fn made(recording: &Recording) -> BTreeMap<String, Option<u32>> {
    let created = recording.events.iter().filter(|event| event.event == EventKind::Create);
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    created.map(|event| (name(&event.path.text()), event.rank)).collect()
}

fn no_mount() -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    !table.lines().any(|line| line.contains(" - fuse ") && !line.contains("compat-mirror"))
}

/// A shell, its child and an orphaned process create files named after their rank.
fn launchers(directory: &Path) {
    let all: [(&str, Variables); 5] =
        [("open-mpi", open_mpi), ("hydra", hydra), ("slurm", slurm), ("flux", flux), ("pmix", pmix)];
    for (name, variables) in all {
        let directory = directory.join(name);
        fs::create_dir(&directory).expect("a directory");
        let script = "n=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${SLURM_PROCID:-${FLUX_TASK_RANK:-$PMIX_RANK}}}}
            echo > own-$n; sh -c \"echo > child-$n; (sleep 0.2; echo > orphan-$n) & \"";
        for output in outputs(start(&directory, variables, &[0, 1, 2], script)) {
            assert_code(&output, 0);
        }
        let recording = read(&node_log(&directory));
        let mut expected = BTreeMap::new();
        for rank in 10..13 {
            for what in ["own", "child", "orphan"] {
                expected.insert(format!("{what}-{rank}"), Some(rank));
            }
        }
        assert_eq!(made(&recording), expected, "{name}");
        let without = recording.events.iter().find(|event| event.rank.is_none());
        assert_eq!(without, None, "{name}: an event has no rank");
        let logs = fs::read_dir(&directory).expect("a directory").flatten();
        let logs = logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("run."));
        assert_eq!(logs.count(), 1, "one log");
    }
}

fn orders(directory: &Path) {
    for (number, order) in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]].iter().enumerate() {
        let directory = directory.join(number.to_string());
        fs::create_dir(&directory).expect("a directory");
        let ranks = start(&directory, open_mpi, order, "echo > own-$OMPI_COMM_WORLD_RANK; pwd");
        for output in outputs(ranks) {
            assert_code(&output, 0);
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", directory.display()));
        }
        assert_eq!(made(&read(&node_log(&directory))).len(), 4);
    }
}

fn codes(directory: &Path) {
    let script = "case $PMI_RANK in 11) kill -9 $$;; 13) exec /none;; *) exit $PMI_RANK;; esac";
    let ends = outputs(start(directory, hydra, &[2, 1, 0, 3], script));
    let codes: Vec<Option<i32>> = ends.iter().map(|output| output.status.code()).collect();
    assert_eq!(codes, [Some(10), Some(137), Some(12), Some(127)]);
    assert_eq!(read(&node_log(directory)).end.code, Some(10), "the log has the lead's exit code");
    let mut missing = rank(directory, "not-there", &hydra(0, 1), "");
    missing.arg("ignored");
    assert_code(&finish(missing, b""), 0);
}

fn last(directory: &Path) {
    let script = "[ $PMI_RANK = 10 ] || sleep 0.8; echo > late-$PMI_RANK";
    outputs(start(directory, hydra, &[0, 1], script)).iter().for_each(|output| assert_code(output, 0));
    let recording = read(&node_log(directory));
    assert_eq!(made(&recording)["late-11"], Some(11));
    assert_eq!(recording.end.end, "exited");
}

fn steps(directory: &Path) {
    // Ranks of the first step that end early wait for the lead of the second one.
    let job = "steps";
    let script = |step: u32, number: u32| {
        let pause = if step == 0 && number == 0 { "sleep 0.5; " } else { "" };
        format!("{pause}echo > step-{step}-{number}")
    };
    let mut threads = Vec::new();
    for number in 0..3 {
        let directory = directory.to_owned();
        threads.push(std::thread::spawn(move || {
            for step in 0..2 {
                let run = rank(&directory, job, &hydra(number, 3), &script(step, number));
                let output = finish(run, b"");
                assert_code(&output, 0);
                if number == 0 {
                    fs::rename(node_log(&directory), directory.join(format!("log-{step}"))).expect("a log");
                }
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("the thread succeeds"));
    for step in 0..2 {
        let made = made(&read(&directory.join(format!("log-{step}"))));
        let names: Vec<String> = (0..3).map(|number| format!("step-{step}-{number}")).collect();
        assert_eq!(made.keys().cloned().collect::<Vec<_>>(), names);
    }
}

const WORK: &str = "echo > ready-$PMI_RANK; while :; do cat /etc/passwd > copy-$PMI_RANK; sleep 0.01; done";

/// Starts three ranks and kills one process of the lead's. Returns the outputs of the ranks and the
/// processes.
fn kill_at_work(directory: &Path, who: impl Fn(&Child) -> u32) -> (Vec<Output>, Vec<u32>) {
    let ranks = start(directory, hydra, &[1, 0, 2], WORK);
    for rank in 10..13 {
        wait_until("the work", || directory.join(format!("ready-{rank}")).exists());
    }
    let inside: Vec<u32> = ranks.iter().flat_map(|(_, child)| descendants(child)).collect();
    let pid = Pid::from_raw(who(&ranks[0].1) as i32).expect("a process");
    kill_process(pid, Signal::KILL).expect("the process exists");
    (outputs(ranks), inside)
}

fn all_gone(processes: &[u32]) {
    let gone = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    wait_until("the end of all processes", || processes.iter().all(gone));
    assert!(no_mount());
}

fn lead_killed(directory: &Path) {
    let (ends, inside) = kill_at_work(directory, Child::id);
    assert_eq!(ends[0].status.code(), None);
    for (output, rank) in ends[1..].iter().zip(11..) {
        assert_code(output, 3);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = format!("the lead rank of this node ended, so the command of rank {rank} was killed");
        assert!(text.contains(&expected), "{text}");
    }
    all_gone(&inside);
    assert_eq!(read(&node_log(directory)).end.end, "supervisor killed");
}

fn server_killed(directory: &Path) {
    let (ends, inside) = kill_at_work(directory, |lead| descendants(lead)[0]);
    for output in &ends {
        assert_code(output, 3);
    }
    let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text(&ends[0]).contains("the mirror's server was killed"), "{}", text(&ends[0]));
    assert!(text(&ends[2]).contains("the lead rank of this node ended"), "{}", text(&ends[2]));
    all_gone(&inside);
    assert_eq!(read(&node_log(directory)).end.end, "server killed");
}

fn lead_fails(directory: &Path) {
    let job = "no-device";
    let guest = rank(directory, job, &hydra(1, 2), "echo > run").spawn().expect("the program starts");
    let mut lead = Command::new("unshare");
    let recorded = rank(directory, job, &hydra(0, 2), "echo > run");
    lead.args(["--mount", "sh", "-c", "mount -t tmpfs none /dev && exec \"$@\"", "sh"]);
    lead.arg(recorded.get_program()).args(recorded.get_args()).current_dir(directory);
    lead.envs(recorded.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let lead = finish(lead, b"");
    assert_code(&lead, 3);
    let guest = guest.wait_with_output().expect("the process ends");
    assert_code(&guest, 3);
    let text = String::from_utf8_lossy(&guest.stderr).into_owned();
    assert!(text.contains("the lead rank of this node ended before its mirror was ready"), "{text}");
    assert!(!directory.join("run").exists());
}

fn alone(directory: &Path) {
    let mut none = Command::new(COMPAT);
    none.args(["record", "--mpi", "true"]).current_dir(directory);
    let output = finish(none, b"");
    assert_code(&output, 2);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("no launcher set a rank (OMPI_COMM_WORLD_RANK, PMI_RANK, FLUX_TASK_RANK"),
        "{text}"
    );
    let mut guest = Command::new(COMPAT);
    guest.args(["record", "--mpi", "--mpi-wait", "1", "true"]).current_dir(directory);
    guest.env("PMIX_NAMESPACE", "alone").envs(open_mpi(1, 2));
    let output = finish(guest, b"");
    assert_code(&output, 3);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("the lead rank of this node did not admit rank 11 within 1 s"), "{text}");
    let mut lead = Command::new(COMPAT);
    lead.args(["record", "--mpi", "--mpi-wait", "1", "-o", "run.jsonl", "sh", "-c", "exit 4"])
        .current_dir(directory);
    lead.env("PMIX_NAMESPACE", "alone").envs(open_mpi(0, 2));
    let output = finish(lead, b"");
    assert_code(&output, 4);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("only 1 of 2 ranks of this node joined the recording"), "{text}");
}

fn ordinary_user(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    // A device that this user may open. Only these processes see it.
    let script = "mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse
        for rank in 1 2 0; do
            PMI_RANK=$rank MPI_LOCALRANKID=$rank MPI_LOCALNRANKS=3 setpriv --reuid=1234 --regid=1235 --clear-groups \\
                \"$0\" record --mpi -o run.jsonl -- sh -c 'id -u; echo > by-$PMI_RANK; exit $PMI_RANK' &
            eval pid$rank=$!
        done
        wait $pid0; echo $?; wait $pid1; echo $?; wait $pid2; echo $?";
    let program = directory.join("compat");
    fs::copy(COMPAT, &program).expect("a copy that the user may execute");
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", script]).arg(&program).current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "1234", "1234", "1234", "2"], "{}", String::from_utf8_lossy(&output.stderr));
    let expected = (0..3).map(|rank| (format!("by-{rank}"), Some(rank))).collect();
    assert_eq!(made(&read(&node_log(directory))), expected);
}

/// Uses any MPI that is installed here.
fn real(directory: &Path) {
    let mut run = Command::new("mpirun");
    run.args(["-n", "3", COMPAT, "record", "--mpi", "-o", "run.jsonl", "--", "sh", "-c"]);
    run.arg("echo > by-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}").current_dir(directory);
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
        run.env(name, "1");
    }
    run.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    assert_code(&finish(run, b""), 0);
    let expected = (0..3).map(|rank| (format!("by-{rank}"), Some(rank))).collect();
    assert_eq!(made(&read(&node_log(directory))), expected);
}
