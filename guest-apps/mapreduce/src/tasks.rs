//! The tasks.

use taps::{Bytes, List, Payload, Result};

use crate::counts::Counts;
use crate::summary::{self, Summary};
use crate::table::WordTable;
use crate::tokens::Tokenizer;
use crate::{generate, merge};

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Makes a text of random words.
#[taps::task(pure)]
pub(crate) fn generate_task(seed: u64, words: u32) -> Bytes {
    generate::text(seed, words)
}

/// Counts the words of files.
#[taps::task(pure)]
pub(crate) fn map_task(files: List<Payload>) -> Result<Counts> {
    let mut table = WordTable::new();
    let mut count = |buffer: &[u8], start, end| table.count(buffer, start, end);
    let mut buffer = Vec::new();
    let (mut read_files, mut read_bytes) = (0, 0);
    for file in files.into_payloads() {
        let size = usize::try_from(file.size()).unwrap_or(usize::MAX);
        buffer.resize(buffer.len().max(size.min(PIECE_BYTES)), 0);
        let mut tokenizer = Tokenizer::default();
        let mut offset = 0;
        while offset < file.size() {
            let length = file.read_into(offset, &mut buffer)?;
            if length == 0 {
                break;
            }
            tokenizer.feed(&buffer[..length], &mut count);
            offset += length as u64;
        }
        tokenizer.finish(&mut count);
        read_files += 1;
        read_bytes += offset;
    }
    table.into_counts(read_files, read_bytes)
}

/// Merges tables of counts.
#[taps::task(pure)]
pub(crate) fn reduce_task(counts: List<Counts>) -> Result<Counts> {
    let tables: Vec<_> = counts.into_payloads().collect();
    merge::merge(tables.into_iter())
}

/// Says what a table of counts holds: totals, the most common words, a digest, and all lines if
/// they are wanted.
#[taps::task(pure)]
pub(crate) fn summary_task(counts: Counts, top: u32, text: bool) -> Result<(Summary, Bytes)> {
    summary::summarise(&counts, top as usize, text)
}
