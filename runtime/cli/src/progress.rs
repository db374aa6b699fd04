//! The progress of a run on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tasks submitted.
    pub(crate) submitted: u64,
    /// Tasks that ended, well or not.
    pub(crate) finished: u64,
    /// Tasks running.
    pub(crate) running: u64,
    /// Tasks that ended without a result.
    pub(crate) failed: u64,
}

/// A line that shows the progress, or nothing where it would only be in the way.
pub(crate) struct Progress {
    bar: ProgressBar,
    last: Mutex<Instant>,
}

impl Progress {
    /// Least time between two drawings.
    const PAUSE: Duration = Duration::from_millis(100);

    /// Progress on stderr when `shown`; otherwise every call does nothing.
    pub(crate) fn new(shown: bool) -> Self {
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{elapsed_precise} [{bar:24}] {pos}/{len} done, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            last: Mutex::new(Instant::now()),
        }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Tells how far the run is. May be called for every event, from any thread: it draws only
    /// now and then, and never waits for another caller.
    pub(crate) fn update(&self, counts: Counts) {
        if self.bar.is_hidden() {
            return;
        }
        let Some(mut last) = self.last.try_lock() else {
            return;
        };
        if last.elapsed() < Self::PAUSE {
            return;
        }
        *last = Instant::now();
        self.bar.set_length(counts.submitted);
        self.bar.set_position(counts.finished);
        let rate = counts.finished as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_message(message(counts, rate));
    }

    /// Prints a line above the progress.
    pub(crate) fn above(&self, line: &str) {
        self.bar.suspend(|| crate::render::note(line));
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn message(counts: Counts, rate: f64) -> String {
    format!(
        "{} running, {rate:.0}/s, {} failed",
        counts.running, counts.failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_what_matters() {
        let counts = Counts {
            submitted: 10,
            finished: 5,
            running: 2,
            failed: 1,
        };
        assert_eq!(message(counts, 12.4), "2 running, 12/s, 1 failed");
    }

    #[test]
    fn hidden_progress_is_silent() {
        let progress = Progress::new(false);
        progress.update(Counts::default());
        progress.finish();
    }
}
