//! Reading events back.

use super::{
    FORMAT_VERSION, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, HEADER_BYTES, LogError, MAGIC,
    MAX_PAYLOAD_BYTES, header, padding,
};
use crate::LogEvent;
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Reads an event log from the start, one event at a time.
///
/// A log that was cut, or whose writer was killed, or that is still being written, reads as
/// the events before its end. Damage ends it early and never fails: see
/// [`truncated_at`](LogReader::truncated_at).
#[derive(Debug)]
pub struct LogReader<R> {
    source: R,
    path: PathBuf,
    /// Bytes consumed so far, whole frames only.
    offset: u64,
    truncated_at: Option<u64>,
    ended: bool,
    /// Whether the log may still grow: what comes after its end is not looked at then.
    grows: bool,
    buffer: Vec<u8>,
}

impl LogReader<BufReader<File>> {
    /// Opens a log. Refuses other files and other versions of the format; a file that ends
    /// within the header reads as an empty log.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = File::open(path).map_err(|source| LogError::Io {
            operation: "open",
            path: path.to_owned(),
            source,
        })?;
        Self::new(BufReader::with_capacity(256 << 10, file), path.to_owned())
    }

    /// Opens a log that somebody writes: [`LogReader::look_again`] goes on where it ended.
    pub fn follow(path: &Path) -> Result<Self, LogError> {
        let mut reader = Self::open(path)?;
        reader.grows = true;
        Ok(reader)
    }

    /// Goes on after the last whole event, as far as the log is now. A frame that was found torn is tried again:
    /// its bytes may have been on their way.
    pub fn look_again(&mut self) -> Result<(), LogError> {
        self.go_to(self.offset)
    }

    /// Goes on with the frame that begins there.
    pub(crate) fn go_to(&mut self, offset: u64) -> Result<(), LogError> {
        let sought = self.source.seek(SeekFrom::Start(offset));
        sought.map_err(|source| LogError::Io {
            operation: "read",
            path: self.path.clone(),
            source,
        })?;
        (self.offset, self.ended, self.truncated_at) = (offset, false, None);
        if offset == 0 {
            self.read_header()?;
        }
        Ok(())
    }
}

impl<'a> LogReader<&'a [u8]> {
    /// Reads a log that is in memory.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, LogError> {
        Self::new(bytes, PathBuf::from("<memory>"))
    }
}

impl<R: Read> LogReader<R> {
    fn new(source: R, path: PathBuf) -> Result<Self, LogError> {
        let mut reader = Self {
            source,
            path,
            offset: 0,
            truncated_at: None,
            ended: false,
            grows: false,
            buffer: Vec::new(),
        };
        reader.read_header()?;
        Ok(reader)
    }

    fn read_header(&mut self) -> Result<(), LogError> {
        self.fill(HEADER_BYTES)?;
        let expected = header();
        let found = &self.buffer[..];
        if found.len() < HEADER_BYTES {
            if !expected.starts_with(found) {
                return Err(self.not_a_log());
            }
            self.truncate();
            return Ok(());
        }
        if found[..8] != MAGIC {
            return Err(self.not_a_log());
        }
        let version = word(found, 8);
        if version != FORMAT_VERSION {
            return Err(LogError::Version {
                path: self.path.clone(),
                found: version,
                supported: FORMAT_VERSION,
            });
        }
        self.offset = HEADER_BYTES as u64;
        Ok(())
    }

    /// The next event; `None` at the end of what can be read.
    pub fn next_event(&mut self) -> Result<Option<LogEvent>, LogError> {
        if self.ended {
            return Ok(None);
        }
        self.fill(FRAME_HEADER_BYTES)?;
        if self.buffer.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        // Everything in a log is a multiple of the alignment: less is what a cut left.
        if self.buffer.len() < FRAME_ALIGNMENT {
            self.truncate();
            return Ok(None);
        }
        let len = word(&self.buffer, 0) as usize;
        if len == 0 && self.grows {
            self.ended = true;
            return Ok(None);
        }
        if len == 0 {
            return self.end_with_rest();
        }
        if len > MAX_PAYLOAD_BYTES || self.buffer.len() < FRAME_HEADER_BYTES {
            self.truncate();
            return Ok(None);
        }
        let checksum = word(&self.buffer, 4);
        let padded = len + padding(len);
        self.fill(padded)?;
        // The checksum says nothing of the padding: it is always zero.
        let whole = self.buffer.len() == padded && self.buffer[len..].iter().all(|byte| *byte == 0);
        if !whole || crc32fast::hash(&self.buffer[..len]) != checksum {
            self.truncate();
            return Ok(None);
        }
        let Ok((event, [])) = postcard::take_from_bytes(&self.buffer[..len]) else {
            self.truncate();
            return Ok(None);
        };
        self.offset += (FRAME_HEADER_BYTES + padded) as u64;
        Ok(Some(event))
    }

    /// Where reading stopped early, in bytes from the start of the file, when there is
    /// something after the last whole event: a torn frame, damage, or a cut. `None` before the
    /// end is reached, and after a clean end: one at the end of the file, or before
    /// preallocated zeros.
    pub fn truncated_at(&self) -> Option<u64> {
        self.truncated_at
    }

    /// Bytes read so far, in whole frames.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Ends the log, cleanly when the frame header in the buffer and all bytes after it are
    /// zero.
    fn end_with_rest(&mut self) -> Result<Option<LogEvent>, LogError> {
        let mut zeros = self.buffer.iter().all(|byte| *byte == 0);
        while zeros {
            self.fill(64 << 10)?;
            if self.buffer.is_empty() {
                break;
            }
            zeros = self.buffer.iter().all(|byte| *byte == 0);
        }
        self.ended = true;
        if !zeros {
            self.truncate();
        }
        Ok(None)
    }

    fn truncate(&mut self) {
        self.ended = true;
        self.truncated_at = Some(self.offset);
    }

    /// Reads `bytes` into the buffer, fewer only at the end of the source. Memory grows with
    /// what is there, not with what a damaged length claims.
    fn fill(&mut self, bytes: usize) -> Result<(), LogError> {
        self.buffer.clear();
        let read = if bytes <= 64 << 10 {
            self.fill_small(bytes)
        } else {
            (&mut self.source)
                .take(bytes as u64)
                .read_to_end(&mut self.buffer)
                .map(|_| ())
        };
        read.map_err(|source| LogError::Io {
            operation: "read",
            path: self.path.clone(),
            source,
        })
    }

    fn fill_small(&mut self, bytes: usize) -> io::Result<()> {
        self.buffer.resize(bytes, 0);
        let mut filled = 0;
        while filled < bytes {
            match self.source.read(&mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    fn not_a_log(&self) -> LogError {
        LogError::NotALog {
            path: self.path.clone(),
        }
    }
}

impl<R: Read> Iterator for LogReader<R> {
    type Item = Result<LogEvent, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_event().transpose();
        if matches!(next, Some(Err(_))) {
            self.ended = true;
        }
        next
    }
}

/// The little-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
