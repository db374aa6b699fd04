//! The driver's fiber: resumed by whoever woke it.

use parking_lot::{Condvar, Mutex};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};
use taps_sandbox::{DriverEnd, DriverFuture};

/// Waits for something to wait for.
const IDLE: u8 = 0;
/// Wants to be polled.
const READY: u8 = 1;
/// Is being polled.
const RUNNING: u8 = 2;
/// Is being polled, and wants to be polled again.
const AGAIN: u8 = 3;
/// Has ended, or was dropped.
const DONE: u8 = 4;

/// A worker that polled the driver for longer than this leaves the rest to the main thread:
/// the driver computes, and the worker has tasks.
const PATIENCE: Duration = Duration::from_micros(700);

/// Wakes the main thread of the run.
#[derive(Debug, Default)]
pub(crate) struct MainSignal {
    raised: Mutex<bool>,
    condition: Condvar,
}

impl MainSignal {
    pub(crate) fn raise(&self) {
        let mut raised = self.raised.lock();
        *raised = true;
        self.condition.notify_one();
    }

    /// Waits for the signal, or until the time.
    pub(crate) fn wait(&self, until: Option<Instant>) {
        let mut raised = self.raised.lock();
        while !*raised {
            match until {
                Some(until) => {
                    if self.condition.wait_until(&mut raised, until).timed_out() {
                        break;
                    }
                }
                None => self.condition.wait(&mut raised),
            }
        }
        *raised = false;
    }
}

/// Who polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thread {
    /// The main thread: stays with the driver until it waits.
    Main,
    /// Any other: gives up when the driver computes.
    Other,
}

/// The driver and its state.
pub(crate) struct Driving {
    state: Arc<DriverState>,
    waker: Waker,
    quiet: Waker,
    future: Mutex<Option<DriverFuture>>,
    end: Mutex<Option<DriverEnd>>,
}

struct DriverState {
    now: AtomicU8,
    /// The main thread has taken over, until the driver waits.
    main_drives: AtomicBool,
    signal: Arc<MainSignal>,
}

impl DriverState {
    /// Notes that the driver wants to be polled; says whether it was waiting.
    fn ready(&self) -> bool {
        let woken = self
            .now
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| match now {
                IDLE => Some(READY),
                RUNNING => Some(AGAIN),
                _ => None,
            });
        woken == Ok(IDLE)
    }
}

/// The waker of the fiber: also called by those who will not poll, such as timers of the guest's
/// own clock, so the main thread has to come by.
impl Wake for DriverState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.ready() {
            self.signal.raise();
        }
    }
}

/// The waker of the coordinator, whose caller polls right afterwards.
struct Quiet(Arc<DriverState>);

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.0.ready() && self.0.main_drives.load(Ordering::Acquire) {
            self.0.signal.raise();
        }
    }
}

impl Driving {
    pub(crate) fn new(signal: Arc<MainSignal>) -> Self {
        let state = Arc::new(DriverState {
            now: AtomicU8::new(IDLE),
            main_drives: AtomicBool::new(false),
            signal,
        });
        let waker = Waker::from(Arc::clone(&state));
        let quiet = Waker::from(Arc::new(Quiet(Arc::clone(&state))));
        Self {
            state,
            waker,
            quiet,
            future: Mutex::default(),
            end: Mutex::default(),
        }
    }

    /// Wakes the driver, for those who call [`Driving::drive`] next.
    pub(crate) fn quiet_waker(&self) -> &Waker {
        &self.quiet
    }

    /// Puts the driver in; it is polled first by the next call of [`Driving::drive`].
    pub(crate) fn start(&self, future: DriverFuture) {
        *self.future.lock() = Some(future);
        self.state.now.store(READY, Ordering::Release);
    }

    /// Polls the driver if it wants to be polled and nobody does so already.
    pub(crate) fn drive(&self, thread: Thread) {
        if thread == Thread::Other && self.state.main_drives.load(Ordering::Acquire) {
            if self.state.now.load(Ordering::Acquire) == READY {
                self.state.signal.raise();
            }
            return;
        }
        let started = Instant::now();
        while self
            .state
            .now
            .compare_exchange(READY, RUNNING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.poll();
            let waits = self
                .state
                .now
                .compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire)
                .unwrap_or_else(|now| now);
            if waits != AGAIN {
                break;
            }
            if thread == Thread::Other && started.elapsed() > PATIENCE {
                self.state.main_drives.store(true, Ordering::Release);
                self.state.now.store(READY, Ordering::Release);
                self.state.signal.raise();
                return;
            }
            self.state.now.store(READY, Ordering::Release);
        }
        if thread == Thread::Main {
            self.state.main_drives.store(false, Ordering::Release);
            // Woken between the last look and the store: nobody else will come by.
            if self.state.now.load(Ordering::Acquire) == READY {
                self.state.signal.raise();
            }
        }
    }

    /// Whether the driver waits to be polled. What wakes it on the main thread, a timer, does not
    /// raise the signal.
    pub(crate) fn wants_to_run(&self) -> bool {
        self.state.now.load(Ordering::Acquire) == READY
    }

    fn poll(&self) {
        let mut slot = self.future.lock();
        let Some(future) = slot.as_mut() else { return };
        let mut context = Context::from_waker(&self.waker);
        if let Poll::Ready(end) = future.as_mut().poll(&mut context) {
            *slot = None;
            drop(slot);
            self.state.now.store(DONE, Ordering::Release);
            *self.end.lock() = Some(end);
            self.state.signal.raise();
        }
    }

    /// How the driver ended, once.
    pub(crate) fn take_end(&self) -> Option<DriverEnd> {
        self.end.lock().take()
    }

    /// Drops the driver where it stands; its sandbox goes with it.
    pub(crate) fn abandon(&self) {
        self.state.now.store(DONE, Ordering::Release);
        *self.future.lock() = None;
    }
}
