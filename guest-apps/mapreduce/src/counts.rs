//! Counts as they travel between tasks: words in the order of their bytes.
//!
//! ```text
//! header   magic "tapscnt1" | files | bytes | total | distinct       5 × 8 bytes, little-endian
//! records  length | the word | count                                 one per distinct word
//! ```
//!
//! Length and count are LEB128 numbers. Writing and merging go through the bytes once, from front
//! to end, so that any number of tables can be merged in bounded memory, and large ones are built
//! where the host publishes them.

use taps::{Bytes, Error, Payload, Result, Value};

use crate::word::{KEY_BYTES, Word, load};

const MAGIC: u64 = u64::from_le_bytes(*b"tapscnt1");
/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 40;
/// Bytes of the largest LEB128 number.
const LARGEST_NUMBER: usize = 10;
/// Bytes written before a new block begins.
const BLOCK_BYTES: usize = 1 << 20;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Files read.
    pub(crate) files: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Words seen, by a counter of its own: it must equal the sum of the counts.
    pub(crate) total: u64,
}

/// The first bytes of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) origin: Origin,
    /// Distinct words.
    pub(crate) distinct: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let Origin {
            files,
            bytes,
            total,
        } = self.origin;
        let mut header = [0; HEADER_BYTES];
        let numbers = [MAGIC, files, bytes, total, self.distinct];
        for (place, number) in header.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        header
    }

    /// Reads the header at the start of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEADER_BYTES || load(bytes, 0, 8) != MAGIC {
            return Err(corrupt("no header"));
        }
        Ok(Self {
            origin: Origin {
                files: load(bytes, 8, 8),
                bytes: load(bytes, 16, 8),
                total: load(bytes, 24, 8),
            },
            distinct: load(bytes, 32, 8),
        })
    }
}

pub(crate) fn corrupt(what: &str) -> Error {
    Error::app("CorruptCounts", format!("not a table of counts: {what}"))
}

/// A table of counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counts(Bytes);

impl Counts {
    /// The header and the records.
    pub(crate) fn parts(&self) -> Result<(Header, &[u8])> {
        Ok((Header::parse(&self.0)?, &self.0[HEADER_BYTES..]))
    }
}

impl Value for Counts {
    fn encode(&self) -> Result<Bytes> {
        Ok(self.0.clone())
    }

    fn into_bytes(self) -> Result<Bytes> {
        Ok(self.0)
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        Header::parse(&bytes)?;
        Ok(Self(bytes))
    }
}

/// Writes a table, word by word.
pub(crate) struct CountsWriter {
    /// Full blocks; a record lies in one block.
    blocks: Vec<Vec<u8>>,
    block: Vec<u8>,
    distinct: u64,
}

impl CountsWriter {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            block: Vec::new(),
            distinct: 0,
        }
    }

    /// Begins the record of a word, greater than all before, and tells where in the current block
    /// the word lies.
    #[inline]
    pub(crate) fn word(&mut self, word: Word<'_>) -> std::ops::Range<usize> {
        if self.block.len() >= BLOCK_BYTES {
            let next = Vec::with_capacity(BLOCK_BYTES + 64);
            self.blocks.push(std::mem::replace(&mut self.block, next));
        }
        self.number(word.length as u64);
        let start = self.block.len();
        // Eight bytes are one store; a copy of variable length is a call.
        self.block.extend_from_slice(&word.key.to_le_bytes());
        if word.length < KEY_BYTES {
            self.block.truncate(start + word.length);
        } else if word.length > KEY_BYTES {
            self.block.extend_from_slice(word.tail);
        }
        self.distinct += 1;
        start..self.block.len()
    }

    /// Ends the record.
    #[inline]
    pub(crate) fn count(&mut self, count: u64) {
        self.number(count);
    }

    /// The word that [`CountsWriter::word`] placed there.
    #[inline]
    pub(crate) fn placed(&self, place: &std::ops::Range<usize>) -> Word<'_> {
        Word::at(&self.block, place.start, place.end)
    }

    #[inline]
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.block.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.block.push(number as u8);
    }

    /// The table.
    pub(crate) fn finish(mut self, origin: Origin) -> Counts {
        let header = Header {
            origin,
            distinct: self.distinct,
        };
        self.blocks.push(self.block);
        let records: usize = self.blocks.iter().map(Vec::len).sum();
        let mut bytes = Bytes::zeros(HEADER_BYTES + records);
        let (head, mut rest) = bytes.as_mut_slice().split_at_mut(HEADER_BYTES);
        head.copy_from_slice(&header.to_bytes());
        for block in self.blocks {
            let (place, after) = rest.split_at_mut(block.len());
            place.copy_from_slice(&block);
            rest = after;
        }
        Counts(bytes)
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) count: u64,
    /// Start of the next record.
    pub(crate) next: usize,
}

