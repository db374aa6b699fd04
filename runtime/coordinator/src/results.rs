//! Results that are kept in files, so that a run that was killed need not make them again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};
use taps_engine::{AttemptReport, TaskId};
use taps_payload::{FileRef, Location, SegmentStore};
use taps_sandbox::stored;

/// Which results are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durable {
    /// Those alone that are small enough to be in the log.
    #[default]
    None,
    /// Those too that went to the disk for want of memory.
    Spill,
    /// All.
    All,
}

/// The files of a run's results, one for each: `TASK.OUTPUT`.
///
/// A file is written before the log says that the task ended: a log that says so has the file. A power
/// loss may take files that the log still knows; one of another length is not used.
#[derive(Debug)]
pub struct ResultFiles {
    directory: PathBuf,
    durable: Durable,
    /// A result could not be written, and the run said so.
    failed: AtomicBool,
}

impl ResultFiles {
    /// Files in that directory, which is made with the first of them.
    pub fn new(directory: PathBuf, durable: Durable) -> Self {
        Self {
            directory,
            durable,
            failed: AtomicBool::new(false),
        }
    }

    /// Whether any result is written.
    pub(crate) fn is_off(&self) -> bool {
        self.durable == Durable::None
    }

    /// Keeps the results of an attempt. The first failure is given back, to be told: results that are
    /// not kept are made again should the run be resumed.
    pub(crate) fn keep(&self, report: &AttemptReport, store: &SegmentStore) -> io::Result<()> {
        let Ok(outputs) = &report.result else {
            return Ok(());
        };
        for (index, output) in outputs.iter().enumerate() {
            let path = self.path(report.id.task, index as u32);
            let written = match &output.location {
                Location::Segment(segment) => match store.get(segment.id) {
                    Some(segment) if self.durable == Durable::All || !segment.is_mappable() => {
                        taps_sandbox::stored::bytes_of(&segment).and_then(|bytes| {
                            in_directory(&self.directory, || fs::write(&path, &bytes))
                        })
                    }
                    _ => continue,
                },
                // Another name of it; a copy where that cannot be.
                Location::File(file) => in_directory(&self.directory, || {
                    fs::hard_link(&*file.path, &path)
                        .or_else(|_| fs::copy(&*file.path, &path).map(drop))
                }),
                _ => continue,
            };
            if let Err(error) = written {
                // Half of a file is none.
                let _ = fs::remove_file(&path);
                if !self.failed.swap(true, Ordering::Relaxed) {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("write {}: {error}", path.display()),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The file of a result, if it is there and as long as it should be.
    pub(crate) fn find(&self, task: TaskId, index: u32, len: u64) -> Option<FileRef> {
        let file = FileRef::open(&self.path(task, index)).ok()?;
        (file.fingerprint.len == len).then_some(file)
    }

    /// Whether a file is one of these.
    pub(crate) fn has(&self, file: &FileRef) -> bool {
        file.path.starts_with(&self.directory)
    }

    fn path(&self, task: TaskId, index: u32) -> PathBuf {
        self.directory.join(format!("{task}.{index}"))
    }
}

/// Puts the bytes of a file into the store; into memory that can be mapped where they are so many.
pub(crate) fn load(file: &FileRef, store: &SegmentStore, map_min: u64) -> Option<Location> {
    let bytes = fs::read(&*file.path).ok()?;
    let len = bytes.len() as u64;
    if len != file.fingerprint.len {
        return None;
    }
    stored::place(&bytes, store, map_min).ok()
}

/// Makes a file in a directory, which is made first if it is not there.
fn in_directory(directory: &Path, make: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            make()
        }
        made => made,
    }
}
