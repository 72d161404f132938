//! Sentences for problems that keep a program or script from starting or from being checked.

use compat_loader::check::{Finding, Matter, Report};
use compat_loader::loader::Problem;

/// Returns whether some commands of scripts were not checked.
pub(super) fn is_followed_in_part(report: &Report) -> bool {
    let is_it = |finding: &Finding| {
        matches!(
            finding.matter,
            Matter::Problem(Problem::ScriptNotFollowed { .. } | Problem::Interpreted { .. })
        )
    };
    report.findings.iter().any(is_it)
}

/// Returns one such problem as a sentence.
pub(super) fn describe(problem: &Problem) -> String {
    match problem {
        Problem::InterpreterMissing { object, interpreter, .. } if interpreter.ends_with('\r') => {
            format!(
                "{object} has Windows line endings: its interpreter is {interpreter:?}, which does not exist"
            )
        }
        Problem::ProgramMissing { object, program, .. } if program.ends_with('\r') => {
            format!("{object} has Windows line endings: env looks for {program:?}, which does not exist")
        }
        Problem::WrongMachine { object, machine, host } => {
            format!("{object} is for {machine}, but the host is {host}")
        }
        Problem::NotAProgram { object, reason } => format!("{object} cannot be started: {reason}"),
        Problem::InterpreterMissing { object, interpreter, reason } => {
            format!("{interpreter}, the interpreter of {object}, cannot be used: {reason}")
        }
        Problem::InterpreterUnknown { object, interpreter } => {
            format!(
                "{object} is started by {interpreter}, which is neither glibc's nor musl's loader: its libraries \
                 were not checked"
            )
        }
        Problem::ScriptTooDeep { object } => {
            format!("{object} has more than five levels of script interpreters that are scripts themselves")
        }
        Problem::ScriptFails { object, reason } => {
            format!("the first line of {object} does not start it: {reason}")
        }
        Problem::ScriptNotFollowed { object, interpreter, started } => match started {
            Some(started) => {
                format!("{object} ends with {started}, which was checked, but its other commands were not")
            }
            None => format!("{object} is a script for {interpreter}: its commands were not checked"),
        },
        Problem::Interpreted { object, what, missing: true } => {
            format!("{what}, which {object} is to run, is not in the image")
        }
        Problem::Interpreted { object, what, missing: false } => {
            format!("{object} starts, but {what}, which it is to run, was not checked")
        }
        Problem::ProgramMissing { object, program, by_script, .. } => {
            let by = if *by_script { "starts" } else { "runs through env" };
            let place = if program.contains('/') { "does not exist" } else { "is not in PATH" };
            format!("{program}, which {object} {by}, {place}")
        }
        Problem::Emulated { object, machine, handler, known } => {
            let what = if *known { "" } else { ", so its libraries were not checked" };
            format!(
                "{object} is for {machine}: the kernel starts it in the emulator {handler} (binfmt_misc){what}"
            )
        }
        Problem::CpuUnknown { object, wanted } => {
            format!(
                "{object} was built with {wanted}: whether the host's CPU supports it could not be decided"
            )
        }
        Problem::Packed { object, packer } => {
            format!("{object} is packed by {packer}: the program inside was not checked")
        }
        _ => String::new(),
    }
}

/// Returns lines that help to find the cause.
pub(super) fn details(problem: &Problem) -> Vec<String> {
    match problem {
        Problem::Packed { packer, .. } => vec![way_out(packer).to_owned()],
        Problem::Interpreted { missing: true, .. } => {
            vec![
                "it may be mounted when the container starts, or the working directory may be different"
                    .to_owned(),
            ]
        }
        Problem::ScriptNotFollowed { started: None, .. } | Problem::Interpreted { .. } => {
            vec![
                "check the programs that it starts as well (of an image, with --executable PATH), or record a run \
                 (compat record)"
                    .to_owned(),
            ]
        }
        Problem::InterpreterMissing { interpreter: name, .. }
        | Problem::ProgramMissing { program: name, .. }
            if name.ends_with('\r') =>
        {
            vec!["convert the line endings: dos2unix FILE, or sed -i 's/\\r$//' FILE".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// Returns advice for checking the program that a packed program contains.
fn way_out(packer: &str) -> &'static str {
    match packer {
        "UPX" => "unpack it and check the result: upx -d -o OUT FILE",
        "AppImage" => "unpack it and check the directory: FILE --appimage-extract",
        _ => "record a run (compat record), and check the output of compat gen --from-recording",
    }
}
