//! Counting words: a hash table that allocates nothing per word.
//!
//! ```text
//! slots    hash (32 bits) | number of the entry + 1 (32 bits); 0 is free; linear probing
//! entries  key (first eight bytes) | length | place of the tail | count
//! tails    what words have beyond eight bytes, one after another
//! ```

use taps::{Error, Result};

use crate::counts::{Counts, CountsWriter, Origin};
use crate::word::{KEY_BYTES, Word, load};

/// Slots of an empty table, as a power of two.
const FIRST_BITS: u32 = 12;

struct Entry {
    key: u64,
    length: u32,
    tail: u32,
    count: u64,
}

/// Counts of words.
pub(crate) struct WordTable {
    slots: Vec<u64>,
    /// The slots are two to the power of this.
    bits: u32,
    entries: Vec<Entry>,
    tails: Vec<u8>,
    /// Words counted.
    total: u64,
    /// A word or all words together are too long for the table.
    overflown: bool,
}

impl WordTable {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![0; 1 << FIRST_BITS],
            bits: FIRST_BITS,
            entries: Vec::new(),
            tails: Vec::new(),
            total: 0,
            overflown: false,
        }
    }

    /// Counts the word `buffer[start..end]` once.
    #[inline]
    pub(crate) fn count(&mut self, buffer: &[u8], start: usize, end: usize) {
        let word = Word::at(buffer, start, end);
        let hash = hash(word);
        self.total += 1;
        let mask = self.slots.len() - 1;
        let mut place = (hash >> (32 - self.bits)) as usize;
        loop {
            let slot = self.slots[place & mask];
            if slot == 0 {
                return self.insert(word, hash, place & mask);
            }
            if (slot >> 32) as u32 == hash {
                let entry = (slot as u32 - 1) as usize;
                if self.word(&self.entries[entry]).equals(word) {
                    self.entries[entry].count += 1;
                    return;
                }
            }
            place += 1;
        }
    }

    fn word(&self, entry: &Entry) -> Word<'_> {
        let length = entry.length as usize;
        let tail = entry.tail as usize;
        Word {
            key: entry.key,
            length,
            tail: if length > KEY_BYTES {
                &self.tails[tail..tail + length - KEY_BYTES]
            } else {
                &[]
            },
        }
    }

    fn insert(&mut self, word: Word<'_>, hash: u32, place: usize) {
        let tail = u32::try_from(self.tails.len());
        let length = u32::try_from(word.length);
        let number = u32::try_from(self.entries.len() + 1);
        let (Ok(tail), Ok(length), Ok(number)) = (tail, length, number) else {
            self.overflown = true;
            return;
        };
        if !word.tail.is_empty() {
            self.tails.extend_from_slice(word.tail);
        }
        self.entries.push(Entry {
            key: word.key,
            length,
            tail,
            count: 1,
        });
        self.slots[place] = u64::from(hash) << 32 | u64::from(number);
        if self.entries.len() * 3 > self.slots.len() * 2 && self.bits < 31 {
            self.grow();
        }
    }

    /// Doubles the slots. They hold the whole hashes, so no entry is touched.
    fn grow(&mut self) {
        self.bits += 1;
        let mut slots = vec![0; 1 << self.bits];
        let mask = slots.len() - 1;
        for slot in self.slots.iter().filter(|slot| **slot != 0) {
            let mut place = (*slot >> (64 - self.bits)) as usize;
            while slots[place & mask] != 0 {
                place += 1;
            }
            slots[place & mask] = *slot;
        }
        self.slots = slots;
    }

    /// The counts, sorted by the words' bytes.
    pub(crate) fn into_counts(mut self, files: u64, bytes: u64) -> Result<Counts> {
        if self.overflown {
            return Err(Error::app(
                "TooLarge",
                "the words of one map task exceed 4 GiB: use more map_tasks",
            ));
        }
        self.slots = Vec::new();
        let mut order: Vec<(u64, u32)> = self
            .entries
            .iter()
            .zip(0..)
            .map(|(entry, number)| (entry.key.swap_bytes(), number))
            .collect();
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| {
                let (a, b) = (&self.entries[a.1 as usize], &self.entries[b.1 as usize]);
                self.word(a).compare_rest(self.word(b))
            })
        });
        let mut writer = CountsWriter::new();
        for (_, number) in order {
            let entry = &self.entries[number as usize];
            writer.word(self.word(entry));
            writer.count(entry.count);
        }
        Ok(writer.finish(Origin {
            files,
            bytes,
            total: self.total,
        }))
    }
}

/// A fast hash; it need not resist an attacker, whose task would only spend its own time.
#[inline]
fn hash(word: Word<'_>) -> u32 {
    let mut hash = mix(word.key ^ (word.length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut at = 0;
    while at < word.tail.len() {
        let length = (word.tail.len() - at).min(KEY_BYTES);
        hash = mix(hash ^ load(word.tail, at, length));
        at += length;
    }
    (hash >> 32) as u32
}

/// Multiply, fold, multiply: every bit reaches the upper half.
#[inline]
fn mix(value: u64) -> u64 {
    let product = value.wrapping_mul(0xd6e8_feb8_6659_fd93);
    (product ^ product >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}
