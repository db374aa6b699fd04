//! What runs, and what is to end early.

use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use taps_sandbox::CancelToken;

/// How often somebody looks for the wish that what runs should end.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Most wishes that are remembered for what has not begun.
const MOST_REMEMBERED: usize = 10_000;

/// What runs, by name. Shared by the threads of a worker.
#[derive(Debug, Default)]
pub(super) struct Running {
    state: Mutex<State>,
    /// Where a file with the name of what runs is such a wish, too.
    wishes: OnceLock<PathBuf>,
}

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
        let mut state = self.state.lock();
        if state.cancelled.remove(name) {
            token.cancel();
        }
        state.running = Some((name.to_owned(), token.clone()));
        token
    }

    /// It has ended.
    pub(super) fn end(&self, name: &str) {
        let mut state = self.state.lock();
        state.running = None;
        state.cancelled.remove(name);
    }

    /// These are to end, now or when they begin.
    pub(super) fn cancel(&self, names: Vec<String>) {
        let mut state = self.state.lock();
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

    /// Names the directory of wishes.
    pub(super) fn wishes_in(&self, directory: PathBuf) {
        // There is one, and it is named once.
        let _ = self.wishes.set(directory);
    }

    /// Looks whether there is a wish for what runs.
    pub(super) fn look(&self) {
        let Some(directory) = self.wishes.get() else {
            return;
        };
        let found = self.state.lock().running.clone();
        if let Some((name, token)) = found
            && directory.join(&name).exists()
        {
            token.cancel();
        }
    }

    /// Looks from time to time, until nobody is left who runs anything.
    pub(super) fn watch(self: &Arc<Self>) {
        let running = Arc::downgrade(self);
        let look = move || {
            while let Some(running) = running.upgrade() {
                running.look();
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
        running.wishes_in(directory.path().to_owned());
        running.watch();
        let token = running.begin("7:1");
        std::fs::write(directory.path().join("7:1"), "").expect("it can be written");
        while !token.is_cancelled() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
