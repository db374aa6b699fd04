//! Who may write a log: an advisory lock on the file, held by its writer and gone with it.

use super::LogError;
use rustix::io::Errno;
use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    thread,
    time::Duration,
};

/// How often a lock is tried for: somebody who only looks holds it for a moment.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock of a log, or says that its run goes on.
pub(super) fn claim(file: &File, path: &Path) -> Result<(), LogError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            Err(TryLockError::Error(source)) => return Err(failed(path, source)),
        }
    }
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(path, source)),
    }
}

/// Takes the lock of a log made a moment ago. Where the file system has no locks the run goes on
/// without: it then cannot be resumed there, for want of the same lock.
pub(super) fn claim_new(file: &File, path: &Path) -> Result<(), LogError> {
    match claim(file, path) {
        Err(LogError::Io { source, .. }) if has_no_locks(&source) => Ok(()),
        result => result,
    }
}

/// Whether somebody writes the log. It is locked for an instant, by nobody's leave but shared, so that
/// others may look at the same time.
pub(super) fn is_held(path: &Path) -> Result<bool, LogError> {
    let file = File::open(path).map_err(|source| LogError::Io {
        operation: "open",
        path: path.to_owned(),
        source,
    })?;
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) if has_no_locks(&source) => Ok(false),
        Err(TryLockError::Error(source)) => Err(failed(path, source)),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK)
    )
}

fn failed(path: &Path, source: io::Error) -> LogError {
    LogError::Io {
        operation: "lock",
        path: path.to_owned(),
        source,
    }
}
