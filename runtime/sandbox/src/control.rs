//! Cancelling and time limits, for guest code and for host calls alike.
//!
//! Guest code is interrupted by wasmtime's epochs, which advance every few milliseconds (see `ticker`): so late it
//! notices a cancel or a time limit, at most twice over. Epochs do not reach into host calls, so every host call that
//! can last asks the [`Control`] of its attempt: it sleeps on the token, or checks between pieces of work.

use parking_lot::{Condvar, Mutex};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

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
    pub(crate) fn sleep_until(&self, until: Instant) -> Result<(), Interrupted> {
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
    /// The time came at which a fault ends the task.
    #[error("a fault struck")]
    Struck,
}

/// Cancel token and deadline of one attempt, and the time at which a fault strikes it.
#[derive(Clone, Debug, Default)]
pub struct Control {
    token: CancelToken,
    deadline: Option<Instant>,
    strike: Option<Arc<Strike>>,
    /// The first of deadline and strike: as long as it has not come, a check compares one time.
    next: Option<Instant>,
}

/// Something that befalls an attempt once.
#[derive(Debug)]
struct Strike {
    at: Instant,
    /// How long to stand still and then go on; none to end the task.
    stall: Option<Duration>,
    struck: AtomicBool,
}

impl Control {
    /// Control by a token and, optionally, a deadline.
    pub fn new(token: CancelToken, deadline: Option<Instant>) -> Self {
        Self {
            token,
            deadline,
            strike: None,
            next: deadline,
        }
    }

    /// The same attempt, ended by a fault at that time.
    #[must_use]
    pub fn struck_at(&self, at: Instant) -> Self {
        self.with_strike(at, None)
    }

    /// The same attempt, which stands still for a time at that time.
    #[must_use]
    pub fn stalled_at(&self, at: Instant, duration: Duration) -> Self {
        self.with_strike(at, Some(duration))
    }

    fn with_strike(&self, at: Instant, stall: Option<Duration>) -> Self {
        Self {
            token: self.token.clone(),
            deadline: self.deadline,
            strike: Some(Arc::new(Strike {
                at,
                stall,
                struck: AtomicBool::new(false),
            })),
            next: Some(self.deadline.map_or(at, |deadline| deadline.min(at))),
        }
    }

    /// The attempt's control without its fault, if it has one.
    pub(crate) fn without_strike(&self) -> Option<Self> {
        self.strike
            .as_ref()
            .map(|_| Self::new(self.token.clone(), self.deadline))
    }

    /// Whether the fault has struck.
    pub fn has_struck(&self) -> bool {
        let strike = self.strike.as_ref();
        strike.is_some_and(|strike| strike.struck.load(Ordering::Acquire))
    }

    /// Fails when the attempt should end.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.token.is_cancelled() {
            return Err(Interrupted::Cancelled);
        }
        let Some(next) = self.next else {
            return Ok(());
        };
        let now = Instant::now();
        if now < next { Ok(()) } else { self.due(now) }
    }

    /// The deadline has come, or the strike.
    #[cold]
    fn due(&self, now: Instant) -> Result<(), Interrupted> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Interrupted::Timeout);
        }
        let Some(strike) = &self.strike else {
            return Ok(());
        };
        let first = !strike.struck.swap(true, Ordering::AcqRel);
        match strike.stall {
            None => Err(Interrupted::Struck),
            Some(stall) if first => self.sleep(stall),
            Some(_) => Ok(()),
        }
    }

    /// Sleeps for a time, or until the attempt should end.
    pub fn sleep(&self, duration: Duration) -> Result<(), Interrupted> {
        let now = Instant::now();
        // Beyond any real deadline: a sleep "for ever" must still end by cancelling.
        let wanted = now
            .checked_add(duration)
            .unwrap_or(now + Duration::from_secs(1 << 32));
        loop {
            self.check()?;
            let strike = self.strike.as_ref().filter(|_| !self.has_struck());
            let events = [self.deadline, strike.map(|strike| strike.at)];
            let until = events.into_iter().flatten().fold(wanted, Instant::min);
            self.token.sleep_until(until)?;
            if until == wanted {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

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

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn a_strike_ends_work_from_its_time_on() {
        let control = Control::default();
        let later = control.struck_at(Instant::now() + LONG);
        assert_eq!((later.check(), later.has_struck()), (Ok(()), false));
        let soon = control.struck_at(Instant::now() + Duration::from_millis(5));
        let shared = soon.clone();
        assert_eq!(soon.sleep(Duration::MAX), Err(Interrupted::Struck));
        assert_eq!(shared.check(), Err(Interrupted::Struck));
        assert!(shared.has_struck() && !control.has_struck());
        assert_eq!(control.check(), Ok(()));
    }

    #[test]
    fn cancel_and_deadline_come_before_a_strike() {
        let now = Instant::now();
        let token = CancelToken::new();
        let late = Control::new(token.clone(), Some(now)).struck_at(now);
        assert_eq!(late.check(), Err(Interrupted::Timeout));
        token.cancel();
        assert_eq!(late.check(), Err(Interrupted::Cancelled));
        assert!(!late.has_struck());
    }

    #[test]
    fn a_stall_happens_once_and_work_goes_on() {
        let stall = Duration::from_millis(20);
        let begin = Instant::now();
        let stalled = Control::default().stalled_at(begin, stall);
        assert_eq!(stalled.check(), Ok(()));
        assert!(stalled.has_struck());
        let first = begin.elapsed();
        assert!(first >= stall, "{first:?}");
        let never = Control::default().stalled_at(begin, LONG);
        never
            .strike
            .as_ref()
            .expect("it has one")
            .struck
            .store(true, Ordering::Release);
        assert_eq!(never.check(), Ok(()), "it would still sleep");
        // A sleep that is struck goes on until it would have ended, or is ended in its stall.
        let within = Control::default().stalled_at(Instant::now() + stall, stall);
        assert_eq!(within.sleep(2 * stall), Ok(()));
        assert!(within.has_struck());
        let deadline = Some(Instant::now() + stall);
        let limited = Control::new(CancelToken::new(), deadline).stalled_at(begin, LONG);
        assert_eq!(limited.check(), Err(Interrupted::Timeout));
    }
}
