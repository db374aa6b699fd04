//! What a worker tells the coordinator: reports, what guests say, and news of segments.

use crate::{
    channel::Outbox,
    error::ChannelError,
    lending::{Lender, Returns},
    message::{FromWorker, Loans},
};
use parking_lot::{Mutex, MutexGuard};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use taps_engine::{AttemptReport, Failure, OutcomeKind};
use taps_payload::{Location, SegmentId, SegmentStore};
use taps_sandbox::{Said, Voice};

/// Reports that wait to be sent with others, at most.
const MOST_HELD: usize = 32;

/// How long the first of them waits while short tasks follow each other.
const HOLD: Duration = Duration::from_micros(150);

/// Collects messages and sends them together. Shared by the threads of a worker.
#[derive(Debug)]
pub(crate) struct Outgoing {
    socket: OwnedFd,
    pending: Mutex<Pending>,
    /// Segments that this process has borrowed and does not need any more.
    returns: OnceLock<Arc<Returns>>,
}

#[derive(Debug, Default)]
struct Pending {
    outbox: Outbox,
    reports: Vec<AttemptReport>,
    words: Vec<Said>,
    lender: Lender,
    since: Option<Instant>,
}

/// What the task thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A short attempt that is there already.
    ShortAttempt,
    /// It waits, or runs something that may last.
    Other,
}

impl Outgoing {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            pending: Mutex::default(),
            returns: OnceLock::new(),
        }
    }

    /// Tells where segments to be given back are found.
    pub(crate) fn give_back_from(&self, returns: Arc<Returns>) {
        // Called once, before the first attempt.
        let _ = self.returns.set(returns);
    }

    /// Sends one message now, before any attempt has run.
    pub(crate) fn send(&self, message: &FromWorker) -> Result<(), ChannelError> {
        let mut pending = self.pending.lock();
        pending.outbox.push(message, Vec::new())?;
        pending.outbox.flush(&self.socket).map(drop)
    }

    /// Adds a report with the segments that it speaks of; sends it with others.
    pub(crate) fn report(
        &self,
        mut report: AttemptReport,
        store: &SegmentStore,
        next: Next,
    ) -> Result<(), ChannelError> {
        let mut pending = self.pending.lock();
        if let Err(failure) = pending.lend_outputs(&report, store) {
            pending.withdraw_outputs(&report, store);
            report.result = Err(failure);
        }
        pending.reports.push(report);
        let since = *pending.since.get_or_insert_with(Instant::now);
        let enough = pending.reports.len() >= MOST_HELD
            || pending.lender.is_full()
            || since.elapsed() >= HOLD;
        if next == Next::Other || enough {
            self.send_pending(&mut pending)?;
        }
        Ok(())
    }

    /// Sends whatever waits.
    pub(crate) fn flush(&self) -> Result<(), ChannelError> {
        let mut pending = self.pending.lock();
        self.send_pending(&mut pending)
    }

    /// Sends what has waited for longer than it should: the attempt after it turned out to be long.
    pub(crate) fn flush_late(&self) -> Result<(), ChannelError> {
        let mut pending = self.pending.lock();
        let returns = self
            .returns
            .get()
            .is_some_and(|returns| !returns.is_empty());
        if returns || pending.since.is_some_and(|since| since.elapsed() >= HOLD) {
            self.send_pending(&mut pending)?;
        }
        Ok(())
    }

    /// The coordinator gave these segments back: nobody reads them any more.
    pub(crate) fn taken_back(&self, segments: &[SegmentId], store: &SegmentStore) {
        let mut pending = self.pending.lock();
        for id in segments {
            drop(pending.lender.take_back(*id));
            store.free(*id);
        }
    }

    fn send_pending(&self, pending: &mut MutexGuard<'_, Pending>) -> Result<(), ChannelError> {
        if let Some(returns) = self.returns.get() {
            pending.lender.give_back(returns.take());
        }
        if pending.reports.is_empty() && pending.words.is_empty() && !pending.lender.has_news() {
            return Ok(());
        }
        let Pending {
            outbox,
            reports,
            words,
            lender,
            since,
        } = &mut **pending;
        *since = None;
        let (reports, words) = (std::mem::take(reports), std::mem::take(words));
        let batch = |loans, words, reports| FromWorker::Batch {
            loans,
            words,
            reports,
        };
        let alone = |loans: Loans| batch(loans, Vec::new(), Vec::new());
        lender.tell(outbox, alone, |loans| batch(loans, words, reports))?;
        outbox.flush(&self.socket).map(drop)
    }

    fn say(&self, said: Said) {
        let mut pending = self.pending.lock();
        pending.words.push(said);
        pending.since.get_or_insert_with(Instant::now);
    }
}

impl Pending {
    fn lend_outputs(
        &mut self,
        report: &AttemptReport,
        store: &SegmentStore,
    ) -> Result<(), Failure> {
        for output in report.result.iter().flatten() {
            let Location::Segment(reference) = &output.location else {
                continue;
            };
            let lost = |reason: String| {
                let message = format!("hand over a result: {reason}");
                Failure::new(OutcomeKind::PayloadError, message)
            };
            let segment = store
                .get(reference.id)
                .ok_or_else(|| lost(format!("segment {} is gone", reference.id.0)))?;
            self.lender
                .lend(&segment)
                .map_err(|error| lost(error.to_string()))?;
        }
        Ok(())
    }

    /// Nobody will hear of these outputs, some of which may be lent already.
    fn withdraw_outputs(&mut self, report: &AttemptReport, store: &SegmentStore) {
        for output in report.result.iter().flatten() {
            if let Location::Segment(reference) = &output.location
                && !self.lender.want(reference.id)
            {
                store.free(reference.id);
            }
        }
    }
}

/// Passes on what guests say.
pub(crate) fn voice(outgoing: &Arc<Outgoing>) -> Voice<impl Fn(Said) + Send + Sync + use<>> {
    let outgoing = Arc::clone(outgoing);
    Voice(move |said| outgoing.say(said))
}
