//! Documents of compat-lib 0.0.1, which list only names.

use crate::check::Host;
use crate::check::report::Report;
use crate::elf::Class;
use crate::host::DynamicLoader;
use crate::loader::Application;
use crate::spec::{Object, ObjectKind, Specification, attribute};

/// Checks whether a program that needs exactly the listed libraries would load.
pub(super) fn check(specification: &Specification, host: &Host) -> Report {
    let mut report = Report::new(host.summary());
    let names = attribute::library_names(&specification.attributes);
    // The closure contains the name of the kernel's object, which is not a file.
    let libraries: Vec<&str> = names.into_iter().filter(|name| !is_kernels_own(name)).collect();
    if libraries.is_empty() {
        return report.concluded();
    }
    let executable = specification.attributes.get(attribute::EXECUTABLE_NAME);
    let subject = executable.cloned().unwrap_or_else(|| "application".to_owned());
    let imagined = imagined_program(&subject, &libraries, host);
    report.add_application(&Application::of_specification(&imagined), host, false, None);
    report.add_names_only(libraries.len());
    report.concluded()
}

fn is_kernels_own(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.starts_with("linux-vdso.so") || file.starts_with("linux-gate.so")
}

/// Returns a program of this host's machine that needs the given libraries.
fn imagined_program(name: &str, libraries: &[&str], host: &Host) -> Specification {
    let machine = host.environment.platform.machine;
    let wants_musl =
        libraries.iter().any(|library| library.contains("ld-musl-") || library.starts_with("libc.musl-"));
    let interpreter = if wants_musl {
        Some(DynamicLoader::usual_musl_path(machine))
    } else {
        DynamicLoader::usual_path(machine, Class::Elf64, host.environment.platform.big_endian)
            .map(str::to_owned)
    };
    let object = Object {
        interpreter,
        needed: libraries.iter().map(|library| (*library).to_owned()).collect(),
        big_endian: host.environment.platform.big_endian,
        ..Object::new(name, ObjectKind::Executable, &machine.to_string(), Class::Elf64.bits())
    };
    Specification { subjects: vec![name.to_owned()], objects: vec![object], ..Specification::new() }
}
