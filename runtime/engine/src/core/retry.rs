//! Attempts that fail, and what follows.

use super::Core;
use super::action::{Action, TaskState};
use super::settings::RetryPolicy;
use super::table::{Key, Out, Place, Presence, TaskArgument};
use crate::{AttemptId, Failure, OutcomeKind, Output, Running, TaskId, Timeline, WorkerId};
use std::cmp::Reverse;
use std::sync::Arc;

impl RetryPolicy {
    /// Wait before a retry, in milliseconds; `retry` counts from 1.
    pub fn backoff(&self, retry: u32) -> u64 {
        let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.backoff_ms as f64 * self.backoff_factor.max(0.0).powi(exponent);
        (wait.min(self.max_backoff_ms as f64) as u64).min(self.max_backoff_ms)
    }
}

impl Core {
    /// Keeps the digests of an attempt's outputs; not of those that were there before, and stay.
    pub(super) fn note_digests(&mut self, id: AttemptId, digests: Vec<Option<u64>>) {
        if digests.is_empty() {
            return;
        }
        let key = self.tasks.find(id.task);
        let Some(key) = key.filter(|&key| self.tasks[key].attempt() == Some(id)) else {
            return;
        };
        self.verifies = true;
        let task = &mut self.tasks[key];
        for (index, digest) in digests.into_iter().enumerate() {
            if index >= task.digests.len() {
                task.digests.push(digest);
            } else if task.output_use(index as u32).presence == Presence::Lost {
                task.digests[index] = digest;
            }
        }
    }

    /// An attempt ended.
    pub(super) fn finished(
        &mut self,
        id: AttemptId,
        result: Result<Vec<Output>, Failure>,
        timeline: Timeline,
        lost_inputs: &[u32],
        actions: &mut Vec<Action>,
    ) {
        let key = self.tasks.find(id.task);
        let awaited = key.filter(|&key| self.tasks[key].attempt() == Some(id));
        let Some(key) = awaited else {
            self.absorb(key, result.unwrap_or_default(), actions);
            return;
        };
        if self.placement.looks_ahead() && result.is_ok() {
            self.placement.paces.note(self.tasks[key].kind, timeline);
        }
        if result.is_err() && !lost_inputs.is_empty() {
            self.inputs_lost(key, lost_inputs, actions);
        }
        let Some(out) = self.take_out(key) else {
            return;
        };
        if self.tasks[key].state.is_terminal() {
            self.absorb(Some(key), result.unwrap_or_default(), actions);
            self.release_inputs(key, actions);
            self.candidates.push(key);
            return;
        }
        match result {
            Ok(outputs) => {
                self.tasks[key].tries += 1;
                self.succeed(key, outputs, actions);
            }
            Err(failure) => self.attempt_failed(key, out, failure, actions),
        }
    }

    /// The attempt is not out any more; its worker goes on with the next in its queue, or is idle.
    #[inline]
    pub(super) fn take_out(&mut self, key: Key) -> Option<Out> {
        let task = &mut self.tasks[key];
        let out = task.out.take()?;
        if let Some(worker) = out.worker {
            let demand = self.ready.demand(task.class);
            let next = self.placement.vacate(worker, key, demand);
            if out.place != Place::Current || next.is_some() {
                self.note_left(out.place, next);
            }
        }
        Some(out)
    }

