//! A word in registers: its first eight bytes as a number.
//!
//! Most words have at most eight bytes, so that comparing, hashing and copying them needs no loop
//! and no call. What is longer keeps the rest, its *tail*, elsewhere.

use std::cmp::Ordering;

/// Bytes of a word that fit into its key.
pub(crate) const KEY_BYTES: usize = 8;

/// Up to eight bytes of `buffer` from `at`, little-endian, zeros above.
///
/// One load where eight bytes can be read, even if fewer are asked.
#[inline]
pub(crate) fn load(buffer: &[u8], at: usize, length: usize) -> u64 {
    debug_assert!(length <= KEY_BYTES);
    match buffer.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) if length >= KEY_BYTES => u64::from_le_bytes(*bytes),
        Some(bytes) => u64::from_le_bytes(*bytes) & !(u64::MAX << (8 * length)),
        None => load_at_end(buffer, at, length),
    }
}

#[cold]
fn load_at_end(buffer: &[u8], at: usize, length: usize) -> u64 {
    let bytes = &buffer[at..at + length];
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Whether two pieces of equal length are equal, without a call.
#[inline]
pub(crate) fn same_tail(a: &[u8], b: &[u8]) -> bool {
    debug_assert_eq!(a.len(), b.len());
    let mut at = 0;
    while at < a.len() {
        let length = (a.len() - at).min(KEY_BYTES);
        if load(a, at, length) != load(b, at, length) {
            return false;
        }
        at += length;
    }
    true
}

/// A word taken apart, in the order of its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    /// The first eight bytes, little-endian, zeros above.
    pub(crate) key: u64,
    /// Length in bytes.
    pub(crate) length: usize,
    /// What follows the first eight bytes.
    pub(crate) tail: &'a [u8],
}

impl<'a> Word<'a> {
    /// The word at `buffer[start..end]`.
    #[inline]
    pub(crate) fn at(buffer: &'a [u8], start: usize, end: usize) -> Self {
        let length = end - start;
        let key_length = length.min(KEY_BYTES);
        Self {
            key: load(buffer, start, key_length),
            length,
            tail: &buffer[start + key_length..end],
        }
    }

    /// Number by which words sort as by their first eight bytes.
    #[inline]
    pub(crate) fn rank(self) -> u64 {
        self.key.swap_bytes()
    }

    /// The order of the bytes.
    #[inline]
    pub(crate) fn compare(self, other: Self) -> Ordering {
        self.rank()
            .cmp(&other.rank())
            .then_with(|| self.compare_rest(other))
    }

    /// The order of two words of equal rank. Zeros above a short word look like zero bytes of a
    /// longer one, so the length decides first.
    #[inline]
    pub(crate) fn compare_rest(self, other: Self) -> Ordering {
        let key_lengths = (self.length.min(KEY_BYTES)).cmp(&other.length.min(KEY_BYTES));
        key_lengths.then_with(|| self.tail.cmp(other.tail))
    }

    /// Whether both are the same word.
    #[inline]
    pub(crate) fn equals(self, other: Self) -> bool {
        self.key == other.key
            && self.length == other.length
            && (self.length <= KEY_BYTES || same_tail(self.tail, other.tail))
    }
}
