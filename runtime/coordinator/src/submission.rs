//! From what a driver submits to what the core takes.

use crate::{
    history::Step,
    state::{Orders, State},
};
use std::sync::Arc;
use taps_engine::{
    Output, TaskId,
    core::{Action, ArgumentSpec, INJECTED_PARENT, SubmitError, TaskOptions, TaskSpec},
};
use taps_payload::Location;
use taps_records::{LogEvent, SubmitOptions};
use taps_sandbox::Refusal;
use xxhash_rust::xxh3::Xxh3;

impl State {
    pub(crate) fn submit(
        &mut self,
        now_ns: u64,
        task: &str,
        arguments: Vec<ArgumentSpec>,
        options: TaskOptions,
        done: Option<Vec<Output>>,
        orders: &mut Orders,
    ) -> Result<TaskId, Refusal> {
        if self.ending {
            return Err(Refusal::Cancelled);
        }
        let Some((name, route)) = self.routes.get_key_value(task) else {
            return Err(Refusal::UnknownTask(self.unknown_task(task)));
        };
        let name = Arc::clone(name);
        let submitted = Submitted::of(&name, &arguments, &options, route.pure);
        let mut limits = self.limits;
        if options.memory_bytes > 0 {
            limits.memory_bytes = options.memory_bytes;
        }
        let spec = TaskSpec {
            name: Arc::clone(&name),
            component: route.component,
            task: route.task,
            arguments,
            options,
            limits,
            kernels: self.kernels,
            outputs: route.outputs,
            media_type: Arc::clone(&self.media_type),
            done: done.clone(),
        };
        let before = self.expected(&name, submitted.arguments_hash)?;
        let mut actions = Vec::new();
        let task = self
            .core
            .submit(now_ns, spec, &mut actions)
            .map_err(|error| refusal(&error))?;
        match before {
            None => self.log_submission(now_ns, task, name, submitted, &actions),
            Some(known) if known == task => self.replay.advance(),
            Some(_) => self.diverge(&format!("submits task {task} ({name})")),
        }
        let memoized = done.map(|outputs| {
            self.memoized += 1;
            self.log.append(&LogEvent::Memoized {
                task,
                outputs,
                time_ns: now_ns,
            });
            task
        });
        self.carry_out(now_ns, &mut actions, memoized, orders);
        Ok(task)
    }

    /// In a replay, the task that was submitted at this point, which must be the same.
    fn expected(&mut self, name: &str, hash: u64) -> Result<Option<TaskId>, Refusal> {
        match self.replay.next() {
            None => Ok(None),
            Some(Step::Submitted {
                task,
                name: before,
                hash: known,
            }) if **before == *name && *known == hash => Ok(Some(*task)),
            Some(_) => {
                self.diverge(&format!("submits a task {name} with these arguments"));
                Err(Refusal::Cancelled)
            }
        }
    }

    /// Records a submission, and before it the task that was put in as a parent to fail.
    fn log_submission(
        &mut self,
        now_ns: u64,
        task: TaskId,
        name: Arc<str>,
        mut submitted: Submitted,
        actions: &[Action],
    ) {
        let phase = self.phases.len() as u32;
        for action in actions {
            if let Action::ParentInjected { parent, .. } = action {
                submitted.parents.insert(0, *parent);
                let injected = Submitted {
                    parents: Vec::new(),
                    label: None,
                    arguments_hash: 0,
                    options: submitted.options,
                };
                let event = injected.event(*parent, INJECTED_PARENT.into(), phase, now_ns);
                self.log.append(&event);
            }
        }
        self.log.append(&submitted.event(task, name, phase, now_ns));
    }

    fn unknown_task(&self, task: &str) -> String {
        let mut known: Vec<&str> = self.routes.keys().map(AsRef::as_ref).collect();
        known.sort_unstable();
        format!("the app has no task `{task}`; it has {}", known.join(", "))
    }
}

fn refusal(error: &SubmitError) -> Refusal {
    match error {
        SubmitError::Infeasible { .. } => Refusal::Infeasible(error.to_string()),
        SubmitError::ExecutorFailed { .. } => Refusal::Cancelled,
        _ => Refusal::InvalidArgument(error.to_string()),
    }
}

/// A hash that stays the same in all versions of this program: XXH3, 64 bit, of what it was given,
/// numbers as eight bytes, little-endian, and bytes after their length.
#[derive(Default)]
struct StableHasher(Xxh3);

impl StableHasher {
    fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.0.update(&number.to_le_bytes());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.numbers(&[bytes.len() as u64]);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// What the log says of a submission.
struct Submitted {
    parents: Vec<TaskId>,
    label: Option<Arc<str>>,
    arguments_hash: u64,
    options: SubmitOptions,
}

impl Submitted {
    fn of(name: &str, arguments: &[ArgumentSpec], options: &TaskOptions, pure: bool) -> Self {
        let mut hasher = StableHasher::default();
        hasher.text(name);
        let mut parents = Vec::new();
        for argument in arguments {
            match argument {
                ArgumentSpec::Output(output) => {
                    parents.push(output.task);
                    hasher.numbers(&[1, output.task.0, u64::from(output.index)]);
                }
                ArgumentSpec::Held(key) => hasher.numbers(&[2, key.0]),
                ArgumentSpec::Value(argument) => match &argument.location {
                    Location::Inline(bytes) => {
                        hasher.numbers(&[3]);
                        hasher.bytes(bytes);
                    }
                    other => hasher.numbers(&[4, other.len()]),
                },
            }
        }
        let label = options.label.clone();
        let options = SubmitOptions {
            retries: options.retries,
            timeout_ms: options.timeout_ms,
            priority: options.priority,
            cores: options.cores,
            memory_bytes: options.memory_bytes,
            pure: options.pure.unwrap_or(pure),
        };
        hasher.numbers(&[
            options.retries.map_or(u64::MAX, u64::from),
            options.timeout_ms.unwrap_or(u64::MAX),
            options.priority as u64,
            u64::from(options.cores),
            options.memory_bytes,
            u64::from(options.pure),
        ]);
        Self {
            parents,
            label,
            arguments_hash: hasher.0.digest(),
            options,
        }
    }

    fn event(self, task: TaskId, name: Arc<str>, phase: u32, time_ns: u64) -> LogEvent {
        LogEvent::Submitted {
            task,
            name,
            parents: self.parents,
            label: self.label,
            arguments_hash: self.arguments_hash,
            options: self.options,
            phase,
            time_ns,
        }
    }
}
