//! Outputs that get lost after their task has finished.

use super::Core;
use super::action::{Action, TaskState};
use super::references::free;
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
        let mut gone = Vec::new();
        for &output in lost {
            let key = self.tasks.find(output.task);
            match key.filter(|&key| self.tasks[key].available(output.index).is_some()) {
                Some(key) => {
                    self.mark_lost(key, output.index);
                    affected.push(key);
                    gone.push(output);
                }
                None => self.counts.absorbed += 1,
            }
        }
        if affected.is_empty() {
            return;
        }
        actions.push(Action::OutputsLost { outputs: gone });
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

    /// An attempt failed because the bytes of these arguments are gone or damaged: the tasks that gave
    /// them make them again, unless they did so too often already. What is left of the bytes is freed.
    pub(super) fn inputs_lost(&mut self, key: Key, positions: &[u32], actions: &mut Vec<Action>) {
        let task = &self.tasks[key];
        let Some(out) = task.out.filter(|_| self.settings.lineage) else {
            return;
        };
        let blamed = positions.iter().filter_map(|&position| {
            let &TaskArgument::Output { parent, index, .. } =
                task.arguments.get(position as usize)?
            else {
                return None;
            };
            let parent = &self.tasks[parent];
            let often = parent.generation.0 >= self.settings.crash_limit.max(1);
            // What the attempt read may have been replaced since.
            if often || parent.changed > out.epoch {
                return None;
            }
            let task = parent.id;
            let there = parent.available(index)?.location.clone();
            Some((OutputId { task, index }, there))
        });
        let mut lost: Vec<(OutputId, Location)> = blamed.collect();
        lost.sort_by_key(|(output, _)| *output);
        lost.dedup_by_key(|(output, _)| *output);
        let outputs: Vec<OutputId> = lost.iter().map(|(output, _)| *output).collect();
        self.outputs_lost(&outputs, actions);
        for (_, location) in lost {
            free(location, actions);
        }
    }

    pub(super) fn mark_lost(&mut self, key: Key, index: u32) {
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
        task.own_retries = Default::default();
        self.hold_as(key, Holding::Active);
        self.set_state(key, TaskState::Waiting);
        self.requeue(key, true, actions);
    }
}
