//! Files as payloads of the local backend.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Mutex;

use crate::PayloadError;
use crate::native::HostPayload;

/// A file, read on demand.
pub(super) struct FilePayload {
    file: Mutex<File>,
    size: u64,
}

/// Opens a file as a payload.
pub(super) fn open(path: &str) -> Result<FilePayload, PayloadError> {
    let file = File::open(path).map_err(|_| PayloadError::NotGranted)?;
    let metadata = file.metadata().map_err(|_| PayloadError::Io)?;
    if !metadata.is_file() {
        return Err(PayloadError::NotGranted);
    }
    Ok(FilePayload {
        file: Mutex::new(file),
        size: metadata.len(),
    })
}

impl HostPayload for FilePayload {
    fn size(&self) -> u64 {
        self.size
    }

    fn as_slice(&self) -> Option<&[u8]> {
        None
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut file = self
            .file
            .lock()
            .map_err(|_| std::io::Error::other("a reader panicked"))?;
        file.seek(SeekFrom::Start(offset))?;
        file.read(buffer)
    }
}
