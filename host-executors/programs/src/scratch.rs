//! The directory of one call: inputs are put there, outputs are taken from there.

use crate::{Content, ProgramError};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use taps_payload::{FilePayload, FileRef, FileStore, Isolation, Linked};

/// Removed with its content when dropped.
pub(crate) struct Scratch {
    path: PathBuf,
    /// Where the path leads, without links.
    real: PathBuf,
}

/// How the inputs of a call came to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) bytes: u64,
    pub(crate) linked: u32,
    pub(crate) copied: u32,
}

impl Scratch {
    pub(crate) fn new(base: &Path) -> Result<Self, ProgramError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let failed = |error: &io::Error| {
            ProgramError::io(
                format!("make a scratch directory in {}", base.display()),
                error,
            )
        };
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                // Left by a process that had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&error)),
                Ok(()) => {
                    let real = path.canonicalize().map_err(|error| failed(&error))?;
                    return Ok(Self { path, real });
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a relative path leads, with the directories to it.
    fn place(&self, path: &str) -> Result<PathBuf, ProgramError> {
        let inside = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !inside || path.ends_with('/') {
            return Err(ProgramError::Failed(format!(
                "`{path}` is no relative path of a file inside the scratch directory"
            )));
        }
        let place = self.path.join(path);
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory).map_err(|error| {
                ProgramError::io(format!("make the directory of `{path}`"), &error)
            })?;
        }
        Ok(place)
    }

    /// Puts a file there, which the program may read and not write.
    pub(crate) fn put(
        &self,
        path: &str,
        content: &Content<'_>,
        files: &FileStore,
        isolation: Isolation,
        placed: &mut Placed,
    ) -> Result<(), ProgramError> {
        let place = self.place(path)?;
        placed.bytes += content.len();
        let written = match content {
            Content::File(file) => {
                let linked = files
                    .link_into(file, &place, isolation)
                    .map_err(|error| ProgramError::Failed(format!("failed to {error}")))?;
                match linked {
                    Linked::Link => placed.linked += 1,
                    Linked::Copy => placed.copied += 1,
                }
                return Ok(());
            }
            Content::Bytes(bytes) => write(&place, bytes),
            Content::Segment(segment) => segment.map().and_then(|bytes| write(&place, &bytes)),
        };
        placed.copied += 1;
        written.map_err(|error| ProgramError::io(format!("write the input `{path}`"), &error))
    }

    /// Makes room for an output: the directories to it.
    pub(crate) fn expect(&self, path: &str) -> Result<(), ProgramError> {
        self.place(path).map(drop)
    }

    /// Takes a file that the program wrote into the store; none if it wrote none.
    pub(crate) fn take(
        &self,
        path: &str,
        files: &FileStore,
    ) -> Result<Option<FileRef>, ProgramError> {
        let place = self.path.join(path);
        // A directory on the way may have been replaced by a link that leads elsewhere.
        let directory = place.parent().unwrap_or(&self.path);
        match directory.canonicalize() {
            Ok(real) if real.starts_with(&self.real) => {}
            Ok(_) => {
                return Err(ProgramError::Failed(format!(
                    "the output `{path}` leads out of the scratch directory"
                )));
            }
            Err(_) => return Ok(None),
        }
        if fs::symlink_metadata(&place).is_err() {
            return Ok(None);
        }
        files
            .adopt_file(&place)
            .map(Some)
            .map_err(|error| ProgramError::Failed(format!("output `{path}`: failed to {error}")))
    }

    /// Standard input with that content.
    pub(crate) fn stdin(content: Option<&Content<'_>>) -> Result<File, ProgramError> {
        let opened = match content {
            None => File::open("/dev/null"),
            Some(Content::File(file)) => {
                let payload = FilePayload::open(file).map_err(|error| {
                    ProgramError::Failed(format!("standard input: failed to {error}"))
                })?;
                Ok(payload.into_file())
            }
            Some(Content::Bytes(bytes)) => in_memory(bytes),
            Some(Content::Segment(segment)) => segment.map().and_then(|bytes| in_memory(&bytes)),
        };
        opened.map_err(|error| ProgramError::io("make the standard input", &error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left goes with the run's directory of scratch directories.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn write(place: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(place)?
        .write_all(bytes)
}

/// A file without a name that holds these bytes.
pub(crate) fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("taps-program", flags)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
