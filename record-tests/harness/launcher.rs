//! Ranks of a parallel job, started like a launcher starts them: with its variables, in any order.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::recorder::{COMPAT, log};

/// The variables of a rank, from its number and the number of ranks. All ranks are on this node.
pub type Variables = fn(u32, u32) -> Vec<(&'static str, String)>;

/// Returns the variables that Open MPI sets.
pub fn open_mpi(rank: u32, size: u32) -> Vec<(&'static str, String)> {
    vec![
        ("OMPI_COMM_WORLD_RANK", (rank + 10).to_string()),
        ("OMPI_COMM_WORLD_LOCAL_RANK", rank.to_string()),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", size.to_string()),
    ]
}

/// Returns the variables that Hydra sets, the launcher of MPICH and Intel MPI.
pub fn hydra(rank: u32, size: u32) -> Vec<(&'static str, String)> {
    vec![
        ("PMI_RANK", (rank + 10).to_string()),
        ("MPI_LOCALRANKID", rank.to_string()),
        ("MPI_LOCALNRANKS", size.to_string()),
    ]
}

/// Returns the variables that Slurm sets.
pub fn slurm(rank: u32, size: u32) -> Vec<(&'static str, String)> {
    vec![
        ("SLURM_PROCID", (rank + 10).to_string()),
        ("SLURM_LOCALID", rank.to_string()),
        ("SLURM_NODEID", "1".to_owned()),
        ("SLURM_STEP_TASKS_PER_NODE", format!("10,{size}")),
    ]
}

/// Returns the variables that Flux sets. They do not contain the number of ranks on the node.
pub fn flux(rank: u32, _size: u32) -> Vec<(&'static str, String)> {
    vec![("FLUX_TASK_RANK", (rank + 10).to_string()), ("FLUX_TASK_LOCAL_ID", rank.to_string())]
}

/// Returns the variable that PMIx sets. It does not show which rank leads.
pub fn pmix(rank: u32, _size: u32) -> Vec<(&'static str, String)> {
    vec![("PMIX_RANK", (rank + 10).to_string())]
}

/// Returns one rank of a job that runs `script`.
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

/// Starts ranks in this order with short pauses.
pub fn start(directory: &Path, variables: Variables, order: &[u32], script: &str) -> Vec<(u32, Child)> {
    let job = directory.file_name().unwrap_or(OsStr::new("job")).to_string_lossy().into_owned();
    let size = order.len() as u32;
    let mut started = Vec::new();
    for number in order {
        let child =
            rank(directory, &job, &variables(*number, size), script).spawn().expect("the program starts");
        started.push((*number, child));
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
    started.sort_by_key(|(number, _)| *number);
    started
}
