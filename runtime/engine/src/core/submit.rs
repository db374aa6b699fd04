//! Taking tasks and payloads from the driver.

use super::action::{Action, TaskState};
use super::faults::Doom;
use super::ready::Demand;
use super::references::Held;
use super::spec::{ArgumentSpec, PayloadKey, SubmitError, TaskSpec};
use super::table::{Holding, Key, Task, TaskArgument};
use super::{Core, MAX_UNDECLARED_OUTPUTS};
use crate::{Argument, Generation, Limits, OutputId, TaskId};

impl Core {
    /// Takes a task and, where a worker is free, dispatches it at once. The driver holds the task
    /// until [`Event::Release`](super::Event::Release). A task whose parent has failed is taken
    /// too, and completes at once: `actions` then says `Completed` before this returns.
    ///
    /// `now_ns` is the time since the run began, here and in [`Self::handle`].
    pub fn submit(
        &mut self,
        now_ns: u64,
        mut spec: TaskSpec,
        actions: &mut Vec<Action>,
    ) -> Result<TaskId, SubmitError> {
        self.now_ns = self.now_ns.max(now_ns);
        if let Some(failure) = &self.failed {
            return Err(SubmitError::ExecutorFailed {
                message: failure.message.clone(),
            });
        }
        if !self.can_submit() {
            return Err(SubmitError::Full {
                limit: self.settings.max_outstanding,
            });
        }
        for (position, argument) in spec.arguments.iter().enumerate() {
            self.check_argument(position, argument)?;
        }
        let options = &mut spec.options;
        let resources = std::mem::take(&mut options.resources);
        let demand = Demand::new(options.cores, options.memory_bytes, resources);
        if self.capabilities.places {
            self.placement.check(&demand)?;
        }
        // From here on nothing is refused.
        let key = self.enter(spec, demand);
        let id = self.tasks[key].id;
        match self.resolve(key) {
            Some(parent) => self.end_because_of(key, parent, actions),
            None => self.make_ready_or_wait(key, actions),
        }
        self.pump(actions);
        Ok(id)
    }

    /// Whether back-pressure allows another task.
    pub fn can_submit(&self) -> bool {
        self.counts.outstanding < self.settings.max_outstanding as u64
    }

    /// Takes a payload that the driver made. It lives until
    /// [`Event::HeldReleased`](super::Event::HeldReleased) and the end of the last task that takes
    /// it; then a segment is freed.
    pub fn hold(&mut self, payload: Argument) -> PayloadKey {
        let key = PayloadKey(self.next_payload);
        self.next_payload += 1;
        let held = Held {
            payload,
            driver: true,
            users: 0,
        };
        self.held.insert(key, held);
        key
    }

    fn check_argument(&self, position: usize, argument: &ArgumentSpec) -> Result<(), SubmitError> {
        match *argument {
            ArgumentSpec::Value(_) => Ok(()),
            ArgumentSpec::Held(key) if self.held.contains_key(&key) => Ok(()),
            ArgumentSpec::Held(key) => Err(SubmitError::UnknownPayload {
                argument: position,
                key,
            }),
            ArgumentSpec::Output(output) => self.check_output(position, output),
        }
    }

    fn check_output(&self, argument: usize, output: OutputId) -> Result<(), SubmitError> {
        let task = output.task;
        let unknown = SubmitError::UnknownTask { argument, task };
        let parent = self.tasks.by_id(task).ok_or(unknown.clone())?;
        if output.index >= parent.output_limit {
            return Err(SubmitError::OutputRange {
                argument,
                output,
                outputs: parent.output_limit,
            });
        }
        if parent.is_freed(output.index) {
            return Err(unknown);
        }
        Ok(())
    }

    /// Puts a task into the table and takes hold of its arguments.
    fn enter(&mut self, spec: TaskSpec, demand: Demand) -> Key {
        let mut retry = spec.options.retry.unwrap_or(self.settings.default_retry);
        retry.retries = spec.options.retries.unwrap_or(retry.retries);
        let arguments = spec.arguments.into_iter();
        let arguments = arguments.map(|argument| self.take_argument(argument));
        let arguments: Vec<TaskArgument> = arguments.collect();
        let id = TaskId(self.counts.submitted);
        let named = self.seeds.next(&spec.name);
        let doom = match self.faults.as_mut() {
            Some(faults) => faults.doom(&spec.name, named.index, retry.retries.saturating_add(1)),
            None => Doom::default(),
        };
        let task = Task {
            id,
            seed: named.seed,
            kind: named.kind,
            name: spec.name,
            component: spec.component,
            function: spec.task,
            kernels: spec.kernels,
            limits: Limits {
                timeout_ms: spec.options.timeout_ms.or(spec.limits.timeout_ms),
                ..spec.limits
            },
            media_type: spec.media_type,
            output_limit: match spec.outputs {
                0 => MAX_UNDECLARED_OUTPUTS,
                declared => declared,
            },
            class: self.ready.join_class(demand),
            priority: spec.options.priority,
            retry,
            state: TaskState::Waiting,
            arguments,
            holding: Holding::Active,
            unresolved: 0,
            unheld: 0,
            children: Vec::new(),
            out: None,
            attempts: 0,
            returned: 0,
            retries: 0,
            tries: 0,
            doom,
            crashes: 0,
            generation: Generation(0),
            changed: 0,
            backoff_until_ns: 0,
            cancelling: false,
            outputs: Vec::new(),
            uses: Vec::new(),
            references: 0,
            failure: None,
            driver: true,
            announced: false,
        };
        self.counts.submitted += 1;
        self.counts.outstanding += 1;
        self.in_state[TaskState::Waiting as usize] += 1;
        self.tasks.insert(task)
    }

    fn take_argument(&mut self, argument: ArgumentSpec) -> TaskArgument {
        match argument {
            ArgumentSpec::Value(value) => TaskArgument::Value(value),
            ArgumentSpec::Held(key) => {
                if let Some(held) = self.held.get_mut(&key) {
                    held.users += 1;
                }
                TaskArgument::Held(key)
            }
            ArgumentSpec::Output(output) => {
                let parent = self.tasks.find(output.task);
                let parent = parent.expect("checked before anything was taken");
                let task = &mut self.tasks[parent];
                task.output_use_mut(output.index).active += 1;
                task.references += 1;
                TaskArgument::Output {
                    parent,
                    index: output.index,
                    unresolved: false,
                }
            }
        }
    }
}
