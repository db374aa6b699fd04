//! What the output of a task of a pattern or of a replay begins with: who made it, and the digest of
//! all that led to it.
//!
//! ```text
//! 0        4         8                 16
//! │ row    │ column  │ digest          │ content …
//! ```

use taps::{Error, Result};

/// Length in bytes.
pub(crate) const LENGTH: usize = 16;

/// Who made an output. A replayed task has its number as row, and column 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) row: u32,
    pub(crate) column: u32,
    pub(crate) digest: u64,
}

impl Header {
    /// The header of an output.
    pub(crate) fn read(output: &[u8]) -> Result<Self> {
        let Some((header, _)) = output.split_first_chunk::<LENGTH>() else {
            let message = format!("{} bytes are no output of a task", output.len());
            return Err(Error::app("WrongInput", message));
        };
        let word = u128::from_le_bytes(*header);
        Ok(Self {
            row: word as u32,
            column: (word >> 32) as u32,
            digest: (word >> 64) as u64,
        })
    }

    /// Writes the header into an output.
    pub(crate) fn write(self, output: &mut [u8]) {
        let word =
            u128::from(self.row) | u128::from(self.column) << 32 | u128::from(self.digest) << 64;
        output[..LENGTH].copy_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let header = Header {
            row: 1,
            column: u32::MAX,
            digest: 0x0123_4567_89ab_cdef,
        };
        let mut output = [7; 20];
        header.write(&mut output);
        assert_eq!(Header::read(&output).ok(), Some(header));
        assert_eq!(output[..8], [1, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(output[16..], [7; 4]);
        assert!(Header::read(&output[..15]).is_err());
    }
}
