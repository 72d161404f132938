//! Progress on standard error while `compat` talks to a registry: requests with `-v`, their headers with
//! `-vv`, notes, and a progress bar if the transfer takes longer than a moment.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Context, failure};
use crate::app::{self, Failure};
use crate::cli::report::printable;
use compat_oci::Observer;
use compat_oci::observer::{RequestEvent, ResponseEvent};

/// The delay before the progress bar appears.
const MOMENT: Duration = Duration::from_millis(700);

/// An observer that prints progress.
#[derive(Debug)]
pub(super) struct Display {
    context: Context,
    task: Mutex<Task>,
}

/// The progress of one task. Each task has its own bar.
#[derive(Debug)]
struct Task {
    start: Option<Instant>,
    expected: u64,
    done: u64,
    bar: Option<ProgressBar>,
}

impl Task {
    fn new() -> Self {
        Self { start: None, expected: 0, done: 0, bar: None }
    }

    /// Draws the bar if the task has taken longer than [`MOMENT`].
    fn draw(&mut self) {
        if self.start.get_or_insert_with(Instant::now).elapsed() < MOMENT {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{spinner} {bytes} of {total_bytes} {bytes_per_sec}");
            style.into_iter().for_each(|style| bar.set_style(style));
            bar
        });
        bar.set_length(self.expected.max(self.done));
        bar.set_position(self.done);
        bar.tick();
    }
}

impl Display {
    /// Creates a display that prints as much as the context allows.
    pub(super) fn new(context: &Context) -> Self {
        Self { context: context.clone(), task: Mutex::new(Task::new()) }
    }

    fn task(&self) -> MutexGuard<'_, Task> {
        // The counters are consistent between statements, so a panic elsewhere leaves nothing half done.
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) {
        if self.context.progress {
            self.task().draw();
        }
    }

    /// Calls `print` while the bar is hidden.
    fn aside(&self, print: impl FnOnce()) {
        match &self.task().bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn say(&self, line: &str) {
        // A closed standard error is no reason to stop.
        self.aside(|| {
            let _ = writeln!(anstream::stderr(), "{line}");
        });
    }

    fn headers(&self, sign: char, headers: &[(String, String)]) {
        if self.context.verbosity > 1 {
            for (name, value) in headers {
                self.say(&printable(&format!("{sign}   {name}: {value}")));
            }
        }
    }
}

impl Observer for Display {
    fn request(&self, event: &RequestEvent<'_>) {
        if self.context.verbosity > 1 {
            self.say(&printable(&format!("> {} {}", event.method, event.url)));
            self.headers('>', event.headers);
        }
        self.draw();
    }

    fn response(&self, event: &ResponseEvent<'_>) {
        if self.context.verbosity > 0 {
            let status = event.status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
            let elapsed = event.elapsed.as_millis();
            let line = format!("{} {} -> {status} ({elapsed} ms)", event.method, event.url);
            self.say(&printable(&line));
            self.headers('<', event.headers);
        }
        self.draw();
    }

    fn note(&self, text: &str) {
        if !self.context.quiet {
            let yellow = anstyle::AnsiColor::Yellow.on_default();
            self.say(&format!("{yellow}note{yellow:#}: {}", printable(text)));
        }
    }

    fn expect(&self, bytes: u64) {
        self.task().expected += bytes;
    }

    fn transferred(&self, bytes: u64) {
        self.task().done += bytes;
        self.draw();
    }
}

impl app::Observer for Display {
    fn warn(&self, text: &str) {
        self.aside(|| self.context.warn(text));
    }

    fn failed(&self, failure: &Failure) {
        self.aside(|| failure::print(failure));
    }

    fn finish(&self) {
        if let Some(bar) = std::mem::replace(&mut *self.task(), Task::new()).bar {
            bar.finish_and_clear();
        }
    }
}
