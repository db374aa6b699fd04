//! A run from its start to its end.

use crate::{
    coordinator::Coordinator,
    driving::{MainSignal, Thread},
    plan::{Plan, RunOutcome},
    watchdog::Watchdog,
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use taps_engine::{
    EventSink, StartError,
    core::{Counts, Event},
};
use taps_records::LogEvent;
use taps_sandbox::{CancelToken, DriverEnd, DriverHost, DriverStart, SandboxError, was_cancelled};

/// Interrupts a run from another thread, for example on Ctrl-C.
#[derive(Clone, Default)]
pub struct RunHandle(Arc<Handle>);

#[derive(Default)]
struct Handle {
    interrupted: AtomicBool,
    driver: CancelToken,
    signal: Mutex<Option<Arc<MainSignal>>>,
}

impl RunHandle {
    /// Asks the run to end: running tasks are cancelled, records kept.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::Release);
        self.0.driver.cancel();
        if let Some(signal) = &*self.0.signal.lock() {
            signal.raise();
        }
    }

    /// Whether somebody asked.
    pub fn is_interrupted(&self) -> bool {
        self.0.interrupted.load(Ordering::Acquire)
    }
}

/// Why a run could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The executor could not start.
    #[error("start the executor")]
    Start(#[from] StartError),
    /// The driver could not be prepared.
    #[error("prepare the driver")]
    Driver(#[from] SandboxError),
}

/// How long tasks have to end after they were cancelled.
const GRACE: Duration = Duration::from_secs(10);

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Runs a plan to its end on this thread, which becomes the main thread of the run.
pub fn run(
    mut plan: Plan,
    handle: &RunHandle,
    mut progress: Option<&mut dyn FnMut(&Counts)>,
) -> Result<RunOutcome, RunError> {
    let resumed = plan.history.is_some();
    if let Some(history) = &plan.history {
        plan.log.know_lines(history.driver_lines);
    }
    let coordinator = Coordinator::new(&mut plan, handle.0.driver.clone());
    *handle.0.signal.lock() = Some(Arc::clone(&coordinator.signal));
    let host: Arc<dyn DriverHost> = Arc::clone(&coordinator) as Arc<dyn DriverHost>;
    let start = DriverStart {
        config: plan.config,
        seed: plan.seed,
        kernels: plan.kernels,
        limits: plan.limits,
        token: handle.0.driver.clone(),
    };
    let future = taps_sandbox::driver(&plan.driver, &plan.context, host, start)?;
    let sink = Arc::clone(&coordinator) as Arc<dyn EventSink>;
    if let Err(error) = coordinator.executor.start(sink) {
        // Some workers may have started.
        coordinator.executor.shutdown();
        return Err(error.into());
    }
    let began_ns = coordinator.context.now_ns();
    // The clock of a driver that is resumed began with its first life.
    coordinator.state.lock().delivered_ns = if resumed { 0 } else { began_ns };
    let mut watchdog = Watchdog::new(plan.watchdog, began_ns);
    coordinator.driving.start(future);
    let driver = attend(&coordinator, handle, &mut watchdog, &mut progress);
    let app_elapsed_ns = coordinator.context.now_ns() - began_ns;
    let wanted = driver.as_ref().is_some_and(|end| matches!(end, Ok(Ok(_))));
    if driver.is_none() {
        let time_ns = coordinator.context.now_ns();
        plan.log.append(&LogEvent::Ending { time_ns });
    }
    wind_up(&coordinator, handle, &mut watchdog, wanted);
    coordinator.executor.shutdown();
    let state = coordinator.state.lock();
    Ok(RunOutcome {
        interrupted: handle.is_interrupted(),
        driver,
        diverged: state.replay.diverged.clone(),
        executor_failure: state.executor_failure.clone(),
        counts: state.core.counts(),
        phases: durations(&state.phases, began_ns + app_elapsed_ns),
        app_elapsed_ns,
        failures: state.failures.clone(),
        memoized: state.memoized,
        travel: state.travel.clone(),
    })
}

/// Attends to the driver until it ends, or until the run has to.
fn attend(
    coordinator: &Coordinator,
    handle: &RunHandle,
    watchdog: &mut Watchdog,
    progress: &mut Option<&mut dyn FnMut(&Counts)>,
) -> Option<DriverEnd> {
    loop {
        coordinator.driving.drive(Thread::Main);
        let diverged = coordinator.has_diverged();
        let must_end = handle.is_interrupted() || coordinator.log_failed() || diverged;
        if must_end {
            handle.0.driver.cancel();
            coordinator.driving.abandon();
        }
        let end = coordinator.driving.take_end();
        if must_end {
            // That it was told to end is not the driver's own word.
            return end.filter(|end| !diverged && !end.as_ref().is_err_and(was_cancelled));
        }
        if end.is_some() {
            return end;
        }
        let timer = next_timer(coordinator, watchdog);
        if coordinator.driving.wants_to_run() {
            continue;
        }
        let mut until = timer;
        if let Some(show) = progress.as_mut() {
            show(&coordinator.state.lock().core.counts());
            let next = Instant::now() + PROGRESS_EVERY;
            until = Some(timer.map_or(next, |timer| timer.min(next)));
        }
        coordinator.signal.wait(until);
    }
}

/// Ends what is still under way. Tasks that a successful driver left running were submitted for
/// their effect and may end; in all other cases they are cancelled.
fn wind_up(coordinator: &Coordinator, handle: &RunHandle, watchdog: &mut Watchdog, wanted: bool) {
    let outstanding = coordinator.change(|state, now_ns, orders| {
        state.ending = true;
        if !wanted {
            state.apply(now_ns, Event::CancelAll, orders);
        }
        state.core.counts().outstanding
    });
    let mut outstanding = outstanding;
    let mut deadline = (!wanted).then(|| Instant::now() + GRACE);
    while outstanding > 0 && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if deadline.is_none() && (handle.is_interrupted() || coordinator.log_failed()) {
            coordinator.change(|state, now_ns, orders| {
                state.apply(now_ns, Event::CancelAll, orders);
            });
            deadline = Some(Instant::now() + GRACE);
        }
        let timer = next_timer(coordinator, watchdog);
        let until = match (timer, deadline) {
            (Some(timer), Some(deadline)) => Some(timer.min(deadline)),
            (timer, deadline) => timer.or(deadline),
        };
        outstanding = coordinator.state.lock().core.counts().outstanding;
        if outstanding > 0 {
            coordinator.signal.wait(until);
            outstanding = coordinator.state.lock().core.counts().outstanding;
        }
    }
    coordinator.change(super::state::State::repeat_reports);
}

/// Fires what is due, and says when to come again.
fn next_timer(coordinator: &Coordinator, watchdog: &mut Watchdog) -> Option<Instant> {
    let timer_ns = coordinator.arm().unwrap_or(u64::MAX);
    coordinator.watch(watchdog);
    let next_ns = timer_ns.min(watchdog.due_ns());
    (next_ns != u64::MAX).then(|| coordinator.context.start + Duration::from_nanos(next_ns))
}

/// Phases with their durations: each ends where the next begins.
fn durations(phases: &[(String, u64)], end_ns: u64) -> Vec<(String, u64)> {
    let ends = phases
        .iter()
        .skip(1)
        .map(|(_, begin)| *begin)
        .chain([end_ns]);
    phases
        .iter()
        .zip(ends)
        .map(|((name, begin), end)| (name.clone(), end.saturating_sub(*begin)))
        .collect()
}
