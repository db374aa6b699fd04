//! Attempts that come back before they have started.
//!
//! An attempt that waits on its worker behind another (see [`super::look_ahead`]) is asked back
//! when it has waited too long while a worker is idle that could run it. The executor's answer may
//! cross with the start of the attempt: then its report comes, and nothing is lost. An attempt that
//! does come back leaves its task where it was before the dispatch, at its old rank in the queue,
//! with one attempt number used up.

use super::Core;
use super::action::{Action, TaskState};
use super::look_ahead::RECALL_NS;
use super::table::{Key, Place, Table};
use crate::{AttemptId, Failure, OutcomeKind};
use std::collections::VecDeque;
use std::sync::Arc;

/// What is queued on workers, and when to ask for it back.
#[derive(Default)]
pub(super) struct Recalls {
    /// By demand class, in the order in which they were queued; entries may be outdated.
    waiting: Vec<VecDeque<Waiting>>,
    /// Classes with an entry, in no order.
    classes: Vec<u32>,
    entries: usize,
    /// Attempts queued and not asked back.
    queued: usize,
    /// Attempts asked back that are still queued, as far as anybody knows.
    recalled: usize,
    /// When the next recall is due.
    due_ns: Option<u64>,
}

/// An attempt that was queued.
#[derive(Clone, Copy)]
struct Waiting {
    since_ns: u64,
    attempt: AttemptId,
    key: Key,
}

impl Waiting {
    /// Whether the attempt is still queued, not asked back, and wanted.
    fn is_current(&self, tasks: &Table) -> bool {
        tasks.get(self.key).is_some_and(|task| {
            task.attempt() == Some(self.attempt)
                && task.out.is_some_and(|out| out.place == Place::Queued)
                && task.state == TaskState::Running
                && !task.cancelling
        })
    }
}

impl Recalls {
    fn push(&mut self, class: u32, entry: Waiting) {
        let index = class as usize;
        if self.waiting.len() <= index {
            self.waiting.resize_with(index + 1, VecDeque::new);
        }
        let waiting = &mut self.waiting[index];
        if waiting.is_empty() {
            self.classes.push(class);
        }
        waiting.push_back(entry);
        self.entries += 1;
        self.queued += 1;
    }

    /// Drops outdated entries.
    fn sweep(&mut self, tasks: &Table) {
        let Self {
            waiting, classes, ..
        } = self;
        self.entries = 0;
        classes.retain(|&class| {
            let waiting = &mut waiting[class as usize];
            waiting.retain(|entry| entry.is_current(tasks));
            self.entries += waiting.len();
            !waiting.is_empty()
        });
    }

    /// The attempt of the class that has been queued for longest.
    fn first(&mut self, class: u32, tasks: &Table) -> Option<Waiting> {
        loop {
            let entry = *self.waiting[class as usize].front()?;
            if entry.is_current(tasks) {
                return Some(entry);
            }
            self.pop(class);
        }
    }

    fn pop(&mut self, class: u32) {
        let waiting = &mut self.waiting[class as usize];
        if waiting.pop_front().is_some() {
            self.entries -= 1;
            if waiting.is_empty() {
                self.classes.retain(|&known| known != class);
            }
        }
    }

    /// An attempt is not in that place any more.
    fn left(&mut self, place: Place) {
        match place {
            Place::Current => {}
            Place::Queued => self.queued -= 1,
            Place::Recalled => self.recalled -= 1,
        }
    }

    /// When the next recall is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }
}

impl Core {
    /// The attempt that is out was queued on a worker.
    pub(super) fn note_queued(&mut self, key: Key, class: u32) {
        if let Some(attempt) = self.tasks[key].attempt() {
            let entry = Waiting {
                since_ns: self.now_ns,
                attempt,
                key,
            };
            self.recalls.push(class, entry);
        }
    }

    /// The attempt left its worker from that place; `next` is the current one now.
    pub(super) fn note_left(&mut self, place: Place, next: Option<Key>) {
        self.recalls.left(place);
        if let Some(next) = next
            && let Some(out) = &mut self.tasks[next].out
        {
            let place = std::mem::replace(&mut out.place, Place::Current);
            self.recalls.left(place);
        }
    }

    /// Asks for attempts back that have waited for too long, no more than there are idle workers.
    pub(super) fn recall(&mut self, actions: &mut Vec<Action>) {
        self.recalls.due_ns = None;
        if self.recalls.entries > 2 * self.recalls.queued + 64 {
            self.recalls.sweep(&self.tasks);
        }
        if self.recalls.classes.is_empty() || !self.placement.has_idle() || self.ready_fits() {
            return;
        }
        while self.placement.idle() > self.recalls.recalled
            && let Some((class, entry)) = self.longest_waiting()
        {
            let due_ns = entry.since_ns.saturating_add(RECALL_NS);
            if due_ns > self.now_ns {
                self.recalls.due_ns = Some(due_ns);
                return;
            }
            self.recalls.pop(class);
            self.recalls.left(Place::Queued);
            self.recalls.recalled += 1;
            if let Some(out) = &mut self.tasks[entry.key].out {
                out.place = Place::Recalled;
                // What it waits for is not as short as was thought.
                if let Some(worker) = out.worker {
                    self.placement.close(worker);
                }
            }
            actions.push(Action::Recall(entry.attempt));
        }
    }

