//! The coordinator's end of one worker slot: its process, if it has one, and what is on it.

use super::Traffic;
use crate::{
    channel::{self, Inbox, Outbox, Patience, Received},
    error::ChannelError,
    lending::{Borrower, Lender},
    message::{
        Control, ControlReply, FromWorker, IDLE_WORD, Incarnation, Loan, Loans, Setup, ToWorker,
    },
};
use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{Arc, Weak, atomic::Ordering},
    time::Instant,
};
use taps_engine::{Attempt, AttemptId, AttemptReport, FaultAction, WorkerId};
use taps_payload::{Location, Memory, SegmentId, SegmentStore, SharedWords};
use taps_sandbox::Said;

/// One worker slot.
pub(super) struct Link {
    pub(super) worker: WorkerId,
    pub(super) node: u32,
    /// Processes started so far.
    pub(super) started: u32,
    /// How many of them in a row ended before they were ready, or soon after.
    pub(super) failures: u32,
    /// When to start the next process; none while there is one.
    pub(super) start_at: Option<Instant>,
    pub(super) process: Option<Process>,
    /// Memory made by earlier processes.
    pub(super) orphans: Vec<Weak<Memory>>,
    /// Counted among those that have nothing to do.
    is_idle: bool,
}

/// A worker process.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(super) struct Process {
    pub(super) incarnation: Incarnation,
    /// Of the segments that it makes.
    id_space: u32,
    pub(super) data: OwnedFd,
    pub(super) control: OwnedFd,
    inbox: Inbox,
    control_inbox: Inbox,
    outbox: Outbox,
    control_outbox: Outbox,
    lender: Lender,
    pub(super) borrower: Borrower,
    /// What goes with the next message.
    attempts: Vec<Attempt>,
    /// Number of the attempt queued last.
    number: u64,
    /// Attempts on the process, with their numbers, in order.
    out: VecDeque<(u64, AttemptId)>,
    /// Numbers of the attempts among them that are to end this process, and what else their faults end.
    fatal: Vec<(u64, FaultAction)>,
    pub(super) ready: bool,
    /// It has run an attempt to its end.
    pub(super) has_reported: bool,
    /// The data channel is at its end.
    pub(super) closed: bool,
    /// Since when its end is near.
    pub(super) ending: Option<Instant>,
    /// The data channel is watched for room.
    pub(super) watched_for_room: bool,
    /// Since when a word of it is awaited: that it is ready, or the answer to a ping.
    pub(super) awaited: Option<Instant>,
    /// What went wrong with its channels.
    pub(super) trouble: Option<String>,
}

/// What a worker said.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) ready: bool,
    pub(super) failed: Option<String>,
    pub(super) words: Vec<Said>,
    pub(super) reports: Vec<AttemptReport>,
    pub(super) returned: Vec<AttemptId>,
}

impl Link {
    pub(super) fn new(worker: WorkerId, node: u32) -> Self {
        Self {
            worker,
            node,
            started: 0,
            failures: 0,
            start_at: None,
            process: None,
            orphans: Vec::new(),
            is_idle: false,
        }
    }

