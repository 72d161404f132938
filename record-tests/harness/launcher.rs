//! Ranks of a parallel job as a launcher starts them: with its variables, in any order.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::recorder::{COMPAT, log};

/// The variables of a rank: its number, and how many there are; all are on this node.
pub type Variables = fn(u32, u32) -> Vec<(&'static str, String)>;

/// The variables that Open MPI sets.
pub fn open_mpi(rank: u32, size: u32) -> Vec<(&'static str, String)> {
    vec![
        ("OMPI_COMM_WORLD_RANK", (rank + 10).to_string()),
        ("OMPI_COMM_WORLD_LOCAL_RANK", rank.to_string()),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", size.to_string()),
    ]
}

/// The variables that Hydra sets, which MPICH and Intel MPI start with.
pub fn hydra(rank: u32, size: u32) -> Vec<(&'static str, String)> {
    vec![
        ("PMI_RANK", (rank + 10).to_string()),
        ("MPI_LOCALRANKID", rank.to_string()),
        ("MPI_LOCALNRANKS", size.to_string()),
    ]
}

/// The variables that Slurm sets.
pub fn slurm(rank: u32, size: u32) -> Vec<(&'static str, String)> {
    vec![
        ("SLURM_PROCID", (rank + 10).to_string()),
        ("SLURM_LOCALID", rank.to_string()),
        ("SLURM_NODEID", "1".to_owned()),
        ("SLURM_STEP_TASKS_PER_NODE", format!("10,{size}")),
    ]
}

/// The variables that Flux sets, which do not tell how many ranks the node has.
pub fn flux(rank: u32, _size: u32) -> Vec<(&'static str, String)> {
    vec![("FLUX_TASK_RANK", (rank + 10).to_string()), ("FLUX_TASK_LOCAL_ID", rank.to_string())]
}

/// The variable that PMIx sets, which does not tell who leads.
pub fn pmix(rank: u32, _size: u32) -> Vec<(&'static str, String)> {
    vec![("PMIX_RANK", (rank + 10).to_string())]
}

/// One rank of a job, running `script`.
pub fn rank(directory: &Path, job: &str, variables: &[(&'static str, String)], script: &str) -> Command {
    let mut command = Command::new(COMPAT);
    command
        .args(["record", "--mpi", "--mpi-wait", "20", "-o"])
        .arg(log(directory))
        .args(["--", "sh", "-c", script]);
    command.current_dir(directory).env("COMPAT_RECORD_TEST", "1");
    for name in ["PMIX_NAMESPACE", "FLUX_JOB_ID", "PMI_JOBID"] {
        command.env(name, job);
    }
    command
        .env("SLURM_JOB_ID", job)
        .env("SLURM_STEP_ID", "0")
        .envs(variables.iter().map(|(name, value)| (*name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts ranks in this order, a moment apart.
pub fn start(directory: &Path, variables: Variables, order: &[u32], script: &str) -> Vec<(u32, Child)> {
    let job = directory.file_name().unwrap_or(OsStr::new("job")).to_string_lossy().into_owned();
    let size = order.len() as u32;
    let mut started = Vec::new();
    for number in order {
        let child = rank(directory, &job, &variables(*number, size), script).spawn().expect("it starts");
        started.push((*number, child));
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
    started.sort_by_key(|(number, _)| *number);
    started
}
