//! How tasks move from state to state.
//!
//! ```text
//!            ┌───────────────────────────────┐  retry
//!            ▼                               │
//!  submit ─► Waiting ──► Ready ──► Running ──┼─► BackOff ─► Ready
//!            │    ▲                  ▲       │
//!            ▼    └─ parent lost     │       ├─► Succeeded ─► (output lost) Waiting
//!            Forwarded ──────────────┘       ├─► Failed
//!            (an engine holds it)            └─► Cancelled
//! ```

use super::Core;
use super::action::{Action, FailedTask, TaskState};
use super::references::{free, free_outputs};
use super::table::{Child, Key, Presence, TaskArgument};
use crate::{Failure, OutcomeKind, Output};
use std::cmp::Reverse;
use std::sync::Arc;

/// [`Failure::kind`] of tasks cancelled because a parent was.
const UPSTREAM_CANCELLED: &str = "upstream-cancelled";

impl Core {
    #[inline]
    pub(super) fn set_state(&mut self, key: Key, state: TaskState) {
        let task = &mut self.tasks[key];
        let before = std::mem::replace(&mut task.state, state);
        task.since_ns = self.now_ns;
        self.in_state[before as usize] -= 1;
        self.in_state[state as usize] += 1;
        if before == TaskState::Ready {
            let class = self.queue_class(key);
            self.ready.left(class);
        }
    }

    /// Class under which a task queues: an engine that places by itself gets tasks in one order.
    pub(super) fn queue_class(&self, key: Key) -> u32 {
        if self.capabilities.places {
            self.tasks[key].class
        } else {
            0
        }
    }

    /// Registers the edges whose output is not there, of a task that is not terminal and has no
    /// attempt out. Gives the failed parent of the lowest id instead, if there is one.
    pub(super) fn resolve(&mut self, key: Key) -> Option<Key> {
        let mut failed: Option<Key> = None;
        for position in 0..self.tasks[key].arguments.len() {
            let TaskArgument::Output {
                parent,
                index,
                unresolved: false,
            } = self.tasks[key].arguments[position]
            else {
                continue;
            };
            let source = &self.tasks[parent];
            if source.available(index).is_some() {
                continue;
            }
            match source.state {
                TaskState::Failed | TaskState::Cancelled => {
                    let first = failed.is_none_or(|known| source.id < self.tasks[known].id);
                    failed = if first { Some(parent) } else { failed };
                }
                // It gave fewer outputs: a matter for `make_ready`.
                TaskState::Succeeded if source.output_use(index).presence != Presence::Lost => {}
                TaskState::Succeeded => {
                    self.reruns.push(parent);
                    self.register(key, position, parent);
                }
                _ => self.register(key, position, parent),
            }
        }
        failed
    }

    fn register(&mut self, key: Key, position: usize, parent: Key) {
        let unheld = self.forwards && !self.is_held(parent);
        let task = &mut self.tasks[key];
        task.unresolved += 1;
        task.unheld += u32::from(unheld);
        if let TaskArgument::Output { unresolved, .. } = &mut task.arguments[position] {
            *unresolved = true;
        }
        let child = Child {
            id: task.id,
            key,
            position: position as u32,
        };
        self.tasks[parent].children.push(child);
    }

    /// Takes back the edges of a forwarded task whose report came before those of its parents.
    fn unregister(&mut self, key: Key) {
        if self.tasks[key].unresolved == 0 {
            return;
        }
        for position in 0..self.tasks[key].arguments.len() {
            let task = &mut self.tasks[key];
            let id = task.id;
            if let TaskArgument::Output {
                parent, unresolved, ..
            } = &mut task.arguments[position]
                && std::mem::replace(unresolved, false)
            {
                let parent = *parent;
                self.tasks[parent].children.retain(|child| child.id != id);
            }
        }
        let task = &mut self.tasks[key];
        (task.unresolved, task.unheld) = (0, 0);
    }

    /// Whether an engine holds the task, so that descendants can be forwarded.
    pub(super) fn is_held(&self, key: Key) -> bool {
        let task = &self.tasks[key];
        self.forwards
            && task.out.is_some()
            && matches!(task.state, TaskState::Running | TaskState::Forwarded)
    }

