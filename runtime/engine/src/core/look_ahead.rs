//! Attempts queued on busy workers.
//!
//! A worker in another process idles from its report until its next attempt arrives. For short
//! tasks that is as long as they take, so such a worker ([`WorkerInfo::look_ahead`]) is sent
//! attempts ahead, to be run in the order in which they were sent:
//!
//! ```text
//!  worker 0   ▐ current ▌ queued │ queued │ queued      depth 4: 100 µs each on average
//!  worker 1   ▐ current ▌ queued │ ·                    may take two more
//!  worker 2   ▐ current ▌                               current is slow: none behind it
//!                 ╰── holds the resources; the next one inherits them
//! ```
//!
//! - An attempt is queued only when no idle worker fits, behind one of the same demand class: then
//!   resources change hands exactly, and a queued attempt holds none. Only the first task of the
//!   whole ready queue is queued: one that fits nowhere is not overtaken in this way.
//! - Of each name the core keeps a moving average of how long attempts take. Of tasks that take
//!   `t`, as many are queued as fit into [`LOOK_AHEAD_NS`], and none before the first has
//!   succeeded. Nothing is queued behind an attempt that is slow or of unknown pace either. So
//!   tasks longer than that are placed when a worker is idle, as if there was no look-ahead.
//! - Averages are wrong at times. When a worker is idle, nothing that is ready fits it, and an
//!   attempt has been queued for [`RECALL_NS`], the executor is asked to give it back: see
//!   [`super::recall`].
//!
//! [`WorkerInfo::look_ahead`]: crate::WorkerInfo::look_ahead

use super::Core;
use super::action::{Action, TaskState};
use super::placement::Placed;
use super::ready::Rank;
use super::table::{Key, Place};
use crate::{Timeline, WorkerId};

/// Work that may be queued on a worker, in nanoseconds: long enough to hide a round trip and a
/// scheduling delay, and short enough that nobody minds the order of tasks within it.
pub(super) const LOOK_AHEAD_NS: u64 = 2_000_000;

/// How long an attempt waits behind another before an idle worker may take it over.
pub(super) const RECALL_NS: u64 = 1_000_000;

/// Most attempts queued on a worker, whatever it offers.
pub(super) const MAX_QUEUED: u32 = u64::BITS;

/// An average moves by this fraction of the difference.
const WEIGHT: u64 = 8;

/// Longer durations count as this long, so that one hiccup among short ones is soon forgotten.
const LONGEST_NS: u64 = 4 * LOOK_AHEAD_NS;

/// How long attempts take, by the name of the task.
#[derive(Default)]
pub(super) struct Paces {
    /// Moving averages in nanoseconds; 0 where nothing is known.
    averages: Vec<u64>,
}

impl Paces {
    /// Notes an attempt that succeeded. A timeline that does not tell how long it took is ignored.
    pub(super) fn note(&mut self, kind: u16, timeline: Timeline) {
        if timeline.finished == 0 || timeline.finished < timeline.received {
            return;
        }
        let took_ns = (timeline.finished - timeline.received).clamp(1, LONGEST_NS);
        let kind = usize::from(kind);
        if self.averages.len() <= kind {
            self.averages.resize(kind + 1, 0);
        }
        let average = &mut self.averages[kind];
        *average = match *average {
            0 => took_ns,
            known => ((known * (WEIGHT - 1) + took_ns) / WEIGHT).max(1),
        };
    }

    /// How many tasks of the name may be queued on a worker.
    pub(super) fn depth(&self, kind: u16) -> u32 {
        match self.averages.get(usize::from(kind)) {
            None | Some(0) => 0,
            Some(average) => (LOOK_AHEAD_NS / average).min(u64::from(MAX_QUEUED)) as u32,
        }
    }
}

/// Workers of one demand class with room behind their current attempt, by length of queue.
#[derive(Default)]
pub(super) struct Rooms {
    /// Bit `n` is set where `workers[n]` is not empty.
    occupied: u64,
    workers: Vec<Vec<WorkerId>>,
}

impl Rooms {
    /// Adds a worker whose queue is that long, shorter than [`MAX_QUEUED`].
    pub(super) fn insert(&mut self, length: usize, worker: WorkerId) {
        if self.workers.len() <= length {
            self.workers.resize_with(length + 1, Vec::new);
        }
        self.workers[length].push(worker);
        self.occupied |= 1 << length;
    }

    /// Removes a worker that was inserted with that length.
    pub(super) fn remove(&mut self, length: usize, worker: WorkerId) {
        let workers = &mut self.workers[length];
        // From the end: the one that was chosen, or came last.
        if let Some(position) = workers.iter().rposition(|&listed| listed == worker) {
            workers.swap_remove(position);
        }
        if workers.is_empty() {
            self.occupied &= !(1 << length);
        }
    }

