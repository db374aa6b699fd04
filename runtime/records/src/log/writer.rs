//! Appending events.

use super::{
    FRAME_ALIGNMENT, HEADER_BYTES, LogError, MAX_PAYLOAD_BYTES, chunk::Chunk, frame_bytes, header,
    lock,
};
use crate::LogEvent;
use rustix::{fs::FallocateFlags, io::Errno};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes that the log first grows by; doubled with each growth up to [`LARGEST_GROWTH_BYTES`].
const FIRST_GROWTH_BYTES: u64 = 1 << 20;
const LARGEST_GROWTH_BYTES: u64 = 64 << 20;

/// Growth that is still tried when more does not fit.
const SMALLEST_GROWTH_BYTES: u64 = 4 << 10;

/// Bytes mapped at a time, unless an event is larger. What a sync brings to the disk is protected page by page where
/// it is mapped, and each such page interrupts every CPU that runs a thread of this process.
const CHUNK_BYTES: u64 = 256 << 10;

/// A scratch buffer that grew beyond this for one event is given back after it.
const LARGEST_KEPT_SCRATCH_BYTES: usize = 1 << 20;

/// The event log of a run, open for appending.
///
/// An event is in the page cache when [`append`](EventLog::append) returns: it survives the
/// death of the process at any later instruction, without a system call per event. It does not
/// survive a power loss before [`LogSync::sync`].
///
/// One writer at a time: within the process callers that share it hold a lock, and other processes
/// are kept away by an advisory lock on the file, which ends with this value or with the process.
#[derive(Debug)]
pub struct EventLog {
    file: Arc<File>,
    path: PathBuf,
    chunk: Chunk,
    /// Where the next frame begins in the file.
    position: u64,
    /// Length of the file: everything up to here is allocated.
    allocated: u64,
    growth: u64,
    /// Set once the log is full: later events are refused, so that there is never a gap.
    full: Option<Errno>,
    scratch: Vec<u8>,
}

