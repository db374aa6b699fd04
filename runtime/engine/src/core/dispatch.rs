//! Sending attempts out.

use super::Core;
use super::action::{Action, TaskState};
use super::ready::Rank;
use super::table::{Key, Out, Place, TaskArgument};
use crate::{Argument, Attempt, AttemptId, Demands, Generation, OutputId, TaskId, WorkerId};
use std::sync::Arc;
use taps_payload::Location;

/// How often the first task of the queue may be passed over, because it does not fit now, before
/// the others wait for it. Without a bound, small tasks would starve large ones for ever.
const MAX_OVERTAKES: u32 = 64;

/// The task that is first in the queue and does not fit.
#[derive(Default)]
pub(super) struct Overtaken {
    task: Option<TaskId>,
    times: u32,
}

/// Key under which an engine that keeps results finds an output that is not there yet:
/// `output:<task>:<index>:<generation>`. A forwarded attempt gets it as
/// [`Location::Engine`] with length 0.
pub fn forward_key(output: OutputId, generation: Generation) -> Arc<str> {
    let OutputId { task, index } = output;
    format!("output:{task}:{index}:{}", generation.0).into()
}

/// The output and the generation that a [`forward_key`] names.
pub fn parse_forward_key(key: &str) -> Option<(OutputId, Generation)> {
    let mut parts = key.strip_prefix("output:")?.split(':');
    let task = TaskId(parts.next()?.parse().ok()?);
    let index = parts.next()?.parse().ok()?;
    let generation = Generation(parts.next()?.parse().ok()?);
    let output = OutputId { task, index };
    parts.next().is_none().then_some((output, generation))
}

impl Core {
    /// Brings everything that an event set off to its end.
    pub(super) fn pump(&mut self, actions: &mut Vec<Action>) {
        self.run_again(actions);
        self.dispatch_ready(actions);
        self.forward(actions);
        self.collect(actions);
        self.drop_outdated_timers();
        if self.placement.looks_ahead() {
            self.recall(actions);
        }
    }

    fn dispatch_ready(&mut self, actions: &mut Vec<Action>) {
        if !self.capabilities.places {
            while let Some(key) = self.ready.pop(0, &self.tasks) {
                self.dispatch(key, None, Place::Current, TaskState::Running, actions);
            }
            return;
        }
        while self.placement.has_idle()
            && let Some((class, position)) = self.choose()
            && let Some(key) = self.ready.pop(class, &self.tasks)
        {
            let placed = self.placed(key);
            let demand = self.ready.demand(class);
            let worker = self.placement.occupy(position, placed, class, demand);
            self.dispatch(
                key,
                Some(worker),
                Place::Current,
                TaskState::Running,
                actions,
            );
        }
        if self.placement.looks_ahead() {
            self.queue_ahead(actions);
        }
    }

    /// The class whose first task goes next, and the position of its worker.
    fn choose(&mut self) -> Option<(u32, usize)> {
        if let [class] = *self.ready.active() {
            let position = self.placement.find(self.ready.demand(class))?;
            return Some((class, position));
        }
        let mut fitting: Option<(Rank, u32, usize)> = None;
        let mut first = None;
        for active in 0..self.ready.active().len() {
            let class = self.ready.active()[active];
            let Some((rank, _)) = self.ready.peek(class, &self.tasks) else {
                continue;
            };
            let demand = self.ready.demand(class);
            if fitting.is_none_or(|(best, ..)| best < rank)
                && let Some(position) = self.placement.find(demand)
            {
                fitting = Some((rank, class, position));
            }
            if first.is_none_or(|best| best < rank) && self.placement.is_feasible(demand) {
                first = Some(rank);
            }
        }
        let (rank, class, position) = fitting?;
        match first {
            Some(first) if first > rank && !self.may_overtake(first.1.0) => None,
            _ => Some((class, position)),
        }
    }

    fn may_overtake(&mut self, task: TaskId) -> bool {
        if self.overtaken.task != Some(task) {
            self.overtaken = Overtaken {
                task: Some(task),
                times: 0,
            };
        }
        self.overtaken.times += 1;
        self.overtaken.times <= MAX_OVERTAKES
    }

    /// Whether the queue stands still until this task fits.
    pub(super) fn is_first_served(&self, task: TaskId) -> bool {
        self.overtaken.task == Some(task) && self.overtaken.times > MAX_OVERTAKES
    }

