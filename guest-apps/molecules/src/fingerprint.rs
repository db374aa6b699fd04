//! A set of bits, and how alike two of them are.

use std::fmt::Write as _;

/// A set of bits of fixed length. Travels between tasks.
#[taps::value]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    bits: u32,
    words: Vec<u64>,
}

/// Fingerprints of different lengths say nothing about each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fingerprints of {left} and {right} bits cannot be compared: use one length for all")]
pub struct LengthMismatch {
    /// Bits of the one.
    pub left: u32,
    /// Bits of the other.
    pub right: u32,
}

impl Fingerprint {
    /// The empty set of `bits` bits.
    pub fn new(bits: u32) -> Self {
        Self {
            bits,
            words: vec![0; bits.div_ceil(u64::BITS) as usize],
        }
    }

    /// Bits in all, set or not.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Sets the bit `value % bits`, as fingerprints fold what they hash.
    pub fn fold(&mut self, value: u32) {
        if let Some(bit) = value.checked_rem(self.bits) {
            self.words[(bit / u64::BITS) as usize] |= 1 << (bit % u64::BITS);
        }
    }

    /// Whether a bit is set; none beyond the length is.
    pub fn contains(&self, bit: u32) -> bool {
        let word = self.words.get((bit / u64::BITS) as usize);
        word.is_some_and(|word| word >> (bit % u64::BITS) & 1 == 1)
    }

    /// How many bits are set.
    pub fn ones(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Hexadecimal digits, two for every eight bits, the first bit lowest in the first byte: the
    /// FPS format, which RDKit and Open Babel write, too.
    pub fn to_hex(&self) -> String {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        let mut text = String::new();
        for byte in bytes.take(self.bits.div_ceil(u8::BITS) as usize) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Tanimoto similarity: bits set in both over bits set in either, 0 to 1. Two empty sets are
    /// alike.
    pub fn tanimoto(&self, other: &Self) -> Result<f64, LengthMismatch> {
        let (both, either) = self.overlap(other)?;
        Ok(if either == 0 {
            1.0
        } else {
            f64::from(both) / f64::from(either)
        })
    }

    /// Jaccard distance: bits that differ over bits set in either, 0 to 1. Two empty sets have
    /// the distance 0.
    ///
    /// One minus [`Self::tanimoto`], but rounded once: what other programs print.
    pub fn distance(&self, other: &Self) -> Result<f64, LengthMismatch> {
        let (both, either) = self.overlap(other)?;
        Ok(if either == 0 {
            0.0
        } else {
            f64::from(either - both) / f64::from(either)
        })
    }

    /// How many bits are set in both, and in either.
    fn overlap(&self, other: &Self) -> Result<(u32, u32), LengthMismatch> {
        if self.bits != other.bits {
            return Err(LengthMismatch {
                left: self.bits,
                right: other.bits,
            });
        }
        let pairs = self.words.iter().zip(&other.words);
        Ok(pairs.fold((0, 0), |(both, either), (one, two)| {
            (
                both + (one & two).count_ones(),
                either + (one | two).count_ones(),
            )
        }))
    }
}
