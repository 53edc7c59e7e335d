//! How far a command has got: a bar on a terminal, elsewhere a line on standard error every ten seconds.

use super::pace::{Pace, Teller, in_words, lock};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Between two redraws of a bar that does not move.
const REDRAW: Duration = Duration::from_millis(500);

/// Progress that is shown, or told.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    bar: ProgressBar,
    pace: Arc<Mutex<Pace>>,
    teller: Mutex<Option<Teller>>,
    quiet: bool,
}

impl Progress {
    /// Of `len` units of work, or of as many as will be said; nothing shows before.
    pub(super) fn new(len: u64, what: &'static str, quiet: bool) -> Self {
        let pace = Arc::new(Mutex::new(Pace { what, start: Instant::now(), from: 0, done: 0, total: 0, steps: 0 }));
        let bar = ProgressBar::new(len.max(1));
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let shared = pace.clone();
        let left = move |state: &ProgressState, out: &mut dyn Write| {
            let _ = lock(&shared).left(state.elapsed()).map_or(Ok(()), |left| write!(out, " ({} left)", in_words(left)));
        };
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {percent:>3} % {msg} {elapsed}{left}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("left", left).progress_chars("=> "));
        bar.set_prefix(what);
        let progress = Self { bar, pace, teller: Mutex::new(None), quiet };
        if len > 0 {
            progress.set_length(len);
        }
        progress
    }

    /// How much there is to do.
    pub(in crate::cli) fn set_length(&self, len: u64) {
        self.bar.set_length(len);
        if std::mem::replace(&mut lock(&self.pace).total, len) == 0 {
            self.begin();
        }
    }

    /// Shows that work goes on, though it is not known how much there is.
    pub(super) fn begin(&self) {
        lock(&self.pace).start = Instant::now();
        if !self.bar.is_hidden() {
            self.bar.reset_elapsed();
            self.bar.enable_steady_tick(REDRAW);
        } else if !self.quiet {
            lock(&self.teller).get_or_insert_with(|| Teller::start(self.pace.clone(), EVERY, |line| eprintln!("{line}")));
        }
    }

    /// How much was done by an earlier call, which says nothing about the pace.
    pub(in crate::cli) fn start_at(&self, done: u64) {
        let mut pace = lock(&self.pace);
        (pace.from, pace.done) = (done, done);
        drop(pace);
        self.bar.set_position(done);
    }

    /// How much is done.
    pub(in crate::cli) fn set_position(&self, done: u64) {
        lock(&self.pace).advance(done);
        self.bar.set_position(done);
    }

    /// How much is done of how much.
    pub(in crate::cli) fn advance(&self, done: usize, total: usize) {
        self.set_length(total as u64);
        self.set_position(done as u64);
    }

    /// So much more is done.
    pub(in crate::cli) fn inc(&self, more: u64) {
        let mut pace = lock(&self.pace);
        let done = pace.done + more;
        pace.advance(done);
        drop(pace);
        self.bar.set_position(done);
    }

    /// What there is to say beside the bar.
    pub(in crate::cli) fn set_message(&self, text: impl Into<std::borrow::Cow<'static, str>>) {
        self.bar.set_message(text);
    }

    /// Whether there is no bar: lines are told, or nothing at all.
    pub(in crate::cli) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Writes to the terminal without the bar in between.
    pub(in crate::cli) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    /// Takes the bar away, and tells no more.
    pub(in crate::cli) fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
        if let Some(teller) = lock(&self.teller).take() {
            teller.end();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_of_what_was_not_begun_or_is_quiet() {
        let waiting = Progress::new(0, "fixes", false);
        let quiet = Progress::new(8, "fixes", true);
        quiet.set_position(3);
        quiet.inc(1);
        assert!(lock(&waiting.teller).is_none() && lock(&quiet.teller).is_none());
        assert_eq!((quiet.is_hidden(), lock(&quiet.pace).done, quiet.bar.position()), (true, 4, 4));
        waiting.begin();
        waiting.set_length(9);
        assert!(waiting.is_hidden() == lock(&waiting.teller).is_some() && lock(&waiting.pace).total == 9);
        waiting.finish_and_clear();
        assert!(lock(&waiting.teller).is_none());
    }
}