    /// A resolved task with no attempt out goes on.
    pub(super) fn make_ready_or_wait(&mut self, key: Key, actions: &mut Vec<Action>) {
        if self.tasks[key].unresolved == 0 {
            self.make_ready(key, actions);
            return;
        }
        if self.tasks[key].state != TaskState::Waiting {
            self.set_state(key, TaskState::Waiting);
        }
        if self.forwards && self.tasks[key].unheld == 0 {
            self.forwardable.push_back(key);
        }
    }

    fn make_ready(&mut self, key: Key, actions: &mut Vec<Action>) {
        if let Some(failure) = self.missing_output(key) {
            self.end(key, Arc::new(failure), actions);
            return;
        }
        if self.tasks[key].state == TaskState::Ready {
            return;
        }
        self.set_state(key, TaskState::Ready);
        let class = self.queue_class(key);
        let task = &self.tasks[key];
        let rank = (task.priority, Reverse(task.id));
        self.ready.push(class, rank, key, &self.tasks);
    }

    /// Why the task cannot run although all its parents succeeded: one gave too few outputs.
    fn missing_output(&self, key: Key) -> Option<Failure> {
        let arguments = self.tasks[key].shown_arguments().iter().enumerate();
        for (position, argument) in arguments {
            let &TaskArgument::Output { parent, index, .. } = argument else {
                continue;
            };
            let parent = &self.tasks[parent];
            if parent.available(index).is_none() {
                let message = format!(
                    "argument {position}: task {} ({}) gave {} outputs, output {index} was asked",
                    parent.id,
                    parent.name,
                    parent.outputs.len()
                );
                return Some(Failure::new(OutcomeKind::PayloadError, message));
            }
        }
        None
    }

    /// A task gave its outputs.
    pub(super) fn succeed(&mut self, key: Key, outputs: Vec<Output>, actions: &mut Vec<Action>) {
        self.adopt_outputs(key, outputs, actions);
        self.unregister(key);
        let task = &mut self.tasks[key];
        task.failure = None;
        task.cancelling = false;
        let children = std::mem::take(&mut task.children);
        self.set_state(key, TaskState::Succeeded);
        self.announce(key, actions);
        for child in children {
            self.parent_succeeded(child, actions);
        }
        if !self.tasks[key].driver && self.tasks[key].references > 0 {
            self.free_unused_outputs(key, actions);
        }
        self.release_inputs(key, actions);
        self.candidates.push(key);
    }

    /// Takes over new outputs. Of a task that ran again only those that were lost: others may be
    /// in use, and the new ones are duplicates.
    fn adopt_outputs(&mut self, key: Key, outputs: Vec<Output>, actions: &mut Vec<Action>) {
        let task = &mut self.tasks[key];
        if task.outputs.is_empty() {
            task.outputs = outputs;
            return;
        }
        for (index, output) in outputs.into_iter().enumerate() {
            let users = task.output_use(index as u32);
            if index >= task.outputs.len() {
                task.outputs.push(output);
            } else if users.presence == Presence::Lost {
                task.outputs[index] = output;
                task.output_use_mut(index as u32).presence = Presence::Present;
            } else {
                free(output.location, actions);
            }
        }
        // What it did not give again will not come.
        for users in &mut task.uses {
            if users.presence == Presence::Lost {
                users.presence = Presence::Freed;
            }
        }
    }

    fn parent_succeeded(&mut self, child: Child, actions: &mut Vec<Action>) {
        if self.tasks.waiting_child(child).is_none() {
            return;
        }
        let task = &mut self.tasks[child.key];
        if let TaskArgument::Output { unresolved, .. } =
            &mut task.arguments[child.position as usize]
        {
            *unresolved = false;
        }
        task.unresolved -= 1;
        if task.unresolved > 0 {
            return;
        }
        match task.state {
            TaskState::Waiting => self.make_ready(child.key, actions),
            TaskState::Forwarded => self.set_state(child.key, TaskState::Running),
            _ => {}
        }
    }

    /// Ends a task without outputs, and all its descendants with it.
    pub(super) fn end(&mut self, key: Key, failure: Arc<Failure>, actions: &mut Vec<Action>) {
        let children = self.terminate(key, failure, actions);
        if children.is_empty() {
            return;
        }
        let upstream = self.upstream_failure(key);
        let mut doomed = std::collections::VecDeque::from(children);
        while let Some(child) = doomed.pop_front() {
            if self.tasks.waiting_child(child).is_none() {
                continue;
            }
            self.cancel_attempt(child.key, actions);
            doomed.extend(self.terminate(child.key, Arc::clone(&upstream), actions));
        }
    }

