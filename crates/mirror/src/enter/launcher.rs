//! Determines the rank of this process in a parallel job from the environment variables that its launcher set.
//!
//! The variables are those of Open MPI (`OMPI_COMM_WORLD_*`, mpirun(1)), of Hydra, the launcher of MPICH and Intel MPI
//! (`PMI_*`, `MPI_LOCALRANKID`), of Flux (`FLUX_TASK_*`, flux-run(1)), of Slurm (`SLURM_PROCID`, `SLURM_LOCALID`,
//! srun(1)), and of PMIx (`PMIX_RANK`, `PMIX_NAMESPACE`).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{Directories, Rank};

/// The variables of one launcher. Among several names, the first that is set counts.
struct Launcher {
    rank: &'static str,
    /// The number of the rank on its node. Without one, the first rank to arrive is the lead.
    local: &'static [&'static str],
    /// The number of ranks on the node.
    size: &'static [&'static str],
    /// The names that together identify the job and its step. Without them, the process that launched the rank does.
    job: &'static [&'static str],
}

/// The launchers in search order: a launcher within a batch job comes before the batch system, and a launcher that
/// knows the rank on the node before one that does not.
const LAUNCHERS: &[Launcher] = &[
    Launcher {
        rank: "OMPI_COMM_WORLD_RANK",
        local: &["OMPI_COMM_WORLD_LOCAL_RANK"],
        size: &["OMPI_COMM_WORLD_LOCAL_SIZE"],
        job: &["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_ess_jobid"],
    },
    Launcher {
        rank: "PMI_RANK",
        local: &["MPI_LOCALRANKID", "PMI_LOCAL_RANK"],
        size: &["MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"],
        job: &["PMI_JOBID"],
    },
    Launcher { rank: "FLUX_TASK_RANK", local: &["FLUX_TASK_LOCAL_ID"], size: &[], job: &["FLUX_JOB_ID"] },
    Launcher {
        rank: "SLURM_PROCID",
        local: &["SLURM_LOCALID"],
        size: &[],
        job: &["SLURM_JOB_ID", "SLURM_STEP_ID"],
    },
    Launcher { rank: "PMIX_RANK", local: &[], size: &[], job: &["PMIX_NAMESPACE"] },
    Launcher { rank: "PMI_RANK", local: &[], size: &["PMI_LOCAL_SIZE"], job: &["PMI_JOBID"] },
];

/// Returns the rank of this process, or `None` if no launcher set one. Ranks wait `patience` for each other, and meet
/// in `directory` if it is given. `purpose` is a word for the file name of their meeting: the mirrors of different
/// commands do not meet.
pub fn rank(purpose: &str, patience: Duration, directory: Option<PathBuf>) -> Option<Rank> {
    let variable = |name: &str| std::env::var(name).ok();
    of(purpose, variable, patience, Directories::of_user(directory), launched_by)
}

/// The names of the variables, for an error message.
pub fn variables() -> String {
    let names: Vec<&str> = LAUNCHERS[..5].iter().map(|launcher| launcher.rank).collect();
    names.join(", ")
}

fn of(
    purpose: &str,
    variable: impl Fn(&str) -> Option<String>,
    patience: Duration,
    directories: Directories,
    launched_by: impl FnOnce(&str) -> String,
) -> Option<Rank> {
    let number = |name: &str| variable(name)?.trim().parse::<u32>().ok();
    let first = |names: &[&str]| names.iter().find_map(|name| number(name));
    let suits = |launcher: &&Launcher| {
        number(launcher.rank).is_some() && (launcher.local.is_empty() || first(launcher.local).is_some())
    };
    let launcher = LAUNCHERS.iter().find(suits)?;
    let job: Vec<String> = launcher.job.iter().filter_map(|name| variable(name)).collect();
    let job = if job.is_empty() { launched_by(launcher.rank) } else { job.join(".") };
    let expected = first(launcher.size).or_else(|| slurm_size(launcher, &variable));
    Some(Rank {
        number: number(launcher.rank)?,
        leads: first(launcher.local).map(|local| local == 0),
        expected,
        meeting: meeting(purpose, launcher.rank, &job),
        directories,
        patience,
    })
}

