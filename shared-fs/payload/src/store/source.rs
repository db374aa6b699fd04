//! The kinds of stores: where memory comes from.
//!
//! | kind | how | huge pages | after publication |
//! |---|---|---|---|
//! | huge tmpfs | files of a tmpfs that is never mounted | on demand | recycled |
//! | recycled memfds | one memfd each, size sealed | by collapsing, Linux 6.1 | recycled |
//! | sealed memfds | one memfd each, all sealed | by collapsing, Linux 6.1 | closed |

use super::{Medium, StoreInfo, StoreKind, StoreOptions};
use crate::mapping::{Access, HostMap, Sealing, SizedFile, memfd};
use crate::tmpfs::HugeTmpfs;
use crate::{HUGE_PAGE_BYTES, page_bytes, round_up};
use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt as _},
};

/// Length from which a segment gets huge pages. One huge page is made faster than the 256 small
/// ones of 1 MiB (0.1 against 0.2 ms), and cleared, mapped and touched faster still, which is
/// worth the half that may stay empty.
const HUGE_FROM_BYTES: u64 = 1_000_000;

/// A file for a memory, allocated to the last page.
pub(super) struct Made {
    pub(super) file: SizedFile,
    pub(super) huge: bool,
    pub(super) medium: Medium,
}

/// A source of memory.
#[derive(Debug)]
pub(super) struct Source {
    how: How,
    huge_works: bool,
    reason: String,
}

#[derive(Debug)]
enum How {
    HugeTmpfs(HugeTmpfs),
    RecycledMemfds,
    SealedMemfds,
}

impl Source {
    /// Tries out the best kind that was asked for and is possible. The memory that this made is
    /// returned for first use.
    pub(super) fn new(options: &StoreOptions) -> io::Result<(Self, Made)> {
        let huge_pages = options.huge_pages;
        let known = options.huge_pages_work;
        match options.kind {
            StoreKind::HugeTmpfs => match &options.tmpfs {
                Some(tmpfs) => Self::huge_tmpfs(tmpfs, known),
                None => Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    options.why_no_tmpfs(),
                )),
            },
            StoreKind::RecycledMemfd => Self::memfds(How::RecycledMemfds, huge_pages, known),
            StoreKind::SealedMemfd => Self::memfds(How::SealedMemfds, huge_pages, known),
            StoreKind::Auto => {
                let why_not = match &options.tmpfs {
                    // Its one advantage.
                    _ if !huge_pages => None,
                    None => Some(options.why_no_tmpfs()),
                    Some(tmpfs) => match Self::huge_tmpfs(tmpfs, known) {
                        Ok(made) => return Ok(made),
                        Err(error) => Some(error.to_string()),
                    },
                };
                let (mut source, made) = Self::memfds(How::RecycledMemfds, huge_pages, known)?;
                if let Some(why_not) = why_not {
                    source.reason = format!("{}; no huge-page tmpfs: {why_not}", source.reason);
                }
                Ok((source, made))
            }
        }
    }

    fn huge_tmpfs(tmpfs: &HugeTmpfs, known: Option<bool>) -> io::Result<(Self, Made)> {
        let mut source = Self {
            how: How::HugeTmpfs(tmpfs.clone()),
            huge_works: true,
            reason: String::new(),
        };
        let made = source.make(probe_bytes(known.is_none()))?;
        source.huge_works = known.unwrap_or(made.huge);
        let gives = if source.huge_works {
            "gives huge pages on demand"
        } else {
            "gives no huge pages now"
        };
        source.reason = format!("files of a tmpfs of the run's own, which {gives}");
        Ok((source, made))
    }

    fn memfds(how: How, huge_pages: bool, known: Option<bool>) -> io::Result<(Self, Made)> {
        let mut source = Self {
            huge_works: huge_pages,
            reason: String::new(),
            how,
        };
        let probe = probe_bytes(huge_pages && known.is_none());
        let (made, collapse) = source.make_memfd(probe)?;
        let kind = match source.how {
            How::SealedMemfds => "a memfd for each payload, sealed",
            How::RecycledMemfds | How::HugeTmpfs(_) => "recycled memfds",
        };
        source.reason = match collapse {
            Collapse::NotTried if huge_pages => format!("{kind}; huge pages were tried before"),
            Collapse::NotTried => format!("{kind}; huge pages are switched off"),
            Collapse::Done => format!("{kind}; MADV_COLLAPSE gives huge pages"),
            Collapse::Failed(error) => {
                format!("{kind}; MADV_COLLAPSE gives no huge pages: {error}")
            }
        };
        source.huge_works = made.huge || (huge_pages && known == Some(true));
        Ok((source, made))
    }

    /// Which store this is and why.
    pub(super) fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: match self.how {
                How::HugeTmpfs(_) => "huge-tmpfs",
                How::RecycledMemfds => "recycled-memfd",
                How::SealedMemfds => "sealed-memfd",
            },
            huge_pages: self.huge_works,
            reason: self.reason.clone(),
        }
    }

    /// Bytes of memory that a segment of `len` bytes will take; none on overflow.
    pub(super) fn capacity_for(&self, len: u64) -> Option<u64> {
        let unit = if self.huge_works && len >= HUGE_FROM_BYTES {
            HUGE_PAGE_BYTES
        } else {
            page_bytes()
        };
        // The kernel's file offsets are signed.
        round_up(len.max(1), unit).filter(|capacity| i64::try_from(*capacity).is_ok())
    }

    /// Makes memory of a capacity given by `capacity_for`, allocated to the last page.
    pub(super) fn make(&self, capacity: u64) -> io::Result<Made> {
        match &self.how {
            How::HugeTmpfs(tmpfs) => self.make_in(tmpfs, capacity),
            How::RecycledMemfds | How::SealedMemfds => {
                self.make_memfd(capacity).map(|(made, _)| made)
            }
        }
    }

    fn make_in(&self, tmpfs: &HugeTmpfs, capacity: u64) -> io::Result<Made> {
        let file = tmpfs.file()?;
        file.set_len(capacity)?;
        let file = SizedFile::new(file, capacity, Sealing::Nothing)?;
        // Allocating made huge pages, unless memory is in pieces: this asks again, and tells.
        let huge = self.huge_works
            && capacity.is_multiple_of(HUGE_PAGE_BYTES)
            && matches!(collapse_all(&file, capacity)?, Collapse::Done);
        Ok(Made {
            file,
            huge,
            medium: Medium::Tmpfs,
        })
    }

    fn make_memfd(&self, capacity: u64) -> io::Result<(Made, Collapse)> {
        let file = memfd("taps-segment")?;
        file.set_len(capacity)?;
        let collapse = if self.huge_works && capacity.is_multiple_of(HUGE_PAGE_BYTES) {
            collapse(&file, capacity)?
        } else {
            Collapse::NotTried
        };
        let sealing = match self.how {
            How::SealedMemfds => Sealing::ThenContent,
            How::RecycledMemfds | How::HugeTmpfs(_) => Sealing::Size,
        };
        let made = Made {
            // Last: it fills what collapsing left out, and a full machine shows as an error.
            file: SizedFile::new(file, capacity, sealing)?,
            huge: matches!(collapse, Collapse::Done),
            medium: Medium::Memfd,
        };
        Ok((made, collapse))
    }

    /// Called once between the end of writing and the first reader.
    pub(super) fn published(&self, file: &SizedFile) -> io::Result<()> {
        match self.how {
            How::SealedMemfds => file.seal_content(),
            How::RecycledMemfds | How::HugeTmpfs(_) => Ok(()),
        }
    }

    /// Whether memory can be written again after it was published.
    pub(super) fn recycles(&self) -> bool {
        !matches!(self.how, How::SealedMemfds)
    }
}