    /// A worker is gone. The attempt that it was running is lost, if there was one: by what the
    /// executor says, or else the one that must have been. Those that were queued go again.
    pub(super) fn worker_lost(
        &mut self,
        worker: WorkerId,
        reason: &str,
        running: Running,
        actions: &mut Vec<Action>,
    ) {
        let mut queued = self.placement.attempts(worker);
        let charged = match running {
            _ if queued.is_empty() => None,
            Running::Nothing => None,
            Running::Unknown => Some(0),
            Running::Attempt(id) => {
                let found = |&key: &Key| self.tasks[key].attempt() == Some(id);
                Some(queued.iter().position(found).unwrap_or(0))
            }
        };
        let key = charged.map(|charged| queued.remove(charged));
        for &key in &queued {
            self.take_back(key, actions);
        }
        let failure = Failure::new(
            OutcomeKind::WorkerLost,
            format!("worker {worker} was lost: {reason}"),
        );
        let out = key.and_then(|key| self.lose_attempt(key, &failure, actions));
        self.placement.leave(worker);
        match (key, out) {
            (Some(key), Some(_)) if self.tasks[key].state.is_terminal() => {
                self.release_inputs(key, actions);
                self.candidates.push(key);
            }
            (Some(key), Some(out)) => self.attempt_failed(key, out, failure, actions),
            _ => {}
        }
        for key in queued {
            self.go_again(key, actions);
        }
    }

    fn lose_attempt(
        &mut self,
        key: Key,
        failure: &Failure,
        actions: &mut Vec<Action>,
    ) -> Option<Out> {
        let out = self.take_out(key)?;
        actions.push(Action::AttemptLost {
            attempt: AttemptId {
                task: self.tasks[key].id,
                number: out.number,
            },
            worker: out.worker,
            failure: failure.clone(),
        });
        Some(out)
    }

    /// The executor cannot go on: nothing that is outstanding will end by itself.
    pub(super) fn executor_failed(&mut self, failure: &Failure, actions: &mut Vec<Action>) {
        self.failed.get_or_insert_with(|| failure.clone());
        let shared = Arc::new(failure.clone());
        let affected = |task: &super::table::Task| task.out.is_some() || !task.state.is_terminal();
        for (id, key) in self.tasks.select(affected) {
            let out = self.lose_attempt(key, failure, actions);
            if !self.tasks[key].state.is_terminal() {
                self.end(key, Arc::clone(&shared), actions);
            } else if out.is_some() {
                self.release_inputs(key, actions);
            }
            debug_assert_eq!(self.tasks[key].id, id, "nothing is removed meanwhile");
            self.candidates.push(key);
        }
    }

    fn attempt_failed(&mut self, key: Key, out: Out, failure: Failure, actions: &mut Vec<Action>) {
        let task = &mut self.tasks[key];
        let lost = failure.outcome == OutcomeKind::WorkerLost;
        task.crashes = task.crashes.saturating_add(u16::from(lost));
        self.counts.crashes += u64::from(lost);
        if task.cancelling {
            let failure = Failure::new(OutcomeKind::Cancelled, "cancelled");
            self.end(key, Arc::new(failure), actions);
            return;
        }
        if self.is_provisional(key, out, failure.outcome) {
            // Not its fault, so it does not count as a retry.
            let again = self.inputs_changed(key, out.epoch);
            self.doom_forwarded(key);
            actions.push(Action::Retrying {
                failed: AttemptId {
                    task: self.tasks[key].id,
                    number: out.number,
                },
                backoff_ms: 0,
            });
            self.requeue(key, again, actions);
            return;
        }
        // One that another attempt took down with its worker has not had its fault yet.
        self.tasks[key].tries += u32::from(!lost || out.kills);
        if task_gives_up(lost, self.tasks[key].crashes, self.settings.crash_limit) {
            let verdict = self.crash_verdict(key, &failure);
            self.end(key, Arc::new(verdict), actions);
        } else if self.may_retry(key, failure.outcome) {
            self.retry(key, out.number, failure.outcome, actions);
        } else {
            self.end(key, Arc::new(failure), actions);
        }
    }

    /// Whether the attempt failed because of an input that is being made again.
    fn is_provisional(&self, key: Key, out: Out, outcome: OutcomeKind) -> bool {
        let of_input = matches!(
            outcome,
            OutcomeKind::UpstreamFailed | OutcomeKind::PayloadError
        );
        let parent_pending =
            outcome == OutcomeKind::UpstreamFailed && self.tasks[key].unresolved > 0;
        parent_pending || (of_input && self.inputs_changed(key, out.epoch))
    }

