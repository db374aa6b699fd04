//! Resolved payloads: each fetched once while anybody has it or wants it.

use crate::{Resolved, TransformError};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

/// How often a waiter asks whether it should go on waiting: how late a cancel is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A payload that is being fetched, or was.
pub(crate) struct Slot {
    answer: Mutex<Option<Result<Resolved, TransformError>>>,
    done: Condvar,
}

impl Slot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(None),
            done: Condvar::new(),
        })
    }

    /// Gives the answer, once, to all who wait.
    pub(crate) fn fill(&self, answer: Result<Resolved, TransformError>) {
        *self.answer.lock() = Some(answer);
        self.done.notify_all();
    }

    /// Waits for the answer while `keep_waiting` says so; none when it does not.
    pub(crate) fn wait(
        &self,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Option<Result<Resolved, TransformError>> {
        let mut answer = self.answer.lock();
        loop {
            if let Some(answer) = &*answer {
                return Some(answer.clone());
            }
            if !keep_waiting() {
                return None;
            }
            self.done.wait_for(&mut answer, LOOK_EVERY);
        }
    }
}

/// Who is in the cache, and who is only known because somebody holds it.
pub(crate) struct Cache {
    most_entries: usize,
    most_bytes: u64,
    /// All slots that somebody holds, the cache or others.
    known: HashMap<Arc<str>, Weak<Slot>>,
    /// Kept by the cache, least recently used first.
    kept: VecDeque<Kept>,
    bytes: u64,
}

struct Kept {
    key: Arc<str>,
    slot: Arc<Slot>,
    bytes: u64,
}

impl Cache {
    pub(crate) fn new(most_entries: usize, most_bytes: u64) -> Self {
        Self {
            most_entries,
            most_bytes,
            known: HashMap::new(),
            kept: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The slot of a payload, and whether it is new: then the caller fetches.
    pub(crate) fn slot(&mut self, key: &Arc<str>) -> (Arc<Slot>, bool) {
        if let Some(slot) = self.known.get(key).and_then(Weak::upgrade) {
            self.touch(key);
            return (slot, false);
        }
        let slot = Slot::new();
        self.know(key, &slot);
        (slot, true)
    }

    fn know(&mut self, key: &Arc<str>, slot: &Arc<Slot>) {
        // Slots that nobody holds leave their names behind.
        if self.known.len() > 64 + 2 * self.kept.len() {
            let dead = self.known.values().filter(|slot| slot.strong_count() == 0);
            if dead.count() * 2 > self.known.len() {
                self.known.retain(|_, slot| slot.strong_count() > 0);
            }
        }
        self.known.insert(Arc::clone(key), Arc::downgrade(slot));
    }

    fn touch(&mut self, key: &Arc<str>) {
        if let Some(at) = self.kept.iter().position(|kept| kept.key == *key)
            && let Some(kept) = self.kept.remove(at)
        {
            self.kept.push_back(kept);
        }
    }

    /// Keeps a payload that was fetched or put. What has to go for it is returned, to be dropped
    /// outside of the lock.
    #[must_use]
    pub(crate) fn keep(&mut self, key: &Arc<str>, slot: &Arc<Slot>, bytes: u64) -> Vec<Arc<Slot>> {
        if self.most_entries == 0 || bytes > self.most_bytes {
            return Vec::new();
        }
        let mut gone = self.forget(key);
        self.know(key, slot);
        self.bytes += bytes;
        self.kept.push_back(Kept {
            key: Arc::clone(key),
            slot: Arc::clone(slot),
            bytes,
        });
        while self.kept.len() > self.most_entries || self.bytes > self.most_bytes {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
            gone.push(oldest.slot);
        }
        gone
    }

    /// Drops a payload: it was removed, or its fetch failed.
    #[must_use]
    pub(crate) fn forget(&mut self, key: &Arc<str>) -> Vec<Arc<Slot>> {
        self.known.remove(key);
        let at = self.kept.iter().position(|kept| kept.key == *key);
        let kept = at.and_then(|at| self.kept.remove(at));
        if let Some(kept) = &kept {
            self.bytes -= kept.bytes;
        }
        kept.into_iter().map(|kept| kept.slot).collect()
    }

    /// Drops everything.
    #[must_use]
    pub(crate) fn clear(&mut self) -> Vec<Arc<Slot>> {
        self.known.clear();
        self.bytes = 0;
        self.kept.drain(..).map(|kept| kept.slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u8) -> Arc<str> {
        number.to_string().into()
    }

    proptest! {
        /// Against the obvious model: the last keys used, as many as fit.
        #[test]
        fn keeps_the_last_used_within_both_bounds(
            uses in prop::collection::vec((0_u8..8, 1_u64..40), 1..80),
            most_entries in 0_usize..5,
            most_bytes in 0_u64..100,
        ) {
            let mut cache = Cache::new(most_entries, most_bytes);
            let mut model: Vec<(u8, u64)> = Vec::new();
            for (number, bytes) in uses {
                let (slot, new) = cache.slot(&key(number));
                let at = model.iter().position(|(known, _)| *known == number);
                prop_assert_eq!(new, at.is_none());
                if let Some(at) = at {
                    let used = model.remove(at);
                    model.push(used);
                    continue;
                }
                drop(cache.keep(&key(number), &slot, bytes));
                if most_entries > 0 && bytes <= most_bytes {
                    model.push((number, bytes));
                }
                let total = |model: &[(u8, u64)]| model.iter().map(|(_, bytes)| bytes).sum::<u64>();
                while model.len() > most_entries || total(&model) > most_bytes {
                    model.remove(0);
                }
                prop_assert_eq!(cache.kept.len(), model.len());
                prop_assert_eq!(cache.bytes, total(&model));
            }
        }
    }

    #[test]
    fn names_of_payloads_that_nobody_holds_do_not_pile_up() {
        let mut cache = Cache::new(2, 100);
        for number in 0..10_000_u32 {
            let key: Arc<str> = number.to_string().into();
            let (slot, new) = cache.slot(&key);
            assert!(new);
            drop(cache.keep(&key, &slot, 1));
        }
        assert!(cache.known.len() < 300, "{}", cache.known.len());
    }

    #[test]
    fn a_slot_that_somebody_holds_is_not_fetched_again() {
        let mut cache = Cache::new(0, 0);
        let (held, new) = cache.slot(&key(1));
        assert!(new);
        assert!(!cache.slot(&key(1)).1);
        drop(held);
        assert!(cache.slot(&key(1)).1);
    }
}