    /// Sends waiting tasks to an engine that holds all their parents.
    fn forward(&mut self, actions: &mut Vec<Action>) {
        while let Some(key) = self.forwardable.pop_front() {
            let Some(task) = self.tasks.get(key) else {
                continue;
            };
            if task.state == TaskState::Waiting && task.unresolved > 0 && task.unheld == 0 {
                self.dispatch(key, None, Place::Current, TaskState::Forwarded, actions);
            }
        }
    }

    pub(super) fn dispatch(
        &mut self,
        key: Key,
        worker: Option<WorkerId>,
        place: Place,
        state: TaskState,
        actions: &mut Vec<Action>,
    ) {
        self.set_state(key, state);
        let epoch = self.epoch;
        let arguments = self.resolve_arguments(key);
        let digests = self.digests_of_arguments(key);
        let demands = self.demands_for_engine(key);
        let task = &mut self.tasks[key];
        let fault = match &self.faults {
            Some(faults) => faults.plan(task.doom, task.tries, worker),
            None => None,
        };
        let number = task.attempts;
        task.attempts += 1;
        self.counts.retried += u64::from(number > u32::from(task.returned));
        task.out = Some(Out {
            number,
            worker,
            place,
            kills: fault.is_some_and(|fault| fault.action.kills()),
            epoch,
        });
        let attempt = Attempt {
            id: AttemptId {
                task: task.id,
                number,
            },
            generation: task.generation,
            component: task.component,
            task: task.function,
            name: Arc::clone(&task.name),
            arguments,
            limits: task.limits,
            seed: task.seed,
            kernels: task.kernels,
            digests,
            fault,
            demands,
        };
        actions.push(Action::Dispatch { worker, attempt });
        self.set_held(key, true);
    }

    /// Where the bytes of the arguments are, or by what key the engine will know them.
    fn resolve_arguments(&self, key: Key) -> Vec<Argument> {
        let arguments = self.tasks[key].shown_arguments().iter();
        let resolved = arguments.filter_map(|argument| match argument {
            TaskArgument::Value(value) => Some(value.clone()),
            // Held as long as a task takes it.
            TaskArgument::Held(payload) => Some(self.held.get(payload)?.payload.clone()),
            &TaskArgument::Output { parent, index, .. } => {
                let parent = &self.tasks[parent];
                let task = parent.id;
                let location = match parent.available(index) {
                    Some(output) => output.location.clone(),
                    None => Location::Engine {
                        key: forward_key(OutputId { task, index }, parent.generation),
                        len: 0,
                    },
                };
                Some(Argument {
                    location,
                    media_type: Arc::clone(&parent.media_type),
                })
            }
        });
        resolved.collect()
    }

    /// What the task occupies, where an engine places it and it is more than most do.
    fn demands_for_engine(&self, key: Key) -> Option<Box<Demands>> {
        if self.capabilities.places {
            return None;
        }
        let task = &self.tasks[key];
        let demand = self.ready.demand(task.class);
        let usual = demand.cores == 1 && demand.memory_bytes == 0 && demand.resources.is_empty();
        (!usual || task.priority != 0).then(|| {
            Box::new(Demands {
                cores: demand.cores,
                memory_bytes: demand.memory_bytes,
                resources: demand.resources.clone(),
                priority: task.priority,
            })
        })
    }

    /// What the arguments should be; empty in a run that does not verify.
    fn digests_of_arguments(&self, key: Key) -> Vec<Option<u64>> {
        if !self.verifies {
            return Vec::new();
        }
        let digest = |argument: &TaskArgument| match *argument {
            TaskArgument::Output { parent, index, .. } => {
                let digests = &self.tasks[parent].digests;
                digests.get(index as usize).copied().flatten()
            }
            _ => None,
        };
        let arguments = self.tasks[key].shown_arguments().iter();
        arguments.map(digest).collect()
    }

    /// An engine took the task, or (`held` false) has given it back to be repeated: tells the
    /// tasks that wait for it.
    pub(super) fn set_held(&mut self, key: Key, held: bool) {
        if !self.forwards {
            return;
        }
        let children = std::mem::take(&mut self.tasks[key].children);
        for &child in &children {
            if self.tasks.waiting_child(child).is_none() {
                continue;
            }
            let task = &mut self.tasks[child.key];
            if held {
                task.unheld -= 1;
            } else {
                task.unheld += 1;
            }
            if task.unheld == 0 && task.state == TaskState::Waiting {
                self.forwardable.push_back(child.key);
            }
        }
        self.tasks[key].children = children;
    }
}