/// Returns the number of ranks that Slurm starts on this node. `SLURM_STEP_TASKS_PER_NODE` has the form `2(x3),1`, in
/// the order of `SLURM_NODEID`.
fn slurm_size(launcher: &Launcher, variable: impl Fn(&str) -> Option<String>) -> Option<u32> {
    if launcher.rank != "SLURM_PROCID" {
        return None;
    }
    let tasks = variable("SLURM_STEP_TASKS_PER_NODE")?;
    let node: usize = variable("SLURM_NODEID")?.parse().ok()?;
    let mut passed = 0_usize;
    for part in tasks.split(',') {
        let (count, nodes) = match part.split_once("(x") {
            Some((count, nodes)) => (count, nodes.trim_end_matches(')').parse().ok()?),
            None => (part, 1),
        };
        passed += nodes;
        if node < passed {
            return count.parse().ok();
        }
    }
    None
}

/// Returns the meeting name for the ranks of a job on this node, unique to the job, user and node. It is not a secret.
fn meeting(purpose: &str, launcher: &str, job: &str) -> String {
    let user = rustix::process::geteuid().as_raw();
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let digest = Sha256::digest(format!("{launcher}\0{job}\0{user}\0{node}"));
    let hexadecimal: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("compat-{purpose}-{hexadecimal}")
}

/// Returns the process that launched the ranks, with its start time: the nearest ancestor that does not belong to this
/// rank.
fn launched_by(variable: &str) -> String {
    let own = std::env::var(variable).unwrap_or_default();
    let mark = format!("{variable}={own}").into_bytes();
    let mut process = std::os::unix::process::parent_id();
    loop {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let is_of_rank = environment.split(|byte| *byte == 0).any(|line| line == mark);
        // After the program name in parentheses come the state and the parent, and 19 fields later the start time.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let parent = fields.get(1).and_then(|field| field.parse().ok()).unwrap_or(0);
        if !is_of_rank || parent == 0 {
            return format!("{process} {}", fields.get(19).unwrap_or(&"?"));
        }
        process = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(variables: &[(&str, &str)]) -> Option<Rank> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        of("record", variable, Duration::from_secs(1), Directories::of_user(None), |_| "launcher".to_owned())
    }

    #[test]
    fn each_launcher_is_understood() {
        let seen = |variables: &[(&str, &str)]| {
            let rank = rank(variables).expect("a rank");
            (rank.number, rank.leads, rank.expected)
        };
        assert_eq!(
            seen(&[
                ("OMPI_COMM_WORLD_RANK", "5"),
                ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
                ("OMPI_COMM_WORLD_LOCAL_SIZE", "4")
            ]),
            (5, Some(false), Some(4))
        );
        assert_eq!(
            seen(&[("PMI_RANK", "4"), ("MPI_LOCALRANKID", "0"), ("MPI_LOCALNRANKS", "2")]),
            (4, Some(true), Some(2))
        );
        assert_eq!(seen(&[("PMI_RANK", "4"), ("PMI_LOCAL_RANK", "1")]), (4, Some(false), None));
        assert_eq!(seen(&[("FLUX_TASK_RANK", "3"), ("FLUX_TASK_LOCAL_ID", "0")]), (3, Some(true), None));
        assert_eq!(seen(&[("PMIX_RANK", "3"), ("PMIX_NAMESPACE", "a")]), (3, None, None));
        assert_eq!(seen(&[("PMI_RANK", "3"), ("PMI_SIZE", "9")]), (3, None, None));
        assert_eq!(rank(&[("SLURM_PROCID", "x"), ("SLURM_LOCALID", "0")]), None);
        assert_eq!(rank(&[("SLURM_PROCID", "1")]), None);
    }

    #[test]
    fn slurm_tells_the_ranks_of_each_node() {
        let size = |node: &str, tasks: &str| {
            let variables = [
                ("SLURM_PROCID", "7"),
                ("SLURM_LOCALID", "1"),
                ("SLURM_NODEID", node),
                ("SLURM_STEP_TASKS_PER_NODE", tasks),
            ];
            rank(&variables).expect("a rank").expected
        };
        assert_eq!([size("0", "4"), size("1", "2(x3),1"), size("3", "2(x3),1")], [Some(4), Some(2), Some(1)]);
        assert_eq!([size("4", "2(x3),1"), size("0", "many")], [None, None]);
    }

    #[test]
    fn jobs_and_steps_do_not_meet() {
        let meeting = |step: &str| {
            let variables = [
                ("SLURM_PROCID", "0"),
                ("SLURM_LOCALID", "0"),
                ("SLURM_JOB_ID", "17"),
                ("SLURM_STEP_ID", step),
            ];
            rank(&variables).expect("a rank").meeting
        };
        assert_eq!(meeting("0"), meeting("0"));
        assert_ne!(meeting("0"), meeting("1"));
        assert_ne!(super::meeting("record", "PMI_RANK", "1"), super::meeting("spindle", "PMI_RANK", "1"));
        assert!(meeting("0").len() < 64, "the name of a socket is short");
    }
}
