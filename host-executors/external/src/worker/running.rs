//! What runs, and what is to end early.

use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use std::{path::PathBuf, sync::Arc, time::Duration};
use taps_sandbox::CancelToken;

/// How often a directory is looked at for the wish that what runs should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Most wishes that are remembered for what has not begun.
const MOST_REMEMBERED: usize = 10_000;

/// What runs, by name. Shared by the threads of a worker.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: Option<(String, CancelToken)>,
    /// To end as soon as they begin.
    cancelled: FxHashSet<String>,
}

impl Running {
    /// Something begins.
    pub(super) fn begin(&self, name: &str) -> CancelToken {
        let token = CancelToken::new();
        let mut state = self.0.lock();
        if state.cancelled.remove(name) {
            token.cancel();
        }
        state.running = Some((name.to_owned(), token.clone()));
        token
    }

    /// It has ended.
    pub(super) fn end(&self, name: &str) {
        let mut state = self.0.lock();
        state.running = None;
        state.cancelled.remove(name);
    }

    /// These are to end, now or when they begin.
    pub(super) fn cancel(&self, names: Vec<String>) {
        let mut state = self.0.lock();
        for name in names {
            match &state.running {
                Some((running, token)) if *running == name => token.cancel(),
                _ if state.cancelled.len() < MOST_REMEMBERED => {
                    state.cancelled.insert(name);
                }
                _ => {}
            }
        }
    }

    /// Looks from time to time whether the directory has a file with the name of what runs.
    pub(super) fn watch(self: &Arc<Self>, directory: PathBuf) {
        let running = Arc::downgrade(self);
        let look = move || {
            // Until nobody is left who runs anything.
            while let Some(running) = running.upgrade() {
                let found = running.0.lock().running.clone();
                if let Some((name, token)) = found
                    && directory.join(&name).exists()
                {
                    token.cancel();
                }
                drop(running);
                std::thread::sleep(LOOK_EVERY);
            }
        };
        // Without it a task ends by itself, or at its deadline.
        let _ = std::thread::Builder::new()
            .name("cancel-watch".into())
            .spawn(look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cancelled_ends_now_or_when_it_begins() {
        let running = Running::default();
        let first = running.begin("1:0");
        running.cancel(vec!["2:0".to_owned()]);
        assert!(!first.is_cancelled());
        running.cancel(vec!["1:0".to_owned()]);
        assert!(first.is_cancelled());
        running.end("1:0");
        assert!(running.begin("2:0").is_cancelled());
        running.end("2:0");
        assert!(!running.begin("2:0").is_cancelled(), "said once");
    }

    #[test]
    fn a_file_asks_for_an_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let running = Arc::<Running>::default();
        running.watch(directory.path().to_owned());
        let token = running.begin("7:1");
        std::fs::write(directory.path().join("7:1"), "").expect("it can be written");
        while !token.is_cancelled() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
