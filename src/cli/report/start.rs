//! What keeps a program or script from being started, or from being looked at, in words for people.

use compat_loader::check::{Finding, Matter, Report};
use compat_loader::loader::Problem;

/// Whether something was not looked at that a script does.
pub(super) fn is_followed_in_part(report: &Report) -> bool {
    let is_it = |finding: &Finding| {
        matches!(
            finding.matter,
            Matter::Problem(Problem::ScriptNotFollowed { .. } | Problem::Interpreted { .. })
        )
    };
    report.findings.iter().any(is_it)
}

/// One such problem in a sentence.
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
            format!("{object} is for {machine}, and this machine is {host}")
        }
        Problem::NotAProgram { object, reason } => format!("{object} cannot be started: {reason}"),
        Problem::InterpreterMissing { object, interpreter, reason } => {
            format!("{interpreter}, the interpreter of {object}, cannot be used here: {reason}")
        }
        Problem::InterpreterUnknown { object, interpreter } => {
            format!(
                "{interpreter} is started for {object}: it is neither glibc's loader nor musl's, and what it does was not \
                 looked at"
            )
        }
        Problem::ScriptTooDeep { object } => format!("{object} leads through more than five scripts"),
        Problem::ScriptFails { object, reason } => {
            format!("the first line of {object} does not start it: {reason}")
        }
        Problem::ScriptNotFollowed { object, interpreter, started } => match started {
            Some(started) => {
                format!("{object} ends with {started}, which was looked at; what else it does was not")
            }
            None => format!("{object} is a script: what {interpreter} does with it was not looked at"),
        },
        Problem::Interpreted { object, what, missing: true } => {
            format!("{what}, which {object} is told to run, is not in the image")
        }
        Problem::Interpreted { object, what, missing: false } => {
            format!("{object} starts; {what} is for it to run, and was not looked at")
        }
        Problem::ProgramMissing { object, program, by_script, .. } => {
            let by = if *by_script { "starts" } else { "runs by env" };
            let place = if program.contains('/') { "here" } else { "in PATH here" };
            format!("{program}, which {object} {by}, is not {place}")
        }
        Problem::Emulated { object, machine, handler, known } => {
            let what = if *known { "" } else { ", and what that does was not looked at" };
            format!("{object} is for {machine}: the kernel starts {handler} for it (binfmt_misc){what}")
        }
        Problem::CpuUnknown { object, wanted } => {
            format!("{object} was built with {wanted}, and it is not known whether this CPU has that")
        }
        Problem::Packed { object, packer } => {
            format!("{object} is packed by {packer}: what it unpacks was not looked at")
        }
        _ => String::new(),
    }
}

/// What helps to find the cause.
pub(super) fn details(problem: &Problem) -> Vec<String> {
    match problem {
        Problem::Packed { packer, .. } => vec![way_out(packer).to_owned()],
        Problem::Interpreted { missing: true, .. } => {
            vec![
                "it may be mounted when the image is run, or the working directory may be another".to_owned(),
            ]
        }
        Problem::ScriptNotFollowed { started: None, .. } | Problem::Interpreted { .. } => {
            vec!["name the programs that it starts, too, or record a run (compat record)".to_owned()]
        }
        Problem::InterpreterMissing { interpreter: name, .. }
        | Problem::ProgramMissing { program: name, .. }
            if name.ends_with('\r') =>
        {
            vec!["convert it: dos2unix FILE, or sed -i 's/\\r$//' FILE".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// How to look at what a program unpacks.
fn way_out(packer: &str) -> &'static str {
    match packer {
        "UPX" => "unpack it and check that: upx -d -o OUT FILE",
        "AppImage" => "unpack it and check the directory: FILE --appimage-extract",
        _ => "record a run (compat record), and check what gen --from-recording makes of it",
    }
}
