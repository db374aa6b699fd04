//! Cancelling and time limits, for guest code and for host calls alike.
//!
//! Guest code is interrupted by wasmtime's epochs, which a [`Ticker`] advances every millisecond.
//! Epochs do not reach into host calls, so every host call that can last asks the [`Control`] of its
//! attempt: it sleeps on the token, or checks between pieces of work.

use parking_lot::{Condvar, Mutex};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use wasmtime::{Engine, EngineWeak};

/// Length of an epoch: how late guest code notices a cancel or a time limit, at most twice over.
pub const TICK: Duration = Duration::from_millis(1);

/// Asks work to end early. Clones share one token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<Token>);

#[derive(Debug, Default)]
struct Token {
    cancelled: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels: sleepers wake, checks fail from now on.
    pub fn cancel(&self) {
        let _guard = self.0.lock.lock();
        self.0.cancelled.store(true, Ordering::Release);
        self.0.wake.notify_all();
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Sleeps until `until` or until cancelled; tells which with `Err`.
    fn sleep_until(&self, until: Instant) -> Result<(), Interrupted> {
        let mut guard = self.0.lock.lock();
        while !self.is_cancelled() {
            if self.0.wake.wait_until(&mut guard, until).timed_out() {
                return Ok(());
            }
        }
        Err(Interrupted::Cancelled)
    }
}

/// Why work was ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The token was cancelled.
    #[error("the attempt was cancelled")]
    Cancelled,
    /// The wall-clock limit was reached.
    #[error("the time limit was reached")]
    Timeout,
}

/// Cancel token and deadline of one attempt.
#[derive(Clone, Debug, Default)]
pub struct Control {
    token: CancelToken,
    deadline: Option<Instant>,
}

impl Control {
    /// Control by a token and, optionally, a deadline.
    pub fn new(token: CancelToken, deadline: Option<Instant>) -> Self {
        Self { token, deadline }
    }

    /// Fails when the attempt should end.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.token.is_cancelled() {
            return Err(Interrupted::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Interrupted::Timeout),
            _ => Ok(()),
        }
    }

    /// Sleeps for a time, or until the attempt should end.
    pub fn sleep(&self, duration: Duration) -> Result<(), Interrupted> {
        self.check()?;
        let now = Instant::now();
        // Beyond any real deadline: a sleep "for ever" must still end by cancelling.
        let wanted = now
            .checked_add(duration)
            .unwrap_or(now + Duration::from_secs(1 << 32));
        let until = self
            .deadline
            .map_or(wanted, |deadline| deadline.min(wanted));
        self.token.sleep_until(until)?;
        if until < wanted {
            Err(Interrupted::Timeout)
        } else {
            Ok(())
        }
    }
}

/// Advances the epoch of engines every [`TICK`], from one thread, until dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    engines: Mutex<Vec<EngineHandle>>,
    stop: CancelToken,
}

struct EngineHandle(EngineWeak);

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineHandle")
    }
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("epoch-ticker".into())
            .spawn(move || {
                while ticking.stop.sleep_until(Instant::now() + TICK).is_ok() {
                    for engine in &*ticking.engines.lock() {
                        if let Some(engine) = engine.0.upgrade() {
                            engine.increment_epoch();
                        }
                    }
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ticks this engine too.
    pub(crate) fn add(&self, engine: &Engine) {
        self.shared.engines.lock().push(EngineHandle(engine.weak()));
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic; nothing to report if it did.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_ends_by_itself_by_deadline_and_by_cancel() {
        let free = Control::default();
        assert_eq!(free.sleep(Duration::from_millis(1)), Ok(()));
        let soon = Some(Instant::now() + Duration::from_millis(5));
        let limited = Control::new(CancelToken::new(), soon);
        assert_eq!(limited.sleep(Duration::MAX), Err(Interrupted::Timeout));
        assert_eq!(limited.check(), Err(Interrupted::Timeout));
        let token = CancelToken::new();
        let cancelled = Control::new(token.clone(), None);
        let sleeper = thread::spawn(move || cancelled.sleep(Duration::MAX));
        token.cancel();
        assert_eq!(
            sleeper.join().expect("no panic"),
            Err(Interrupted::Cancelled)
        );
    }
}
