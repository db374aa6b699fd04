//! A text to count words in.

use std::fmt::Write as _;

use taps::rand::{Rng, RngExt as _};

use crate::Counts;

/// Different words that a text may have.
const VOCABULARY: f64 = 20_000.0;
const SYLLABLES: [&str; 16] = [
    "ta", "ps", "Wa", "sm", "lo", "rem", "ip", "sum", "do", "Lor", "si", "t", "am", "et", "con",
    "se",
];
/// What stands between words.
const BETWEEN: [&str; 6] = [" ", " ", ", ", ".\n", "; ", " - 42 "];

/// Draws a text of that many words, in parts of equal numbers of words, give or take one. As in any text a few
/// words are frequent and most are rare.
pub(crate) fn parts(words: u32, parts: u32, rng: &mut impl Rng) -> Vec<String> {
    let share = |part: u32| u64::from(words) * u64::from(part) / u64::from(parts);
    let text = |part: u32| {
        let mut text = String::new();
        for _ in share(part)..share(part + 1) {
            // Zipf's law, near enough: the logarithm of the rank is uniform.
            let rank = VOCABULARY.powf(rng.random::<f64>()) as usize;
            let _ = write!(
                text,
                "{}{}",
                word(rank),
                BETWEEN[rng.random_range(0..BETWEEN.len())]
            );
        }
        text
    };
    (0..parts).map(text).collect()
}

/// The word with that rank: its digits as syllables.
fn word(mut rank: usize) -> String {
    let mut word = String::new();
    while rank > 0 {
        word.push_str(SYLLABLES[rank % SYLLABLES.len()]);
        rank /= SYLLABLES.len();
    }
    word
}

/// Counts words: runs of ASCII letters, in lower case.
pub(crate) fn counts(text: &[u8]) -> Counts {
    let mut counts = Counts::new();
    for word in text.split(|byte| !byte.is_ascii_alphabetic()) {
        if !word.is_empty() {
            let word = String::from_utf8_lossy(word).to_ascii_lowercase();
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}
