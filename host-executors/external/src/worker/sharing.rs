//! Memory that a worker and its shim share: large payloads cross as descriptors and are not copied through the socket.
//!
//! ```text
//!  shim                                        this process
//!  memfd, sealed  ── descriptor, with `run` ──►  a segment, until the answer is sent
//!  mapping        ◄── descriptor, with `done` ─  a segment, kept until a later `run` says that it is free
//!                 ── its number, with `run` ──►  the same segment, for the next task
//! ```
//!
//! Only shims that ask for it in the set-up get descriptors, and only so many: what is more goes through the socket.

use crate::message::GivenBuffer;
use rustc_hash::FxHashMap;
use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags,
    },
};
use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};
use taps_payload::{Location, Segment, SegmentStore, page_bytes};

/// Outputs from this size on are given by descriptor: below, a copy costs less.
const LEAST_BYTES: u64 = 128 << 10;

/// Most bytes that the shim may have of this process's memory. It is memory of this process's store, where running
/// tasks need room as well.
const MOST_GIVEN_BYTES: u64 = 64 << 20;

/// Most segments that the shim may have: it keeps a descriptor of each.
const MOST_GIVEN: usize = 128;

/// Most descriptors with one frame, both ways; the kernel takes 253.
pub(super) const MOST_DESCRIPTORS: usize = 64;

/// Pieces that one call of the kernel takes.
const MOST_PIECES: usize = 1024;

/// What the shim has of this process's memory.
#[derive(Default)]
pub(super) struct Sharing {
    /// Whether the shim takes descriptors.
    pub(super) gives: bool,
    /// Kept from being used again.
    given: FxHashMap<u64, (Arc<Segment>, SegmentStore)>,
    bytes: u64,
    /// Those of the frame that is being made.
    fresh: usize,
}

/// An output on its way to the shim by descriptor.
pub(super) struct Given {
    pub(super) segment: u64,
    offset: u64,
    len: u64,
    pub(super) file: OwnedFd,
}

impl Given {
    /// What the frame says of it, in the place of its buffer at that position.
    pub(super) fn describe(&self, buffer: usize) -> GivenBuffer {
        GivenBuffer {
            buffer,
            segment: self.segment,
            offset: self.offset,
            len: self.len,
        }
    }
}

impl Sharing {
    /// A frame begins. The shim is done with these.
    pub(super) fn begin(&mut self, free: &[u64]) {
        self.fresh = 0;
        for segment in free {
            self.take_back(*segment);
        }
    }

    /// The shim does not have it, or not any more: its memory can be used again.
    pub(super) fn take_back(&mut self, segment: u64) {
        if let Some((segment, store)) = self.given.remove(&segment) {
            self.bytes -= segment.len();
            store.free(segment.id());
        }
    }

    /// Where it is, if the shim has it.
    pub(super) fn find(&self, segment: u64) -> Option<Location> {
        let (segment, _) = self.given.get(&segment)?;
        Some(Location::Segment(segment.reference()))
    }

    /// Whether the shim has it already: a task gave what it got.
    pub(super) fn has(&self, location: &Location) -> bool {
        matches!(location, Location::Segment(segment) if self.given.contains_key(&segment.id.0))
    }

    /// Gives the segment of an output to the shim; none where it goes through the socket.
    pub(super) fn give(&mut self, location: &Location, store: &SegmentStore) -> Option<Given> {
        let Location::Segment(reference) = location else {
            return None;
        };
        let len = reference.len;
        let fits = self.gives
            && len >= LEAST_BYTES
            && self.bytes + len <= MOST_GIVEN_BYTES
            && self.given.len() < MOST_GIVEN
            && self.fresh < MOST_DESCRIPTORS;
        // What the shim lent lies in memory that it uses again.
        if !fits || reference.id.0 & LENT != 0 || self.has(location) {
            return None;
        }
        let segment = store.get(reference.id)?;
        let offset = segment.place().offset;
        if segment.is_read_to_be_mapped() || !offset.is_multiple_of(page_bytes()) {
            return None;
        }
        let file = segment.export().ok()?.file;
        self.bytes += len;
        self.fresh += 1;
        self.given.insert(reference.id.0, (segment, store.clone()));
        Some(Given {
            segment: reference.id.0,
            offset,
            len,
            file,
        })
    }
}

/// What marks the numbers of memories and segments that the shim lends; a store gives none of them.
pub(super) const LENT: u64 = 1 << 63;

/// Reads from the shim, and takes the descriptors that come with the bytes.
pub(super) struct Receiver {
    socket: UnixStream,
    files: VecDeque<OwnedFd>,
}

