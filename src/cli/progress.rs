//! What is shown on standard error while a registry is talked to: requests with `-v`, their headers
//! with `-vv`, notes, and a progress bar when it takes more than a moment.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Context;
use compat_oci::Observer;
use compat_oci::observer::{RequestEvent, ResponseEvent};

/// How long nothing is shown.
const MOMENT: Duration = Duration::from_millis(700);

/// An observer that shows what happens.
#[derive(Debug)]
pub struct Display {
    verbosity: u8,
    quiet: bool,
    progress: bool,
    start: Instant,
    expected: AtomicU64,
    done: AtomicU64,
    bar: OnceLock<ProgressBar>,
    drawing: Mutex<()>,
}

impl Display {
    /// Shows as much as the context wants.
    pub fn new(context: &Context) -> Self {
        Self {
            verbosity: context.verbosity,
            quiet: context.quiet,
            progress: context.progress,
            start: Instant::now(),
            expected: AtomicU64::new(0),
            done: AtomicU64::new(0),
            bar: OnceLock::new(),
            drawing: Mutex::new(()),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }

    /// Draws the bar, once it has taken more than a moment.
    fn draw(&self) {
        if !self.progress || self.start.elapsed() < MOMENT {
            return;
        }
        let _one_at_a_time = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{spinner} {bytes} of {total_bytes} {bytes_per_sec}");
            style.into_iter().for_each(|style| bar.set_style(style));
            bar
        });
        bar.set_length(self.expected.load(Ordering::Relaxed).max(self.done.load(Ordering::Relaxed)));
        bar.set_position(self.done.load(Ordering::Relaxed));
        bar.tick();
    }

    fn say(&self, line: &str) {
        // Nobody to tell is no reason to stop.
        let print = || {
            let _ = writeln!(anstream::stderr(), "{line}");
        };
        match self.bar.get() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn headers(&self, sign: char, headers: &[(String, String)]) {
        if self.verbosity > 1 {
            for (name, value) in headers {
                self.say(&format!("{sign}   {name}: {value}"));
            }
        }
    }
}

impl Observer for Display {
    fn request(&self, event: &RequestEvent<'_>) {
        if self.verbosity > 1 {
            self.say(&format!("> {} {}", event.method, event.url));
            self.headers('>', event.headers);
        }
        self.draw();
    }

    fn response(&self, event: &ResponseEvent<'_>) {
        if self.verbosity > 0 {
            let status = event.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            let elapsed = event.elapsed.as_millis();
            self.say(&format!("{} {} -> {status} ({elapsed} ms)", event.method, event.url));
            self.headers('<', event.headers);
        }
        self.draw();
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            let yellow = anstyle::AnsiColor::Yellow.on_default();
            self.say(&format!("{yellow}note{yellow:#}: {text}"));
        }
    }

    fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    fn transferred(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.draw();
    }
}
