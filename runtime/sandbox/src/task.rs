//! Running attempts in sandboxes.

use crate::{
    CancelToken, Control, GuestSink, LoadedComponent, RunContext, Speaker, State, Stream, classify,
    error::SandboxError,
    host::payloads::{Buffered, OutputHandle, PayloadHandle},
    sandbox::new_store,
    state::Role,
    stored,
    wire::{TaskArgument, TaskError, TaskOutput},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use taps_bundle::Manifest;
use taps_engine::{
    Attempt, AttemptReport, Failure, Instantiation, OutcomeKind, Output, Timeline, WorkerId,
};
use taps_payload::{Location, Transfer, Way, WritableSegment};
use taps_transform::{DataPlane, Ticket};
use wasmtime::{
    Store,
    component::{Resource, TypedFunc},
};

/// Where the sandbox of a task comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstancePolicy {
    /// A new one for each task.
    #[default]
    Fresh,
    /// A new one for each task, made while the worker was idle or busy with the one before.
    Prewarmed,
    /// One per worker and component, kept until it traps. Tasks of an app see each other's leavings.
    Reuse,
}

/// What the workers of a run share: its components, ready to run.
pub struct TaskRuntime {
    components: Vec<LoadedComponent>,
    run: Arc<RunContext>,
    policy: InstancePolicy,
    /// Grants of each task, by component and index.
    grants: Vec<Vec<Vec<crate::Grant>>>,
    statistics: Statistics,
    notes: Vec<String>,
    /// Where the first task lives, for sandboxes made before any task came: not the driver's component.
    first_component: usize,
}

/// Sandboxes made and used.
#[derive(Debug, Default)]
struct Statistics {
    fresh: AtomicU64,
    prewarmed: AtomicU64,
    reused: AtomicU64,
    dropped: AtomicU64,
}

/// Sandboxes made and used, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InstanceStatistics {
    /// Attempts in a sandbox made for them.
    pub fresh: u64,
    /// Attempts in a sandbox made ahead of time.
    pub prewarmed: u64,
    /// Attempts in a sandbox used before.
    pub reused: u64,
    /// Reusable sandboxes given up after a failure.
    pub dropped: u64,
}

impl TaskRuntime {
    /// Links the components of a bundle, so that a missing import shows before any task runs.
    pub fn new(
        components: Vec<LoadedComponent>,
        manifest: &Manifest,
        run: Arc<RunContext>,
        policy: InstancePolicy,
    ) -> Result<Self, SandboxError> {
        for route in &manifest.routes {
            let index = route.component as usize;
            let component = components
                .get(index)
                .ok_or_else(|| SandboxError::NoComponent {
                    app: manifest.app.name.clone(),
                    index,
                })?;
            component.tasks()?;
        }
        let granted = |names: &[String]| {
            run.grants
                .iter()
                .filter(|grant| names.contains(&grant.field))
                .cloned()
                .collect()
        };
        let mut grants = vec![Vec::new(); components.len()];
        for (task, route) in manifest.app.tasks.iter().zip(&manifest.routes) {
            let of_component: &mut Vec<Vec<crate::Grant>> = &mut grants[route.component as usize];
            let index = route.task as usize;
            if of_component.len() <= index {
                of_component.resize_with(index + 1, Vec::new);
            }
            of_component[index] = granted(&task.grants);
        }
        Ok(Self {
            components,
            run,
            policy,
            grants,
            statistics: Statistics::default(),
            notes: Vec::new(),
            first_component: manifest
                .routes
                .first()
                .map_or(0, |route| route.component as usize),
        })
    }

    /// What a task may reach; none when the bundle has no such task.
    fn grants_of(&self, attempt: &Attempt) -> Option<&[crate::Grant]> {
        let tasks = self.grants.get(attempt.component as usize)?;
        tasks.get(attempt.task as usize).map(Vec::as_slice)
    }

    /// Adds a note to the record of every attempt, on how this run differs from what was asked for.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Shared by all sandboxes of the run.
    pub fn run(&self) -> &Arc<RunContext> {
        &self.run
    }

