//! Each remark of a report in a sentence.

use super::names;
use super::problem::whole;
use crate::app::wording;
use compat_loader::check::Remark;
use compat_loader::loader::Unknown;

/// One remark in a sentence.
pub(super) fn describe(remark: &Remark) -> String {
    match remark {
        Remark::NamesOnly { names } => {
            format!("the document has nothing but {names} names: versions and symbols were not compared")
        }
        Remark::SourceFailed { source, reason, .. } => format!("{source} could not be read: {reason}"),
        Remark::FindingsLeftOut { count } => {
            format!("and {}", wording::count(*count as u64, "more finding"))
        }
        Remark::DriverMissing { asked } => format!(
            "the image asks for NVIDIA's driver ({}), and there is none here: it would start without a GPU",
            asked.join("; ")
        ),
        Remark::DriversUnknown { asked } => {
            format!("nothing is known of the drivers here, and the image asks for {}", asked.join("; "))
        }
        Remark::DriverConstraint { variable, constraint, driver, cuda, .. } => {
            let cuda = cuda.as_deref().map(|cuda| format!(", up to CUDA {cuda}")).unwrap_or_default();
            format!("the image asks for {variable}={constraint}, the driver here is {driver}{cuda}")
        }
        Remark::DriverNotLoaded { driver } => format!(
            "NVIDIA's driver {driver} is installed here, but its kernel module is not loaded: no GPU would be found"
        ),
        Remark::DeviceMissing { driver } => format!(
            "there is no /dev/nvidia* here, though NVIDIA's driver {driver} is loaded: it is made at the first use by \
             who may (nvidia-modprobe)"
        ),
        Remark::DriverLibraryMissing { capability, library } => {
            format!("{library} of NVIDIA's driver is not here, the image asks for capability {capability}")
        }
        Remark::NewerDocument { version } => format!(
            "the specification has version {version}, and may say something that this compat does not know: use a newer one"
        ),
        Remark::RequirementUnknown {} => {
            "the document asks something of the host that this program does not know: a newer one may"
                .to_owned()
        }
        Remark::NothingToCheck {} => "the document names nothing that can be checked".to_owned(),
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
                    format!("libraries were loaded {times} by a program that the recording does not tell")
                }
                Unknown::Gone => format!(
                    "{program} was executed {times} and was gone when the document was made: what it needs is not known"
                ),
                Unknown::OwnLoader => format!(
                    "{program} loaded libraries {times} by itself: it is linked statically, or a dynamic loader, and \
                     how it would search for them here is not known"
                ),
            }
        }
        Remark::PassedOver(passed) => passed.sentence(),
        Remark::LeftToSearch { library, path } => format!(
            "{library} is {path}, where what needs it does not look: the program that loads or starts that has to load \
             {library} first, or to set LD_LIBRARY_PATH"
        ),
        Remark::LeftToProgram { object, symbols } => {
            let listed = names(symbols.iter().map(String::as_str));
            format!("{object} leaves {listed} to the program that loads it")
        }
    }
}

/// In how many of the recorded runs.
pub(super) fn times(seen: u32, runs: u32) -> String {
    match (seen, runs) {
        (1, 1) => "in the recorded run".to_owned(),
        _ if seen >= runs => format!("in each of {runs} recorded runs"),
        _ => format!("in {seen} of {runs} recorded runs"),
    }
}
