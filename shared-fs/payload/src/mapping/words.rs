//! Words of memory that several processes count in.

use super::{Access, HostMap, SizedFile, sealed_memfd};
use crate::round_up;
use rustix::fs::SealFlags;
use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::AtomicU64,
};

/// An array of words in memory that processes share: a memfd of whole pages, its size sealed.
#[derive(Debug)]
pub struct SharedWords {
    /// Declared first: unmapped before the file is closed.
    map: HostMap,
    file: SizedFile,
    count: usize,
}

impl SharedWords {
    /// Makes an array of words, all 0.
    pub fn create(words: usize) -> io::Result<Self> {
        let bytes = bytes_of(words)?;
        let file = sealed_memfd("taps-words", bytes)?;
        Self::map(file, words)
    }

    /// Opens an array that another process made. Fails where the file could become shorter than
    /// the words, which would end this process with a SIGBUS.
    pub fn open(file: OwnedFd, words: usize) -> io::Result<Self> {
        let bytes = bytes_of(words)?;
        let file = SizedFile::open(File::from(file), bytes, SealFlags::SHRINK)?;
        Self::map(file, words)
    }

    fn map(file: SizedFile, count: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let map = HostMap::new(&file, 0, file.len() as usize, page, Access::Write)?;
        Ok(Self { map, file, count })
    }

    /// One word; none beyond the end.
    pub fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.words().get(index)
    }

    /// All words.
    pub fn words(&self) -> &[AtomicU64] {
        let start = std::ptr::with_exposed_provenance(self.map.addr());
        // SAFETY: the mapping is of whole pages, covers `count` words, whose file has every page
        // and cannot shrink, and lives as long as `self`. Memory is only ever seen as atomics, by
        // this process and by others. Guarded by `words_are_shared_and_stay`.
        unsafe { std::slice::from_raw_parts(start, self.count) }
    }
}

impl AsFd for SharedWords {
    /// The file, to be passed to another process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn bytes_of(words: usize) -> io::Result<u64> {
    (words.max(1) as u64)
        .checked_mul(size_of::<AtomicU64>() as u64)
        .and_then(|bytes| round_up(bytes, rustix::param::page_size() as u64))
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::MemfdFlags;
    use std::sync::atomic::Ordering;

    #[test]
    fn words_are_shared_and_stay() {
        let words = SharedWords::create(600).expect("memfds work");
        assert_eq!(words.words().len(), 600);
        assert!(words.word(600).is_none());
        let file = words.as_fd().try_clone_to_owned().expect("ours");
        let other = SharedWords::open(file, 600).expect("as it was made");
        words.words()[599].store(7, Ordering::Relaxed);
        assert_eq!(other.words()[599].load(Ordering::Relaxed), 7);
        let file = File::from(words.as_fd().try_clone_to_owned().expect("ours"));
        for len in [0, 4096, 1 << 20] {
            file.set_len(len).expect_err("the size is sealed");
        }
        drop(words);
        assert_eq!(other.words()[599].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn words_that_could_go_away_are_refused() {
        let words = SharedWords::create(10).expect("memfds work");
        let file = words.as_fd().try_clone_to_owned().expect("ours");
        SharedWords::open(file, 100_000).expect_err("the file is too short");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("taps-open", flags).expect("memfds work"));
        file.set_len(1 << 20).expect("ours");
        SharedWords::open(file.into(), 10).expect_err("the size is not sealed");
    }
}