    /// Ends a task because a parent failed or was cancelled.
    pub(super) fn end_because_of(&mut self, key: Key, parent: Key, actions: &mut Vec<Action>) {
        let failure = self.upstream_failure(parent);
        self.end(key, failure, actions);
    }

    /// Ends one task and gives its children.
    fn terminate(
        &mut self,
        key: Key,
        failure: Arc<Failure>,
        actions: &mut Vec<Action>,
    ) -> Vec<Child> {
        let state = match failure.outcome {
            OutcomeKind::Cancelled => TaskState::Cancelled,
            _ => TaskState::Failed,
        };
        self.set_state(key, state);
        let task = &mut self.tasks[key];
        task.failure = Some(failure);
        task.cancelling = false;
        let children = std::mem::take(&mut task.children);
        self.announce(key, actions);
        if !self.tasks[key].driver {
            self.free_unused_outputs(key, actions);
        }
        self.release_inputs(key, actions);
        self.candidates.push(key);
        children
    }

    fn announce(&mut self, key: Key, actions: &mut Vec<Action>) {
        let task = &mut self.tasks[key];
        let id = task.id;
        if std::mem::replace(&mut task.announced, true) {
            actions.push(Action::Recomputed { task: id });
            return;
        }
        self.counts.outstanding -= 1;
        match task.state {
            TaskState::Succeeded => self.counts.succeeded += 1,
            TaskState::Cancelled => self.counts.cancelled += 1,
            _ => self.counts.failed += 1,
        }
        let failed = task.failure.as_ref().map(|failure| {
            Arc::new(FailedTask {
                name: Arc::clone(&task.name),
                failure: Arc::clone(failure),
            })
        });
        actions.push(Action::Completed { task: id, failed });
    }

    /// What a parent's end means for its descendants. All of them share one failure, which names
    /// the task where it began.
    fn upstream_failure(&self, parent: Key) -> Arc<Failure> {
        let task = &self.tasks[parent];
        let Some(failure) = &task.failure else {
            // Only terminal parents are asked; both ends set a failure.
            return Arc::new(Failure::new(
                OutcomeKind::EngineError,
                "no failure recorded",
            ));
        };
        if failure.outcome == OutcomeKind::UpstreamFailed || failure.kind == UPSTREAM_CANCELLED {
            return Arc::clone(failure);
        }
        let (id, name) = (task.id, &task.name);
        Arc::new(match failure.outcome {
            OutcomeKind::Cancelled => Failure {
                kind: UPSTREAM_CANCELLED.to_owned(),
                ..Failure::new(
                    OutcomeKind::Cancelled,
                    format!("task {id} ({name}) was cancelled"),
                )
            },
            outcome => Failure {
                kind: outcome.name().to_owned(),
                ..Failure::new(
                    OutcomeKind::UpstreamFailed,
                    format!("task {id} ({name}) failed: {failure}"),
                )
            },
        })
    }

    /// Somebody asks for a task to end.
    pub(super) fn cancel(&mut self, key: Key, actions: &mut Vec<Action>) {
        let task = &self.tasks[key];
        if task.state.is_terminal() {
            return;
        }
        if task.out.is_some() && self.capabilities.cancels_running {
            self.cancel_attempt(key, actions);
            self.tasks[key].cancelling = true;
            return;
        }
        let failure = Failure::new(OutcomeKind::Cancelled, "cancelled");
        self.end(key, Arc::new(failure), actions);
    }

    /// Asks the executor, once, to end the attempt that is out.
    fn cancel_attempt(&mut self, key: Key, actions: &mut Vec<Action>) {
        let task = &self.tasks[key];
        if let Some(attempt) = task.attempt()
            && self.capabilities.cancels_running
            && !task.cancelling
        {
            actions.push(Action::CancelAttempt(attempt));
        }
    }

    /// A report that nobody waits for. Its outputs are freed, unless they are the ones we have:
    /// then it is the same report again.
    pub(super) fn absorb(
        &mut self,
        key: Option<Key>,
        outputs: Vec<Output>,
        actions: &mut Vec<Action>,
    ) {
        self.counts.absorbed += 1;
        let ours = key.map_or(&[][..], |key| &self.tasks[key].outputs);
        let outputs = outputs.into_iter().filter(|output| !ours.contains(output));
        free_outputs(outputs.collect(), actions);
    }
}
