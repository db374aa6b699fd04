//! The mark of a living run in a directory that runs share, and the end of what dead ones left there.
//!
//! A run holds a lock on a file `RUN.lock` for as long as it lives. The kernel drops the lock with the
//! process, however it dies, so a lock that can be taken belongs to nobody any more.

use crate::RunKey;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Ends the name of the mark.
const MARK: &str = ".lock";

/// A run's mark in a directory; taken away when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Lease {
    /// Marks the directory. The mark is locked before it has its name, so that nobody takes it for a dead
    /// run's.
    pub(super) fn take(directory: &Path, run: &RunKey) -> io::Result<Self> {
        let path = directory.join(format!("{run}{MARK}"));
        let unfinished = directory.join(format!("{run}{}", super::file::UNFINISHED));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        let named = file.lock().and_then(|()| fs::rename(&unfinished, &path));
        named.inspect_err(|_| {
            // The first error is the one that matters.
            let _ = fs::remove_file(&unfinished);
        })?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Left behind, it is swept like a dead run's.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what dead runs left in the directory; gives how many files.
pub(super) fn sweep(directory: &Path) -> io::Result<usize> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(run) = name.and_then(|name| name.strip_suffix(MARK)) else {
            continue;
        };
        if RunKey::is_one(run)
            && let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            dead.push((format!("{run}-"), path, file));
        }
    }
    let mut removed = 0;
    if dead.is_empty() {
        return Ok(removed);
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if dead
            .iter()
            .any(|(prefix, ..)| name.starts_with(prefix.as_str()))
        {
            fs::remove_file(&path)?;
            removed += 1;
        }
    }
    // Last, so that a sweep that fails is done again.
    for (_, mark, _locked) in dead {
        fs::remove_file(mark)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("read");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_dead_run_left_goes_and_nothing_else() {
        let place = tempfile::tempdir().expect("a directory");
        let (dead, alive) = (
            RunKey::random().expect("random"),
            RunKey::random().expect("random"),
        );
        let write = |name: String| fs::write(place.path().join(name), "x").expect("write");
        // As a killed process leaves it: the name without the lock.
        write(format!("{dead}{MARK}"));
        write(format!("{dead}-1"));
        write(format!("{dead}-2.part"));
        write(format!("{alive}-1"));
        write("notes.lock".to_owned());
        write("notes-1".to_owned());
        let lease = Lease::take(place.path(), &alive).expect("take");
        assert_eq!(sweep(place.path()).expect("sweep"), 2);
        let mut kept = vec![
            format!("{alive}-1"),
            format!("{alive}{MARK}"),
            "notes-1".to_owned(),
            "notes.lock".to_owned(),
        ];
        kept.sort();
        assert_eq!(names(place.path()), kept);
        drop(lease);
        kept.retain(|name| !name.ends_with(MARK) || name == "notes.lock");
        assert_eq!(names(place.path()), kept);
        assert_eq!(
            sweep(place.path()).expect("sweep"),
            0,
            "it took its mark away"
        );
    }
}
