//! Seeds of tasks.

use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Seed of the `index`-th submission (from 0) of tasks of that name: H(run seed, name, index).
///
/// H is fixed for good, because records and replays depend on it: the FNV-1a hash (64 bit) of the
/// name, then the finaliser of SplitMix64 over `run_seed`, over that exclusive-or the name's hash,
/// and over that exclusive-or the finalised index. The order in which tasks run has no part in it.
pub fn task_seed(run_seed: u64, name: &str, index: u64) -> u64 {
    mix(run_seed, fnv1a(name), index)
}

fn mix(run_seed: u64, name_hash: u64, index: u64) -> u64 {
    splitmix64(splitmix64(splitmix64(run_seed) ^ name_hash) ^ splitmix64(index))
}

/// FNV-1a, 64 bit.
pub(super) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// One step of SplitMix64 (Steele, Lea and Flood 2014) from the state `x`.
pub(crate) fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Counts the submissions of each name.
pub(super) struct Seeds {
    run_seed: u64,
    names: FxHashMap<Arc<str>, Name>,
}

/// A submission among those of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Seed of the task.
    pub(super) seed: u64,
    /// Submissions of the name before it.
    pub(super) index: u64,
    /// Number of the name.
    pub(super) kind: u16,
}

struct Name {
    hash: u64,
    submitted: u64,
    /// Names known before this one; the same for all beyond a limit.
    kind: u16,
}

impl Seeds {
    pub(super) fn new(run_seed: u64) -> Self {
        Self {
            run_seed,
            names: FxHashMap::default(),
        }
    }

    /// The seed of the next submission of that name.
    pub(super) fn peek(&self, name: &str) -> u64 {
        let known = self.names.get(name);
        let (hash, index) = known.map_or((fnv1a(name), 0), |known| (known.hash, known.submitted));
        mix(self.run_seed, hash, index)
    }

    /// The next submission of that name.
    pub(super) fn next(&mut self, name: &Arc<str>) -> Named {
        if let Some(known) = self.names.get_mut(&**name) {
            let index = known.submitted;
            known.submitted += 1;
            return Named {
                seed: mix(self.run_seed, known.hash, index),
                index,
                kind: known.kind,
            };
        }
        let hash = fnv1a(name);
        let kind = self.names.len().try_into().unwrap_or(u16::MAX);
        let first = Name {
            hash,
            submitted: 1,
            kind,
        };
        self.names.insert(Arc::clone(name), first);
        Named {
            seed: mix(self.run_seed, hash, 0),
            index: 0,
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_stable_across_versions() {
        // Values from an independent implementation of the documented formula.
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(task_seed(7, "noop", 0), PINNED_FIRST);
        assert_eq!(task_seed(7, "noop", 1), PINNED_SECOND);
    }

    const PINNED_FIRST: u64 = 0xc5e6_7b94_01c8_22a3;
    const PINNED_SECOND: u64 = 0x3347_f5e5_9b77_372f;

    #[test]
    fn each_name_counts_alone() {
        let mut seeds = Seeds::new(7);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let named = |name, index, kind| Named {
            seed: task_seed(7, name, index),
            index,
            kind,
        };
        assert_eq!(seeds.next(&a), named("a", 0, 0));
        assert_eq!(seeds.next(&b), named("b", 0, 1));
        assert_eq!(seeds.next(&a), named("a", 1, 0));
    }
}
