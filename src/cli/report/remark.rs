//! A sentence for each remark of a report.

use super::names;
use super::problem::whole;
use crate::app::wording;
use compat_loader::check::Remark;
use compat_loader::loader::Unknown;

/// Returns a remark as a sentence.
pub(super) fn describe(remark: &Remark) -> String {
    match remark {
        Remark::NamesOnly { names } => {
            format!(
                "the specification lists only {names} library names: versions and symbols were not compared"
            )
        }
        Remark::SourceFailed { source, reason, .. } => format!("{source} could not be read: {reason}"),
        Remark::FindingsLeftOut { count } => {
            format!(
                "{} not listed: fix the listed ones and check again",
                wording::count(*count as u64, "more finding")
            )
        }
        Remark::DriverMissing { asked } => format!(
            "the image requires NVIDIA's driver ({}), but the host does not have it: it would start without a GPU",
            asked.join("; ")
        ),
        Remark::DriversUnknown { asked } => {
            format!("the drivers of the host are not known, but the image requires {}", asked.join("; "))
        }
        Remark::DriverConstraint { variable, constraint, driver, cuda, .. } => {
            let cuda = cuda.as_deref().map(|cuda| format!(", up to CUDA {cuda}")).unwrap_or_default();
            format!("the image requires {variable}={constraint}, but the host's driver is {driver}{cuda}")
        }
        Remark::DriverNotLoaded { driver } => format!(
            "NVIDIA's driver {driver} is installed, but its kernel module is not loaded: load it with modprobe \
             nvidia"
        ),
        Remark::DeviceMissing { driver } => format!(
            "NVIDIA's driver {driver} is loaded, but /dev/nvidia* does not exist: a privileged process creates it on \
             first use (nvidia-modprobe)"
        ),
        Remark::DriverLibraryMissing { capability, library } => {
            format!(
                "{library} of NVIDIA's driver was not found, but the image requires the capability {capability}"
            )
        }
        Remark::NewerDocument { version } => format!(
            "the specification has version {version}, which this version does not fully understand; try a newer \
             compat"
        ),
        Remark::RequirementUnknown {} => {
            "the specification has a requirement that this version does not understand; try a newer compat"
                .to_owned()
        }
        Remark::NothingToCheck {} => "there is nothing to check".to_owned(),
        Remark::RecordedLibrary { library, program, seen, runs, problem } => {
            format!("{program} loaded {library} {}: {}", times(*seen, *runs), whole(problem))
        }
        Remark::RecordedProgram { program, seen, runs, problem } => {
            format!("{program} was executed {}: {}", times(*seen, *runs), whole(problem))
        }
        Remark::RecordedProgramUnknown { program, seen, runs, reason } => {
            let times = times(*seen, *runs);
            match reason {
                Unknown::Gone if program.is_empty() => {
                    format!("an unidentified program loaded libraries {times}")
                }
                Unknown::Gone => format!(
                    "{program} was executed {times} but no longer existed when the specification was made: its needs \
                     are not known"
                ),
                Unknown::OwnLoader => format!(
                    "{program} loaded libraries {times} by itself (it is linked statically or is a dynamic loader): \
                     its search path on this host is not known"
                ),
            }
        }
        Remark::PassedOver(passed) => passed.sentence(),
        Remark::LeftToSearch { library, path } => format!(
            "{library} is at {path}, which is not in the search path: the program that loads or starts these files \
             must load {library} first or set LD_LIBRARY_PATH"
        ),
        Remark::LeftToProgram { object, symbols } => {
            let listed = names(symbols.iter().map(String::as_str));
            format!("{object} needs {listed} from the program that loads it")
        }
    }
}

/// Returns the share of the recorded runs.
pub(super) fn times(seen: u32, runs: u32) -> String {
    match (seen, runs) {
        (1, 1) => "in the recorded run".to_owned(),
        _ if seen >= runs => format!("in each of {runs} recorded runs"),
        _ => format!("in {seen} of {runs} recorded runs"),
    }
}
