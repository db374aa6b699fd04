//! What the shim says. The main thread reads it when it has nothing to run. While it has, another looks every
//! [`LOOK_EVERY`] for what has come, so that a cancel reaches the task that runs, and the process ends with its socket.
//! A thread that always read would hand each message on to another: that costs as much as a small task.

use super::{
    running::{LOOK_EVERY, Running},
    sharing::Receiver,
};
use crate::{
    frame::{Frame, FrameError},
    message::ToWorker,
};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::VecDeque,
    io::{self, BufReader},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    thread,
};

/// A message with its buffers and its descriptors.
pub(super) type Message = (ToWorker, Vec<Vec<u8>>, Vec<OwnedFd>);

/// The messages of a socket, but for cancels, which go to what runs.
pub(super) struct Messages {
    reading: Mutex<Reading>,
    running: Arc<Running>,
}

struct Reading {
    socket: BufReader<Receiver>,
    /// Read while something ran.
    waiting: VecDeque<Result<Message, FrameError>>,
}

impl Messages {
    pub(super) fn new(socket: UnixStream, running: Arc<Running>) -> Self {
        let reading = Reading {
            socket: BufReader::new(Receiver::new(socket)),
            waiting: VecDeque::new(),
        };
        Self {
            reading: Mutex::new(reading),
            running,
        }
    }

    /// Waits for the next; none when the socket is closed.
    pub(super) fn next(&self) -> Result<Option<Message>, FrameError> {
        let mut reading = self.reading.lock();
        if let Some(message) = reading.waiting.pop_front() {
            return message.map(Some);
        }
        loop {
            match reading.read()? {
                Some((ToWorker::Cancel { ids }, ..)) => self.running.cancel(ids),
                other => return Ok(other),
            }
        }
    }

    /// From now on looks from time to time, if the main thread does not read. When the socket is closed the process
    /// ends, whatever runs in it.
    pub(super) fn watch(self: &Arc<Self>) -> io::Result<()> {
        let messages = Arc::downgrade(self);
        let watch = move || {
            while let Some(messages) = messages.upgrade() {
                messages.running.look();
                if messages.look() {
                    std::process::exit(0);
                }
                drop(messages);
                thread::sleep(LOOK_EVERY);
            }
        };
        thread::Builder::new()
            .name("worker-watch".into())
            .spawn(watch)
            .map(drop)
    }

    /// Takes what has come, and tells whether the socket is closed.
    fn look(&self) -> bool {
        let Some(mut reading) = self.reading.try_lock() else {
            return false;
        };
        while !matches!(reading.waiting.back(), Some(Err(_))) && reading.has_come() {
            match reading.read() {
                Ok(None) => return true,
                Ok(Some((ToWorker::Cancel { ids }, ..))) => self.running.cancel(ids),
                Ok(Some(message)) => reading.waiting.push_back(Ok(message)),
                Err(error) => reading.waiting.push_back(Err(error)),
            }
        }
        false
    }
}

impl Reading {
    fn read(&mut self) -> Result<Option<Message>, FrameError> {
        let Some(frame) = Frame::read(&mut self.socket)? else {
            return Ok(None);
        };
        let message = frame.message()?;
        let files = match &message {
            ToWorker::Run { lent, .. } => self.socket.get_mut().take_files(lent.len()),
            _ => Vec::new(),
        };
        Ok(Some((message, frame.buffers, files)))
    }

    /// Whether there is something to read, if only the end.
    fn has_come(&self) -> bool {
        let mut sockets = [PollFd::new(self.socket.get_ref(), PollFlags::IN)];
        let mut ready = || poll(&mut sockets, Some(&Timespec::default()));
        !self.socket.buffer().is_empty() || ready().is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame, message::PROTOCOL};
    use serde_json::json;
    use std::io::Write;

    fn pair() -> (UnixStream, Arc<Running>, Messages) {
        let (near, far) = UnixStream::pair().expect("a pair");
        let running = Arc::<Running>::default();
        let messages = Messages::new(far, Arc::clone(&running));
        (near, running, messages)
    }

    fn say(socket: &mut UnixStream, header: &serde_json::Value, buffers: &[&[u8]]) {
        frame::write(socket, header, buffers).expect("sent");
    }

    fn setup() -> serde_json::Value {
        json!({"t": "setup", "protocol": PROTOCOL, "version": "1", "app": "a"})
    }

    #[test]
    fn a_look_takes_cancels_and_keeps_the_rest_in_its_order() {
        let (mut shim, running, messages) = pair();
        let token = running.begin("1:0");
        assert!(!messages.look(), "nothing has come");
        say(&mut shim, &setup(), &[]);
        say(&mut shim, &json!({"t": "cancel", "ids": ["1:0"]}), &[]);
        say(&mut shim, &json!({"t": "package"}), &[b"first"]);
        assert!(!token.is_cancelled() && !messages.look());
        assert!(token.is_cancelled());
        say(&mut shim, &json!({"t": "package"}), &[b"second"]);
        let next = || messages.next().expect("readable").expect("one");
        assert!(matches!(next(), (ToWorker::Setup { .. }, ..)));
        assert_eq!(next().1, [b"first"]);
        assert_eq!(next().1, [b"second"]);
        drop(shim);
        assert!(messages.next().expect("no failure").is_none());
    }

    #[test]
    fn a_cancel_that_comes_before_the_next_message_is_no_message() {
        let (mut shim, running, messages) = pair();
        say(&mut shim, &json!({"t": "cancel", "ids": ["2:0"]}), &[]);
        say(&mut shim, &json!({"t": "package"}), &[b"x"]);
        let (message, ..) = messages.next().expect("readable").expect("one");
        assert!(matches!(message, ToWorker::Package));
        assert!(running.begin("2:0").is_cancelled());
    }

    #[test]
    fn a_look_sees_the_end_and_keeps_what_is_wrong() {
        let (shim, _, messages) = pair();
        drop(shim);
        assert!(messages.look());
        let (mut shim, _, messages) = pair();
        shim.write_all(&[255; 64]).expect("sent");
        assert!(!messages.look() && !messages.look());
        assert!(messages.next().is_err());
    }

    #[test]
    fn nobody_looks_while_the_main_thread_reads() {
        let (mut shim, _, messages) = pair();
        thread::scope(|scope| {
            let reader = scope.spawn(|| messages.next());
            while messages.reading.try_lock().is_some() {
                thread::yield_now();
            }
            assert!(!messages.look());
            say(&mut shim, &setup(), &[]);
            let read = reader.join().expect("no panic").expect("readable");
            assert!(read.is_some());
        });
    }
}
