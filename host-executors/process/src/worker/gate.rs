//! Which attempt runs, and what the control channel may still do to it and to those behind it.

use crate::message::IDLE_WORD;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use taps_engine::{Attempt, AttemptId, OutcomeKind};
use taps_payload::SharedWords;
use taps_sandbox::CancelToken;

/// Attempts are known by their numbers, which count up from 1 in the order in which they were sent.
/// Both threads of a worker meet here: the task thread asks before it starts one, the control
/// thread says what has become of one, and each number is decided once.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Words that all processes of the pool see. This one's is the number that runs, 0 for none: the coordinator
    /// still sees it when this process is dead.
    words: SharedWords,
    word: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the attempt that began last.
    begun: u64,
    running: Option<Running>,
    /// Numbers not begun that shall not begin.
    withdrawn: FxHashSet<u64>,
    /// Numbers not begun that shall end at once.
    cancelled: FxHashSet<u64>,
}

/// The attempt that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) id: AttemptId,
    pub(crate) since: Instant,
    token: CancelToken,
    deadline: Option<Instant>,
    cancelled: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(words: SharedWords, word: usize) -> Self {
        Self {
            state: Mutex::default(),
            words,
            word,
        }
    }

    /// An attempt begins; none when it was withdrawn.
    pub(crate) fn begin(&self, number: u64, attempt: &Attempt) -> Option<CancelToken> {
        let mut state = self.state.lock();
        state.begun = number;
        if state.withdrawn.remove(&number) {
            return None;
        }
        let token = CancelToken::new();
        let now = Instant::now();
        let mut cancelled = None;
        if state.cancelled.remove(&number) {
            token.cancel();
            cancelled = Some(now);
        }
        let limit = attempt.limits.timeout_ms.map(Duration::from_millis);
        state.running = Some(Running {
            id: attempt.id,
            since: now,
            token: token.clone(),
            deadline: limit.and_then(|limit| now.checked_add(limit)),
            cancelled,
        });
        drop(state);
        self.words.words()[self.word].store(number, Ordering::Release);
        Some(token)
    }

    /// Whether some worker of the pool has nothing to do.
    pub(crate) fn has_idle_workers(&self) -> bool {
        self.words.words()[IDLE_WORD].load(Ordering::Acquire) > 0
    }

    /// The attempt that runs has ended; whether its report is still wanted.
    pub(crate) fn end(&self) -> bool {
        self.words.words()[self.word].store(0, Ordering::Release);
        self.state.lock().running.take().is_some()
    }

    /// Asks an attempt to end early.
    pub(crate) fn cancel(&self, number: u64, id: AttemptId) {
        let mut state = self.state.lock();
        if number > state.begun {
            state.cancelled.insert(number);
        } else if let Some(running) = state.running.as_mut().filter(|running| running.id == id) {
            running.cancelled.get_or_insert_with(Instant::now);
            running.token.cancel();
        }
    }

    /// Takes an attempt back that has not begun; whether it will not, for the first to ask.
    pub(crate) fn withdraw(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        number > state.begun && state.withdrawn.insert(number)
    }

    /// Takes the running attempt away from the task thread, if it should have ended `grace` ago, and says why
    /// it should have. The process must end: nothing else stops the guest.
    pub(crate) fn abandon(&self, grace: Duration) -> Option<(Running, OutcomeKind)> {
        let mut state = self.state.lock();
        let running = state.running.as_ref()?;
        let over = |time: Option<Instant>| time.is_some_and(|time| time.elapsed() >= grace);
        let why = if over(running.deadline) {
            OutcomeKind::Timeout
        } else if over(running.cancelled) {
            OutcomeKind::Cancelled
        } else {
            return None;
        };
        let running = state.running.take()?;
        self.words.words()[self.word].store(0, Ordering::Release);
        Some((running, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::bare_attempt;
    use taps_engine::{Limits, TaskId};

    fn attempt(task: u64, timeout_ms: Option<u64>) -> Attempt {
        Attempt {
            limits: Limits {
                timeout_ms,
                ..Limits::default()
            },
            ..bare_attempt(task)
        }
    }

    fn id(task: u64) -> AttemptId {
        AttemptId {
            task: TaskId(task),
            number: 0,
        }
    }

    fn gate() -> Gate {
        Gate::new(SharedWords::create(1).expect("memfds work"), 0)
    }

    #[test]
    fn an_attempt_is_withdrawn_before_it_begins_or_not_at_all() {
        let gate = gate();
        assert!(gate.withdraw(2));
        assert!(!gate.withdraw(2), "it was given back before");
        assert!(gate.begin(1, &attempt(1, None)).is_some());
        assert!(!gate.withdraw(1), "it runs");
        assert!(gate.end());
        assert!(gate.begin(2, &attempt(2, None)).is_none(), "withdrawn");
        assert!(!gate.withdraw(2), "passed over already");
    }

    #[test]
    fn a_cancel_reaches_attempts_that_run_and_those_that_wait() {
        let gate = gate();
        let first = gate.begin(1, &attempt(1, None)).expect("nobody took it");
        gate.cancel(2, id(2));
        assert!(!first.is_cancelled());
        gate.cancel(1, id(1));
        assert!(first.is_cancelled());
        assert!(gate.end());
        // It comes late.
        gate.cancel(1, id(1));
        let second = gate.begin(2, &attempt(2, None)).expect("nobody took it");
        assert!(second.is_cancelled());
        assert!(gate.end());
        let third = gate.begin(3, &attempt(3, None)).expect("nobody took it");
        assert!(!third.is_cancelled());
    }

    #[test]
    fn the_word_says_what_runs() {
        let gate = gate();
        let word = || gate.words.words()[0].load(Ordering::Acquire);
        let _token = gate.begin(7, &attempt(1, None));
        assert_eq!(word(), 7);
        gate.end();
        assert_eq!(word(), 0);
    }

    #[test]
    fn an_abandoned_attempt_has_one_report() {
        let gate = gate();
        let _token = gate.begin(1, &attempt(1, Some(0)));
        assert!(gate.abandon(Duration::from_hours(1)).is_none());
        let (running, why) = gate.abandon(Duration::ZERO).expect("it is late");
        assert_eq!((running.id, why), (id(1), OutcomeKind::Timeout));
        assert!(!gate.end(), "the task thread must not report it too");
        let _token = gate.begin(2, &attempt(2, None));
        assert!(gate.abandon(Duration::ZERO).is_none(), "it has time");
        gate.cancel(2, id(2));
        let (_, why) = gate.abandon(Duration::ZERO).expect("cancelled");
        assert_eq!(why, OutcomeKind::Cancelled);
    }
}
