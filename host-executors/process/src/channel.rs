//! Messages with descriptors over UNIX stream sockets.
//!
//! A frame is its length (`u32`, little endian) and a message in postcard. The descriptors of a
//! message are sent with the first byte of its frame, so they are there when the frame is; the
//! message itself says how many they are.

use crate::error::ChannelError;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::VecDeque,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Most descriptors of one message; the kernel takes 253.
pub(crate) const MAX_DESCRIPTORS: usize = 128;

/// Bytes of a frame's length.
const HEADER_BYTES: usize = 4;

/// Longest frame that is believed.
const MAX_FRAME_BYTES: usize = 1 << 30;

/// Bytes asked for at a time.
const RECEIVE_BYTES: usize = 64 << 10;

/// Two connected sockets, closed on exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Messages on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How many of them are gone.
    sent: usize,
    /// Descriptors, each with the position of the byte that they go with.
    descriptors: VecDeque<(usize, Vec<OwnedFd>)>,
}

/// Whether everything is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is left.
    All,
    /// The socket takes no more now.
    Part,
}

impl Outbox {
    /// Adds a message with its descriptors, at most [`MAX_DESCRIPTORS`].
    pub(crate) fn push(
        &mut self,
        message: &impl Serialize,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        assert!(descriptors.len() <= MAX_DESCRIPTORS, "too many descriptors");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        self.bytes = match postcard::to_extend(message, std::mem::take(&mut self.bytes)) {
            Ok(bytes) => bytes,
            Err(error) => return Err(ChannelError::Encode(error)),
        };
        let len = self.bytes.len() - start - HEADER_BYTES;
        if len > MAX_FRAME_BYTES {
            self.bytes.truncate(start);
            return Err(ChannelError::TooLong { len });
        }
        self.bytes[start..start + HEADER_BYTES].copy_from_slice(&(len as u32).to_le_bytes());
        if !descriptors.is_empty() {
            self.descriptors.push_back((start, descriptors));
        }
        Ok(())
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends as much as the socket takes; all of it, when the socket blocks.
    pub(crate) fn flush(&mut self, socket: impl AsFd) -> Result<Flushed, ChannelError> {
        while self.sent < self.bytes.len() {
            // Up to the next byte that brings descriptors of its own.
            let mut bounds = self.descriptors.iter().map(|(at, _)| *at);
            let first = bounds.next().unwrap_or(self.bytes.len());
            let (end, with) = if first == self.sent {
                (bounds.next().unwrap_or(self.bytes.len()), true)
            } else {
                (first, false)
            };
            let piece = &self.bytes[self.sent..end];
            let descriptors = match self.descriptors.front() {
                Some((_, descriptors)) if with => descriptors.as_slice(),
                _ => &[],
            };
            match send(socket.as_fd(), piece, descriptors) {
                Ok(count) => {
                    self.sent += count;
                    if with && count > 0 {
                        self.descriptors.pop_front();
                    }
                }
                Err(Errno::AGAIN) => return Ok(Flushed::Part),
                Err(Errno::INTR) => {}
                Err(error) => return Err(ChannelError::Closed(error)),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(Flushed::All)
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[OwnedFd]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() {
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
        debug_assert!(fits, "the space is for as many");
    }
    let pieces = [IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &pieces, &mut ancillary, SendFlags::NOSIGNAL)
}

/// Messages as they come in.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
    /// Bytes received; the rest of `bytes` is room.
    end: usize,
    descriptors: VecDeque<OwnedFd>,
}

/// What came of looking for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Some.
    Bytes,
    /// None now, and the socket does not block.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// Whether to wait for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until there are some.
    Wait,
    /// Not at all.
    Look,
}

impl Inbox {
    /// Takes what the socket has.
    pub(crate) fn receive(
        &mut self,
        socket: impl AsFd,
        patience: Patience,
    ) -> Result<Received, ChannelError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.bytes.len() - self.end < RECEIVE_BYTES {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < RECEIVE_BYTES {
            // A long frame is received in few pieces, but a length alone is not believed.
            let most = RECEIVE_BYTES.max(2 * self.len());
            let wanted = self.frame_len().unwrap_or(0).clamp(RECEIVE_BYTES, most);
            self.bytes.resize(self.end + wanted, 0);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        if patience == Patience::Look {
            flags |= RecvFlags::DONTWAIT;
        }
        let mut pieces = [IoSliceMut::new(&mut self.bytes[self.end..])];
        let received = match rustix::net::recvmsg(socket, &mut pieces, &mut ancillary, flags) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(ChannelError::Closed(error)),
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if received.bytes == 0 {
            return Ok(Received::Closed);
        }
        self.end += received.bytes;
        Ok(Received::Bytes)
    }

    /// The next message that is here as a whole.
    pub(crate) fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, ChannelError> {
        let Some(len) = self.frame_len() else {
            return Ok(None);
        };
        if len > MAX_FRAME_BYTES {
            return Err(ChannelError::TooLong { len });
        }
        let start = self.start + HEADER_BYTES;
        if self.end - start < len {
            return Ok(None);
        }
        let message = postcard::from_bytes(&self.bytes[start..start + len]);
        self.start = start + len;
        message.map(Some).map_err(ChannelError::Decode)
    }

    /// Bytes that are here and not read.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Takes the descriptors of the message that came last.
    pub(crate) fn descriptors(&mut self, count: usize) -> Result<Vec<OwnedFd>, ChannelError> {
        if count > self.descriptors.len() {
            let found = self.descriptors.len();
            return Err(ChannelError::Descriptors { count, found });
        }
        Ok(self.descriptors.drain(..count).collect())
    }

    /// Takes one descriptor of the message that came last.
    pub(crate) fn descriptor(&mut self) -> Result<OwnedFd, ChannelError> {
        self.descriptors
            .pop_front()
            .ok_or(ChannelError::Descriptors { count: 1, found: 0 })
    }

    fn frame_len(&self) -> Option<usize> {
        let header = self.bytes[self.start..self.end].first_chunk::<HEADER_BYTES>()?;
        Some(u32::from_le_bytes(*header) as usize)
    }
}

/// Sends one message on a blocking socket.
pub(crate) fn send_now(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: Vec<OwnedFd>,
) -> Result<(), ChannelError> {
    let mut outbox = Outbox::default();
    outbox.push(message, descriptors)?;
    outbox.flush(socket).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::MemfdFlags;
    use std::{fs::File, io::Read as _, io::Seek as _, io::Write as _};

    fn numbered(number: u64) -> OwnedFd {
        let file = rustix::fs::memfd_create("taps-test", MemfdFlags::CLOEXEC).expect("memfds work");
        let mut file = File::from(file);
        file.write_all(&number.to_le_bytes()).expect("it is ours");
        file.rewind().expect("it is ours");
        file.into()
    }

    fn number_of(file: OwnedFd) -> u64 {
        let mut bytes = [0; 8];
        let mut file = File::from(file);
        file.rewind().expect("it is a file");
        file.read_exact(&mut bytes).expect("it has a number");
        u64::from_le_bytes(bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the sizes, and however the socket cuts them: every message comes whole, in order, with
        /// its own descriptors.
        #[test]
        fn messages_arrive_whole_with_their_descriptors(
            sizes in prop::collection::vec((0_usize..150_000, 0_usize..4), 1..30)
        ) {
            let (near, far) = pair().expect("sockets work");
            rustix::io::ioctl_fionbio(&near, true).expect("a socket");
            let mut outbox = Outbox::default();
            let mut inbox = Inbox::default();
            let mut number = 0_u64;
            let mut expected = VecDeque::new();
            for (size, count) in sizes {
                let message = (count as u64, vec![(size % 251) as u8; size]);
                let descriptors = (0..count as u64).map(|i| numbered(number + i)).collect();
                expected.push_back((message.clone(), number));
                number += count as u64;
                outbox.push(&message, descriptors).expect("it is plain data");
            }
            loop {
                let flushed = outbox.flush(&near).expect("the peer is there");
                while inbox.receive(&far, Patience::Look).expect("it works") == Received::Bytes {
                    while let Some(message) = inbox.next::<(u64, Vec<u8>)>().expect("whole") {
                        let (wanted, first) = expected.pop_front().expect("not more than sent");
                        prop_assert!(message == wanted);
                        let descriptors = inbox.descriptors(message.0 as usize).expect("all");
                        for (file, number) in descriptors.into_iter().zip(first..) {
                            prop_assert_eq!(number_of(file), number);
                        }
                    }
                }
                if flushed == Flushed::All {
                    break;
                }
            }
            prop_assert!(expected.is_empty(), "{} are missing", expected.len());
            prop_assert!(inbox.descriptors.is_empty());
        }

        /// Bytes of a stranger are refused or wait for more; they never panic.
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let (near, far) = pair().expect("sockets work");
            rustix::io::write(&near, &bytes).expect("they fit");
            drop(near);
            let mut inbox = Inbox::default();
            while inbox.receive(&far, Patience::Wait).expect("it works") == Received::Bytes {
                while let Ok(Some(_)) = inbox.next::<crate::message::FromWorker>() {}
            }
        }
    }

    #[test]
    fn a_closed_channel_says_so() {
        let (near, far) = pair().expect("sockets work");
        drop(near);
        let mut inbox = Inbox::default();
        assert_eq!(
            inbox.receive(&far, Patience::Wait).expect("no error"),
            Received::Closed
        );
        let error = send_now(&far, &1_u8, Vec::new()).expect_err("nobody listens");
        assert!(matches!(error, ChannelError::Closed(_)), "{error:?}");
    }
}
