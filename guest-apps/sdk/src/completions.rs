//! Completion queues.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backend::{self, Backend as _, Current};
use crate::{Future, Status, Wait, Waited};

/// Completions fetched from the engine at once.
const BATCH: u32 = 1024;

/// Futures in the order in which they finish; new ones may be added at any time.
///
/// One call of the engine fetches many completions, so a driver that keeps a million tasks
/// going spends next to nothing on waiting.
pub struct Completions<T> {
    queue: backend::Completions,
    /// Futures by tag; free places are listed in `free`.
    futures: Vec<Option<Future<T>>>,
    free: Vec<u32>,
    /// Fetched, not yet given out.
    ready: VecDeque<(u64, Status)>,
}

impl<T> Completions<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            queue: Current::completions(),
            futures: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// Adds a future; it comes out of [`Completions::next`] once, when it has finished.
    pub fn add(&mut self, future: Future<T>) {
        let place = self
            .free
            .pop()
            .map_or(self.futures.len(), |place| place as usize);
        Current::completions_add(&self.queue, &future.raw, place as u64);
        if place == self.futures.len() {
            self.futures.push(Some(future));
        } else {
            self.futures[place] = Some(future);
        }
    }

    /// Number of futures that have not come out yet.
    pub fn len(&self) -> usize {
        self.futures.len() - self.free.len()
    }

    /// Whether every future has come out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits up to `timeout` for the next future to finish, and gives it with its status.
    /// `None` when the time is up or the queue is empty.
    pub fn next_within(&mut self, timeout: Option<Duration>) -> Option<(Future<T>, Status)> {
        loop {
            if self.ready.is_empty() {
                if self.is_empty() {
                    return None;
                }
                Current::completions_next(&self.queue, BATCH, timeout, &mut self.ready);
            }
            let (tag, status) = self.ready.pop_front()?;
            let Ok(place) = usize::try_from(tag) else {
                continue;
            };
            if let Some(future) = self.futures.get_mut(place).and_then(Option::take) {
                self.free.push(place as u32);
                return Some((future, status));
            }
        }
    }

    /// Gives the next future that has finished already, without waiting.
    pub fn try_next(&mut self) -> Option<(Future<T>, Status)> {
        self.next_within(Some(Duration::ZERO))
    }
}

impl<T> Default for Completions<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits for each future in turn; ends when the queue is empty.
impl<T> Iterator for Completions<T> {
    type Item = Future<T>;

    fn next(&mut self) -> Option<Future<T>> {
        self.next_within(None).map(|(future, _)| future)
    }
}

impl<T> std::fmt::Debug for Completions<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Completions({} outstanding)", self.len())
    }
}

/// Implements `Engine::wait`.
pub(crate) fn wait<T>(futures: &[Future<T>], wait: Wait, timeout: Option<Duration>) -> Waited {
    let mut finished = vec![false; futures.len()];
    let mut open = 0;
    let queue = Current::completions();
    for (position, future) in futures.iter().enumerate() {
        if future.status() == Status::Pending {
            Current::completions_add(&queue, &future.raw, position as u64);
            open += 1;
        } else {
            finished[position] = true;
        }
    }
    let deadline = timeout.map(|timeout| crate::clock() + timeout);
    let mut ready = VecDeque::new();
    while open > 0 && !(wait == Wait::First && finished.contains(&true)) {
        let left = deadline.map(|deadline| deadline.saturating_sub(crate::clock()));
        Current::completions_next(&queue, BATCH, left, &mut ready);
        if ready.is_empty() {
            break;
        }
        for (tag, _) in ready.drain(..) {
            if let Some(place) = finished.get_mut(tag as usize) {
                *place = true;
            }
            open -= 1;
        }
    }
    let (finished, pending) = (0..futures.len()).partition(|position| finished[*position]);
    Waited { finished, pending }
}