/// The record at `at`; `None` if `bytes` end before it does.
#[inline]
pub(crate) fn record(bytes: &[u8], at: usize) -> Result<Option<Record>> {
    let Some((length, start)) = number(bytes, at)? else {
        return Ok(None);
    };
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| start.checked_add(length))
        .ok_or_else(|| corrupt("a word too long"))?;
    let Some((count, next)) = number(bytes, end)? else {
        return Ok(None);
    };
    Ok(Some(Record {
        start,
        end,
        count,
        next,
    }))
}

/// The number at `at` and what follows it; `None` if `bytes` end before it does.
#[inline]
fn number(bytes: &[u8], at: usize) -> Result<Option<(u64, usize)>> {
    match bytes.get(at) {
        None => Ok(None),
        Some(byte) if *byte < 0x80 => Ok(Some((u64::from(*byte), at + 1))),
        Some(_) => long_number(bytes, at),
    }
}

fn long_number(bytes: &[u8], at: usize) -> Result<Option<(u64, usize)>> {
    let mut value = 0;
    for (index, byte) in bytes[at..].iter().take(LARGEST_NUMBER).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Ok(Some((value, at + index + 1)));
        }
    }
    if bytes.len() - at < LARGEST_NUMBER {
        Ok(None)
    } else {
        Err(corrupt("a number too long"))
    }
}

/// Reads a table from a payload, record by record, through a buffer of bounded size.
pub(crate) struct CountsReader {
    payload: Payload,
    /// Offset in the payload of the end of the buffer.
    offset: u64,
    buffer: Vec<u8>,
    record: Record,
    header: Header,
}

impl CountsReader {
    /// Opens a table. The reader stands before the first record; `buffer` is its size in bytes.
    pub(crate) fn open(payload: Payload, buffer: usize) -> Result<Self> {
        let size = usize::try_from(payload.size()).unwrap_or(usize::MAX);
        let first = payload.read(0, buffer.max(HEADER_BYTES).min(size))?;
        Ok(Self {
            header: Header::parse(&first)?,
            offset: first.len() as u64,
            buffer: first,
            record: Record {
                start: 0,
                end: 0,
                count: 0,
                next: HEADER_BYTES,
            },
            payload,
        })
    }

    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// Goes to the next record; false at the end.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool> {
        match record(&self.buffer, self.record.next)? {
            Some(record) => {
                self.record = record;
                Ok(true)
            }
            None => self.refill(),
        }
    }

    /// Gets more bytes until a whole record lies in the buffer.
    #[cold]
    fn refill(&mut self) -> Result<bool> {
        loop {
            let kept = self.buffer.len() - self.record.next.min(self.buffer.len());
            let left = self.payload.size().saturating_sub(self.offset);
            if left == 0 {
                return match kept {
                    0 => Ok(false),
                    _ => Err(corrupt("it ends within a record")),
                };
            }
            self.buffer.copy_within(self.record.next.., 0);
            let capacity = self.buffer.len();
            let size = if kept > capacity / 2 {
                capacity * 2
            } else {
                capacity
            };
            let size = size.min(kept.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
            self.buffer.resize(size, 0);
            let count = self
                .payload
                .read_into(self.offset, &mut self.buffer[kept..])?;
            if count == 0 {
                return Err(corrupt("it is shorter than it says"));
            }
            self.buffer.truncate(kept + count);
            self.offset += count as u64;
            self.record.next = 0;
            if let Some(record) = record(&self.buffer, 0)? {
                self.record = record;
                return Ok(true);
            }
        }
    }

    /// The word of the current record.
    #[inline]
    pub(crate) fn word(&self) -> Word<'_> {
        Word::at(&self.buffer, self.record.start, self.record.end)
    }

    /// The count of the current record.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.record.count
    }
}