    /// Sandboxes made and used so far.
    pub fn statistics(&self) -> InstanceStatistics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        InstanceStatistics {
            fresh: load(&self.statistics.fresh),
            prewarmed: load(&self.statistics.prewarmed),
            reused: load(&self.statistics.reused),
            dropped: load(&self.statistics.dropped),
        }
    }

    /// A worker's own part.
    pub fn worker(self: &Arc<Self>, id: WorkerId) -> TaskWorker {
        let spare = self.components.iter().map(|_| None).collect();
        TaskWorker {
            runtime: Arc::clone(self),
            id,
            spare,
            last_component: self.first_component,
        }
    }
}

/// Runs attempts on one thread.
pub struct TaskWorker {
    runtime: Arc<TaskRuntime>,
    id: WorkerId,
    /// A sandbox kept for the next task of each component.
    spare: Vec<Option<Live>>,
    last_component: usize,
}

/// An instance in its store.
struct Live {
    store: Store<State>,
    run: RunTask,
}

type RunTask = TypedFunc<(u32, Vec<TaskArgument>), (Result<Vec<TaskOutput>, TaskError>,)>;

/// What a task gave, and how it travelled.
type Ran = Result<(Vec<Output>, Vec<Transfer>), Failure>;

impl TaskWorker {
    /// Runs an attempt to its end, whatever that is.
    pub fn run(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport {
        let received = self.runtime.run.now_ns();
        let cpu_before = thread_cpu_ns();
        let deadline = attempt
            .limits
            .timeout_ms
            .map(|limit| Instant::now() + Duration::from_millis(limit));
        let control = Control::new(token.clone(), deadline);
        let mut timeline = Timeline {
            received,
            ..Timeline::default()
        };
        let caller = stored::caller(self.id, attempt);
        let tickets = stored::prefetch(&self.runtime.run, attempt, caller);
        let mut inputs = Vec::new();
        let mut peak_memory_bytes = 0;
        let (instantiation, ran) = match self.sandbox_for(attempt, control) {
            Ok((mut live, instantiation)) => {
                live.store.data_mut().caller = caller;
                let ran = live.call(attempt, tickets, &mut timeline);
                inputs = std::mem::take(&mut live.store.data_mut().inputs);
                peak_memory_bytes = live.store.data().memory.peak;
                self.retire(attempt, live, ran.is_ok());
                (instantiation, ran)
            }
            Err(failure) => (Instantiation::None, Err(failure)),
        };
        timeline.finished = self.runtime.run.now_ns();
        let (result, outputs) = match ran {
            Ok((outputs, transfers)) => (Ok(outputs), transfers),
            Err(failure) => (Err(failure), Vec::new()),
        };
        AttemptReport {
            id: attempt.id,
            worker: self.id,
            result,
            timeline,
            inputs,
            outputs,
            lost_inputs: Vec::new(),
            instantiation,
            cpu_ns: thread_cpu_ns().saturating_sub(cpu_before),
            peak_memory_bytes,
            injected: None,
            notes: self.runtime.notes.clone(),
        }
    }

    /// Makes the sandbox of the next task ahead of time, where the policy says so. Called by an idle
    /// worker, and after each task.
    pub fn prewarm(&mut self) {
        let component = self.last_component;
        if self.runtime.policy != InstancePolicy::Prewarmed || self.spare[component].is_some() {
            return;
        }
        let role = Role::Task {
            id: taps_engine::AttemptId {
                task: taps_engine::TaskId(0),
                number: 0,
            },
            seed: 0,
            kernels: taps_schema::Kernels::Host,
        };
        // A failure shows again, with its task, when the sandbox is made for it.
        self.spare[component] = self
            .instantiate(component, role, Control::default(), (1 << 32, 0), &[])
            .ok();
    }

    fn sandbox_for(
        &mut self,
        attempt: &Attempt,
        control: Control,
    ) -> Result<(Live, Instantiation), Failure> {
        let component = attempt.component as usize;
        let runtime = Arc::clone(&self.runtime);
        let statistics = &runtime.statistics;
        let Some(grants) = runtime.grants_of(attempt) else {
            return Err(Failure::new(
                OutcomeKind::EngineError,
                "the bundle has no such task",
            ));
        };
        self.last_component = component;
        // A sandbox made ahead of time, or used before, has no grants.
        let spare = if grants.is_empty() {
            self.spare[component].take()
        } else {
            None
        };
        if let Some(mut live) = spare
            && live.assign(attempt, &control)
        {
            let instantiation = if self.runtime.policy == InstancePolicy::Reuse {
                statistics.reused.fetch_add(1, Ordering::Relaxed);
                Instantiation::Reused
            } else {
                statistics.prewarmed.fetch_add(1, Ordering::Relaxed);
                Instantiation::Prewarmed
            };
            return Ok((live, instantiation));
        }
        statistics.fresh.fetch_add(1, Ordering::Relaxed);
        let role = Role::Task {
            id: attempt.id,
            seed: attempt.seed,
            kernels: attempt.kernels,
        };
        let limits = (attempt.limits.memory_bytes, attempt.limits.window_bytes);
        let live = self.instantiate(component, role, control, limits, grants)?;
        Ok((live, Instantiation::Fresh))
    }

    fn instantiate(
        &self,
        component: usize,
        role: Role,
        control: Control,
        (memory, windows): (u64, u64),
        grants: &[crate::Grant],
    ) -> Result<Live, Failure> {
        let loaded = &self.runtime.components[component];
        let engine_error = |error: &dyn std::fmt::Display| {
            Failure::new(OutcomeKind::EngineError, error.to_string())
        };
        let linked = loaded.tasks().map_err(|error| engine_error(&error))?;
        let state = State::new(&self.runtime.run, role, control, memory, windows, grants)
            .map_err(|error| engine_error(&error))?;
        let mut store = new_store(loaded.engine(), state, loaded.profile());
        let made = linked
            .pre
            .instantiate(&mut store)
            .and_then(|instance| instance.get_typed_func(&mut store, linked.export));
        match made {
            Ok(run) => Ok(Live { store, run }),
            Err(error) => Err(classify::failure(&error, store.data(), None)),
        }
    }

    /// Gives the sandbox back, or keeps it for the next task.
    fn retire(&mut self, attempt: &Attempt, mut live: Live, succeeded: bool) {
        if self.runtime.policy != InstancePolicy::Reuse {
            return;
        }
        if succeeded {
            live.store.data_mut().windows.clear();
            // Directories stay open in a sandbox: one with grants must not reach a task without.
            if self.runtime.grants_of(attempt).is_some_and(<[_]>::is_empty) {
                self.spare[attempt.component as usize] = Some(live);
            }
        } else {
            self.runtime
                .statistics
                .dropped
                .fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Live {
    /// Makes a sandbox that exists already serve this attempt. Fails when it is too large for the
    /// attempt's limit: then one made under that limit says so.
    fn assign(&mut self, attempt: &Attempt, control: &Control) -> bool {
        let limits = attempt.limits;
        let most = limits.memory_bytes.saturating_add(limits.window_bytes);
        self.store.set_hostcall_fuel(most as usize);
        self.store.data_mut().assign(attempt, control.clone())
    }

    fn call(
        &mut self,
        attempt: &Attempt,
        tickets: Vec<Option<Ticket>>,
        timeline: &mut Timeline,
    ) -> Ran {
        let run = Arc::clone(&self.store.data().run);
        let result = self.call_guest(attempt, tickets, timeline, &run);
        timeline.task_end = timeline.task_end.max(run.now_ns());
        let stderr = self.report_output(run.sink.as_ref());
        match result {
            Ok(Ok(outputs)) => {
                let published = self.publish(outputs, attempt, &run);
                if run.data.is_some() {
                    timeline.results = [timeline.task_end, run.now_ns()];
                }
                published
            }
            Ok(Err(TaskError { kind, message })) => {
                Err(self.payload_failure(&kind).unwrap_or(Failure {
                    outcome: OutcomeKind::TaskError,
                    kind,
                    message,
                    detail: None,
                }))
            }
            Err(error) => Err(classify::failure(
                &error,
                self.store.data(),
                stderr.as_deref(),
            )),
        }
    }

    /// A task that gave up because a payload failed reports it under this kind.
    fn payload_failure(&self, kind: &str) -> Option<Failure> {
        let reason = self.store.data().payload_failure.as_ref()?;
        [PAYLOAD_ERROR, PAYLOAD_ERROR_OF_SDK]
            .contains(&kind)
            .then(|| Failure::new(OutcomeKind::PayloadError, reason.clone()))
    }

    fn call_guest(
        &mut self,
        attempt: &Attempt,
        tickets: Vec<Option<Ticket>>,
        timeline: &mut Timeline,
        run: &RunContext,
    ) -> wasmtime::Result<Result<Vec<TaskOutput>, TaskError>> {
        self.store.data().control.check()?;
        let transform_start = run.data.is_some().then(|| run.now_ns());
        let arguments = match self.arguments(attempt, tickets, stored::is_eager(run))? {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Err(error)),
        };
        timeline.task_start = run.now_ns();
        if let Some(start) = transform_start {
            timeline.inputs = [start, timeline.task_start];
        }
        let (result,) = self.run.call(&mut self.store, (attempt.task, arguments))?;
        timeline.task_end = run.now_ns();
        Ok(result)
    }

    /// Small inline payloads travel with the call, others as handles.
    fn arguments(
        &mut self,
        attempt: &Attempt,
        tickets: Vec<Option<Ticket>>,
        eager: bool,
    ) -> wasmtime::Result<Result<Vec<TaskArgument>, TaskError>> {
        let state = self.store.data_mut();
        let mut tickets = tickets.into_iter();
        let mut arguments = Vec::with_capacity(attempt.arguments.len());
        for (index, argument) in attempt.arguments.iter().enumerate() {
            let bytes = argument.location.len();
            let ticket = tickets.next().flatten();
            if let Location::Inline(data) = &argument.location {
                let inline = Transfer {
                    bytes,
                    bytes_moved: bytes,
                    way: Way::Inline,
                    copies: 1,
                };
                state.inputs.push(inline);
                arguments.push(TaskArgument::Inline(Arc::clone(data)));
            } else {
                state.inputs.push(Transfer {
                    bytes,
                    bytes_moved: 0,
                    way: Way::Untouched,
                    copies: 0,
                });
                let media_type = Arc::clone(&argument.media_type);
                let handle = PayloadHandle::argument(
                    argument.location.clone(),
                    media_type,
                    attempt.id,
                    index,
                )
                .with_ticket(ticket);
                let handle = state.table.push(handle)?;
                if eager && state.fetch(&handle)?.is_err() {
                    return Ok(Err(TaskError {
                        kind: PAYLOAD_ERROR.to_owned(),
                        message: String::new(),
                    }));
                }
                arguments.push(TaskArgument::Payload(handle));
            }
        }
        Ok(Ok(arguments))
    }

    /// Publishes the outputs. Windows are taken away first: nobody writes to what is published.
    fn publish(&mut self, outputs: Vec<TaskOutput>, attempt: &Attempt, run: &RunContext) -> Ran {
        let mut published = Vec::with_capacity(outputs.len());
        let mut transfers = Vec::with_capacity(outputs.len());
        for (index, output) in outputs.into_iter().enumerate() {
            let done = match output {
                TaskOutput::Inline(bytes) => {
                    match stored::plane_for(run, attempt, index, bytes.len() as u64) {
                        Some(plane) => self.put(plane, &bytes.into(), 1),
                        None => publish_bytes(bytes, run),
                    }
                }
                TaskOutput::Buffer(handle) => self.publish_buffer(handle, (attempt, index), run),
            };
            match done {
                Ok((location, transfer)) => {
                    published.push(Output { location });
                    transfers.push(transfer);
                }
                Err(failure) => {
                    // Nobody will hear of the outputs before this one.
                    for Output { location } in &published {
                        stored::free(run, location);
                    }
                    return Err(failure);
                }
            }
        }
        Ok((published, transfers))
    }

    fn publish_buffer(
        &mut self,
        handle: Resource<OutputHandle>,
        (attempt, index): (&Attempt, usize),
        run: &RunContext,
    ) -> Result<(Location, Transfer), Failure> {
        let state = self.store.data_mut();
        let buffer = state
            .table
            .delete(handle)
            .map_err(|error| payload_error(&error))?;
        let (segment, way, copies) = match buffer {
            OutputHandle::Window(key) => {
                let segment = state
                    .windows
                    .finish_output(key)
                    .map_err(|error| payload_error(&error))?;
                (segment, Way::Mapped, 0)
            }
            OutputHandle::Written(segment) => (segment, Way::Copied, 1),
            OutputHandle::Buffered(buffered) => {
                let segment = self.fill(buffered)?;
                (segment, Way::Copied, 1)
            }
        };
        let bytes = segment.len();
        let segment = run
            .store
            .publish(segment)
            .map_err(|error| payload_error(&error))?;
        if let Some(plane) = stored::plane_for(run, attempt, index, bytes)
            && !plane.is_shared_memory()
        {
            // Read where it is, and gone with the last who reads it.
            run.store.free(segment.id());
            let whole = stored::bytes_of(&segment).map_err(|error| payload_error(&error))?;
            return self.put(plane, &whole, copies);
        }
        let transfer = Transfer {
            bytes,
            bytes_moved: bytes,
            way,
            copies,
        };
        Ok((Location::Segment(segment.reference()), transfer))
    }

    /// Copies an output from guest memory.
    fn fill(&mut self, buffered: Buffered) -> Result<WritableSegment, Failure> {
        match buffered.fill(self.store.data_mut()) {
            Ok(Ok(segment)) => Ok(segment),
            Ok(Err(_)) => {
                let reason = self.store.data().payload_failure.clone();
                let reason = reason.unwrap_or_else(|| "the payload cannot be written".to_owned());
                Err(Failure::new(OutcomeKind::PayloadError, reason))
            }
            // Cancelled, or out of time.
            Err(error) => Err(classify::failure(&error, self.store.data(), None)),
        }
    }

    /// Puts an output into the transformer's store; `copies` were made of it before.
    fn put(
        &self,
        plane: &DataPlane,
        bytes: &Bytes,
        copies: u8,
    ) -> Result<(Location, Transfer), Failure> {
        let state = self.store.data();
        let location = stored::put(plane, bytes, state.caller, &state.control)?;
        let bytes = bytes.len() as u64;
        let transfer = Transfer {
            bytes,
            bytes_moved: bytes,
            way: Way::Stored,
            copies: copies + 1,
        };
        Ok((location, transfer))
    }

    /// Passes on what the guest wrote to its standard streams; gives standard error back.
    fn report_output(&self, sink: &dyn GuestSink) -> Option<String> {
        let state = self.store.data();
        let speaker = state
            .role
            .attempt()
            .map_or(Speaker::Driver, Speaker::Attempt);
        if let Some((text, dropped)) = state.stdout.take() {
            sink.output(speaker, Stream::Stdout, &text, dropped);
        }
        let (text, dropped) = state.stderr.take()?;
        sink.output(speaker, Stream::Stderr, &text, dropped);
        Some(text)
    }
}

/// Kind of the error of a task that gave up because a payload failed.
const PAYLOAD_ERROR: &str = "payload-error";
/// The same, as Rust guests name it when it comes from reading an argument.
const PAYLOAD_ERROR_OF_SDK: &str = "PayloadError";

fn payload_error(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(OutcomeKind::PayloadError, error.to_string())
}

/// Small results stay in the message; larger ones that were not built in a segment are written to one.
fn publish_bytes(bytes: Vec<u8>, run: &RunContext) -> Result<(Location, Transfer), Failure> {
    let len = bytes.len() as u64;
    if len <= run.inline_max_bytes {
        let transfer = Transfer {
            bytes: len,
            bytes_moved: len,
            way: Way::Inline,
            copies: 1,
        };
        return Ok((Location::Inline(bytes.into()), transfer));
    }
    let mut segment = run
        .store
        .create(len)
        .map_err(|error| payload_error(&error))?;
    segment
        .write_at(0, &bytes)
        .map_err(|error| payload_error(&error))?;
    let segment = run
        .store
        .publish(segment)
        .map_err(|error| payload_error(&error))?;
    let transfer = Transfer {
        bytes: len,
        bytes_moved: len,
        way: Way::Copied,
        copies: 2,
    };
    Ok((Location::Segment(segment.reference()), transfer))
}

/// CPU time of this thread, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
