//! From what the bridge says of attempts to the reports of a run.

use super::{NO_WORKER, Outgoing, Shared, State};
use crate::message::{BridgeResult, EngineFailure, WorkerReport};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::time::Duration;
use taps_engine::{
    AttemptReport, ExecutorEvent, Failure, OutcomeKind, Timeline, WorkerId, WorkerInfo,
};
use taps_payload::Location;
use taps_sandbox::stored;

/// What the bridge calls it when the engine has lost a result that an attempt takes. It cannot say which.
const RESULT_LOST: &str = "result-lost";

/// Workers that were heard of, in the order in which they were.
#[derive(Debug, Default)]
pub(super) struct Workers(Mutex<FxHashMap<String, WorkerId>>);

impl Workers {
    /// The number of a worker, and whether it is new.
    fn number(&self, name: &str) -> (WorkerId, bool) {
        let mut known = self.0.lock();
        if let Some(id) = known.get(name) {
            return (*id, false);
        }
        let id = WorkerId(known.len() as u32);
        known.insert(name.to_owned(), id);
        (id, true)
    }
}

impl Shared {
    /// What has ended. There is a buffer for each result without a failure.
    pub(super) fn ended(
        &self,
        results: Vec<BridgeResult>,
        buffers: Vec<Vec<u8>>,
    ) -> Vec<ExecutorEvent> {
        let mut buffers = buffers.into_iter();
        let mut events = Vec::with_capacity(results.len());
        for result in results {
            let bytes = match result.failed {
                None => buffers.next(),
                Some(_) => None,
            };
            self.end(result, bytes, &mut events);
        }
        self.wake.notify_all();
        events
    }

    fn end(&self, result: BridgeResult, bytes: Option<Vec<u8>>, events: &mut Vec<ExecutorEvent>) {
        let id = result.id.0;
        let mut report = match (result.failed, bytes) {
            (Some(failed), _) => self.failed(id, failed),
            (None, Some(bytes)) => self.decoded(id, &bytes, events),
            (None, None) => {
                let message = "the bridge said that it ended, and not how";
                bare(id, OutcomeKind::EngineError, message.to_owned())
            }
        };
        report.executions = result.executions;
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(out) = state.out.remove(&id) else {
            // It was reported before.
            return;
        };
        if let Err(failure) = &mut report.result
            && failure.kind == RESULT_LOST
        {
            failure.outcome = OutcomeKind::PayloadError;
            report.lost_inputs = out.kept_arguments;
        }
        let company = state.leave_group(out.group);
        let lost = report.outcome() == OutcomeKind::WorkerLost;
        if !lost {
            state.suspects.remove(&id.task);
        }
        if self.options.keep {
            let outputs = report.result.as_deref().ok();
            if state.kept.ended(out.key, outputs) {
                let key = out.key.to_string();
                state.outbox.push_back(Outgoing::Release(vec![key]));
            }
        }
        if lost && company > 1 {
            // Nobody knows which of them did it, or that any did. Each goes again, alone, and then it is known.
            state.suspects.insert(id.task);
            events.push(ExecutorEvent::Returned(id));
            return;
        }
        let Timeline {
            received, finished, ..
        } = report.timeline;
        if received > 0 {
            let took = Duration::from_nanos(finished.saturating_sub(received));
            state.groups.took(&out.name, took);
        }
        events.push(ExecutorEvent::Finished(Box::new(report)));
    }

    /// How the engine failed.
    fn failed(&self, id: taps_engine::AttemptId, failed: EngineFailure) -> AttemptReport {
        let EngineFailure {
            outcome,
            kind,
            message,
        } = failed;
        let outcome = match outcome.as_str() {
            "worker-lost" => OutcomeKind::WorkerLost,
            "upstream-failed" => OutcomeKind::UpstreamFailed,
            "cancelled" => OutcomeKind::Cancelled,
            "payload-error" => OutcomeKind::PayloadError,
            "out-of-memory" => OutcomeKind::OutOfMemory,
            _ => OutcomeKind::EngineError,
        };
        let mut report = bare(id, outcome, message);
        if let Err(failure) = &mut report.result {
            failure.kind = kind;
        }
        report.timeline.finished = self.context.now_ns();
        report
    }

    /// What a worker says of an attempt.
    fn decoded(
        &self,
        id: taps_engine::AttemptId,
        bytes: &[u8],
        events: &mut Vec<ExecutorEvent>,
    ) -> AttemptReport {
        let decoded: Result<WorkerReport, _> = postcard::from_bytes(bytes);
        let WorkerReport {
            worker,
            host,
            mut report,
            words,
        } = match decoded {
            Ok(report) => report,
            Err(error) => {
                let message = format!("the report of the worker cannot be read: {error}");
                return bare(id, OutcomeKind::EngineError, message);
            }
        };
        for said in words {
            said.tell(&self.context);
        }
        let (number, is_new) = self.workers.number(&worker);
        if is_new {
            events.push(ExecutorEvent::WorkerJoined(WorkerInfo {
                id: number,
                host,
                cores: 1,
                memory_bytes: 0,
                resources: Vec::new(),
                look_ahead: 0,
            }));
        }
        report.worker = number;
        if let Err(failure) = self.take_in(&mut report) {
            report.result = Err(failure);
        }
        report
    }

    /// Large results that came with the report go where payloads are.
    fn take_in(&self, report: &mut AttemptReport) -> Result<(), Failure> {
        let context = &self.context;
        for output in report.result.iter_mut().flatten() {
            if let Location::Inline(bytes) = &output.location
                && bytes.len() as u64 > context.inline_max_bytes
            {
                output.location = stored::place(bytes, &context.store, context.map_min_bytes)
                    .map_err(|error| Failure::new(OutcomeKind::PayloadError, error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl State {
    /// One attempt of a group has come back. Gives how many there were.
    fn leave_group(&mut self, group: u64) -> usize {
        let Some((left, size)) = self.group_sizes.get_mut(&group) else {
            return 1;
        };
        let size = *size;
        *left -= 1;
        if *left == 0 {
            self.group_sizes.remove(&group);
            self.groups.came_back();
        }
        size
    }
}

fn bare(id: taps_engine::AttemptId, outcome: OutcomeKind, message: String) -> AttemptReport {
    AttemptReport::bare(id, NO_WORKER, Err(Failure::new(outcome, message)))
}
