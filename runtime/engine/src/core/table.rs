//! The task table: every task that somebody still needs, at a stable index.
//!
//! Outside, tasks have ids that are never used twice. Inside, they refer to each other by
//! [`Key`], an index whose slot is used again: a key is only kept where a reference count keeps
//! the task in the table, or together with the id to compare.

use super::action::TaskState;
use super::faults::Doom;
use super::settings::RetryPolicy;
use super::spec::PayloadKey;
use crate::{
    Argument, AttemptId, Failure, Generation, Limits, OutcomeKind, Output, TaskId, WorkerId,
};
use rustc_hash::FxHashMap;
use slab::Slab;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use taps_schema::Kernels;

/// Slot of a task in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(pub(super) u32);

/// A task and everything the core knows of it.
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) name: Arc<str>,
    pub(super) component: u32,
    pub(super) function: u32,
    pub(super) kernels: Kernels,
    pub(super) limits: Limits,
    pub(super) seed: u64,
    /// Number of the name, see [`super::look_ahead::Paces`].
    pub(super) kind: u16,
    pub(super) media_type: Arc<str>,
    /// Most outputs that may be referred to.
    pub(super) output_limit: u32,
    /// Demand class, see [`super::ready`].
    pub(super) class: u32,
    pub(super) priority: i32,
    pub(super) retry: RetryPolicy,

    pub(super) state: TaskState,
    /// When it came into that state.
    pub(super) since_ns: u64,
    /// Empty once `holding` is [`Holding::Nothing`].
    pub(super) arguments: Vec<TaskArgument>,
    /// Arguments at the end that the attempts are not given.
    pub(super) hidden_arguments: u8,
    /// What the arguments hold of their parents.
    pub(super) holding: Holding,
    /// Edges to parents whose output is not there.
    pub(super) unresolved: u32,
    /// Those among them whose parent no engine holds; 0 unless tasks are forwarded.
    pub(super) unheld: u32,
    /// Unresolved edges that end here; entries may be outdated.
    pub(super) children: Vec<Child>,

    /// The attempt whose report is awaited. A task that was cancelled or failed from above can be
    /// terminal and still have one.
    pub(super) out: Option<Out>,
    /// Attempts dispatched.
    pub(super) attempts: u32,
    /// Those among them that were given back before they had started.
    pub(super) returned: u16,
    /// Retries made in this generation, but for those below.
    pub(super) retries: u32,
    /// Retries after outcomes whose number is counted apart.
    pub(super) own_retries: [u16; OutcomeKind::RETRYABLE.len()],
    /// Attempts that came to an end of their own, see [`super::faults`].
    pub(super) tries: u32,
    /// Which of them carry a fault.
    pub(super) doom: Doom,
    /// Workers lost with an attempt of this task on them.
    pub(super) crashes: u16,
    /// Number of this production of the outputs.
    pub(super) generation: Generation,
    /// Epoch of the last retry or loss, which dooms forwarded descendants dispatched before.
    pub(super) changed: u64,
    /// When the back-off ends.
    pub(super) backoff_until_ns: u64,
    /// The driver asked for an end, and the report is awaited.
    pub(super) cancelling: bool,

    /// Complete when succeeded; a task that runs again keeps those that are not lost.
    pub(super) outputs: Vec<Output>,
    /// Digests of the outputs, where they are known; shorter than `outputs` where not.
    pub(super) digests: Vec<Option<u64>>,
    /// Who uses each output; shorter than `outputs` where nobody but the driver does.
    pub(super) uses: Vec<OutputUse>,
    /// Sum of all uses.
    pub(super) references: u32,
    pub(super) failure: Option<Arc<Failure>>,
    /// The driver holds the future.
    pub(super) driver: bool,
    /// `Completed` was emitted.
    pub(super) announced: bool,
}

// A run holds thousands of tasks at a time and moves each a few times.
const _: () = assert!(size_of::<Task>() <= 408);

/// An argument as the core keeps it.
#[derive(Clone, Debug)]
pub(super) enum TaskArgument {
    /// Owned by the task.
    Value(Argument),
    /// Held by the driver and by the tasks that take it.
    Held(PayloadKey),
    /// Output `index` of `parent`.
    Output {
        parent: Key,
        index: u32,
        /// The edge is registered with the parent, whose output is not there.
        unresolved: bool,
    },
}

/// What a task's arguments hold of its parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// They are needed to run.
    Active,
    /// They are kept in case that the task must run again.
    Lineage,
    /// Nothing; the arguments are dropped.
    Nothing,
}

/// One end of an unresolved edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) id: TaskId,
    pub(super) key: Key,
    /// Position of the argument.
    pub(super) position: u32,
}

/// An attempt that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) number: u32,
    pub(super) worker: Option<WorkerId>,
    pub(super) place: Place,
    /// It carries a fault that ends its worker.
    pub(super) kills: bool,
    /// Epoch of the dispatch.
    pub(super) epoch: u64,
}

/// Where an attempt stands on its worker, as far as the core knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the current one, or the engine places by itself.
    Current,
    /// It waits behind the current one.
    Queued,
    /// The same, and it was asked back.
    Recalled,
}

