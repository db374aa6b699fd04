//! The ready queue: by priority, then in order of submission.
//!
//! Tasks with the same demand form a class with a queue of its own, so that a task which does not
//! fit now is passed over without a walk through the others. Class 0 is one core and nothing else:
//! nearly always the only one.
//!
//! A task that leaves the queue other than by [`Ready::pop`] leaves its entry behind; outdated
//! entries are skipped when they come up, and swept out when they outnumber the others.

use super::action::TaskState;
use super::table::{Key, Table};
use crate::TaskId;
use rustc_hash::FxHashMap;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a task occupies on its host while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Demand {
    pub(super) cores: u32,
    pub(super) memory_bytes: u64,
    /// Sorted by name, each name once.
    pub(super) resources: Vec<(String, u64)>,
}

impl Demand {
    pub(super) fn new(cores: u32, memory_bytes: u64, mut resources: Vec<(String, u64)>) -> Self {
        resources.sort();
        resources.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        Self {
            cores,
            memory_bytes,
            resources,
        }
    }
}

/// Place in the queue; the greatest is next.
pub(super) type Rank = (i32, Reverse<TaskId>);

struct Class {
    demand: Demand,
    queue: BinaryHeap<(Rank, Key)>,
    /// Tasks of the class that are ready; the queue holds at least an entry for each.
    ready: usize,
    /// Tasks of the class in the table.
    tasks: usize,
}

/// The ready queue.
pub(super) struct Ready {
    classes: Slab<Class>,
    by_demand: FxHashMap<Demand, u32>,
    /// Classes with a ready task, in no order.
    active: Vec<u32>,
}

/// The class of tasks that ask for one core and nothing else.
const PLAIN: u32 = 0;

impl Ready {
    pub(super) fn new() -> Self {
        let mut classes = Slab::new();
        let demand = Demand::new(1, 0, Vec::new());
        let plain = classes.insert(Class {
            demand: demand.clone(),
            queue: BinaryHeap::new(),
            ready: 0,
            tasks: 0,
        });
        debug_assert_eq!(plain, PLAIN as usize, "the first slot is the plain class");
        Self {
            classes,
            by_demand: FxHashMap::from_iter([(demand, PLAIN)]),
            active: Vec::new(),
        }
    }

    /// Adds a task to the class of the demand.
    #[inline]
    pub(super) fn join_class(&mut self, demand: Demand) -> u32 {
        let plain = demand.cores == 1 && demand.memory_bytes == 0 && demand.resources.is_empty();
        let class = if plain {
            PLAIN
        } else if let Some(&class) = self.by_demand.get(&demand) {
            class
        } else {
            let class = self.classes.insert(Class {
                demand: demand.clone(),
                queue: BinaryHeap::new(),
                ready: 0,
                tasks: 0,
            }) as u32;
            self.by_demand.insert(demand, class);
            class
        };
        self.classes[class as usize].tasks += 1;
        class
    }

    /// Takes a task that is not ready out of its class.
    #[inline]
    pub(super) fn leave_class(&mut self, class: u32) {
        let entry = &mut self.classes[class as usize];
        entry.tasks -= 1;
        if entry.tasks == 0 && class != PLAIN {
            let removed = self.classes.remove(class as usize);
            self.by_demand.remove(&removed.demand);
        }
    }

    pub(super) fn demand(&self, class: u32) -> &Demand {
        &self.classes[class as usize].demand
    }

    /// Queues a task that has just become ready.
    #[inline]
    pub(super) fn push(&mut self, class: u32, rank: Rank, key: Key, table: &Table) {
        let entry = &mut self.classes[class as usize];
        if entry.ready == 0 {
            self.active.push(class);
        }
        entry.ready += 1;
        entry.queue.push((rank, key));
        if entry.queue.len() > 2 * entry.ready + 64 {
            let mut entries = std::mem::take(&mut entry.queue).into_vec();
            entries.retain(|&entry| is_current(entry, table));
            entries.sort_unstable();
            entries.dedup();
            entry.queue = entries.into();
        }
    }

    /// Notes that a task of the class is not ready any more.
    #[inline]
    pub(super) fn left(&mut self, class: u32) {
        let entry = &mut self.classes[class as usize];
        entry.ready -= 1;
        if entry.ready == 0 {
            entry.queue.clear();
            self.active.retain(|&active| active != class);
        }
    }

    /// Classes with a ready task, in no order.
    pub(super) fn active(&self) -> &[u32] {
        &self.active
    }

    /// The first of the class, which stays queued.
    pub(super) fn peek(&mut self, class: u32, table: &Table) -> Option<(Rank, Key)> {
        let queue = &mut self.classes[class as usize].queue;
        while let Some(&entry) = queue.peek() {
            if is_current(entry, table) {
                return Some(entry);
            }
            queue.pop();
        }
        None
    }

    /// Takes the first of the class out of the queue; it counts as ready until [`Self::left`].
    #[inline]
    pub(super) fn pop(&mut self, class: u32, table: &Table) -> Option<Key> {
        let (_, key) = self.peek(class, table)?;
        self.classes[class as usize].queue.pop();
        Some(key)
    }

    /// For the sanity check: ready tasks and tasks of each class, and the queued entries.
    pub(super) fn inspect(
        &self,
    ) -> impl Iterator<Item = (u32, usize, usize, &BinaryHeap<(Rank, Key)>)> {
        self.classes
            .iter()
            .map(|(index, class)| (index as u32, class.ready, class.tasks, &class.queue))
    }
}

fn is_current((rank, key): (Rank, Key), table: &Table) -> bool {
    table.is(key, rank.1.0, TaskState::Ready)
}
