//! The event log: the one durable output of a run. The format is in the crate's README.
//!
//! ```text
//!  file   ├ header 16 B ┤ frame │ frame │ frame │ 0 0 0 0 … preallocated … 0 ┤
//!  mapped                              ├─ current chunk ─┤
//!  frame  │ len u32 │ crc32 u32 │ payload, len bytes │ 0 to 3 bytes of padding │
//!            ▲ written last
//! ```

mod chunk;
mod error;
mod lock;
mod reader;
mod reopen;
mod writer;

pub use error::LogError;
pub use reader::LogReader;
pub use reopen::{Dropped, Reopened};
pub use writer::{EventLog, LogSync};

/// Version of the event log's format: bumped whenever the encoding of any event changes.
pub const FORMAT_VERSION: u32 = 5;

/// First bytes of every event log.
const MAGIC: [u8; 8] = *b"TAPSLOG\0";

/// Magic, version and four bytes kept at zero.
const HEADER_BYTES: usize = 16;

/// Length word and checksum before each payload.
const FRAME_HEADER_BYTES: usize = 8;

/// Frames begin at multiples of this, so that the length word can be stored atomically.
const FRAME_ALIGNMENT: usize = 4;

/// Largest payload of a frame.
const MAX_PAYLOAD_BYTES: usize = 256 << 20;

/// The header of a log of this version.
fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header
}

/// Zero bytes that follow a payload of this length.
fn padding(payload_bytes: usize) -> usize {
    payload_bytes.next_multiple_of(FRAME_ALIGNMENT) - payload_bytes
}

/// Bytes that a frame takes in the file.
fn frame_bytes(payload_bytes: usize) -> usize {
    FRAME_HEADER_BYTES + payload_bytes + padding(payload_bytes)
}
