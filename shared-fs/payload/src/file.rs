//! File payloads: bytes that stay in a file that this runtime does not own.
//!
//! Such a file is read with `pread` and never mapped: whoever owns it can truncate it at any
//! moment, and a mapping would turn that into a SIGBUS that ends the host. The fingerprint taken
//! when the payload was made is compared each time the file is opened, and the length each time
//! it is read, so a changed file is an error and never a different result.

use crate::{FileRef, Fingerprint};
use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a file payload could not be made or read. Each message completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("{operation} `{}`", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, a device, a pipe or a socket.
    #[error("use `{}` as a payload: it is not a regular file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The file is not the one that the payload was made of.
    #[error(
        "read `{}`: the file changed since it became a payload (was {expected}, is {found})",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// What it was.
        expected: Fingerprint,
        /// What it is.
        found: Fingerprint,
    },
    /// The offset lies beyond the end.
    #[error("read `{}` at byte {offset}: it has {len} bytes", path.display())]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// The offset asked for.
        offset: u64,
        /// Length of the payload.
        len: u64,
    },
}

impl FileError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes modified at {} ns", self.len, self.modified_ns)
    }
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            // Nanoseconds of an i64 reach the year 2262; a stranger time stamp saturates and
            // still compares equal to itself.
            modified_ns: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
        }
    }
}

impl FileRef {
    /// Makes a payload of a regular file: its absolute path and its fingerprint now.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let path =
            std::path::absolute(path).map_err(|source| FileError::io("resolve", path, source))?;
        let file = open_regular(&path)?;
        FilePayload::from_file(path, file).map(|payload| payload.reference)
    }
}

/// An open file payload.
#[derive(Debug)]
pub struct FilePayload {
    file: File,
    reference: FileRef,
}

impl FilePayload {
    /// Opens the file and checks that it still is what the reference says.
    pub fn open(reference: &FileRef) -> Result<Self, FileError> {
        let file = open_regular(&reference.path)?;
        let payload = Self {
            file,
            reference: reference.clone(),
        };
        payload.verify()?;
        Ok(payload)
    }

    /// Makes a payload of a file that is already open, for example below a granted directory.
    /// `path` must be absolute; it names the file in messages and for whoever opens it again.
    pub fn from_file(path: PathBuf, file: File) -> Result<Self, FileError> {
        let metadata = file
            .metadata()
            .map_err(|source| FileError::io("examine", &path, source))?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular { path });
        }
        Ok(Self {
            file,
            reference: FileRef {
                path: Arc::new(path),
                fingerprint: Fingerprint::of(&metadata),
            },
        })
    }

    /// The name under which others can open this payload.
    pub fn reference(&self) -> &FileRef {
        &self.reference
    }

    /// The open file.
    pub fn into_file(self) -> File {
        self.file
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.reference.fingerprint.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Compares the file as it is now with the fingerprint.
    pub fn verify(&self) -> Result<(), FileError> {
        let path = &self.reference.path;
        let metadata = self
            .file
            .metadata()
            .map_err(|source| FileError::io("examine", path, source))?;
        let found = Fingerprint::of(&metadata);
        if found != self.reference.fingerprint {
            return Err(FileError::Changed {
                path: path.to_path_buf(),
                expected: self.reference.fingerprint,
                found,
            });
        }
        Ok(())
    }

    /// Reads from `offset` until `buffer` is full or the payload ends; returns the bytes read.
    ///
    /// A file that has become shorter gives [`FileError::Changed`]. Other changes during a run
    /// are found when the file is opened next, or by [`FilePayload::verify`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        let path = &self.reference.path;
        let len = self.len();
        let left = len
            .checked_sub(offset)
            .ok_or_else(|| FileError::OutOfRange {
                path: path.to_path_buf(),
                offset,
                len,
            })?;
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let mut done = 0;
        while done < wanted {
            match self
                .file
                .read_at(&mut buffer[done..wanted], offset + done as u64)
            {
                Ok(0) => {
                    self.verify()?;
                    let source = io::ErrorKind::UnexpectedEof.into();
                    return Err(FileError::io("read", path, source));
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(FileError::io("read", path, source)),
            }
        }
        Ok(done)
    }
}

/// Opens for reading without ever blocking: a pipe without a writer must not hang a worker.
fn open_regular(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|source| FileError::io("open", path, source))?;
    let metadata = file
        .metadata()
        .map_err(|source| FileError::io("examine", path, source))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(FileError::NotRegular {
            path: path.to_owned(),
        })
    }
}
