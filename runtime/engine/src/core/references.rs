//! Who needs what: tasks and bytes live while somebody can still ask for them.
//!
//! A task stays in the table while it is not terminal, its attempt is out, the driver holds its
//! future, or one of its outputs is used. An output is used by the arguments of tasks that are not
//! terminal (with lineage: of finished tasks too) and by payload handles of the driver. Whoever
//! lowers a count notes the task as a candidate; [`Core::collect`] removes what nobody needs, in a
//! loop and not by recursion, because chains are as long as apps make them.

use super::Core;
use super::action::{Action, TaskState};
use super::spec::PayloadKey;
use super::table::{Holding, Key, Presence, Task, TaskArgument};
use crate::{Argument, Output, OutputId, TaskId};
use std::sync::Arc;
use taps_payload::Location;

/// A payload that the driver made.
pub(super) struct Held {
    pub(super) payload: Argument,
    /// The driver has its handle.
    pub(super) driver: bool,
    /// Arguments of tasks that take it.
    pub(super) users: u32,
}

impl Core {
    /// The driver dropped its future.
    pub(super) fn release(&mut self, id: TaskId, actions: &mut Vec<Action>) {
        let key = self.tasks.find(id).filter(|&key| self.tasks[key].driver);
        let Some(key) = key else {
            self.counts.absorbed += 1;
            return;
        };
        self.tasks[key].driver = false;
        if !self.tasks[key].is_removable() {
            self.free_unused_outputs(key, actions);
        }
        self.candidates.push(key);
    }

    /// The driver took a payload handle on an output.
    pub(super) fn acquire(&mut self, output: OutputId) {
        let Some(key) = self.tasks.find(output.task) else {
            self.counts.absorbed += 1;
            return;
        };
        let task = &mut self.tasks[key];
        let index = output.index;
        if index >= task.output_limit || task.is_freed(index) {
            self.counts.absorbed += 1;
            return;
        }
        task.output_use_mut(index).handles += 1;
        task.references += 1;
        if task.state == TaskState::Succeeded && task.misses_output() {
            self.reruns.push(key);
        }
    }

    /// The driver dropped a payload handle on an output.
    pub(super) fn release_handle(&mut self, output: OutputId, actions: &mut Vec<Action>) {
        let key = self.tasks.find(output.task);
        let key = key.filter(|&key| self.tasks[key].output_use(output.index).handles > 0);
        let Some(key) = key else {
            self.counts.absorbed += 1;
            return;
        };
        let task = &mut self.tasks[key];
        task.output_use_mut(output.index).handles -= 1;
        task.references -= 1;
        self.free_output_if_unused(key, output.index, actions);
        self.candidates.push(key);
    }

    /// The driver dropped its handle on a payload that it made.
    pub(super) fn release_held(&mut self, key: PayloadKey, actions: &mut Vec<Action>) {
        match self.held.get_mut(&key) {
            Some(held) if held.driver => held.driver = false,
            _ => self.counts.absorbed += 1,
        }
        self.free_held_if_unused(key, actions);
    }

    /// A task ended: its arguments are given up, or kept as lineage. Waits for the report of an
    /// attempt that is still out, because it may be reading them.
    pub(super) fn release_inputs(&mut self, key: Key, actions: &mut Vec<Action>) {
        let task = &mut self.tasks[key];
        if task.out.is_some() || task.holding != Holding::Active {
            return;
        }
        if task.state == TaskState::Succeeded && self.settings.lineage {
            self.hold_as(key, Holding::Lineage);
            return;
        }
        task.holding = Holding::Nothing;
        for argument in std::mem::take(&mut task.arguments) {
            self.give_up(argument, Holding::Active, actions);
        }
    }

    /// Moves the hold on all inputs between active and lineage.
    pub(super) fn hold_as(&mut self, key: Key, holding: Holding) {
        self.tasks[key].holding = holding;
        for position in 0..self.tasks[key].arguments.len() {
            let TaskArgument::Output { parent, index, .. } = self.tasks[key].arguments[position]
            else {
                continue;
            };
            let users = self.tasks[parent].output_use_mut(index);
            if holding == Holding::Active {
                users.lineage -= 1;
                users.active += 1;
            } else {
                users.active -= 1;
                users.lineage += 1;
            }
        }
    }

    fn give_up(&mut self, argument: TaskArgument, held_as: Holding, actions: &mut Vec<Action>) {
        match argument {
            TaskArgument::Value(value) => free(value.location, actions),
            TaskArgument::Held(key) => {
                if let Some(held) = self.held.get_mut(&key) {
                    held.users -= 1;
                }
                self.free_held_if_unused(key, actions);
            }
            TaskArgument::Output { parent, index, .. } => {
                let task = &mut self.tasks[parent];
                let users = task.output_use_mut(index);
                match held_as {
                    Holding::Lineage => users.lineage -= 1,
                    _ => users.active -= 1,
                }
                task.references -= 1;
                self.free_output_if_unused(parent, index, actions);
                self.candidates.push(parent);
            }
        }
    }

    fn free_held_if_unused(&mut self, key: PayloadKey, actions: &mut Vec<Action>) {
        let unused = |held: &Held| !held.driver && held.users == 0;
        if self.held.get(&key).is_some_and(unused)
            && let Some(held) = self.held.remove(&key)
        {
            free(held.payload.location, actions);
        }
    }

    /// Frees an output that a task has produced and that nobody uses. Where the whole task is about
    /// to go, [`Self::collect`] does it.
    pub(super) fn free_output_if_unused(
        &mut self,
        key: Key,
        index: u32,
        actions: &mut Vec<Action>,
    ) {
        let empty = &self.empty;
        let task = &mut self.tasks[key];
        let produced = (index as usize) < task.outputs.len();
        if !produced || task.keeps(index) || task.output_use(index).presence == Presence::Freed {
            return;
        }
        task.output_use_mut(index).presence = Presence::Freed;
        let output = &mut task.outputs[index as usize];
        let location = std::mem::replace(&mut output.location, Location::Inline(Arc::clone(empty)));
        free(location, actions);
    }

    /// Frees the outputs that nobody uses.
    pub(super) fn free_unused_outputs(&mut self, key: Key, actions: &mut Vec<Action>) {
        for index in 0..self.tasks[key].outputs.len() as u32 {
            self.free_output_if_unused(key, index, actions);
        }
    }

    /// Removes the tasks that nobody needs, and what only they needed.
    pub(super) fn collect(&mut self, actions: &mut Vec<Action>) {
        while let Some(key) = self.candidates.pop() {
            if !self.tasks.get(key).is_some_and(Task::is_removable) {
                continue;
            }
            let task = self.tasks.remove(key);
            self.ready.leave_class(task.class);
            self.in_state[task.state as usize] -= 1;
            free_outputs(task.outputs, actions);
            for argument in task.arguments {
                self.give_up(argument, task.holding, actions);
            }
        }
    }
}

/// Frees what was published for nothing.
#[inline]
pub(super) fn free_outputs(outputs: Vec<Output>, actions: &mut Vec<Action>) {
    for output in outputs {
        free(output.location, actions);
    }
}

/// Frees bytes that somebody has to be told of.
pub(super) fn free(location: Location, actions: &mut Vec<Action>) {
    match location {
        Location::Segment(_)
        | Location::File(_)
        | Location::Engine { .. }
        | Location::Stored(_) => actions.push(Action::Free { location }),
        Location::Inline(_) => {}
    }
}