/// Who uses an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OutputUse {
    /// Arguments of tasks that are not terminal.
    pub(super) active: u32,
    /// Arguments of finished tasks that keep their lineage.
    pub(super) lineage: u32,
    /// Payload handles of the driver.
    pub(super) handles: u32,
    pub(super) presence: Presence,
}

/// Whether the bytes of a produced output are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    /// They are.
    #[default]
    Present,
    /// They are gone without our doing.
    Lost,
    /// Nobody needed them any more.
    Freed,
}

impl Task {
    /// The attempt that is out.
    pub(super) fn attempt(&self) -> Option<AttemptId> {
        self.out.map(|out| AttemptId {
            task: self.id,
            number: out.number,
        })
    }

    /// A retry follows that outcome: counted with all others, or with its own.
    pub(super) fn count_retry(&mut self, outcome: OutcomeKind) {
        match self.retry.own.of(outcome) {
            Some((index, _)) => self.own_retries[index] += 1,
            None => self.retries += 1,
        }
    }

    /// The arguments that its attempts are given.
    pub(super) fn shown_arguments(&self) -> &[TaskArgument] {
        &self.arguments[..self.arguments.len() - usize::from(self.hidden_arguments)]
    }

    /// Who uses an output.
    pub(super) fn output_use(&self, index: u32) -> OutputUse {
        self.uses.get(index as usize).copied().unwrap_or_default()
    }

    /// Who uses an output, to be changed.
    pub(super) fn output_use_mut(&mut self, index: u32) -> &mut OutputUse {
        let index = index as usize;
        if self.uses.len() <= index {
            self.uses.resize(index + 1, OutputUse::default());
        }
        &mut self.uses[index]
    }

    /// The output, when its bytes are there.
    pub(super) fn available(&self, index: u32) -> Option<&Output> {
        let output = self.outputs.get(index as usize)?;
        (self.output_use(index).presence == Presence::Present).then_some(output)
    }

    /// Whether anybody needs the bytes of an output now, lineage not included.
    pub(super) fn needs(&self, index: u32) -> bool {
        let users = self.output_use(index);
        self.driver || users.active > 0 || users.handles > 0
    }

    /// Whether the bytes of an output must stay where they are.
    pub(super) fn keeps(&self, index: u32) -> bool {
        self.needs(index) || self.output_use(index).lineage > 0
    }

    /// Whether an output was given up.
    pub(super) fn is_freed(&self, index: u32) -> bool {
        self.output_use(index).presence == Presence::Freed
    }

    /// Whether nobody can ask for this task again.
    pub(super) fn is_removable(&self) -> bool {
        self.state.is_terminal() && !self.driver && self.references == 0 && self.out.is_none()
    }

    /// Whether an output is lost that somebody needs now. That the driver holds the future is not enough:
    /// it may never ask for the bytes.
    pub(super) fn misses_output(&self) -> bool {
        (0..self.uses.len() as u32)
            .map(|index| self.output_use(index))
            .any(|users| users.presence == Presence::Lost && users.active + users.handles > 0)
    }
}

/// All tasks that somebody still needs.
#[derive(Default)]
pub(super) struct Table {
    slots: Slab<Task>,
    keys: FxHashMap<TaskId, Key>,
}

impl Table {
    pub(super) fn insert(&mut self, task: Task) -> Key {
        let id = task.id;
        let key = Key(self.slots.insert(task) as u32);
        self.keys.insert(id, key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Task {
        let task = self.slots.remove(key.0 as usize);
        self.keys.remove(&task.id);
        task
    }

    pub(super) fn find(&self, id: TaskId) -> Option<Key> {
        self.keys.get(&id).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Task> {
        self.slots.get(key.0 as usize)
    }

    pub(super) fn by_id(&self, id: TaskId) -> Option<&Task> {
        self.find(id).map(|key| &self[key])
    }

    /// Whether the slot still has that task, in that state.
    pub(super) fn is(&self, key: Key, id: TaskId, state: TaskState) -> bool {
        self.get(key)
            .is_some_and(|task| task.id == id && task.state == state)
    }

    /// The child of an entry, when the edge is still unresolved.
    pub(super) fn waiting_child(&self, child: Child) -> Option<&Task> {
        let task = self.get(child.key)?;
        let unresolved = matches!(
            task.arguments.get(child.position as usize),
            Some(TaskArgument::Output {
                unresolved: true,
                ..
            })
        );
        (task.id == child.id && !task.state.is_terminal() && unresolved).then_some(task)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Task)> {
        self.slots
            .iter()
            .map(|(index, task)| (Key(index as u32), task))
    }

    /// Tasks that pass the test, in order of submission.
    pub(super) fn select(&self, test: impl Fn(&Task) -> bool) -> Vec<(TaskId, Key)> {
        let mut selected: Vec<_> = self
            .iter()
            .filter(|(_, task)| test(task))
            .map(|(key, task)| (task.id, key))
            .collect();
        selected.sort_unstable();
        selected
    }
}

impl Index<Key> for Table {
    type Output = Task;

    fn index(&self, key: Key) -> &Task {
        &self.slots[key.0 as usize]
    }
}

impl IndexMut<Key> for Table {
    fn index_mut(&mut self, key: Key) -> &mut Task {
        &mut self.slots[key.0 as usize]
    }
}