    /// Whether a ready task fits an idle worker: all of them are kept for a larger one.
    fn ready_fits(&self) -> bool {
        let mut classes = self.ready.active().iter();
        classes.any(|&class| self.placement.find(self.ready.demand(class)).is_some())
    }

    /// The attempt queued for longest among those that an idle worker fits, and its class.
    fn longest_waiting(&mut self) -> Option<(u32, Waiting)> {
        let mut longest: Option<(u32, Waiting)> = None;
        let mut position = 0;
        while let Some(&class) = self.recalls.classes.get(position) {
            let Some(entry) = self.recalls.first(class, &self.tasks) else {
                // Nothing of it was left, and another class has its place.
                continue;
            };
            position += 1;
            let order = |entry: &Waiting| (entry.since_ns, entry.attempt);
            let sooner = longest.is_none_or(|(_, known)| order(&entry) < order(&known));
            // A class exists as long as a task of it does.
            if sooner && self.placement.find(self.ready.demand(class)).is_some() {
                longest = Some((class, entry));
            }
        }
        longest
    }

    /// The executor gave an attempt back.
    pub(super) fn returned(&mut self, id: AttemptId, actions: &mut Vec<Action>) {
        let key = self.tasks.find(id.task);
        match key.filter(|&key| self.tasks[key].attempt() == Some(id)) {
            Some(key) => {
                self.take_back(key, actions);
                self.go_again(key, actions);
            }
            None => self.counts.absorbed += 1,
        }
    }

    /// Takes an attempt off its worker as if it had not been dispatched.
    pub(super) fn take_back(&mut self, key: Key, actions: &mut Vec<Action>) {
        let Some(out) = self.take_out(key) else {
            return;
        };
        let task = &mut self.tasks[key];
        let attempt = AttemptId {
            task: task.id,
            number: out.number,
        };
        self.counts.retried -= u64::from(out.number > u32::from(task.returned));
        task.returned = task.returned.saturating_add(1);
        actions.push(Action::AttemptReturned { attempt });
    }

    /// Puts the task of an attempt that was taken back where it belongs.
    pub(super) fn go_again(&mut self, key: Key, actions: &mut Vec<Action>) {
        let task = &self.tasks[key];
        if task.state.is_terminal() {
            self.release_inputs(key, actions);
            self.candidates.push(key);
        } else if task.cancelling {
            let failure = Failure::new(OutcomeKind::Cancelled, "cancelled");
            self.end(key, Arc::new(failure), actions);
        } else {
            self.doom_forwarded(key);
            self.requeue(key, true, actions);
        }
    }

    /// Panics unless what is queued is known, once, and asked back when it is due.
    pub(super) fn check_recalls(&self) {
        let recalls = &self.recalls;
        let mut places = (0, 0);
        let mut due_ns = None;
        for (key, task) in self.tasks.iter() {
            match task.out.map(|out| out.place) {
                Some(Place::Queued) => places.0 += 1,
                Some(Place::Recalled) => places.1 += 1,
                Some(Place::Current) | None => continue,
            }
            let of_class = recalls.waiting[task.class as usize].iter();
            let current =
                of_class.filter(|entry| entry.key == key && entry.is_current(&self.tasks));
            let since_ns: Vec<u64> = current.map(|entry| entry.since_ns).collect();
            let wanted = task.state == TaskState::Running && !task.cancelling;
            let wanted = wanted && task.out.is_some_and(|out| out.place == Place::Queued);
            assert_eq!(since_ns.len(), usize::from(wanted), "task {}", task.id);
            let fits = || self.placement.find(self.ready.demand(task.class)).is_some();
            if wanted && fits() && !self.ready_fits() {
                let due = since_ns[0] + RECALL_NS;
                due_ns = Some(due_ns.map_or(due, |first: u64| first.min(due)));
            }
        }
        assert_eq!((recalls.queued, recalls.recalled), places, "places");
        let due_ns = due_ns.filter(|_| self.placement.idle() > recalls.recalled);
        assert_eq!(recalls.due_ns, due_ns, "next recall");
        let entries: usize = recalls.waiting.iter().map(VecDeque::len).sum();
        assert_eq!(recalls.entries, entries, "queued entries");
        let bound = 2 * recalls.queued + 64;
        assert!(entries <= bound, "outdated entries pile up");
        for (class, waiting) in (0..).zip(&recalls.waiting) {
            let known = recalls.classes.iter().filter(|&&known| known == class);
            let expected = usize::from(!waiting.is_empty());
            assert_eq!(known.count(), expected, "class {class} is known");
        }
    }
}