    /// The worker with the shortest queue, when that is shorter than `depth`.
    pub(super) fn shortest(&self, depth: u32) -> Option<WorkerId> {
        let length = self.occupied.trailing_zeros();
        if length >= depth.min(MAX_QUEUED) {
            return None;
        }
        self.workers[length as usize].last().copied()
    }

    /// For the sanity check: lengths and workers.
    pub(super) fn inspect(&self) -> impl Iterator<Item = (usize, WorkerId)> {
        let lengths = self.workers.iter().enumerate();
        lengths.flat_map(|(length, workers)| {
            let occupied = self.occupied & (1 << length) != 0;
            assert_eq!(occupied, !workers.is_empty(), "rooms of length {length}");
            workers.iter().map(move |&worker| (length, worker))
        })
    }
}

impl Core {
    /// Queues what is ready on busy workers.
    pub(super) fn queue_ahead(&mut self, actions: &mut Vec<Action>) {
        while let Some((class, key)) = self.first_ready() {
            let placed = self.placed(key);
            let Some(worker) = self.placement.room(class, placed.kind) else {
                return;
            };
            self.ready.pop(class, &self.tasks);
            self.placement.enqueue(worker, placed);
            self.dispatch(
                key,
                Some(worker),
                Place::Queued,
                TaskState::Running,
                actions,
            );
            self.note_queued(key, class);
        }
    }

    /// The first task of the ready queue that some host could run, and its class.
    fn first_ready(&mut self) -> Option<(u32, Key)> {
        if let [class] = *self.ready.active() {
            let (_, key) = self.ready.peek(class, &self.tasks)?;
            return Some((class, key));
        }
        let mut first: Option<(Rank, u32, Key)> = None;
        for active in 0..self.ready.active().len() {
            let class = self.ready.active()[active];
            if let Some((rank, key)) = self.ready.peek(class, &self.tasks)
                && first.is_none_or(|(best, ..)| best < rank)
                && self.placement.is_feasible(self.ready.demand(class))
            {
                first = Some((rank, class, key));
            }
        }
        first.map(|(_, class, key)| (class, key))
    }

    /// What placement needs to know of an attempt.
    pub(super) fn placed(&self, key: Key) -> Placed {
        let kind = self.tasks[key].kind;
        Placed { key, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(ns: u64) -> Timeline {
        Timeline {
            received: 7,
            finished: 7 + ns,
            ..Timeline::default()
        }
    }

    #[test]
    fn depth_is_what_fits_into_the_look_ahead() {
        let mut paces = Paces::default();
        assert_eq!(paces.depth(3), 0, "unknown");
        for (kind, ns, depth) in [
            (3, LOOK_AHEAD_NS / 4, 4),
            (0, LOOK_AHEAD_NS + 1, 0),
            (1, 1, MAX_QUEUED),
        ] {
            paces.note(kind, took(ns));
            assert_eq!(paces.depth(kind), depth, "{ns} ns");
        }
        assert_eq!(paces.depth(2), 0, "a gap is unknown too");
        paces.note(2, Timeline::default());
        assert_eq!(paces.depth(2), 0, "no times, no pace");
    }

    #[test]
    fn a_hiccup_is_soon_forgotten_and_a_change_is_not() {
        let mut paces = Paces::default();
        paces.note(0, took(10_000));
        paces.note(0, took(60_000_000_000));
        assert!(paces.depth(0) > 0, "one of many");
        for _ in 0..3 {
            paces.note(0, took(60_000_000_000));
        }
        assert_eq!(paces.depth(0), 0, "they are slow now");
    }

    #[test]
    fn the_shortest_queue_is_found() {
        let mut rooms = Rooms::default();
        assert_eq!(rooms.shortest(MAX_QUEUED), None);
        let last = MAX_QUEUED as usize - 1;
        rooms.insert(last, WorkerId(1));
        rooms.insert(2, WorkerId(2));
        rooms.insert(2, WorkerId(3));
        assert_eq!(rooms.shortest(2), None);
        assert_eq!(rooms.shortest(3), Some(WorkerId(3)));
        rooms.remove(2, WorkerId(2));
        rooms.remove(2, WorkerId(3));
        assert_eq!(rooms.shortest(MAX_QUEUED), Some(WorkerId(1)));
        rooms.remove(last, WorkerId(1));
        assert_eq!(rooms.shortest(MAX_QUEUED), None);
    }
}