    /// Whether a parent was retried, or lost an output, since the epoch.
    fn inputs_changed(&self, key: Key, epoch: u64) -> bool {
        let mut arguments = self.tasks[key].arguments.iter();
        arguments.any(|argument| match *argument {
            TaskArgument::Output { parent, .. } => self.tasks[parent].changed > epoch,
            _ => false,
        })
    }

    fn crash_verdict(&self, key: Key, failure: &Failure) -> Failure {
        let message = format!(
            "given up after it lost {} workers (crash limit {}); last: {}",
            self.tasks[key].crashes, self.settings.crash_limit, failure.message
        );
        Failure {
            kind: "crash-limit".to_owned(),
            detail: failure.detail.clone(),
            ..Failure::new(OutcomeKind::WorkerLost, message)
        }
    }

    fn may_retry(&self, key: Key, outcome: OutcomeKind) -> bool {
        let task = &self.tasks[key];
        let left = match task.retry.own.of(outcome) {
            Some((index, most)) => u32::from(task.own_retries[index]) < most,
            None => task.retries < task.retry.retries,
        };
        left && task.retry.on.contains(outcome)
    }

    fn retry(&mut self, key: Key, failed: u32, outcome: OutcomeKind, actions: &mut Vec<Action>) {
        let now_ns = self.now_ns;
        let task = &mut self.tasks[key];
        task.count_retry(outcome);
        let own: u32 = task.own_retries.into_iter().map(u32::from).sum();
        let backoff_ms = task.retry.backoff(task.retries + own);
        let id = task.id;
        actions.push(Action::Retrying {
            failed: AttemptId {
                task: id,
                number: failed,
            },
            backoff_ms,
        });
        self.doom_forwarded(key);
        if backoff_ms == 0 {
            self.requeue(key, true, actions);
            return;
        }
        let until_ns = now_ns.saturating_add(backoff_ms.saturating_mul(1_000_000));
        self.tasks[key].backoff_until_ns = until_ns;
        self.set_state(key, TaskState::BackOff);
        self.timers.push(Reverse((until_ns, id, key)));
    }

    /// A held task is not held any more, and will be repeated: what the engine holds of its
    /// descendants is doomed, and they will be forwarded again.
    pub(super) fn doom_forwarded(&mut self, key: Key) {
        if self.forwards {
            self.epoch += 1;
            let task = &mut self.tasks[key];
            task.changed = self.epoch;
            task.generation.0 += 1;
            self.set_held(key, false);
        }
    }

    /// Puts a task without an attempt out where it belongs. `forward` says whether an engine may
    /// be given it before its parents are finished.
    pub(super) fn requeue(&mut self, key: Key, forward: bool, actions: &mut Vec<Action>) {
        // No early return before `resolve`: what was there at the dispatch may be lost now.
        if let Some(parent) = self.resolve(key) {
            self.end_because_of(key, parent, actions);
        } else if forward || self.tasks[key].unresolved == 0 {
            self.make_ready_or_wait(key, actions);
        } else {
            self.set_state(key, TaskState::Waiting);
        }
    }

    /// Readies the tasks whose back-off is over.
    pub(super) fn tick(&mut self, actions: &mut Vec<Action>) {
        while let Some(&Reverse((until_ns, id, key))) = self.timers.peek()
            && until_ns <= self.now_ns
        {
            self.timers.pop();
            if self.is_timer(until_ns, id, key) {
                self.requeue(key, true, actions);
            }
        }
    }

    /// Keeps the first timer a true one.
    pub(super) fn drop_outdated_timers(&mut self) {
        while let Some(&Reverse((until_ns, id, key))) = self.timers.peek()
            && !self.is_timer(until_ns, id, key)
        {
            self.timers.pop();
        }
    }

    fn is_timer(&self, until_ns: u64, id: TaskId, key: Key) -> bool {
        self.tasks.is(key, id, TaskState::BackOff) && self.tasks[key].backoff_until_ns == until_ns
    }
}

fn task_gives_up(lost: bool, crashes: u16, limit: u32) -> bool {
    lost && u32::from(crashes) > limit
}