impl EventLog {
    /// Makes a new log; the file must not exist.
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let failed = |source| full_or_io("create", path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(failed)?;
        lock::claim_new(&file, path)?;
        let chunk = begin(&mut file).map_err(|source| {
            // Nothing half-written: the file is ours, made a moment ago.
            let _ = std::fs::remove_file(path);
            failed(source)
        })?;
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            chunk,
            position: HEADER_BYTES as u64,
            allocated: FIRST_GROWTH_BYTES,
            growth: FIRST_GROWTH_BYTES,
            full: None,
            scratch: Vec::with_capacity(1024),
        })
    }

    /// Goes on with a log whose writer is gone, after the last whole event of it. `file` is locked.
    pub(super) fn resume(file: File, path: &Path, position: u64) -> Result<Self, LogError> {
        // Cutting and growing again leaves zeros, whatever was there.
        file.set_len(position)
            .map_err(|source| full_or_io("cut", path, source))?;
        let (allocated, growth) = room(&file, position, position + 1, FIRST_GROWTH_BYTES)
            .map_err(|error| full_or_io("grow", path, error.into()))?;
        let chunk =
            map(&file, position..allocated, 0).map_err(|source| full_or_io("map", path, source))?;
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            chunk,
            position,
            allocated,
            growth,
            full: None,
            scratch: Vec::with_capacity(1024),
        })
    }

    /// Appends an event. On an error it is not in the log, and everything before it is intact;
    /// after [`LogError::Full`] every later append fails in the same way.
    pub fn append(&mut self, event: &LogEvent) -> Result<(), LogError> {
        if let Some(errno) = self.full {
            return Err(self.is_full(errno.into()));
        }
        self.scratch.clear();
        postcard::serialize_with_flavor(event, Scratch(&mut self.scratch))
            .map_err(LogError::Encode)?;
        if self.scratch.len() > MAX_PAYLOAD_BYTES {
            return Err(LogError::TooLarge {
                bytes: self.scratch.len(),
                limit: MAX_PAYLOAD_BYTES,
            });
        }
        let bytes = frame_bytes(self.scratch.len());
        if bytes > self.chunk.free() {
            self.make_room(bytes as u64)?;
        }
        self.chunk.push(&self.scratch);
        self.position += bytes as u64;
        if self.scratch.capacity() > LARGEST_KEPT_SCRATCH_BYTES {
            self.scratch = Vec::with_capacity(1024);
        }
        Ok(())
    }

    /// Bytes of the log that hold events, the header included.
    pub fn len_bytes(&self) -> u64 {
        self.position
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A handle that pushes the log to the disk without holding up the writer.
    pub fn sync_handle(&self) -> LogSync {
        LogSync {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
        }
    }

    /// Gives back what was allocated and not used, and ends the log.
    pub fn close(self) -> Result<(), LogError> {
        self.trim()
            .map_err(|source| full_or_io("close", &self.path, source))
        // Dropped here, which trims again: without effect.
    }

    fn trim(&self) -> io::Result<()> {
        self.file.set_len(self.position)
    }

    /// Maps room for a frame of `bytes`.
    #[cold]
    fn make_room(&mut self, bytes: u64) -> Result<(), LogError> {
        let needed = self.position + bytes;
        if needed > self.allocated {
            self.grow(needed)?;
        }
        self.chunk = map(&self.file, self.position..self.allocated, bytes)
            .map_err(|source| self.failed("map", source))?;
        Ok(())
    }

    /// Allocates up to `needed`, and more where there is space.
    fn grow(&mut self, needed: u64) -> Result<(), LogError> {
        let wanted = (self.growth * 2).min(LARGEST_GROWTH_BYTES);
        match room(&self.file, self.allocated, needed, wanted) {
            Ok((end, growth)) => {
                self.allocated = end;
                self.growth = growth;
                Ok(())
            }
            Err(error) if is_full(error) => {
                self.full = Some(error);
                Err(self.is_full(error.into()))
            }
            Err(error) => Err(self.failed("grow", error.into())),
        }
    }

    fn is_full(&self, source: io::Error) -> LogError {
        LogError::Full {
            path: self.path.clone(),
            source,
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> LogError {
        LogError::Io {
            operation,
            path: self.path.clone(),
            source,
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // Best effort: readers cope with what is left after the last frame.
        let _ = self.trim();
        // A handle to sync with may live on, and the file with it: the lock ends here.
        let _ = self.file.unlock();
    }
}

/// Pushes a log to the disk, from any thread.
#[derive(Clone, Debug)]
pub struct LogSync {
    file: Arc<File>,
    path: PathBuf,
}

impl LogSync {
    /// Blocks until every event appended before the call is on the disk. Call it about once a
    /// second and at the end: a power loss then loses at most what came since.
    pub fn sync(&self) -> Result<(), LogError> {
        self.file
            .sync_data()
            .map_err(|source| full_or_io("sync", &self.path, source))
    }
}

/// Encodes into a buffer that is reused.
struct Scratch<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Scratch<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Writes the header, and allocates and maps the first chunk.
fn begin(file: &mut File) -> io::Result<Chunk> {
    file.write_all(&header())?;
    let position = HEADER_BYTES as u64;
    allocate(file, position, FIRST_GROWTH_BYTES - position)?;
    map(file, position..FIRST_GROWTH_BYTES, 0)
}

/// Maps the next chunk of what is `free` in the file, with room for a frame of `needed` bytes, which there is.
fn map(file: &File, free: Range<u64>, needed: u64) -> io::Result<Chunk> {
    let len = (free.end - free.start).min(needed.max(CHUNK_BYTES));
    Chunk::map(file, free.start, len as usize)
}

/// Allocates `growth` bytes from `from` on, less where there is no space for so much, and at least up to
/// `needed`. Gives the new end, and what it grew by.
fn room(file: &File, from: u64, needed: u64, mut growth: u64) -> Result<(u64, u64), Errno> {
    loop {
        let end = (from + growth).max(needed.next_multiple_of(SMALLEST_GROWTH_BYTES));
        match allocate(file, from, end - from) {
            Ok(()) => return Ok((end, growth)),
            Err(error) if is_full(error) && growth > SMALLEST_GROWTH_BYTES => growth /= 2,
            Err(error) => return Err(error),
        }
    }
}

/// Makes the file reach from `offset` to `offset + len` with zeros on allocated blocks.
/// On an error the file ends at `offset` again, as far as that can be had.
fn allocate(file: &File, offset: u64, len: u64) -> Result<(), Errno> {
    debug_assert_eq!(offset % FRAME_ALIGNMENT as u64, 0);
    let result = match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len) {
        // Not every file system can: some network ones do not.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, offset, len),
        result => result,
    };
    if result.is_err() {
        let _ = file.set_len(offset);
    }
    result
}

fn write_zeros(file: &File, mut offset: u64, len: u64) -> Result<(), Errno> {
    let zeros = [0; 4 << 10];
    let end = offset + len;
    while offset < end {
        let bytes = zeros.len().min((end - offset) as usize);
        offset += rustix::io::pwrite(file, &zeros[..bytes], offset)? as u64;
    }
    Ok(())
}

/// Whether an error means that there is no space, quota or permitted file size left.
fn is_full(error: Errno) -> bool {
    matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::FBIG)
}

fn full_or_io(operation: &'static str, path: &Path, source: io::Error) -> LogError {
    let path = path.to_owned();
    match Errno::from_io_error(&source) {
        Some(errno) if is_full(errno) => LogError::Full { path, source },
        _ => LogError::Io {
            operation,
            path,
            source,
        },
    }
}
