//! Prints messages during a run.

use crate::cli::Context;
use compat_mirror::enter::Ready;
use compat_mirror::record::News;

/// Prints the ways to enter the mirror on standard output if `waits` is set, and the rest on standard error.
pub(in crate::cli) fn print(news: &News<'_>, waits: bool, context: &Context) {
    match news {
        // A failed write is ignored: the mount table shows the mirror, too.
        News::Ready(ready) => {
            warn_of_missing(ready, waits, context);
            if waits {
                drop(context.print(&how_to_enter(ready)));
            }
        }
        News::StillInside(processes) => {
            let numbers: Vec<String> = processes.iter().map(u32::to_string).collect();
            context.warn(&format!("sent SIGTERM to processes that are still in the mirror: {}", numbers.join(", ")));
        }
        News::RanksMissing { came, expected } => {
            context.warn(&format!("only {came} of {expected} ranks of this node joined the recording"));
        }
        News::ProcessesRefused { refused, most } => context.warn(&format!(
            "the limit of {most} processes and threads was reached, and {refused} were refused; the recorder needs two \
             for each mounted file system: start the container with a higher `--pids-limit`"
        )),
    }
}

/// Warns if other users can reach the mirror but cannot use it.
fn warn_of_missing(ready: &Ready<'_>, waits: bool, context: &Context) {
    let missing = ready.missing_for_others();
    if (waits || ready.place.is_some()) && !missing.is_empty() {
        let options: Vec<String> = missing.iter().map(|name| format!("--cap-add {name}")).collect();
        context.warn(&format!(
            "only root can use the mirror: without the capabilities {} it cannot serve other users; start the container \
             with `{}`",
            missing.join(" and "),
            options.join(" ")
        ));
    }
}

fn how_to_enter(ready: &Ready<'_>) -> String {
    let process = ready.process;
    // The root of the mirror cannot be opened from outside its user namespace. It is the root of that namespace.
    let how = if ready.as_user { "--user --preserve-credentials --mount" } else { "--mount --root --wd" };
    let mut text = format!("nsenter --target {process} {how} COMMAND\n");
    if let Some(place) = ready.place {
        text.push_str(&format!("chroot {} COMMAND\n", place.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_way_in_is_one_line() {
        let ready = Ready { process: 71, place: Some(Path::new("/run/m")), as_user: false };
        insta::assert_snapshot!(how_to_enter(&ready), @"
        nsenter --target 71 --mount --root --wd COMMAND
        chroot /run/m COMMAND
        ");
        let ready = Ready { process: 71, place: None, as_user: true };
        insta::assert_snapshot!(how_to_enter(&ready), @"
        nsenter --target 71 --user --preserve-credentials --mount COMMAND
        ");
    }
}