    /// Keeps the count of workers without anything to do, by which the others know whether somebody waits for them.
    pub(super) fn tell_if_idle(&mut self, words: &SharedWords) {
        let is_idle = self.process.as_ref().is_some_and(Process::is_idle);
        if is_idle != std::mem::replace(&mut self.is_idle, is_idle) {
            let count = &words.words()[IDLE_WORD];
            if is_idle {
                count.fetch_add(1, Ordering::AcqRel);
            } else {
                count.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Queues an attempt, and lends the segments that it uses. Without a process it is dropped: the
    /// core is about to hear that the worker is lost.
    pub(super) fn queue(&mut self, attempt: Attempt, store: &SegmentStore) {
        if let Some(process) = &mut self.process {
            process.queue(attempt, store);
        }
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(super) fn send(&mut self, traffic: &Traffic) {
        if let Some(process) = &mut self.process {
            process.send(traffic);
        }
    }

    pub(super) fn cancel(&mut self, attempts: &[AttemptId]) {
        if let Some(process) = &mut self.process {
            process.control(attempts, Control::Cancel);
        }
    }

    pub(super) fn recall(&mut self, attempts: &[AttemptId]) {
        if let Some(process) = &mut self.process {
            process.control(attempts, Control::Recall);
        }
    }

    /// Asks for segments back; sent with the next message. Whether it had any of them.
    pub(super) fn want_back(&mut self, segments: &[SegmentId]) -> bool {
        let mut wanted = false;
        if let Some(process) = &mut self.process {
            for id in segments {
                wanted |= process.lender.want(*id);
            }
        }
        wanted
    }
}

impl Process {
    /// A process that is being started, with the messages that it finds first. `control` is the
    /// worker's end.
    pub(super) fn new(
        incarnation: Incarnation,
        data: OwnedFd,
        setup: Setup,
        mut descriptors: Vec<OwnedFd>,
        borrower: Borrower,
    ) -> Result<Self, ChannelError> {
        let (control, far) = channel::pair().map_err(ChannelError::Closed)?;
        for socket in [&data, &control] {
            rustix::io::ioctl_fionbio(socket, true).map_err(ChannelError::Closed)?;
        }
        descriptors.insert(0, far);
        let id_space = setup.store.id_space;
        let mut outbox = Outbox::default();
        outbox.push(&ToWorker::Setup(Box::new(setup)), descriptors)?;
        Ok(Self {
            incarnation,
            id_space,
            data,
            control,
            inbox: Inbox::default(),
            control_inbox: Inbox::default(),
            outbox,
            control_outbox: Outbox::default(),
            lender: Lender::default(),
            borrower,
            attempts: Vec::new(),
            number: 0,
            out: VecDeque::new(),
            fatal: Vec::new(),
            ready: false,
            has_reported: false,
            closed: false,
            ending: None,
            watched_for_room: false,
            awaited: Some(Instant::now()),
            trouble: None,
        })
    }

    fn queue(&mut self, attempt: Attempt, store: &SegmentStore) {
        for argument in &attempt.arguments {
            let Location::Segment(reference) = &argument.location else {
                continue;
            };
            // A segment that is gone, or that the worker made itself, is the worker's to find.
            if reference.id.space() == self.id_space {
                continue;
            }
            let Some(segment) = store.get(reference.id) else {
                continue;
            };
            if let Err(error) = self.lender.lend(&segment) {
                // The attempt finds the segment gone, which is a payload error.
                eprintln!("taps-wasm: failed to lend a payload: {error}");
            }
        }
        self.number += 1;
        self.out.push_back((self.number, attempt.id));
        if let Some(fault) = attempt.fault.filter(|fault| fault.action.kills()) {
            self.fatal.push((self.number, fault.action));
        }
        self.attempts.push(attempt);
    }

    /// Sends what is queued; what the socket does not take waits for [`Process::wants_to_send`].
    pub(super) fn send(&mut self, traffic: &Traffic) {
        if let Err(error) = self.try_send(traffic) {
            self.trouble
                .get_or_insert_with(|| taps_engine::chain(&error));
        }
    }

    fn try_send(&mut self, traffic: &Traffic) -> Result<(), ChannelError> {
        self.lender.give_back(self.borrower.returns().take());
        if !self.attempts.is_empty() || self.lender.has_news() {
            let attempts = std::mem::take(&mut self.attempts);
            let first = self.number + 1 - attempts.len() as u64;
            let batch = |loans, first, attempts| ToWorker::Batch {
                loans,
                first,
                attempts,
            };
            let alone = |loans: Loans| batch(loans, 0, Vec::new());
            (self.lender).tell(&mut self.outbox, alone, |loans| {
                batch(loans, first, attempts)
            })?;
        }
        let before = self.outbox.len();
        self.outbox.flush(&self.data)?;
        let sent = before - self.outbox.len();
        traffic.sent.fetch_add(sent as u64, Ordering::Relaxed);
        self.control_outbox.flush(&self.control)?;
        Ok(())
    }

    /// Whether it could run something and has nothing.
    fn is_idle(&self) -> bool {
        self.ready && !self.closed && self.out.is_empty()
    }

    /// Whether something waits for room in a socket.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.outbox.is_empty() || !self.control_outbox.is_empty()
    }

    /// Whether there is anything to tell the worker.
    pub(super) fn has_news(&self) -> bool {
        self.lender.has_news() || !self.borrower.returns().is_empty()
    }

    /// Sends the numbers of those attempts that are on this process.
    fn control(
        &mut self,
        attempts: &[AttemptId],
        message: impl FnOnce(Vec<(u64, AttemptId)>) -> Control,
    ) {
        let wanted = |(_, id): &&(u64, AttemptId)| attempts.contains(id);
        let found: Vec<_> = self.out.iter().filter(wanted).copied().collect();
        if !found.is_empty() {
            self.say(&message(found));
        }
    }

    /// Sends a control message.
    pub(super) fn say(&mut self, message: &Control) {
        let sent = self
            .control_outbox
            .push(message, Vec::new())
            .and_then(|()| self.control_outbox.flush(&self.control));
        if let Err(error) = sent {
            self.trouble
                .get_or_insert_with(|| taps_engine::chain(&error));
        }
    }

    /// Reads what the worker has sent on its data channel.
    pub(super) fn hear_data(&mut self, heard: &mut Heard, traffic: &Traffic) {
        while !self.closed {
            match self.inbox.receive(&self.data, Patience::Look) {
                Ok(Received::Bytes) => {
                    if let Err(error) = self.understand(heard, traffic) {
                        self.trouble
                            .get_or_insert_with(|| taps_engine::chain(&error));
                        self.closed = true;
                    }
                }
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => self.closed = true,
                Err(error) => {
                    self.trouble
                        .get_or_insert_with(|| taps_engine::chain(&error));
                    self.closed = true;
                }
            }
        }
    }

    fn understand(&mut self, heard: &mut Heard, traffic: &Traffic) -> Result<(), ChannelError> {
        let before = self.inbox.len();
        while let Some(message) = self.inbox.next()? {
            match message {
                FromWorker::Ready if self.ready => {
                    return Err(ChannelError::Nonsense("it is ready for the second time"));
                }
                FromWorker::Ready => {
                    self.ready = true;
                    heard.ready = true;
                }
                FromWorker::Failed(reason) => heard.failed = Some(reason),
                FromWorker::Batch {
                    loans,
                    words,
                    reports,
                } => {
                    if !loans.is_empty() {
                        self.take_loans(&loans)?;
                    }
                    for report in &reports {
                        self.is_over(report.id)?;
                    }
                    self.has_reported |= !reports.is_empty();
                    heard.words.extend(words);
                    heard.reports.extend(reports);
                }
            }
        }
        let read = before - self.inbox.len();
        traffic.received.fetch_add(read as u64, Ordering::Relaxed);
        self.was_heard();
        Ok(())
    }

    fn take_loans(&mut self, loans: &Loans) -> Result<(), ChannelError> {
        let descriptors = self.inbox.descriptors(loans.memories.len())?;
        let own = |loan: &Loan| loan.segment.id.space() == self.id_space;
        if !loans.lent.iter().all(own) {
            return Err(ChannelError::Nonsense("it lends what it did not make"));
        }
        for id in &loans.given_back {
            drop(self.lender.take_back(*id));
        }
        self.borrower.borrow(loans, descriptors);
        Ok(())
    }

    /// Reads the control channel.
    pub(super) fn hear_control(&mut self, heard: &mut Heard, _: &Traffic) {
        while let Ok(Received::Bytes) = self.control_inbox.receive(&self.control, Patience::Look) {
            self.was_heard();
            loop {
                match self.control_inbox.next() {
                    Ok(Some(ControlReply::Pong(_))) => {}
                    Ok(Some(ControlReply::Returned(attempts))) => {
                        for id in attempts {
                            match self.is_over(id) {
                                Ok(()) => heard.returned.push(id),
                                Err(error) => {
                                    self.trouble
                                        .get_or_insert_with(|| taps_engine::chain(&error));
                                }
                            }
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.trouble
                            .get_or_insert_with(|| taps_engine::chain(&error));
                        return;
                    }
                }
            }
        }
    }

    fn was_heard(&mut self) {
        if self.ready {
            self.awaited = None;
        }
    }

    /// Asks for a sign of life.
    pub(super) fn ping(&mut self, number: u64, now: Instant) {
        self.awaited.get_or_insert(now);
        self.say(&Control::Ping(number));
    }

    fn is_over(&mut self, id: AttemptId) -> Result<(), ChannelError> {
        // Almost always the first.
        let found = self.out.iter().position(|(_, out)| *out == id);
        let position = found.ok_or(ChannelError::Nonsense("the attempt is not on the worker"))?;
        self.out.remove(position);
        Ok(())
    }

    /// The attempt with that number.
    pub(super) fn numbered(&self, number: u64) -> Option<AttemptId> {
        let found = self.out.iter().find(|(out, _)| *out == number)?;
        Some(found.1)
    }

    /// The fault of the attempt with that number, if it is one that ends this process.
    pub(super) fn fatal(&self, number: u64) -> Option<FaultAction> {
        let mut fatal = self.fatal.iter();
        fatal
            .find(|(out, _)| *out == number)
            .map(|(_, action)| *action)
    }

    /// The memory that this process made and the coordinator still holds.
    pub(super) fn memories(&self) -> Vec<Weak<Memory>> {
        self.borrower.memories().map(Arc::downgrade).collect()
    }
}

#[cfg(test)]
mod tests;
