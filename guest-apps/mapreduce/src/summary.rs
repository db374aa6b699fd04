//! What a table of counts says, and all of it as text.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use taps::{Bytes, Result};

use crate::counts::{Counts, Record, corrupt, record};
use crate::word::Word;

/// Bytes collected before they are hashed.
const PIECE_BYTES: usize = 64 << 10;

/// What a table of counts says.
#[taps::value]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Files read.
    pub(crate) files: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Words seen while counting.
    pub(crate) total: u64,
    /// Sum of all counts.
    pub(crate) sum: u64,
    /// Distinct words.
    pub(crate) distinct: u64,
    /// Whether the words came in order, each once, and as many as the table says.
    pub(crate) ordered: bool,
    /// The most common words with their counts; of equal counts, the word that sorts first.
    pub(crate) top: Vec<(String, u64)>,
    /// SHA-256 over all lines `word<TAB>count<LF>`, by count descending, then by the word's bytes;
    /// in hexadecimal digits.
    pub(crate) sha256: String,
}

/// All records in the order of the text: by count descending, then by the word's bytes.
struct Ordered<'a> {
    records: &'a [u8],
    /// Count and place of every record with a count above one, in that order. The others,
    /// usually most, are found by going through the table again.
    frequent: Vec<(u64, u32)>,
}

impl<'a> Ordered<'a> {
    /// Goes through the table once, filling in what the summary can say by then. `records` are
    /// below 4 GiB, the largest payload a guest can read in place.
    fn new(records: &'a [u8], summary: &mut Summary) -> Result<Self> {
        let mut frequent = Vec::new();
        let mut last: Option<Word<'_>> = None;
        for_each(records, |place, word, count| {
            summary.sum = summary.sum.saturating_add(count);
            summary.distinct += 1;
            summary.ordered &= last.is_none_or(|last| last.compare(word).is_lt());
            last = Some(word);
            if count > 1 {
                let place = u32::try_from(place).map_err(|_| corrupt("larger than 4 GiB"))?;
                frequent.push((count, place));
            }
            Ok(())
        })?;
        frequent.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        Ok(Self { records, frequent })
    }

    /// Gives each word and its count.
    fn visit(&self, mut visit: impl FnMut(&'a [u8], u64) -> Result<()>) -> Result<()> {
        for (count, place) in &self.frequent {
            let Some(record) = record(self.records, *place as usize)? else {
                return Err(corrupt("it ends within a record"));
            };
            visit(&self.records[record.start..record.end], *count)?;
        }
        for_each_record(self.records, |_, record| match record.count {
            0 | 1 => visit(&self.records[record.start..record.end], record.count),
            _ => Ok(()),
        })
    }
}

fn for_each_record(
    records: &[u8],
    mut visit: impl FnMut(usize, Record) -> Result<()>,
) -> Result<()> {
    let mut place = 0;
    while place < records.len() {
        let Some(record) = record(records, place)? else {
            return Err(corrupt("it ends within a record"));
        };
        visit(place, record)?;
        place = record.next;
    }
    Ok(())
}

fn for_each<'a>(
    records: &'a [u8],
    mut visit: impl FnMut(usize, Word<'a>, u64) -> Result<()>,
) -> Result<()> {
    for_each_record(records, |place, record| {
        let word = Word::at(records, record.start, record.end);
        visit(place, word, record.count)
    })
}

/// Sums a table up; with `text`, gives all lines as well.
pub(crate) fn summarise(counts: &Counts, top: usize, text: bool) -> Result<(Summary, Bytes)> {
    let (header, records) = counts.parts()?;
    let mut summary = Summary {
        files: header.origin.files,
        bytes: header.origin.bytes,
        total: header.origin.total,
        sum: 0,
        distinct: 0,
        ordered: true,
        top: Vec::new(),
        sha256: String::new(),
    };
    let ordered = Ordered::new(records, &mut summary)?;
    summary.ordered &= summary.distinct == header.distinct;
    let mut size = 0;
    ordered.visit(|word, count| {
        if summary.top.len() < top {
            let word = String::from_utf8_lossy(word).into_owned();
            summary.top.push((word, count));
        }
        size += word.len() + digits(count) + 2;
        Ok(())
    })?;
    let mut lines = Lines {
        hash: Sha256::new(),
        piece: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4),
        text: Bytes::zeros(if text { size } else { 0 }),
        written: 0,
    };
    ordered.visit(|word, count| lines.push(word, count))?;
    lines.flush();
    for byte in lines.hash.finalize() {
        write!(summary.sha256, "{byte:02x}")?;
    }
    Ok((summary, lines.text))
}

/// Decimal digits of a number.
fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or_default() as usize + 1
}

/// Lines as they are hashed and, if wanted, kept.
struct Lines {
    hash: Sha256,
    piece: Vec<u8>,
    /// As long as all lines, or empty.
    text: Bytes,
    written: usize,
}

impl Lines {
    #[inline]
    fn push(&mut self, word: &[u8], count: u64) -> Result<()> {
        use std::io::Write as _;
        self.piece.extend_from_slice(word);
        self.piece.push(b'\t');
        match count {
            0..=9 => self.piece.push(b'0' + count as u8),
            _ => write!(self.piece, "{count}")?,
        }
        self.piece.push(b'\n');
        if self.piece.len() >= PIECE_BYTES {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.hash.update(&self.piece);
        let end = self.written + self.piece.len();
        if let Some(place) = self.text.as_mut_slice().get_mut(self.written..end) {
            place.copy_from_slice(&self.piece);
        }
        self.written = end;
        self.piece.clear();
    }
}
