//! Outputs that get lost after their task has finished.

use super::Core;
use super::action::{Action, TaskState};
use super::table::{Holding, Key, Presence, TaskArgument};
use crate::{Failure, OutcomeKind, OutputId};
use std::sync::Arc;
use taps_payload::Location;

impl Core {
    /// The bytes of these outputs are gone. Those that are needed are made again; tasks that were
    /// ready to use them wait again. Attempts that are out go on: they may have read the bytes,
    /// and if they fail for them, it does not count.
    pub(super) fn outputs_lost(&mut self, lost: &[OutputId], actions: &mut Vec<Action>) {
        self.epoch += 1;
        let mut affected = Vec::new();
        for &output in lost {
            let key = self.tasks.find(output.task);
            match key.filter(|&key| self.tasks[key].available(output.index).is_some()) {
                Some(key) => {
                    self.mark_lost(key, output.index);
                    affected.push(key);
                }
                None => self.counts.absorbed += 1,
            }
        }
        if affected.is_empty() {
            return;
        }
        let waits = |state| matches!(state, TaskState::Waiting | TaskState::Ready);
        for (_, key) in self.tasks.select(|task| waits(task.state)) {
            // An earlier round of this loop may have ended it.
            if waits(self.tasks[key].state) && self.lacks_input(key) {
                self.requeue(key, true, actions);
            }
        }
        for key in affected {
            if self.tasks[key].misses_output() {
                self.reruns.push(key);
            }
        }
    }

    fn mark_lost(&mut self, key: Key, index: u32) {
        let location = Location::Inline(Arc::clone(&self.empty));
        let task = &mut self.tasks[key];
        task.outputs[index as usize].location = location;
        task.output_use_mut(index).presence = Presence::Lost;
        task.changed = self.epoch;
    }

    /// Whether an edge that counts as resolved ends at a lost output.
    fn lacks_input(&self, key: Key) -> bool {
        let mut arguments = self.tasks[key].arguments.iter();
        arguments.any(|argument| match *argument {
            TaskArgument::Output {
                parent,
                index,
                unresolved: false,
            } => self.tasks[parent].output_use(index).presence == Presence::Lost,
            _ => false,
        })
    }

    /// Runs finished tasks again whose lost outputs are needed, and their parents where theirs
    /// are lost too.
    pub(super) fn run_again(&mut self, actions: &mut Vec<Action>) {
        while let Some(key) = self.reruns.pop() {
            let wanted = |task: &super::table::Task| {
                task.state == TaskState::Succeeded && task.misses_output()
            };
            if !self.tasks.get(key).is_some_and(wanted) {
                continue;
            }
            if let Some(failure) = self.failed.clone() {
                self.end(key, Arc::new(failure), actions);
            } else if self.settings.lineage {
                self.run_task_again(key, actions);
            } else {
                let message = "an output was lost after the task had finished, \
                               and the run keeps no inputs to make it again";
                let failure = Failure::new(OutcomeKind::PayloadError, message);
                self.end(key, Arc::new(failure), actions);
            }
        }
    }

    fn run_task_again(&mut self, key: Key, actions: &mut Vec<Action>) {
        self.counts.recomputed += 1;
        let task = &mut self.tasks[key];
        task.generation.0 += 1;
        task.retries = 0;
        self.hold_as(key, Holding::Active);
        self.set_state(key, TaskState::Waiting);
        self.requeue(key, true, actions);
    }
}
