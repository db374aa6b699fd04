//! The clock by which guest code is interrupted: wasmtime's epochs.
//!
//! A tick costs its thread and every sandbox that computes some ten microseconds each, and wakes a processor that may
//! have nothing to do. So ticks follow what they find: [`REST`] apart where nothing computes for so long, [`TASK`]
//! while tasks do, [`DRIVER`] while a driver computes on and on and keeps the coordinator's thread.

use crate::control::CancelToken;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use wasmtime::{Engine, EngineWeak};

const REST: Duration = Duration::from_millis(10);
const TASK: Duration = Duration::from_millis(5);
const DRIVER: Duration = Duration::from_millis(1);

/// What the last tick found.
#[derive(Debug, Default)]
pub(crate) struct Found(AtomicU8);

impl Found {
    const TASK: u8 = 1;
    const DRIVER: u8 = 2;

    /// Code of a task, which may have been entered after the tick.
    pub(crate) fn task(&self) {
        self.0.fetch_max(Self::TASK, Relaxed);
    }

    /// Code of a driver, and whether it has computed since the tick before.
    pub(crate) fn driver(&self, computes: bool) {
        let found = if computes { Self::DRIVER } else { Self::TASK };
        self.0.fetch_max(found, Relaxed);
    }

    /// How long until the next tick.
    fn pause(&self) -> Duration {
        match self.0.swap(0, Relaxed) {
            Self::DRIVER => DRIVER,
            Self::TASK => TASK,
            _ => REST,
        }
    }
}

/// Whether a driver waits, or computes from one tick to the next. Whoever polls it counts.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    polls: AtomicU64,
    /// The poll that a tick ended; none is the first.
    ticked: AtomicU64,
}

impl Turns {
    /// The driver gets the thread.
    pub(crate) fn poll(&self) {
        self.polls.fetch_add(1, Relaxed);
    }

    /// A tick takes the thread from it. Whether one did so the last time that it had it, too.
    pub(crate) fn tick(&self) -> bool {
        let poll = self.polls.load(Relaxed);
        let before = self.ticked.swap(poll, Relaxed);
        before > 0 && before + 1 == poll
    }
}

/// Advances the epoch of engines from one thread, until dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    engines: Mutex<Vec<EngineHandle>>,
    found: Arc<Found>,
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
        let shared = Arc::<Shared>::default();
        let ticking = Arc::clone(&shared);
        let tick = move || {
            while ticking
                .stop
                .sleep_until(Instant::now() + ticking.found.pause())
                .is_ok()
            {
                for engine in &*ticking.engines.lock() {
                    if let Some(engine) = engine.0.upgrade() {
                        engine.increment_epoch();
                    }
                }
            }
        };
        let thread = thread::Builder::new()
            .name("epoch-ticker".into())
            .spawn(tick)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ticks this engine, too.
    pub(crate) fn add(&self, engine: &Engine) {
        self.shared.engines.lock().push(EngineHandle(engine.weak()));
    }

    /// Where sandboxes say what a tick found.
    pub(crate) fn found(&self) -> &Arc<Found> {
        &self.shared.found
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
    fn ticks_follow_what_they_find() {
        let found = Found::default();
        assert_eq!(found.pause(), REST);
        found.task();
        assert_eq!(found.pause(), TASK);
        assert_eq!(found.pause(), REST, "nothing since");
        found.driver(false);
        assert_eq!(found.pause(), TASK, "it may wait most of the time");
        found.driver(true);
        found.task();
        assert_eq!(found.pause(), DRIVER, "the driver is what matters");
    }

    #[test]
    fn a_driver_computes_when_ticks_end_its_turns_one_after_the_other() {
        let turns = Turns::default();
        turns.poll();
        assert!(!turns.tick(), "the first");
        turns.poll();
        assert!(turns.tick());
        turns.poll();
        assert!(turns.tick(), "and on");
        // It waits.
        turns.poll();
        turns.poll();
        assert!(!turns.tick());
    }
}
