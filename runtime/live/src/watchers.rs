//! Which pages watch, and what they have got.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

/// Most pages that are known at a time.
const MOST: usize = 64;

/// A page that was not heard of for so long is gone.
const GONE: Duration = Duration::from_secs(6);

/// Pages by the numbers that they gave themselves.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<u64, Watcher>>);

#[derive(Debug)]
struct Watcher {
    seen: Instant,
    /// The last state that it got is the last one that there is.
    has_last: bool,
}

impl Watchers {
    /// A page asks.
    pub(crate) fn asks(&self, page: u64) {
        let mut pages = self.0.lock();
        pages.retain(|_, watcher| watcher.seen.elapsed() < GONE);
        if pages.len() < MOST || pages.contains_key(&page) {
            let seen = Instant::now();
            let has_last = false;
            pages.insert(page, Watcher { seen, has_last });
        }
    }

    /// It is answered.
    pub(crate) fn got(&self, page: u64, is_last: bool) {
        if let Some(watcher) = self.0.lock().get_mut(&page) {
            (watcher.seen, watcher.has_last) = (Instant::now(), is_last);
        }
    }

    /// It went away before it was answered.
    pub(crate) fn went(&self, page: u64) {
        self.0.lock().remove(&page);
    }

    /// Whether anybody watches.
    pub(crate) fn any(&self) -> bool {
        let pages = self.0.lock();
        pages.values().any(|watcher| watcher.seen.elapsed() < GONE)
    }

    /// Whether a page watches that has not got the last state.
    fn is_behind(&self) -> bool {
        let pages = self.0.lock();
        let mut pages = pages.values();
        pages.any(|watcher| !watcher.has_last && watcher.seen.elapsed() < GONE)
    }

    /// Waits until every page that watches has the last state, and no longer than `most`.
    pub(crate) fn linger(&self, most: Duration) {
        let end = Instant::now() + most;
        while self.is_behind() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_pages_that_have_not_got_the_last_state() {
        let watchers = Watchers::default();
        assert!(!watchers.any() && !watchers.is_behind());
        watchers.asks(1);
        watchers.asks(2);
        watchers.got(1, true);
        assert!(watchers.any() && watchers.is_behind());
        // It does not wait for ever.
        watchers.linger(Duration::from_millis(20));
        watchers.went(2);
        assert!(watchers.any() && !watchers.is_behind());
        watchers.got(1, false);
        assert!(watchers.is_behind());
    }

    #[test]
    fn there_are_no_more_pages_than_are_allowed() {
        let watchers = Watchers::default();
        for page in 0..1_000 {
            watchers.asks(page);
        }
        assert_eq!(watchers.0.lock().len(), MOST);
    }
}
