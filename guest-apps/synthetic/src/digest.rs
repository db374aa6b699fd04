//! Digests of what flows through a graph, and numbers drawn from the same mixer.
//!
//! They guard against mix-ups, not against malice: a task's digest follows from who it is and from
//! the digests of its inputs, so that the last ones of a graph are right only if every input on the
//! way was the one prescribed.

/// Step of the counter of SplitMix64.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The mixer of SplitMix64: each bit of the word reaches each of the result.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Adds a word to a digest; the order of words counts.
pub(crate) fn fold(digest: u64, word: u64) -> u64 {
    mix(digest.rotate_left(23).wrapping_add(GOLDEN) ^ mix(word.wrapping_add(GOLDEN)))
}

/// The digest of a sequence.
pub(crate) fn of(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0, fold)
}

/// A number from 0 up to 1 that follows from these words.
pub(crate) fn uniform(words: impl IntoIterator<Item = u64>) -> f64 {
    (of(words) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_order_and_length() {
        assert_ne!(of([1, 2]), of([2, 1]));
        assert_ne!(of([0]), of([0, 0]));
        assert_ne!(of([]), of([0]));
    }

    #[test]
    fn drawn_numbers_are_even() {
        let drawn: Vec<f64> = (0..10_000).map(|word| uniform([7, word])).collect();
        assert!(drawn.iter().all(|number| (0.0..1.0).contains(number)));
        for tenth in 0..10 {
            let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
            let count = drawn.iter().filter(|number| (from..to).contains(number));
            let count = count.count();
            assert!((850..1150).contains(&count), "{count} from {from} to {to}");
        }
    }
}
