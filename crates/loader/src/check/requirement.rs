//! The requirements of an image on the host's drivers.
//!
//! Constraints have the syntax and meaning of NVIDIA's container runtime (libnvidia-container). Spaces separate
//! alternatives, and commas separate the conditions of one alternative.

use std::cmp::Ordering;

use crate::check::{Finding, Host, Impact, Remark};
use crate::elf::{Class, Machine};
use crate::host::{Drivers, NvidiaDriver};
use crate::loader::SealedFiles;
use crate::spec::{Requirement, Specification};

/// The libraries of each capability in `NVIDIA_DRIVER_CAPABILITIES`, which programs open by name.
const CAPABILITIES: &[(&str, &[&str])] = &[
    ("compute", &["libcuda.so.1"]),
    ("utility", &["libnvidia-ml.so.1"]),
    ("video", &["libnvcuvid.so.1", "libnvidia-encode.so.1"]),
    ("graphics", &["libGLX_nvidia.so.0", "libEGL_nvidia.so.0"]),
];

/// Returns findings about the requirements that the host does not meet.
pub(super) fn findings(specification: &Specification, files: &SealedFiles<'_>, host: &Host) -> Vec<Finding> {
    let requirements = specification.image.iter().flat_map(|image| &image.requirements);
    let requirements: Vec<&Requirement> = requirements.collect();
    let found = |(impact, remark)| Finding::remark(impact, remark, specification.subjects.clone());
    let unknown = requirements.iter().filter(|requirement| ***requirement == Requirement::Unknown);
    let mut findings: Vec<Finding> =
        unknown.map(|_| found((Impact::Undecided, Remark::RequirementUnknown {}))).collect();
    let asked: Vec<String> = requirements.iter().copied().filter_map(shown).collect();
    if asked.is_empty() {
        return findings;
    }
    let drivers = host.drivers();
    findings.extend(drivers.as_ref().and_then(trouble).map(found));
    match drivers.map(|drivers| drivers.nvidia) {
        None => findings.push(found((Impact::Undecided, Remark::DriversUnknown { asked }))),
        Some(None) => findings.push(found((Impact::Misbehaves, Remark::DriverMissing { asked }))),
        Some(Some(driver)) => {
            let unmet = requirements.iter().filter_map(|requirement| match requirement {
                Requirement::NvidiaConstraint { variable, constraint } => {
                    constraint_finding(variable, constraint, &driver)
                }
                Requirement::NvidiaCapability { capability } => {
                    capability_finding(capability, specification, files)
                }
                Requirement::Unknown => None,
            });
            findings.extend(unmet.map(found));
        }
    }
    findings
}

/// Returns a requirement as text.
fn shown(requirement: &Requirement) -> Option<String> {
    match requirement {
        Requirement::NvidiaConstraint { variable, constraint } => Some(format!("{variable}={constraint}")),
        Requirement::NvidiaCapability { capability } => Some(format!("capability {capability}")),
        Requirement::Unknown => None,
    }
}

/// Returns a finding if an installed driver lacks its kernel module or its device nodes. If the modules of the
/// host are not known (a root without `/proc`), it can have both.
fn trouble(drivers: &Drivers) -> Option<(Impact, Remark)> {
    // The Windows driver in the Windows Subsystem for Linux.
    const OTHER_DRIVER: &str = "/dev/dxg";
    let driver = drivers.nvidia.as_ref()?.version.clone();
    let has = |beginning: &str| drivers.devices.iter().any(|device| device.starts_with(beginning));
    if drivers.modules.is_empty() || has(OTHER_DRIVER) {
        return None;
    }
    if !drivers.modules.iter().any(|module| module == "nvidia") {
        return Some((Impact::Misbehaves, Remark::DriverNotLoaded { driver }));
    }
    // A privileged container runtime creates them on first use.
    (!has("/dev/nvidia")).then_some((Impact::Warning, Remark::DeviceMissing { driver }))
}

fn constraint_finding(variable: &str, constraint: &str, driver: &NvidiaDriver) -> Option<(Impact, Remark)> {
    let impact = match alternatives(constraint, driver) {
        Some(true) => return None,
        // The container runtime refuses to start the container.
        Some(false) => Impact::DoesNotStart,
        None => Impact::Undecided,
    };
    let remark = Remark::DriverConstraint {
        variable: variable.to_owned(),
        constraint: constraint.to_owned(),
        driver: driver.version.clone(),
        cuda: driver.cuda.clone(),
        unmet: conditions_that(constraint, driver, Some(false)),
        unknown: conditions_that(constraint, driver, None),
    };
    Some((impact, remark))
}

fn capability_finding(
    capability: &str,
    specification: &Specification,
    files: &SealedFiles<'_>,
) -> Option<(Impact, Remark)> {
    let machine = specification.objects.first().and_then(|object| Machine::from_name(&object.machine));
    let (_, libraries) = CAPABILITIES.iter().find(|(name, _)| *name == capability)?;
    let missing = libraries.iter().find(|library| {
        !files.is_on_host(library, machine.unwrap_or_else(Machine::of_this_program), Class::Elf64)
    })?;
    let (capability, library) = (capability.to_owned(), (*missing).to_owned());
    Some((Impact::Misbehaves, Remark::DriverLibraryMissing { capability, library }))
}

