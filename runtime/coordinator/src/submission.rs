//! From what a driver submits to what the core takes.

use crate::state::{Orders, State};
use rustc_hash::FxHasher;
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};
use taps_engine::{
    TaskId,
    core::{ArgumentSpec, SubmitError, TaskOptions, TaskSpec},
};
use taps_payload::Location;
use taps_records::{LogEvent, SubmitOptions};
use taps_sandbox::Refusal;

impl State {
    pub(crate) fn submit(
        &mut self,
        now_ns: u64,
        task: &str,
        arguments: Vec<ArgumentSpec>,
        options: TaskOptions,
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
            done: None,
        };
        let mut actions = Vec::new();
        let task = self
            .core
            .submit(now_ns, spec, &mut actions)
            .map_err(|error| refusal(&error))?;
        self.log
            .append(&submitted.event(task, name, self.phases.len() as u32, now_ns));
        self.carry_out(now_ns, &mut actions, None, orders);
        Ok(task)
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

/// What the log says of a submission.
struct Submitted {
    parents: Vec<TaskId>,
    label: Option<Arc<str>>,
    arguments_hash: u64,
    options: SubmitOptions,
}

impl Submitted {
    fn of(name: &str, arguments: &[ArgumentSpec], options: &TaskOptions, pure: bool) -> Self {
        let mut hasher = FxHasher::default();
        name.hash(&mut hasher);
        let mut parents = Vec::new();
        for argument in arguments {
            match argument {
                ArgumentSpec::Output(output) => {
                    parents.push(output.task);
                    output.hash(&mut hasher);
                }
                ArgumentSpec::Held(key) => key.hash(&mut hasher),
                ArgumentSpec::Value(argument) => match &argument.location {
                    Location::Inline(bytes) => bytes.hash(&mut hasher),
                    other => other.len().hash(&mut hasher),
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
        (options.priority, options.cores, options.memory_bytes).hash(&mut hasher);
        Self {
            parents,
            label,
            arguments_hash: hasher.finish(),
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
