//! The coordinator: takes the executor's events on the executor's threads.

use crate::{
    driving::{Driving, MainSignal, Thread},
    memo::Memo,
    plan::Plan,
    results::{ResultFiles, load},
    run_log::RunLog,
    state::{Orders, State},
    watchdog::Watchdog,
};
use parking_lot::{Mutex, MutexGuard};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use taps_engine::{
    AttemptId, EventSink, Executor, ExecutorEvent, FetchError, OutputId,
    core::{ArgumentSpec, Event},
};
use taps_payload::Location;
use taps_records::LogEvent;
use taps_sandbox::{CancelToken, RunContext, stored};

/// Looks at a taken lock before its thread parks: some ten microseconds.
const SPINS: u32 = 200;

/// Holds the engine core of a run.
pub(crate) struct Coordinator {
    pub(crate) state: Mutex<State>,
    pub(crate) driving: Driving,
    pub(crate) signal: Arc<MainSignal>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) context: Arc<RunContext>,
    /// Cancelled when the run is to end early.
    pub(crate) token: CancelToken,
    /// An argument travelled without the transformer, and the run said so.
    pub(crate) untransformed: AtomicBool,
    /// A result could not be memoized, and the run said so.
    pub(crate) unmemoized: AtomicBool,
    pub(crate) log: Arc<RunLog>,
    results: Option<ResultFiles>,
    /// The run goes on after an earlier life.
    resumed: bool,
    pub(crate) memo: Option<Memo>,
    /// Attempts decided on whose submission to the executor has not returned yet.
    submitting: AtomicUsize,
    /// Cancelled while there were such: the executor may not have known the attempt yet.
    late_cancels: LateCancels,
    /// When the main thread will wake by itself, in nanoseconds of the run; `u64::MAX` for never.
    armed_ns: AtomicU64,
}

impl Coordinator {
    pub(crate) fn new(plan: &mut Plan, token: CancelToken) -> Arc<Self> {
        let signal = Arc::new(MainSignal::default());
        // Before the state takes it.
        let resumed = plan.history.is_some();
        Arc::new(Self {
            state: Mutex::new(State::new(plan)),
            driving: Driving::new(Arc::clone(&signal)),
            signal,
            executor: Arc::clone(&plan.executor),
            context: Arc::clone(&plan.context),
            token,
            untransformed: AtomicBool::new(false),
            unmemoized: AtomicBool::new(false),
            log: Arc::clone(&plan.log),
            results: plan.results.take(),
            resumed,
            memo: plan.memo.take(),
            submitting: AtomicUsize::new(0),
            late_cancels: LateCancels::default(),
            armed_ns: AtomicU64::new(u64::MAX),
        })
    }

