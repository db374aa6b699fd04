//! The files of a run: outputs of programs, kept as they are and passed on by name.
//!
//! ```text
//!  base directory
//!  └── taps-files-<process>-<number>   mode 0700, one for each run
//!      ├── lock                        locked (flock) for as long as the owner lives
//!      ├── 0                           a file payload: read-only, renamed in, never changed
//!      └── 1
//! ```
//!
//! A file payload is one inode for its whole life. A program gets it as a hard link where it cannot
//! change what it was not granted, and else as a copy, which file systems that can make without
//! copying the bytes.
//!
//! A lock ends with its process, however that dies, so that the next run can tell what nobody
//! needs any more, see [`FileStore::sweep_stale`].

use crate::{FileError, FilePayload, FileRef};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// What directories of stores are called.
const PREFIX: &str = "taps-files-";
const LOCK: &str = "lock";
/// Of files in the store and of what is given to programs.
const READ_ONLY: u32 = 0o444;

/// Whether a program that gets a file can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// It is confined: it can neither write to what it was not granted, nor change the mode and the
    /// times of files. Landlock alone does not see to the latter.
    Confined,
    /// It could make the file writable again, so it gets one of its own.
    Unconfined,
}

/// How a program got a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// By another name of the same file.
    Link,
    /// As a file of its own.
    Copy,
}

/// The files of one run, in a directory that nobody else uses. Dropping it removes them, where it is
/// the owner's.
#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
    /// Names begin with it: no two processes use the same.
    prefix: String,
    next: AtomicU64,
    /// Held by the owner for as long as the store lives.
    lock: Option<File>,
}

impl FileStore {
    /// Makes a store below a directory, which must be on the file system where programs run.
    pub fn create(base: &Path) -> Result<Self, FileError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let base =
            std::path::absolute(base).map_err(|source| FileError::io("resolve", base, source))?;
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let root = base.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&root) {
                // Left by a process that had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(|source| FileError::io("make", &root, source))?,
            }
            if let Some(lock) = lock_new(&root)? {
                return Ok(Self {
                    root,
                    prefix: String::new(),
                    next: AtomicU64::new(0),
                    lock: Some(lock),
                });
            }
        }
    }

    /// The store of another process, which owns it: files are added and removed as there. No two
    /// processes may give the same prefix.
    pub fn join(root: PathBuf, prefix: &str) -> Self {
        Self {
            root,
            prefix: format!("{prefix}-"),
            next: AtomicU64::new(0),
            lock: None,
        }
    }

    /// The directory of the store.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Takes a file over, which is at `path` no longer, and makes a payload of it. It is renamed,
    /// or copied where it lies on another file system or has other names.
    pub fn adopt_file(&self, path: &Path) -> Result<FileRef, FileError> {
        let metadata =
            fs::symlink_metadata(path).map_err(|source| FileError::io("examine", path, source))?;
        // A link could lead to any file of the user.
        if !metadata.is_file() {
            return Err(FileError::NotRegular {
                path: path.to_owned(),
            });
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.root.join(format!("{}{number}", self.prefix));
        let renamed = metadata.nlink() == 1 && rename(path, &place)?;
        if !renamed {
            let source = open_same(path, &metadata)?;
            copy(&source, &place)?;
            fs::remove_file(path).map_err(|source| FileError::io("remove", path, source))?;
        }
        let file = open_no_follow(&place)?;
        file.set_permissions(fs::Permissions::from_mode(READ_ONLY))
            .map_err(|source| FileError::io("make read-only", &place, source))?;
        FilePayload::from_file(place, file).map(|payload| payload.reference().clone())
    }

    /// Gives a file to a program at `to`, read-only. A file that is not of this store, but of the
    /// user, is always copied. The file must still be what it was.
    pub fn link_into(
        &self,
        file: &FileRef,
        to: &Path,
        isolation: Isolation,
    ) -> Result<Linked, FileError> {
        let payload = FilePayload::open(file)?;
        if isolation == Isolation::Confined && self.owns(file) {
            match fs::hard_link(&*file.path, to) {
                Ok(()) => return Ok(Linked::Link),
                Err(error) if !can_be_copied(&error) => {
                    return Err(FileError::io("link a file to", to, error));
                }
                Err(_) => {}
            }
        }
        copy(payload.file(), to)?;
        // It may have changed meanwhile.
        if let Err(error) = payload.verify() {
            // Made just now; what matters is the first error.
            let _ = fs::remove_file(to);
            return Err(error);
        }
        Ok(Linked::Copy)
    }

    /// Removes a file of this store. Programs that have a link keep theirs. Others are ignored.
    pub fn remove(&self, file: &FileRef) -> Result<(), FileError> {
        if !self.owns(file) {
            return Ok(());
        }
        match fs::remove_file(&*file.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::io("remove", &file.path, error))
            }
            _ => Ok(()),
        }
    }

    /// Whether the file lies in this store.
    pub fn owns(&self, file: &FileRef) -> bool {
        file.path.parent() == Some(&*self.root)
    }

    /// Removes the stores below `base` whose owners are dead; says how many. Those of living
    /// processes and of other users stay, and what cannot be removed is left for the next time.
    pub fn sweep_stale(base: &Path) -> Result<usize, FileError> {
        let failed = |source| FileError::io("look for files of earlier runs in", base, source);
        let mut swept = 0;
        for entry in fs::read_dir(base).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_store = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX));
            if is_store && sweep(&entry.path()).unwrap_or(false) {
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // What is left is swept by a later run.
            let _ = remove_all(&self.root);
        }
    }
}

