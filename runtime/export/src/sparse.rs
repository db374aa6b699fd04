//! A little about each of very many tasks.

use rustc_hash::FxHashMap;

/// Values side by side.
const CHUNK: u64 = 64;

/// A value for each task, by the sequence number of its submission: numbers follow on each other, so that chunks are
/// full, and a damaged number costs one chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sparse<T> {
    chunks: FxHashMap<u64, Box<[T; CHUNK as usize]>>,
}

impl<T: Copy + Default> Sparse<T> {
    /// The value of a task; the default one where none was set.
    pub(crate) fn get(&self, task: u64) -> T {
        let chunk = self.chunks.get(&(task / CHUNK));
        chunk.map_or_else(T::default, |chunk| chunk[(task % CHUNK) as usize])
    }

    /// Sets the value of a task.
    pub(crate) fn set(&mut self, task: u64, value: T) {
        let fresh = || Box::new([T::default(); CHUNK as usize]);
        let chunk = self.chunks.entry(task / CHUNK).or_insert_with(fresh);
        chunk[(task % CHUNK) as usize] = value;
    }

    /// Changes every value that is kept.
    pub(crate) fn each(&mut self, mut change: impl FnMut(&mut T)) {
        let chunks = self.chunks.values_mut();
        chunks.for_each(|chunk| chunk.iter_mut().for_each(&mut change));
    }
}

/// A set of tasks, of one bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    words: FxHashMap<u64, u64>,
}

impl Seen {
    /// Adds a task; false when it was there.
    pub(crate) fn insert(&mut self, task: u64) -> bool {
        let word = self.words.entry(task / 64).or_default();
        let bit = 1 << (task % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_wherever_they_are() {
        let mut sparse = Sparse::<u32>::default();
        let mut seen = Seen::default();
        for task in [0, 63, 64, 1 << 40, u64::MAX] {
            assert_eq!(sparse.get(task), 0);
            sparse.set(task, 7);
            assert_eq!(sparse.get(task), 7);
            assert!(seen.insert(task));
            assert!(!seen.insert(task));
        }
        assert_eq!(sparse.get(1), 0);
        assert!(seen.insert(1));
        sparse.each(|value| *value += 1);
        assert_eq!([sparse.get(63), sparse.get(62), sparse.get(200)], [8, 1, 0]);
    }
}
