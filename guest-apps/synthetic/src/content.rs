//! Content of payloads: made by a fast seeded generator, and carrying its own hash.
//!
//! ```text
//! 0                                    n - k        n
//! │ pseudo-random bytes                │ low k bytes│    k = min(8, n)
//! │                                    │ of xxh3    │
//! ```
//!
//! A payload has exactly the size asked for; below 9 bytes there is only the hash of nothing.

use xxhash_rust::xxh3::xxh3_64;

use crate::digest::{GOLDEN, mix};

/// Fills `payload` with content that depends on `seed` only, and seals it with its hash if asked.
/// Without a seal the last bytes are content like the others.
pub(crate) fn fill(payload: &mut [u8], seed: u64, seal: bool) {
    let end = if seal {
        body_length(payload)
    } else {
        payload.len()
    };
    let (body, hash) = payload.split_at_mut(end);
    let mut words = body.chunks_exact_mut(8);
    let mut counter = seed;
    for word in &mut words {
        word.copy_from_slice(&next(&mut counter));
    }
    let rest = words.into_remainder();
    let last = next(&mut counter);
    rest.copy_from_slice(&last[..rest.len()]);
    let sealed = xxh3_64(if seal { body } else { &[] }).to_le_bytes();
    hash.copy_from_slice(&sealed[..hash.len()]);
}

/// Makes the content of a payload: as [`fill`] does, or plain.
pub(crate) fn make(payload: &mut [u8], seed: u64, seal: bool, plain: bool) {
    if !plain {
        return fill(payload, seed, seal);
    }
    for (word, number) in payload.chunks_exact_mut(8).zip(seed..) {
        word.copy_from_slice(&number.to_le_bytes());
    }
}

/// Adds up the words of a payload, so that each of its bytes is read but for the last seven.
pub(crate) fn sum(payload: &[u8]) -> u64 {
    let words = payload.as_chunks::<8>().0.iter();
    words.fold(0, |sum: u64, word| {
        sum.wrapping_add(u64::from_le_bytes(*word))
    })
}

/// Whether a sealed payload has the hash that it carries.
pub(crate) fn is_intact(payload: &[u8]) -> bool {
    let (body, hash) = payload.split_at(body_length(payload));
    xxh3_64(body).to_le_bytes().starts_with(hash)
}

fn body_length(payload: &[u8]) -> usize {
    payload.len() - payload.len().min(8)
}

/// Whether a sealed payload begins as one filled with this seed does, as far as its first word tells.
pub(crate) fn begins(payload: &[u8], mut seed: u64) -> bool {
    let body = &payload[..body_length(payload)];
    next(&mut seed).starts_with(&body[..body.len().min(8)])
}

/// SplitMix64: a counter and a mixer, so that words do not wait for each other.
fn next(counter: &mut u64) -> [u8; 8] {
    *counter = counter.wrapping_add(GOLDEN);
    mix(*counter).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_intact_until_a_bit_flips() {
        for size in 0..200 {
            let mut payload = vec![0; size];
            fill(&mut payload, 7, true);
            assert!(is_intact(&payload), "size {size}");
            assert!(begins(&payload, 7), "size {size}");
            assert_eq!(begins(&payload, 8), size <= 8, "size {size}");
            for position in 0..size {
                payload[position] ^= 1;
                assert!(!is_intact(&payload), "size {size}, byte {position}");
                payload[position] ^= 1;
            }
        }
    }

    #[test]
    fn plain_content_counts_up_and_adds_up() {
        let mut payload = vec![0; 35];
        make(&mut payload, 5, false, true);
        assert_eq!(sum(&payload), 5 + 6 + 7 + 8);
        assert_eq!(payload[32..], [0; 3], "no whole word");
    }

    #[test]
    fn content_depends_on_the_seed() {
        let content = |seed| {
            let mut payload = vec![0; 64];
            fill(&mut payload, seed, true);
            payload
        };
        assert_eq!(content(1), content(1));
        assert_ne!(content(1), content(2));
    }
}