    /// Takes the lock. It is held for a microsecond or two: spinning that long is cheaper than parking and
    /// being woken, which the lock itself does too early for that.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        for _ in 0..SPINS {
            if let Some(state) = self.state.try_lock() {
                return state;
            }
            std::hint::spin_loop();
        }
        self.state.lock()
    }

    /// Runs a change under the lock, then hands the orders to the executor.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State, u64, &mut Orders) -> R) -> R {
        let mut orders = Orders::default();
        // Read before the lock, to hold it no longer than needed: another thread may be there first with a
        // later time, and time must not go back.
        let read_ns = self.context.now_ns();
        let (result, timer, diverged) = {
            let mut state = self.lock();
            let now_ns = state.advance(read_ns);
            let result = change(&mut state, now_ns, &mut orders);
            if !orders.dispatch.is_empty() {
                // Before the lock is released: whoever cancels one of these sees it.
                self.submitting.fetch_add(1, Ordering::SeqCst);
            }
            (result, timer(&state), state.replay.diverged.is_some())
        };
        if diverged {
            // Also where it is the main thread that is in the driver.
            self.token.cancel();
        }
        if timer < self.armed_ns.load(Ordering::Acquire) || diverged {
            self.signal.raise();
        }
        self.give(orders);
        result
    }

    fn give(&self, orders: Orders) {
        if !orders.freed.is_empty() {
            self.executor.freed(&orders.freed);
        }
        if !orders.release.is_empty() {
            self.executor.release(&orders.release);
        }
        self.give_up(&orders.remove, &orders.files);
        if !orders.dispatch.is_empty() {
            self.executor.submit(orders.dispatch);
            let others = self.submitting.fetch_sub(1, Ordering::SeqCst) > 1;
            if self.late_cancels.any.load(Ordering::SeqCst) {
                self.cancel_again(others);
            }
        }
        if !orders.cancel.is_empty() {
            // Looked at before the cancel: none under way means that all have arrived.
            let racing = self.submitting.load(Ordering::SeqCst) > 0;
            if racing {
                self.late_cancels.add(&orders.cancel);
            }
            self.executor.cancel(&orders.cancel);
            // The last submission may have returned before the note was there.
            if racing && self.submitting.load(Ordering::SeqCst) == 0 {
                self.cancel_again(false);
            }
        }
        // Should one of these come before its attempt, the attempt runs where it waits.
        if !orders.recall.is_empty() {
            self.executor.recall(&orders.recall);
        }
    }

    /// Two threads may reach the executor in another order than they held the lock: a cancel can
    /// come before the attempt that it is for. Cancelling twice does no harm.
    fn cancel_again(&self, keep: bool) {
        let attempts = self.late_cancels.take(keep);
        if !attempts.is_empty() {
            self.executor.cancel(&attempts);
        }
    }

    /// Fires what is due, and says when the next thing is. For the main thread.
    pub(crate) fn arm(&self) -> Option<u64> {
        // Armed for never while firing, so that a timer set meanwhile raises the signal.
        self.armed_ns.store(u64::MAX, Ordering::Release);
        let next = self.change(|state, now_ns, orders| {
            if state.core.next_timer_ns().is_some_and(|due| due <= now_ns) {
                state.apply(now_ns, Event::Tick, orders);
            }
            state.time_passed(now_ns);
            timer(state)
        });
        self.armed_ns.store(next, Ordering::Release);
        (next != u64::MAX).then_some(next)
    }
}

/// Cancels to be repeated once no submission is under way.
#[derive(Default)]
struct LateCancels {
    any: AtomicBool,
    attempts: Mutex<Vec<AttemptId>>,
}

impl LateCancels {
    fn add(&self, attempts: &[AttemptId]) {
        let mut all = self.attempts.lock();
        all.extend_from_slice(attempts);
        self.any.store(true, Ordering::SeqCst);
    }

    fn take(&self, keep: bool) -> Vec<AttemptId> {
        let mut all = self.attempts.lock();
        if keep {
            return all.clone();
        }
        self.any.store(false, Ordering::SeqCst);
        std::mem::take(&mut *all)
    }
}

/// When something is due next; `u64::MAX` for never.
fn timer(state: &State) -> u64 {
    let core = state.core.next_timer_ns().unwrap_or(u64::MAX);
    core.min(state.wait_until_ns().unwrap_or(u64::MAX))
}

impl EventSink for Coordinator {
    fn deliver(&self, events: Vec<ExecutorEvent>) {
        self.keep_results(&events);
        self.memoize(&events);
        self.change(|state, now_ns, orders| {
            let repeats = !state.duplicates.is_empty();
            for event in events {
                match event {
                    ExecutorEvent::Finished(report) => state.finished(now_ns, report, orders),
                    ExecutorEvent::WorkerJoined(info) => {
                        state.log.append(&LogEvent::WorkerJoined(info.clone()));
                        state.apply(now_ns, Event::WorkerJoined(info), orders);
                    }
                    ExecutorEvent::Returned(attempt) => {
                        state.apply(now_ns, Event::Returned(attempt), orders);
                    }
                    ExecutorEvent::WorkerLost {
                        worker,
                        reason,
                        running,
                    } => {
                        state.log.append(&LogEvent::WorkerLost {
                            worker,
                            reason: reason.clone(),
                            time_ns: now_ns,
                        });
                        let lost = Event::WorkerLost {
                            worker,
                            reason,
                            running,
                        };
                        state.apply(now_ns, lost, orders);
                    }
                    ExecutorEvent::Failed(failure) => {
                        state.executor_failure = Some(failure.clone());
                        // What fails from here on would not in another life of the run.
                        let time_ns = now_ns;
                        state.log.append(&LogEvent::Ending { time_ns });
                        state.apply(now_ns, Event::ExecutorFailed(failure), orders);
                    }
                }
            }
            if repeats {
                state.repeat_reports(now_ns, orders);
            }
            if state.ending && state.core.counts().outstanding == 0 {
                self.signal.raise();
            }
        });
        if self.log_failed() {
            self.signal.raise();
        }
        self.driving.drive(Thread::Other);
    }
}

