//! A tmpfs with huge pages that is never mounted: memory for payloads of one run.
//!
//! A mount option decides about huge pages, and mounting needs rights that a user has only in a
//! user namespace of their own. The mount is not attached anywhere: whoever has its descriptor
//! can make files in it, nobody else can see it, and it is gone with the last descriptor.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// A tmpfs with huge pages, by its descriptor.
#[derive(Clone, Debug)]
pub struct HugeTmpfs {
    root: Arc<OwnedFd>,
}

impl HugeTmpfs {
    /// One that another process made.
    pub fn from_fd(root: OwnedFd) -> Self {
        Self {
            root: Arc::new(root),
        }
    }

    /// A file without a name that nobody else can open.
    pub(crate) fn file(&self) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*self.root, ".", flags, Mode::RUSR)?;
        Ok(File::from(file))
    }
}

impl AsFd for HugeTmpfs {
    /// The descriptor, to be passed to another process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