/// Whether it was renamed; false where the file systems differ.
fn rename(path: &Path, place: &Path) -> Result<bool, FileError> {
    match fs::rename(path, place) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
        Err(source) => Err(FileError::io("take over", path, source)),
    }
}

/// Makes and takes the lock of a new directory. None where a sweep was faster, which then has
/// removed the directory.
fn lock_new(root: &Path) -> Result<Option<File>, FileError> {
    let path = root.join(LOCK);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(lock) => File::from(lock),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(FileError::io("make", &path, error.into())),
    };
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(FileError::io("lock", &path, error.into())),
    }
    let metadata = lock
        .metadata()
        .map_err(|source| FileError::io("examine", &path, source))?;
    Ok((metadata.nlink() == 1).then_some(lock))
}

/// Removes a store if its owner is dead.
fn sweep(root: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(root)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = match rustix::fs::open(root.join(LOCK), flags, Mode::empty()) {
        Ok(lock) => lock,
        // It is just being made, or was nearly swept: it has no files, or it stays.
        Err(rustix::io::Errno::NOENT) => return Ok(fs::remove_dir(root).is_ok()),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::AGAIN) => return Ok(false),
        other => other?,
    }
    remove_all(root)?;
    Ok(true)
}

/// The lock last: a directory without one has nothing else.
fn remove_all(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(root.join(LOCK))?;
    fs::remove_dir(root)
}

/// Whether a copy does what a link cannot: across file systems, for a file with too many names,
/// and where the kernel protects the files of others from links.
fn can_be_copied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
    )
}

/// Opens the file that was examined, and no other that took its place.
fn open_same(path: &Path, examined: &fs::Metadata) -> Result<File, FileError> {
    let file = open_no_follow(path)?;
    let metadata = file
        .metadata()
        .map_err(|source| FileError::io("examine", path, source))?;
    if (metadata.dev(), metadata.ino()) == (examined.dev(), examined.ino()) {
        Ok(file)
    } else {
        Err(FileError::NotRegular {
            path: path.to_owned(),
        })
    }
}

fn open_no_follow(path: &Path) -> Result<File, FileError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty())
        .map(File::from)
        .map_err(|source| FileError::io("open", path, source.into()))
}

/// Copies to a new file, without moving bytes where the file system can, and makes it read-only.
fn copy(mut from: &File, to: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::io("copy a file to", to, source);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(to, flags, Mode::from_raw_mode(READ_ONLY))
        .map_err(|error| failed(error.into()))?;
    let mut file = File::from(file);
    if rustix::fs::ioctl_ficlone(&file, from).is_ok() {
        return Ok(());
    }
    io::copy(&mut from, &mut file).map_err(|error| {
        // No part of a file is left behind; what matters is the first error.
        let _ = fs::remove_file(to);
        failed(error)
    })?;
    Ok(())
}
