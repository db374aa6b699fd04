//! Taking tasks and payloads from the driver.

use super::action::{Action, TaskState};
use super::faults::{Doom, edge_to};
use super::past::PastEnd;
use super::ready::Demand;
use super::references::Held;
use super::seed::Named;
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
        let named = self.seeds.next(&spec.name);
        let (doom, parent) = self.doom(&spec, named, actions);
        let key = self.enter(spec, demand, named, doom);
        let id = self.tasks[key].id;
        if let Some(parent) = parent {
            let edge = self.take_argument(edge_to(parent));
            let task = &mut self.tasks[key];
            task.arguments.push(edge);
            task.hidden_arguments = 1;
            actions.push(Action::ParentInjected { parent, child: id });
        }
        self.begin(key, actions);
        self.pump(actions);
        Ok(id)
    }

    /// The faults of a task that is about to be entered, and the task that was put before it.
    fn doom(
        &mut self,
        spec: &TaskSpec,
        named: Named,
        actions: &mut Vec<Action>,
    ) -> (Doom, Option<TaskId>) {
        let Some(faults) = self.faults.as_mut().filter(|_| spec.done.is_none()) else {
            return (Doom::default(), None);
        };
        let policy = spec.options.policy(self.settings.default_retry);
        let tries = policy.most().saturating_add(1);
        let doom = faults.doom(&spec.name, named.index, tries);
        let Some((parent, doomed)) = faults.parent_of(spec, doom) else {
            return (doom, None);
        };
        let named = self.seeds.next(&parent.name);
        let demand = Demand::new(1, 0, Vec::new());
        let key = self.enter(parent, demand, named, doomed);
        // Nobody but the task behind it refers to it.
        self.tasks[key].driver = false;
        let id = self.tasks[key].id;
        self.begin(key, actions);
        (Doom::default(), Some(id))
    }

    /// Sends a task that was just entered on its way.
    fn begin(&mut self, key: Key, actions: &mut Vec<Action>) {
        let id = self.tasks[key].id;
        if let Some(past) = self.past.remove(&id)
            && self.settle(key, past, actions)
        {
            return;
        }
        match self.resolve(key) {
            Some(parent) => self.end_because_of(key, parent, actions),
            None => self.make_ready_or_wait(key, actions),
        }
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
    fn enter(&mut self, spec: TaskSpec, demand: Demand, named: Named, doom: Doom) -> Key {
        let retry = spec.options.policy(self.settings.default_retry);
        let arguments = spec.arguments.into_iter();
        let arguments = arguments.map(|argument| self.take_argument(argument));
        let arguments: Vec<TaskArgument> = arguments.collect();
        let id = TaskId(self.counts.submitted);
        if let Some(outputs) = spec.done {
            let end = PastEnd::Succeeded {
                outputs,
                lost: Vec::new(),
            };
            let past = self.past.entry(id).or_default();
            past.end = Some(end);
        }
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
            since_ns: self.now_ns,
            arguments,
            holding: Holding::Active,
            unresolved: 0,
            unheld: 0,
            children: Vec::new(),
            out: None,
            attempts: 0,
            returned: 0,
            retries: 0,
            own_retries: Default::default(),
            hidden_arguments: 0,
            tries: 0,
            doom,
            crashes: 0,
            generation: Generation(0),
            changed: 0,
            backoff_until_ns: 0,
            cancelling: false,
            outputs: Vec::new(),
            digests: Vec::new(),
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
