//! Completion queues of the driver.

use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use taps_engine::TaskId;
use taps_sandbox::{DriverStatus, QueueId};

/// All queues of a driver.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    all: FxHashMap<QueueId, Queue>,
    /// Who is told when a task completes.
    watchers: FxHashMap<TaskId, Watchers>,
    next: QueueId,
}

#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Ready>,
    /// Futures added and not yet finished.
    pending: usize,
}

/// A finished future: the task, its tag, how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) task: TaskId,
    pub(crate) tag: u64,
    pub(crate) status: DriverStatus,
}

/// Nearly every task is in one queue, once.
#[derive(Debug)]
enum Watchers {
    One(QueueId, u64),
    Many(Vec<(QueueId, u64)>),
}

impl Queues {
    pub(crate) fn create(&mut self) -> QueueId {
        self.next += 1;
        self.all.insert(self.next, Queue::default());
        self.next
    }

    pub(crate) fn remove(&mut self, queue: QueueId) {
        self.all.remove(&queue);
    }

    /// Puts a future into a queue; at once into its ready part when the task has ended.
    pub(crate) fn add(&mut self, queue: QueueId, task: TaskId, tag: u64, status: DriverStatus) {
        let Some(found) = self.all.get_mut(&queue) else {
            return;
        };
        if status != DriverStatus::Pending {
            found.ready.push_back(Ready { task, tag, status });
            return;
        }
        found.pending += 1;
        self.watchers
            .entry(task)
            .and_modify(|watchers| watchers.push(queue, tag))
            .or_insert(Watchers::One(queue, tag));
    }

    /// A task has ended.
    pub(crate) fn completed(&mut self, task: TaskId, status: DriverStatus) {
        let Some(watchers) = self.watchers.remove(&task) else {
            return;
        };
        for &(queue, tag) in watchers.as_slice().iter() {
            if let Some(queue) = self.all.get_mut(&queue) {
                queue.pending -= 1;
                queue.ready.push_back(Ready { task, tag, status });
            }
        }
    }

    /// Whether a wait on the queue would end: something is ready, or nothing will ever be.
    pub(crate) fn would_end(&self, queue: QueueId) -> bool {
        self.all
            .get(&queue)
            .is_none_or(|queue| !queue.ready.is_empty() || queue.pending == 0)
    }

    /// Takes finished futures by task and tag; says whether all of them were there.
    pub(crate) fn take_these(&mut self, queue: QueueId, wanted: &[(TaskId, u64)]) -> bool {
        let Some(queue) = self.all.get_mut(&queue) else {
            return false;
        };
        wanted.iter().all(|&(task, tag)| {
            let is_it = |ready: &Ready| (ready.task, ready.tag) == (task, tag);
            let position = queue.ready.iter().position(is_it);
            position.and_then(|at| queue.ready.remove(at)).is_some()
        })
    }

    /// Takes up to `max` finished futures.
    pub(crate) fn take(&mut self, queue: QueueId, max: u32) -> Vec<Ready> {
        let Some(queue) = self.all.get_mut(&queue) else {
            return Vec::new();
        };
        let count = queue.ready.len().min(max as usize);
        queue.ready.drain(..count).collect()
    }
}

impl Watchers {
    fn push(&mut self, queue: QueueId, tag: u64) {
        match self {
            Self::One(first, first_tag) => {
                *self = Self::Many(vec![(*first, *first_tag), (queue, tag)]);
            }
            Self::Many(all) => all.push((queue, tag)),
        }
    }

    fn as_slice(&self) -> std::borrow::Cow<'_, [(QueueId, u64)]> {
        match self {
            Self::One(queue, tag) => vec![(*queue, *tag)].into(),
            Self::Many(all) => all.as_slice().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_added_future_is_delivered_once_per_queue() {
        let mut queues = Queues::default();
        let (a, b) = (queues.create(), queues.create());
        queues.add(a, TaskId(1), 10, DriverStatus::Pending);
        queues.add(b, TaskId(1), 20, DriverStatus::Pending);
        queues.add(a, TaskId(1), 11, DriverStatus::Pending);
        queues.add(a, TaskId(2), 12, DriverStatus::Succeeded);
        assert!(queues.would_end(a) && !queues.would_end(b));
        queues.completed(TaskId(1), DriverStatus::Failed);
        queues.completed(TaskId(1), DriverStatus::Failed);
        let tags = |ready: Vec<Ready>| ready.iter().map(|ready| ready.tag).collect::<Vec<_>>();
        assert_eq!(tags(queues.take(a, 2)), [12, 10]);
        assert_eq!(tags(queues.take(a, 9)), [11]);
        assert_eq!(tags(queues.take(b, 9)), [20]);
        assert!(queues.would_end(a), "nothing is left to wait for");
        queues.remove(a);
        assert!(queues.would_end(a));
    }
}
