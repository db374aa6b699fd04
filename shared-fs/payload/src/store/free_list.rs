//! Memory kept for reuse, by purpose and size.
//!
//! Generic over what is kept, so that the rules can be tested without memory.

use std::collections::{BTreeMap, VecDeque};

/// What memory is for. One kind is never reused as the other: what others were told of a memory
/// stays true for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// One segment, from its start.
    Segment,
    /// Slots of many small segments.
    Slab,
}

/// Memory that can be kept for reuse.
pub(super) trait Keepable {
    /// What it is for.
    fn purpose(&self) -> Purpose;
    /// Bytes of memory held.
    fn capacity(&self) -> u64;
}

/// Memory kept for reuse; at most a certain number of bytes.
#[derive(Debug)]
pub(super) struct FreeList<T> {
    most: u64,
    kept: u64,
    clock: u64,
    /// Within one size, the oldest first.
    items: BTreeMap<(Purpose, u64), VecDeque<(u64, T)>>,
}

impl<T: Keepable> FreeList<T> {
    /// A list for at most so many bytes.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            kept: 0,
            clock: 0,
            items: BTreeMap::new(),
        }
    }

    /// Bytes kept.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Memory that fits without waste: at most twice the size, and the most recently used of its
    /// size, whose pages are likelier in cache.
    pub(super) fn take(&mut self, purpose: Purpose, capacity: u64) -> Option<T> {
        let most = capacity.saturating_mul(2);
        let range = (purpose, capacity)..=(purpose, most);
        let (&key, _) = self.items.range(range).next()?;
        self.remove(key, Age::Newest)
    }

    /// Keeps memory. What is returned no longer fits.
    pub(super) fn keep(&mut self, item: T) -> Vec<T> {
        let capacity = item.capacity();
        if capacity > self.most {
            return vec![item];
        }
        let mut evicted = Vec::new();
        while self.kept + capacity > self.most {
            evicted.extend(self.evict_oldest());
        }
        self.clock += 1;
        self.kept += capacity;
        self.items
            .entry((item.purpose(), capacity))
            .or_default()
            .push_back((self.clock, item));
        evicted
    }

    /// What was kept for longest.
    pub(super) fn evict_oldest(&mut self) -> Option<T> {
        let (&key, _) = self
            .items
            .iter()
            .min_by_key(|(_, items)| items.front().map(|(returned, _)| *returned))?;
        self.remove(key, Age::Oldest)
    }

    /// Empties the list.
    pub(super) fn evict_all(&mut self) -> Vec<T> {
        self.kept = 0;
        std::mem::take(&mut self.items)
            .into_values()
            .flatten()
            .map(|(_, item)| item)
            .collect()
    }

    fn remove(&mut self, key: (Purpose, u64), age: Age) -> Option<T> {
        let items = self.items.get_mut(&key)?;
        let (_, item) = match age {
            Age::Oldest => items.pop_front(),
            Age::Newest => items.pop_back(),
        }?;
        if items.is_empty() {
            self.items.remove(&key);
        }
        self.kept -= item.capacity();
        Some(item)
    }
}

/// Which of the free memories of one size.
#[derive(Clone, Copy)]
enum Age {
    Oldest,
    Newest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item(Purpose, u64);

    impl Keepable for Item {
        fn purpose(&self) -> Purpose {
            self.0
        }

        fn capacity(&self) -> u64 {
            self.1
        }
    }

    fn segment(capacity: u64) -> Item {
        Item(Purpose::Segment, capacity)
    }

    #[test]
    fn what_fits_without_waste_is_reused_for_its_own_purpose() {
        let mut list = FreeList::new(100);
        assert!(list.keep(segment(10)).is_empty());
        assert!(list.keep(Item(Purpose::Slab, 12)).is_empty());
        assert_eq!(list.take(Purpose::Segment, 4), None, "wasteful");
        assert_eq!(list.take(Purpose::Segment, 11), None, "too small");
        assert_eq!(list.take(Purpose::Segment, 5), Some(segment(10)));
        assert_eq!(list.take(Purpose::Segment, 10), None, "of another purpose");
        assert_eq!(list.kept(), 12);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut list = FreeList::new(30);
        for capacity in [9, 10, 11] {
            assert!(list.keep(segment(capacity)).is_empty());
        }
        assert_eq!(list.keep(segment(12)), [segment(9), segment(10)]);
        assert_eq!(list.keep(segment(31)), [segment(31)]);
        assert_eq!(list.kept(), 23);
        assert_eq!(list.evict_oldest(), Some(segment(11)));
        assert_eq!(list.evict_all(), [segment(12)]);
        assert_eq!((list.kept(), list.evict_oldest()), (0, None));
    }
}