impl Receiver {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            files: VecDeque::new(),
        }
    }

    /// The descriptors of the frame that was read last, at most so many.
    pub(super) fn take_files(&mut self, count: usize) -> Vec<OwnedFd> {
        let count = count.min(self.files.len());
        self.files.drain(..count).collect()
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = match rustix::net::recvmsg(&self.socket, &mut pieces, &mut ancillary, flags)
        {
            Ok(received) => received.bytes,
            // The shim is gone, and left something unread.
            Err(Errno::CONNRESET) => 0,
            Err(error) => return Err(error.into()),
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        Ok(received)
    }
}

/// Writes to the shim, with descriptors that go with the first bytes.
pub(super) struct Carrying<'a> {
    pub(super) socket: &'a mut UnixStream,
    pub(super) files: Vec<OwnedFd>,
}

impl Write for Carrying<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.files.is_empty() {
            return self.socket.write_vectored(pieces);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let files: Vec<BorrowedFd<'_>> = self.files.iter().map(AsFd::as_fd).collect();
        if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let pieces = &pieces[..pieces.len().min(MOST_PIECES)];
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::net::sendmsg(&*self.socket, pieces, &mut ancillary, flags)?;
        if sent > 0 {
            self.files.clear();
        }
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, Frame};
    use std::{
        io::{BufReader, Seek, SeekFrom},
        os::unix::fs::FileExt,
    };
    use taps_payload::StoreOptions;

    fn published(store: &SegmentStore, len: u64) -> Location {
        let mut segment = store.create(len).expect("memory");
        segment.write_at(0, b"beginning").expect("it fits");
        Location::Segment(store.publish(segment).expect("published").reference())
    }

    #[test]
    fn what_is_given_is_kept_until_it_is_free() {
        let store = SegmentStore::new(StoreOptions::default()).expect("a store");
        let mut sharing = Sharing::default();
        let large = published(&store, 1 << 20);
        assert!(sharing.give(&large, &store).is_none(), "nobody asked");
        sharing.gives = true;
        assert!(
            sharing.give(&published(&store, 100), &store).is_none(),
            "small"
        );
        let given = sharing.give(&large, &store).expect("given");
        let mut begin = [0; 9];
        let file = std::fs::File::from(given.file);
        file.read_exact_at(&mut begin, given.offset)
            .expect("readable");
        assert_eq!(&begin, b"beginning");
        assert!(sharing.has(&large) && sharing.give(&large, &store).is_none());
        assert_eq!(sharing.find(given.segment), Some(large));
        let live = store.statistics().live_bytes;
        sharing.begin(&[given.segment]);
        assert!(store.statistics().live_bytes + (1 << 20) <= live);
        assert_eq!(sharing.find(given.segment), None);
        assert_eq!(sharing.bytes, 0);
    }

    #[test]
    fn there_is_a_limit_to_what_is_given() {
        let store = SegmentStore::new(StoreOptions::default()).expect("a store");
        let mut sharing = Sharing {
            gives: true,
            ..Sharing::default()
        };
        let given: Vec<bool> = (0..=MOST_DESCRIPTORS)
            .map(|_| {
                sharing
                    .give(&published(&store, LEAST_BYTES), &store)
                    .is_some()
            })
            .collect();
        assert_eq!(
            given.iter().filter(|given| **given).count(),
            MOST_DESCRIPTORS
        );
        sharing.begin(&[]);
        let large = published(&store, MOST_GIVEN_BYTES);
        assert!(
            sharing.give(&large, &store).is_none(),
            "with those from before"
        );
    }

    #[test]
    fn descriptors_come_with_their_frame() {
        let (mut near, far) = UnixStream::pair().expect("a pair");
        let mut reader = BufReader::new(Receiver::new(far));
        for round in 0..3_usize {
            let files: Vec<OwnedFd> = (0..round)
                .map(|number| {
                    let mut file = tempfile::tempfile().expect("a file");
                    write!(file, "{round} {number}").expect("written");
                    file.seek(SeekFrom::Start(0)).expect("sought");
                    file.into()
                })
                .collect();
            let mut carrying = Carrying {
                socket: &mut near,
                files,
            };
            frame::write(&mut carrying, &round, &[b"payload"]).expect("sent");
        }
        for round in 0..3_usize {
            let frame = Frame::read(&mut reader).expect("whole").expect("one");
            assert_eq!(frame.message::<usize>().expect("a number"), round);
            let files = reader.get_mut().take_files(round);
            for (number, file) in files.into_iter().enumerate() {
                let text = io::read_to_string(std::fs::File::from(file)).expect("readable");
                assert_eq!(text, format!("{round} {number}"));
            }
        }
        assert!(reader.get_mut().take_files(1).is_empty());
    }
}
