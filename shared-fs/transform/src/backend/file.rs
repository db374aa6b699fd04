//! Payloads in files of a directory.

use super::{
    Answer, Backend, Refusal,
    lease::{self, Lease},
};
use crate::{ConfigProblem, Ownership, RunKey};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// One file for each payload, written under another name and renamed, readable by nobody else.
pub(crate) struct Files {
    directory: Arc<Path>,
    made: MadeDirectories,
    /// Says that the run lives; a worker is covered by its run's.
    lease: Mutex<Option<Lease>>,
}

/// Directories that this run made, outermost first: it removes them if they are empty.
pub(super) struct MadeDirectories(Vec<PathBuf>);

impl MadeDirectories {
    /// Makes a directory and what is missing above it.
    pub(super) fn make(directory: &Path) -> io::Result<Self> {
        let missing = |path: &&Path| !path.exists();
        let mut made: Vec<PathBuf> = directory
            .ancestors()
            .take_while(missing)
            .map(Path::to_owned)
            .collect();
        made.reverse();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        Ok(Self(made))
    }

    /// Nothing was made.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Removes those that are empty.
    pub(super) fn remove(&self) {
        for directory in self.0.iter().rev() {
            // One that is not empty stays, and so do those above it.
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }
}

/// Ends the name of a file that is being written.
pub(super) const UNFINISHED: &str = ".part";

impl Files {
    pub(crate) fn open(
        directory: &Path,
        run: &RunKey,
        ownership: Ownership,
    ) -> Result<Self, ConfigProblem> {
        let (made, lease) = match ownership {
            Ownership::Run => Self::settle(directory, run).map_err(|error| {
                ConfigProblem::new(
                    "file_dir",
                    format!("`{}` ({error})", directory.display()),
                    "a directory that can be made or written",
                )
            })?,
            Ownership::Worker => (MadeDirectories::none(), None),
        };
        Ok(Self {
            directory: directory.into(),
            made,
            lease: Mutex::new(lease),
        })
    }

    /// Makes the directory the run's, and removes what dead runs left there.
    fn settle(directory: &Path, run: &RunKey) -> io::Result<(MadeDirectories, Option<Lease>)> {
        let made = MadeDirectories::make(directory)?;
        match Lease::take(directory, run).and_then(|lease| lease::sweep(directory).map(|_| lease)) {
            Ok(lease) => Ok((made, Some(lease))),
            Err(error) => {
                made.remove();
                Err(error)
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(key)
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&unfinished, path));
    written.inspect_err(|_| {
        // The first error is the one that matters; a full disk should not stay fuller.
        let _ = fs::remove_file(&unfinished);
    })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Runs file operations on a thread that may wait for them.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Refusal::of(&error)),
        Err(error) => Err(Refusal::of(&error)),
    }
}

impl Backend for Files {
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        let path = self.path(key);
        Box::pin(blocking(move || write(&path, &bytes)))
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        let path = self.path(key);
        Box::pin(blocking(move || match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }))
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        let path = self.path(key);
        Box::pin(blocking(move || remove(&path)))
    }

    fn remove_run<'a>(&'a self, run: &'a RunKey) -> Answer<'a, ()> {
        let (directory, prefix) = (Arc::clone(&self.directory), format!("{run}-"));
        Box::pin(async move {
            let listed = blocking(move || {
                for entry in fs::read_dir(&directory)? {
                    let entry = entry?;
                    if entry
                        .file_name()
                        .as_encoded_bytes()
                        .starts_with(prefix.as_bytes())
                    {
                        remove(&entry.path())?;
                    }
                }
                Ok(())
            });
            listed.await?;
            drop(self.lease.lock().take());
            self.made.remove();
            Ok(())
        })
    }
}