impl Coordinator {
    /// Writes results to files, before anybody can hear of them.
    fn keep_results(&self, events: &[ExecutorEvent]) {
        let Some(results) = self.results.as_ref().filter(|results| !results.is_off()) else {
            return;
        };
        for event in events {
            if let ExecutorEvent::Finished(report) = event
                && let Err(error) = results.keep(report, &self.context.store)
            {
                let message = format!(
                    "a result is not kept for a resume: {error} (said once; others may not be, too)"
                );
                self.log.warn("run", &message);
            }
        }
    }

    /// Brings the results that a task is about to take from the files of a run that was resumed into
    /// memory, where several tasks read them without a copy. Called without the lock. One that cannot be
    /// brought stays where it is.
    pub(crate) fn bring_back(&self, arguments: &[ArgumentSpec]) {
        let Some(results) = self.results.as_ref().filter(|_| self.resumed) else {
            return;
        };
        for argument in arguments {
            let ArgumentSpec::Output(output) = *argument else {
                continue;
            };
            let kept = {
                let state = self.lock();
                let there = state.core.output(output).map(|there| &there.location);
                match there.filter(|_| !state.replay.next_has_ended()) {
                    Some(Location::File(file)) if results.has(file) => file.clone(),
                    _ => continue,
                }
            };
            let context = &self.context;
            let Some(location) = load(&kept, &context.store, context.map_min_bytes) else {
                continue;
            };
            if !self.lock().core.relocate(output, location.clone()) {
                stored::free(context, &location);
            }
        }
    }

    /// Brings an output that the engine keeps into this process, where the driver is about to read it; from
    /// here on it is here for everybody. Called without the lock: it waits for the bytes.
    pub(crate) fn bring_from_engine(&self, output: OutputId) -> Result<(), FetchError> {
        if !self.executor.capabilities().keeps_results {
            return Ok(());
        }
        let key = {
            let state = self.lock();
            match state.core.output(output).map(|there| &there.location) {
                Some(Location::Engine { key, .. }) => Arc::clone(key),
                _ => return Ok(()),
            }
        };
        let bytes = self.executor.fetch(&key)?;
        let context = &self.context;
        let location =
            stored::place(&bytes, &context.store, context.map_min_bytes).map_err(|error| {
                FetchError {
                    lost: false,
                    reason: format!("keep {key}, which the engine gave: {error}"),
                }
            })?;
        let taken = self.change(|state, _, orders| {
            let taken = state.core.relocate(output, location.clone());
            if taken {
                orders.release.push(key);
            }
            taken
        });
        if !taken {
            stored::free(context, &location);
        }
        Ok(())
    }

    /// Whether the driver went another way than in the run's earlier life.
    pub(crate) fn has_diverged(&self) -> bool {
        self.lock().replay.diverged.is_some()
    }

    /// Says what is under way, when nothing has ended for too long.
    pub(crate) fn watch(&self, watchdog: &mut Watchdog) {
        let report = watchdog.look(&self.lock(), self.context.now_ns());
        if let Some(report) = report {
            self.log.warn("watchdog", &report);
        }
    }

    /// Whether the run cannot be recorded any more.
    pub(crate) fn log_failed(&self) -> bool {
        self.log.has_failed()
    }
}
