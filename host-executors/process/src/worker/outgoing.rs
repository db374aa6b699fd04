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
use taps_engine::{AttemptReport, Failure, OutcomeKind, REPORT_HOLD};
use taps_payload::{Location, SegmentId, SegmentStore};
use taps_sandbox::{Said, Voice};

/// Reports that wait to be sent with others, at most.
const MOST_HELD: usize = 32;

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

    /// Adds a report with the segments that it speaks of; sends it with others, when the first of them has waited for
    /// so long.
    pub(crate) fn report(
        &self,
        mut report: AttemptReport,
        store: &SegmentStore,
        hold: Duration,
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
            || since.elapsed() >= hold;
        if enough {
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
        if returns
            || pending
                .since
                .is_some_and(|since| since.elapsed() >= REPORT_HOLD)
        {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{self, Inbox, Patience, Received};
    use taps_engine::{AttemptId, TaskId, WorkerId};
    use taps_payload::StoreOptions;

    /// Reports that have arrived.
    fn arrived(socket: &OwnedFd, inbox: &mut Inbox) -> usize {
        let mut reports = 0;
        while inbox.receive(socket, Patience::Look).expect("it works") == Received::Bytes {
            while let Some(message) = inbox.next().expect("whole") {
                if let FromWorker::Batch { reports: some, .. } = message {
                    reports += some.len();
                }
            }
        }
        reports
    }

    #[test]
    fn reports_are_sent_together_when_there_are_enough_or_the_first_has_waited() {
        let (near, far) = channel::pair().expect("sockets work");
        let store = SegmentStore::new(StoreOptions::default()).expect("a store");
        let (outgoing, mut inbox) = (Outgoing::new(near), Inbox::default());
        let report = |hold| {
            let id = AttemptId {
                task: TaskId(0),
                number: 0,
            };
            let report = AttemptReport::bare(id, WorkerId(0), Ok(Vec::new()));
            outgoing
                .report(report, &store, hold)
                .expect("somebody listens");
        };
        let long = Duration::from_hours(1);
        report(long);
        report(long);
        assert_eq!(arrived(&far, &mut inbox), 0);
        report(Duration::ZERO);
        assert_eq!(arrived(&far, &mut inbox), 3);
        for _ in 1..MOST_HELD {
            report(long);
        }
        assert_eq!(arrived(&far, &mut inbox), 0);
        report(long);
        assert_eq!(arrived(&far, &mut inbox), MOST_HELD);
        report(long);
        outgoing.flush_late().expect("somebody listens");
        outgoing.pending.lock().since = Instant::now().checked_sub(REPORT_HOLD);
        outgoing.flush_late().expect("somebody listens");
        assert_eq!(
            arrived(&far, &mut inbox),
            1,
            "it has waited for longer than it should"
        );
    }
}
