//! The book-keeping of a store: what is in use, what is kept for reuse, and the limit on both.
//!
//! Generic over what is kept, so that the rules can be tested without memory.

use std::collections::{BTreeMap, VecDeque};

/// Memory that can be kept for reuse.
pub(super) trait Sized64 {
    /// Bytes of memory held.
    fn capacity(&self) -> u64;
}

/// What must happen before a segment can be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<T> {
    /// Reuse this: it is accounted as in use.
    Recycled(T),
    /// Make a fresh one: its capacity is accounted as in use. What is listed was evicted to make
    /// room and is to be dropped first, outside any lock.
    Fresh(Vec<T>),
    /// The limit does not allow it.
    Refused,
}

/// The account of one store. Invariant: `live + kept ≤ limit`, and `kept ≤ recycle`.
#[derive(Debug)]
pub(super) struct Account<T> {
    limit: u64,
    recycle: u64,
    live: u64,
    peak: u64,
    kept: u64,
    clock: u64,
    /// By capacity; within one, the oldest first.
    free: BTreeMap<u64, VecDeque<(u64, T)>>,
}

impl<T: Sized64> Account<T> {
    /// An account with a limit on all memory, and one on the part kept for reuse.
    pub(super) fn new(limit: u64, recycle: u64) -> Self {
        Self {
            limit,
            recycle,
            live: 0,
            peak: 0,
            kept: 0,
            clock: 0,
            free: BTreeMap::new(),
        }
    }

    /// Bytes in use.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Most bytes that were ever in use.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Bytes kept for reuse.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Accounts for `capacity` bytes, reusing what is kept if it fits without waste: at most
    /// twice the size, and the most recently used of its size, whose pages are likelier in cache.
    pub(super) fn admit(&mut self, capacity: u64) -> Admission<T> {
        let most = capacity.saturating_mul(2);
        if let Some((&size, _)) = self.free.range(capacity..=most).next()
            && let Some(item) = self.take(size, Age::Newest)
        {
            self.occupy(size);
            return Admission::Recycled(item);
        }
        if self
            .live
            .checked_add(capacity)
            .is_none_or(|sum| sum > self.limit)
        {
            return Admission::Refused;
        }
        let mut evicted = Vec::new();
        while self.live + capacity + self.kept > self.limit {
            evicted.extend(self.evict_oldest());
        }
        self.occupy(capacity);
        Admission::Fresh(evicted)
    }

    /// A fresh segment that was admitted could not be made, or its memory cannot be reused.
    pub(super) fn give_up(&mut self, capacity: u64) {
        debug_assert!(self.live >= capacity, "more given up than in use");
        self.live -= capacity;
    }

    /// Takes memory back into the free list. What is returned no longer fits there.
    pub(super) fn give_back(&mut self, item: T) -> Vec<T> {
        let capacity = item.capacity();
        self.give_up(capacity);
        self.keep(item)
    }

    /// Keeps memory that was not in use. What is returned no longer fits.
    pub(super) fn keep(&mut self, item: T) -> Vec<T> {
        let capacity = item.capacity();
        if capacity > self.recycle || self.live + capacity > self.limit {
            return vec![item];
        }
        let mut evicted = Vec::new();
        while self.kept + capacity > self.recycle || self.live + self.kept + capacity > self.limit {
            evicted.extend(self.evict_oldest());
        }
        self.clock += 1;
        self.kept += capacity;
        self.free
            .entry(capacity)
            .or_default()
            .push_back((self.clock, item));
        evicted
    }

    /// Empties the free list.
    pub(super) fn evict_all(&mut self) -> Vec<T> {
        self.kept = 0;
        std::mem::take(&mut self.free)
            .into_values()
            .flatten()
            .map(|(_, item)| item)
            .collect()
    }

    fn occupy(&mut self, capacity: u64) {
        self.live += capacity;
        self.peak = self.peak.max(self.live);
    }

    fn evict_oldest(&mut self) -> Option<T> {
        let (&size, _) = self
            .free
            .iter()
            .min_by_key(|(_, items)| items.front().map(|(returned, _)| *returned))?;
        self.take(size, Age::Oldest)
    }

    fn take(&mut self, size: u64, age: Age) -> Option<T> {
        let items = self.free.get_mut(&size)?;
        let (_, item) = match age {
            Age::Oldest => items.pop_front(),
            Age::Newest => items.pop_back(),
        }?;
        if items.is_empty() {
            self.free.remove(&size);
        }
        self.kept -= size;
        Some(item)
    }
}

/// Which of the free segments of one size.
#[derive(Clone, Copy)]
enum Age {
    Oldest,
    Newest,
}
