//! Prints messages during a run.

use std::path::Path;

use compat_mirror::enter::Share;
use compat_mirror::record;
use compat_mirror::spindle::{Coherence, News, Warning};

use super::text::{count, size};
use crate::app::Failure;
use crate::cli::Context;
use crate::cli::report::printable;

/// Prints a message. `waits` is set if the mirror stays after the command.
pub(super) fn print(news: &News<'_>, waits: bool, context: &Context) {
    let news = match news {
        News::Ready(ready) => {
            if waits {
                context.warn(&match ready.place {
                    Some(place) => format!("the mirror stays at {} until SIGTERM or SIGINT", place.display()),
                    None => "no other process can enter the mirror: it cannot be mounted outside".to_owned(),
                });
            }
            record::News::Ready(ready)
        }
        News::StillInside(processes) => record::News::StillInside(processes),
        News::RanksMissing { came, expected } => {
            record::News::RanksMissing { came: *came, expected: *expected }
        }
        News::Cache { directory, limit } => return cache(directory, *limit, context),
        News::Warning(warning) => return context.warn(&self::warning(warning)),
    };
    crate::cli::record::print_news(&news, false, context);
}

fn cache(directory: &Path, limit: u64, context: &Context) {
    if context.verbosity > 0 {
        context.warn(&format!("the cache is {}, at most {}", directory.display(), size(limit)));
    }
}

/// A warning as text, with the consequence and the way out.
fn warning(warning: &Warning) -> String {
    match warning {
        Warning::NoCache(error) => {
            let failure = Failure::undecided(error).with_hint(error.hint());
            let hint = failure.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}: contents are read from the share{hint}", failure.message)
        }
        Warning::KeptInUse => {
            "another run uses the kept cache: this run has its own, which is not kept".to_owned()
        }
        Warning::Index(error) => {
            format!("{}: all files are looked at again", Failure::undecided(error).message)
        }
        Warning::Full(opens) => format!(
            "the cache is full: {} read the share (choose a larger --cache-size)",
            count(*opens, "open")
        ),
        Warning::Failed(opens) => format!(
            "the cache could not be read or written: {} read the share (check the disk of --cache-dir)",
            count(*opens, "open")
        ),
        Warning::Corrupt(objects) => format!(
            "the digest of {} in the cache was wrong, so the share was read again (check the disk of --cache-dir)",
            count(*objects, "file")
        ),
        Warning::Stalled(questions) => format!(
            "the share did not answer {} in time: what was known was used instead",
            count(*questions, "question")
        ),
    }
}

/// Prints with `-v` the cached directories and the mode of coherence.
pub(super) fn shares(shares: &[Share], coherence: Coherence, context: &Context) {
    if context.verbosity == 0 {
        return;
    }
    for share in shares {
        context.warn(&format!("caching {}", described(share)));
    }
    context.warn(&match coherence {
        Coherence::Session => "coherence session: changes of the share are not seen".to_owned(),
        Coherence::CloseToOpen(time) => {
            format!("coherence close-to-open: changes of the share are seen after {time:?}")
        }
        Coherence::Strict => "coherence strict: changes of the share are seen at once".to_owned(),
    });
}

/// Prints with `-v` the network file systems that are never cached.
pub(super) fn never_cached(shares: &[Share], context: &Context) {
    if context.verbosity > 0 {
        for share in shares {
            context.warn(&format!("not caching {}: only its own client may read it", described(share)));
        }
    }
}

/// A share on one line: `/software (nfs4 from server:/export)`.
pub(super) fn described(share: &Share) -> String {
    let source = if share.source.is_empty() { String::new() } else { format!(" from {}", share.source) };
    printable(&format!("{} ({}{source})", share.place.display(), share.kind))
}

#[cfg(test)]
mod tests {
    use compat_mirror::spindle::store::StoreError;

    use super::*;

    #[test]
    fn a_warning_has_the_consequence_and_the_way_out() {
        let source = std::io::Error::from_raw_os_error(30);
        let no_cache = Warning::NoCache(StoreError::Unusable { path: "/cache".into(), source });
        let all =
            [no_cache, Warning::KeptInUse, Warning::Full(2100), Warning::Corrupt(1), Warning::Stalled(3)];
        insta::assert_snapshot!(all.each_ref().map(warning).join("\n"), @"
        cannot use /cache for the cache: Read-only file system: contents are read from the share (use --cache-dir with a directory on a writable disk of this node that has free space)
        another run uses the kept cache: this run has its own, which is not kept
        the cache is full: 2,100 opens read the share (choose a larger --cache-size)
        the digest of 1 file in the cache was wrong, so the share was read again (check the disk of --cache-dir)
        the share did not answer 3 questions in time: what was known was used instead
        ");
    }

    #[test]
    fn a_share_does_not_steer_the_terminal() {
        let share = Share {
            place: "/data".into(),
            kind: "nfs4".to_owned(),
            source: "server:/x\u{1b}[2J".to_owned(),
            network: true,
        };
        assert_eq!(described(&share), r"/data (nfs4 from server:/x\u{1b}[2J)");
        assert_eq!(described(&Share { source: String::new(), ..share }), "/data (nfs4)");
    }
}