/// Returns the conditions of all alternatives that have this result.
fn conditions_that(constraint: &str, driver: &NvidiaDriver, known: Option<bool>) -> Vec<String> {
    let all = constraint.split([' ', ',']).map(str::trim).filter(|text| !text.is_empty());
    let mut conditions: Vec<String> =
        all.filter(|text| condition(text, driver) == known).map(str::to_owned).collect();
    conditions.dedup();
    conditions
}

/// Returns whether one of the alternatives holds, or `None` if this could not be decided.
fn alternatives(constraint: &str, driver: &NvidiaDriver) -> Option<bool> {
    let all: Vec<Option<bool>> = constraint.split_whitespace().map(|all| conditions(all, driver)).collect();
    match () {
        () if all.is_empty() || all.contains(&Some(true)) => Some(true),
        () if all.contains(&None) => None,
        () => Some(false),
    }
}

/// Returns whether all conditions hold.
fn conditions(list: &str, driver: &NvidiaDriver) -> Option<bool> {
    let all: Vec<Option<bool>> =
        list.split(',').filter(|c| !c.is_empty()).map(|c| condition(c, driver)).collect();
    match () {
        () if all.contains(&Some(false)) => Some(false),
        () if all.contains(&None) => None,
        () => Some(true),
    }
}

/// Returns whether a condition such as `cuda>=12.2` holds. The driver's files do not show the architecture and
/// brand of the GPU, so conditions on them return `None`.
fn condition(text: &str, driver: &NvidiaDriver) -> Option<bool> {
    const OPERATORS: [&str; 6] = [">=", "<=", "!=", "=", ">", "<"];
    let operator = OPERATORS.iter().find(|operator| text.contains(**operator))?;
    let (property, wanted) = text.split_once(operator)?;
    let actual = match property {
        "cuda" => driver.cuda.as_deref().unwrap_or("0"),
        "driver" => &driver.version,
        _ => return None,
    };
    let order = compare(actual, wanted, matches!(*operator, "=" | "!="))?;
    Some(match *operator {
        ">=" => order != Ordering::Less,
        "<=" => order != Ordering::Greater,
        "!=" => order != Ordering::Equal,
        "=" => order == Ordering::Equal,
        ">" => order == Ordering::Greater,
        _ => order == Ordering::Less,
    })
}

/// Compares versions number by number. Missing numbers are zero, or with `prefix`, numbers that `wanted` lacks are
/// ignored.
fn compare(actual: &str, wanted: &str, prefix: bool) -> Option<Ordering> {
    let numbers =
        |text: &str| text.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
    let (mut actual, mut wanted) = (numbers(actual)?, numbers(wanted)?);
    let length = if prefix { wanted.len() } else { actual.len().max(wanted.len()) };
    actual.resize(length, 0);
    wanted.resize(length, 0);
    Some(actual.cmp(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(constraint: &str) -> Option<bool> {
        alternatives(constraint, &NvidiaDriver::of_version("535.104.05"))
    }

    #[test]
    fn alternatives_are_separated_by_spaces_and_conditions_by_commas() {
        assert_eq!(holds("cuda>=12.2"), Some(true));
        assert_eq!(holds("cuda>=12.4"), Some(false));
        assert_eq!(holds("cuda>=12.4 driver>=470,driver<471"), Some(false));
        assert_eq!(holds("cuda>=12.4 driver>=535,driver<536"), Some(true));
        assert_eq!(holds("driver=535"), Some(true));
        assert_eq!(holds("driver!=535.104.05"), Some(false));
        assert_eq!(holds(""), Some(true));
    }

    #[test]
    fn a_driver_without_its_module_or_devices_is_trouble() {
        let drivers = |modules: &[&str], devices: &[&str]| Drivers {
            nvidia: Some(NvidiaDriver::of_version("535.104.05")),
            modules: modules.iter().map(|name| (*name).to_owned()).collect(),
            devices: devices.iter().map(|name| (*name).to_owned()).collect(),
        };
        let impact = |drivers: &Drivers| trouble(drivers).map(|(impact, _)| impact);
        assert_eq!(impact(&drivers(&["ext4", "nvidia"], &["/dev/nvidia0"])), None);
        assert_eq!(impact(&drivers(&["ext4", "nvidia"], &[])), Some(Impact::Warning));
        assert_eq!(impact(&drivers(&["ext4"], &[])), Some(Impact::Misbehaves));
        assert_eq!(impact(&drivers(&["ext4"], &["/dev/dxg"])), None);
        assert_eq!(impact(&drivers(&[], &[])), None);
    }

    #[test]
    fn what_the_files_do_not_tell_decides_only_where_nothing_else_does() {
        assert_eq!(holds("cuda>=12.4 brand=tesla,driver>=535,driver<536"), None);
        assert_eq!(holds("cuda>=12.4 brand=tesla,driver>=470,driver<471"), Some(false));
        assert_eq!(holds("cuda>=12.0 brand=tesla"), Some(true));
        assert_eq!(holds("nonsense"), None);
        assert_eq!(holds("cuda>=new"), None);
    }
}
