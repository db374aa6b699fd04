//! Segments on a disk, for when the limit has no room left.
//!
//! A spilled segment is a file without a name: it is gone when it is closed, whoever dies. It is
//! allocated before anything is written, so that a full disk is found when the segment is made,
//! and it is never mapped, because a mapped disk that fails ends the process.

use crate::mapping::{Sealing, SizedFile};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// A file of `capacity` bytes that nobody else can see.
pub(super) fn make(directory: &Path, capacity: u64) -> io::Result<SizedFile> {
    let file = open_unnamed(directory).or_else(|error| match error {
        // The file system has no files without a name.
        Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL => open_and_unlink(directory),
        other => Err(other),
    })?;
    let file = File::from(file);
    match SizedFile::new(file.try_clone()?, capacity, Sealing::Nothing) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => {
            fill(&file, capacity)?;
            SizedFile::open(file, capacity, rustix::fs::SealFlags::empty())
        }
        other => other,
    }
}

fn open_unnamed(directory: &Path) -> Result<rustix::fd::OwnedFd, Errno> {
    // EXCL: nobody can give it a name later.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)
}

fn open_and_unlink(directory: &Path) -> Result<rustix::fd::OwnedFd, Errno> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".taps-spill-{}-{number}", std::process::id()));
        match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
            // Left by a process of the same number that was killed in between.
            Err(Errno::EXIST) => {}
            other => {
                let file = other?;
                rustix::fs::unlink(&path)?;
                return Ok(file);
            }
        }
    }
}

/// Allocates by writing, where the file system knows no other way.
fn fill(file: &File, capacity: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < capacity {
        let count = (capacity - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_leave_nothing_in_the_directory() {
        let name = format!("taps-spill-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("writable");
        let files = [open_unnamed(&directory), open_and_unlink(&directory)];
        // Some file systems have only the second way.
        for file in files.into_iter().flatten() {
            let file = File::from(file);
            fill(&file, 3_000_000).expect("there is room");
            assert_eq!(file.metadata().expect("ours").len(), 3_000_000);
        }
        let file = make(&directory, 8192).expect("there is room");
        assert_eq!(file.len(), 8192);
        let mut left = std::fs::read_dir(&directory).expect("ours");
        assert!(left.next().is_none());
        std::fs::remove_dir(&directory).expect("empty");
        make(&directory, 8192).expect_err("there is no such directory");
    }
}