/// Length of the first memory of a store, which tells whether huge pages can be had where that is to be tried.
fn probe_bytes(huge_pages: bool) -> u64 {
    if huge_pages {
        HUGE_PAGE_BYTES
    } else {
        page_bytes()
    }
}

enum Collapse {
    NotTried,
    Done,
    Failed(io::Error),
}

/// Makes huge pages of a fresh memfd: one byte per huge page brings a small page into being,
/// which `MADV_COLLAPSE` then replaces by a huge one. The byte is written through the descriptor,
/// where a machine without memory answers with an error instead of a signal.
fn collapse(file: &File, capacity: u64) -> io::Result<Collapse> {
    for at in (0..capacity).step_by(HUGE_PAGE_BYTES as usize) {
        file.write_all_at(&[0], at)?;
    }
    collapse_all(file, capacity)
}

/// Makes huge pages of the pages that a file has; says so quickly where they are huge already.
fn collapse_all(file: impl AsFd, capacity: u64) -> io::Result<Collapse> {
    let map = HostMap::new(
        file,
        0,
        capacity as usize,
        HUGE_PAGE_BYTES as usize,
        Access::Read,
    )?;
    Ok(match map.collapse() {
        Ok(()) => Collapse::Done,
        Err(error) => Collapse::Failed(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_huge_pages_is_not_tried_again() {
        for kind in [StoreKind::RecycledMemfd, StoreKind::SealedMemfd] {
            for (huge_pages, known) in [(true, true), (true, false), (false, true)] {
                let options = StoreOptions {
                    kind,
                    huge_pages,
                    huge_pages_work: Some(known),
                    ..StoreOptions::default()
                };
                let (source, made) = Source::new(&options).expect("memfds work");
                let huge = huge_pages && known;
                assert_eq!(source.info().huge_pages, huge);
                assert!(!made.huge, "nothing was tried");
                assert_eq!(made.file.len(), page_bytes());
                let unit = if huge { HUGE_PAGE_BYTES } else { page_bytes() };
                let capacity = source.capacity_for(HUGE_FROM_BYTES + 1);
                assert_eq!(capacity, round_up(HUGE_FROM_BYTES + 1, unit));
            }
        }
    }
}
