//! What is shown on standard error while a registry is talked to: requests with `-v`, their headers
//! with `-vv`, notes, and a progress bar when it takes more than a moment.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Context, failure};
use crate::app::{self, Failure};
use crate::cli::report::printable;
use compat_oci::Observer;
use compat_oci::observer::{RequestEvent, ResponseEvent};

/// How long nothing is shown.
const MOMENT: Duration = Duration::from_millis(700);

/// An observer that shows what happens.
#[derive(Debug)]
pub(super) struct Display {
    context: Context,
    task: Mutex<Task>,
}

/// What is shown of one task: each has its own bar.
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

    /// Draws the bar, once it has taken more than a moment.
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
    /// Shows as much as the context wants.
    pub(super) fn new(context: &Context) -> Self {
        Self { context: context.clone(), task: Mutex::new(Task::new()) }
    }

    fn task(&self) -> MutexGuard<'_, Task> {
        // The numbers are whole between statements, so a panic elsewhere leaves nothing half done.
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) {
        if self.context.progress {
            self.task().draw();
        }
    }

    /// Prints something while the bar is away.
    fn aside(&self, print: impl FnOnce()) {
        match &self.task().bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn say(&self, line: &str) {
        // Nobody to tell is no reason to stop.
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
            let status = event.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
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
