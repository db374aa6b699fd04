//! Frames: a JSON header and any number of buffers, the same on every channel to and from Python.
//!
//! ```text
//! u32 header_len | u32 nbufs | u64 len[nbufs] | header | buffer 0 | buffer 1 | …
//! ```
//!
//! Numbers are little-endian. The header is JSON, so that the far end needs nothing but the standard library of its
//! language; payloads stay outside of it.
//!
//! A crate of its own, so that what reads a peer's bytes can be tried with any of them and without a sandbox. It never
//! looks into messages and buffers, and takes memory only as bytes come.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, Read, Write};

/// Longest header that is believed.
const MAX_HEADER_BYTES: usize = 64 << 20;

/// Most buffers that are believed.
const MAX_BUFFERS: usize = 1 << 16;

/// Longest buffer that is believed.
const MAX_BUFFER_BYTES: u64 = 1 << 40;

/// A frame as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// JSON text.
    pub header: Vec<u8>,
    /// What comes with it.
    pub buffers: Vec<Vec<u8>>,
}

/// What is wrong with a channel or a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The channel failed, or ended within a frame.
    #[error("read or write a frame")]
    Io(#[from] io::Error),
    /// A frame claims to be larger than any frame is.
    #[error("a frame with {what} of {found}; at most {most} is believed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// The header is not what is expected here.
    #[error("a frame begins with {text:?}: {source}")]
    Header {
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Frame {
    /// The message in the header.
    ///
    /// # Errors
    /// [`FrameError::Header`] where it is another, or no JSON.
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        serde_json::from_slice(&self.header).map_err(|source| FrameError::Header {
            text: String::from_utf8_lossy(&self.header)
                .chars()
                .take(120)
                .collect(),
            source,
        })
    }

    /// Reads the next frame; none where the channel ended between two.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] before any of what is too large is read, and [`FrameError::Io`], also for a channel
    /// that ends within a frame.
    pub fn read(source: &mut impl Read) -> Result<Option<Self>, FrameError> {
        let mut start = [0; 8];
        if !read_or_end(source, &mut start)? {
            return Ok(None);
        }
        let number = |at: usize| {
            u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]) as usize
        };
        let (header_len, count) = (number(0), number(4));
        within("a header", header_len as u64, MAX_HEADER_BYTES as u64)?;
        within("a number of buffers", count as u64, MAX_BUFFERS as u64)?;
        let mut lengths = vec![0; 8 * count];
        source.read_exact(&mut lengths)?;
        let header = read_whole(source, header_len as u64)?;
        let mut buffers = Vec::with_capacity(count);
        for length in lengths.as_chunks::<8>().0 {
            let length = u64::from_le_bytes(*length);
            within("a buffer", length, MAX_BUFFER_BYTES)?;
            buffers.push(read_whole(source, length)?);
        }
        Ok(Some(Self { header, buffers }))
    }
}

/// Writes a frame.
///
/// # Errors
/// [`FrameError::TooLarge`] before anything is written, and [`FrameError::Io`].
pub fn write(
    sink: &mut impl Write,
    message: &impl Serialize,
    buffers: &[&[u8]],
) -> Result<(), FrameError> {
    let header = serde_json::to_vec(message).map_err(io::Error::from)?;
    within("a header", header.len() as u64, MAX_HEADER_BYTES as u64)?;
    within(
        "a number of buffers",
        buffers.len() as u64,
        MAX_BUFFERS as u64,
    )?;
    let mut start = Vec::with_capacity(8 + 8 * buffers.len());
    start.extend_from_slice(&(header.len() as u32).to_le_bytes());
    start.extend_from_slice(&(buffers.len() as u32).to_le_bytes());
    for buffer in buffers {
        start.extend_from_slice(&(buffer.len() as u64).to_le_bytes());
    }
    let mut slices = Vec::with_capacity(2 + buffers.len());
    slices.extend([IoSlice::new(&start), IoSlice::new(&header)]);
    slices.extend(buffers.iter().map(|buffer| IoSlice::new(buffer)));
    write_slices(sink, &mut slices)?;
    sink.flush()?;
    Ok(())
}

fn within(what: &'static str, found: u64, most: u64) -> Result<(), FrameError> {
    if found > most {
        return Err(FrameError::TooLarge { what, found, most });
    }
    Ok(())
}

/// Fills the buffer; false where there is nothing more at all.
fn read_or_end(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Reads so many bytes. Memory is taken as they come: a length that lies costs none.
fn read_whole(source: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    const AT_ONCE: u64 = 1 << 20;
    let mut bytes = Vec::with_capacity(length.min(AT_ONCE) as usize);
    source.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn write_slices(sink: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match sink.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut slices, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn what_is_written_is_read(
            text in ".{0,40}",
            buffers in vec(vec(any::<u8>(), 0..200), 0..6),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            let slices: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
            write(&mut bytes, &text, &slices).expect("a vector takes everything");
            let mut source = bytes.as_slice();
            let frame = Frame::read(&mut source).expect("whole").expect("there is one");
            prop_assert_eq!(&frame.buffers, &buffers);
            prop_assert_eq!(frame.message::<String>().expect("text"), text);
            prop_assert!(Frame::read(&mut source).expect("nothing more").is_none());
            // Whatever is missing at the end is an error, and not another frame.
            let cut = cut.index(bytes.len());
            let broken = Frame::read(&mut &bytes[..cut]);
            let right = if cut == 0 { matches!(broken, Ok(None)) } else { broken.is_err() };
            prop_assert!(right);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
            let mut source = bytes.as_slice();
            while let Ok(Some(frame)) = Frame::read(&mut source) {
                let _ = frame.message::<serde_json::Value>();
            }
        }

        #[test]
        fn any_bytes_behind_small_numbers_are_frames_or_errors(
            numbers in (0_u32..40, 0_u32..4),
            rest in vec(prop_oneof![4 => Just(0), 1 => any::<u8>()], 0..300),
        ) {
            let mut bytes = [numbers.0, numbers.1].map(u32::to_le_bytes).concat();
            bytes.extend(&rest);
            let mut source = bytes.as_slice();
            if let Ok(Some(frame)) = Frame::read(&mut source) {
                prop_assert_eq!((frame.header.len(), frame.buffers.len()), (numbers.0 as usize, numbers.1 as usize));
                let payload: usize = frame.buffers.iter().map(Vec::len).sum();
                let read = bytes.len() - source.len();
                prop_assert_eq!(read, 8 + 8 * frame.buffers.len() + frame.header.len() + payload);
            }
        }
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let mut bytes = [2_u32, 1].map(u32::to_le_bytes).concat();
        bytes.extend((1_u64 << 39).to_le_bytes());
        bytes.extend(b"{}");
        assert!(matches!(
            Frame::read(&mut bytes.as_slice()),
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof
        ));
        bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(
            Frame::read(&mut bytes.as_slice()),
            Err(FrameError::TooLarge {
                what: "a buffer",
                ..
            })
        ));
    }
}
