//! Texts of random words: lower-case letters, two to ten of them, joined by blanks.
//!
//! The numbers come from SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014): a counter and a mixing function, the same on every host.

use taps::Bytes;

use crate::word::KEY_BYTES;

/// Letters of the shortest word.
const SHORTEST: u64 = 2;
/// Lengths to choose from: 2 to 10.
const LENGTHS: u64 = 9;
/// Letters of the longest word.
const LONGEST: usize = 10;
const LETTERS: u64 = 26;
/// Bits of the fraction from which letters are taken: times 26 it fits into 64.
const FRACTION_BITS: u32 = 59;

/// The `number`-th value of the stream with that seed.
pub(crate) fn draw(seed: u64, number: u64) -> u64 {
    let mut value = seed.wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Letters of the `number`-th word.
fn length(seed: u64, number: u64) -> usize {
    let half = draw(seed, 2 * number) >> 32;
    (SHORTEST + ((half * LENGTHS) >> 32)) as usize
}

/// The letters of the longest word that the `number`-th one could be.
fn letters(seed: u64, number: u64) -> [u8; LONGEST] {
    let mut fraction = draw(seed, 2 * number + 1) >> (64 - FRACTION_BITS);
    std::array::from_fn(|_| {
        let product = fraction * LETTERS;
        fraction = product & ((1 << FRACTION_BITS) - 1);
        b'a' + (product >> FRACTION_BITS) as u8
    })
}

/// A text of `words` words, a blank between each two. The lengths are drawn twice, so that the
/// text is built in place, without knowing its size before.
pub(crate) fn text(seed: u64, words: u32) -> Bytes {
    let letters_total: usize = (0..u64::from(words)).map(|word| length(seed, word)).sum();
    let blanks = (words as usize).saturating_sub(1);
    let mut bytes = Bytes::zeros(letters_total + blanks);
    let mut rest = bytes.as_mut_slice();
    for word in 0..u64::from(words) {
        let length = length(seed, word);
        let letters = letters(seed, word);
        if let Some(place) = rest.first_chunk_mut::<{ LONGEST + 1 }>() {
            // Fixed sizes are stores, variable ones calls. What is too much is overwritten.
            place[..KEY_BYTES].copy_from_slice(&letters[..KEY_BYTES]);
            place[KEY_BYTES..LONGEST].copy_from_slice(&letters[KEY_BYTES..]);
            place[length] = b' ';
            rest = &mut rest[length + 1..];
        } else {
            let (place, after) = rest.split_at_mut(length);
            place.copy_from_slice(&letters[..length]);
            rest = match after.split_first_mut() {
                Some((blank, after)) => {
                    *blank = b' ';
                    after
                }
                None => &mut [],
            };
        }
    }
    bytes
}
