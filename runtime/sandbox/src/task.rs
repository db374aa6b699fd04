//! Running attempts in sandboxes.

use crate::{
    CancelToken, Control, LoadedComponent, RunContext, State, classify,
    error::SandboxError,
    faults::{Disturbance, FaultRoutes, Killer},
    live::Live,
    programs::AttemptPrograms,
    publish::Ran,
    state::Role,
    stored,
};
use serde::{Deserialize, Serialize};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use taps_bundle::{Instances, Manifest};
use taps_engine::{
    Attempt, AttemptReport, Failure, FaultPlan, Instantiation, OutcomeKind, ProgramUse, Timeline,
    WorkerId,
};
use taps_payload::Transfer;

/// Where the sandbox of a task comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstancePolicy {
    /// A new one for each task.
    #[default]
    Fresh,
    /// As the manifest says of the task's component; a new one for each task where it says nothing.
    Auto,
    /// A new one for each task, made while the worker was idle or busy with the one before.
    Prewarmed,
    /// One per worker and component, kept until it traps. Tasks of an app see each other's leavings.
    Reuse,
}

impl InstancePolicy {
    /// What it is for a component.
    fn of(self, manifest: &Manifest, component: usize) -> Self {
        if self != Self::Auto {
            return self;
        }
        let entry = manifest.components.get(component);
        match entry.and_then(|entry| entry.instances) {
            Some(Instances::Prewarmed) => Self::Prewarmed,
            Some(Instances::Reuse) => Self::Reuse,
            Some(Instances::Fresh) | None => Self::Fresh,
        }
    }
}

/// What the workers of a run share: its components, ready to run.
pub struct TaskRuntime {
    components: Vec<LoadedComponent>,
    run: Arc<RunContext>,
    /// By component; never [`InstancePolicy::Auto`].
    policies: Vec<InstancePolicy>,
    /// What each task may reach, by component and index.
    reach: Vec<Vec<Reach>>,
    statistics: Statistics,
    notes: Vec<String>,
    /// Where the tasks are that faults put in the place of others.
    pub(crate) faults: FaultRoutes,
    /// Ends processes for a fault, where workers are processes.
    pub(crate) killer: Option<Killer>,
    /// Where the first task lives, for sandboxes made before any task came: not the driver's component.
    first_component: usize,
}

/// What a task may reach beyond its arguments.
#[derive(Clone, Default)]
struct Reach {
    grants: Vec<crate::Grant>,
    programs: Arc<[String]>,
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
        let mut reach = vec![Vec::new(); components.len()];
        for (task, route) in manifest.app.tasks.iter().zip(&manifest.routes) {
            let of_component: &mut Vec<Reach> = &mut reach[route.component as usize];
            let index = route.task as usize;
            if of_component.len() <= index {
                of_component.resize_with(index + 1, Reach::default);
            }
            of_component[index] = Reach {
                grants: granted(&task.grants),
                programs: task.programs.as_slice().into(),
            };
        }
        let policies = (0..components.len())
            .map(|index| policy.of(manifest, index))
            .collect();
        Ok(Self {
            components,
            run,
            policies,
            reach,
            statistics: Statistics::default(),
            notes: Vec::new(),
            faults: FaultRoutes::of(manifest),
            killer: None,
            first_component: manifest
                .routes
                .first()
                .map_or(0, |route| route.component as usize),
        })
    }

    /// What a task may reach; none when the bundle has no such task.
    fn reach_of(&self, attempt: &Attempt) -> Option<&Reach> {
        let tasks = self.reach.get(attempt.component as usize)?;
        tasks.get(attempt.task as usize)
    }

    /// Adds a note to the record of every attempt, on how this run differs from what was asked for.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Lets faults end processes: for workers that are processes.
    #[must_use]
    pub fn with_killer(mut self, killer: Killer) -> Self {
        self.killer = Some(killer);
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
    pub(crate) runtime: Arc<TaskRuntime>,
    pub(crate) id: WorkerId,
    /// A sandbox kept for the next task of each component.
    spare: Vec<Option<Live>>,
    last_component: usize,
}

/// What is noted of an attempt on its way.
pub(crate) struct Course {
    pub(crate) timeline: Timeline,
    inputs: Vec<Transfer>,
    digests: Vec<Option<u64>>,
    lost_inputs: Vec<u32>,
    instantiation: Instantiation,
    peak_memory_bytes: u64,
    pub(crate) injected: Option<FaultPlan>,
    programs: Vec<ProgramUse>,
}

impl Course {
    fn new(received: u64) -> Self {
        Self {
            timeline: Timeline {
                received,
                ..Timeline::default()
            },
            inputs: Vec::new(),
            digests: Vec::new(),
            lost_inputs: Vec::new(),
            instantiation: Instantiation::None,
            peak_memory_bytes: 0,
            injected: None,
            programs: Vec::new(),
        }
    }

    /// A sandbox was used, made in this way. The first one counts.
    pub(crate) fn used(&mut self, instantiation: Instantiation, peak_memory_bytes: u64) {
        if self.instantiation == Instantiation::None {
            self.instantiation = instantiation;
        }
        self.peak_memory_bytes = self.peak_memory_bytes.max(peak_memory_bytes);
    }
}

impl TaskWorker {
    /// Runs an attempt; a panic of the runtime itself is an outcome like others.
    pub fn run_caught(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport {
        let worker = self.id;
        let run = AssertUnwindSafe(|| self.run(attempt, token));
        catch_unwind(run)
            .unwrap_or_else(|panic| AttemptReport::of_panic(attempt.id, worker, panic.as_ref()))
    }

    /// Runs an attempt to its end, whatever that is.
    pub fn run(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport {
        let mut course = Course::new(self.runtime.run.now_ns());
        let cpu_before = thread_cpu_ns();
        let deadline = attempt
            .limits
            .timeout_ms
            .map(|limit| Instant::now() + Duration::from_millis(limit));
        let control = Control::new(token.clone(), deadline);
        let ran = match attempt.fault {
            None => self.run_task(attempt, &control, &mut Disturbance::none(), &mut course),
            Some(plan) => self.run_with_fault(attempt, plan, &control, &mut course),
        };
        course.timeline.finished = self.runtime.run.now_ns();
        let (result, outputs) = match ran {
            Ok((outputs, transfers)) => (Ok(outputs), transfers),
            Err(failure) => (Err(failure), Vec::new()),
        };
        let payload_error =
            matches!(&result, Err(failure) if failure.outcome == OutcomeKind::PayloadError);
        AttemptReport {
            id: attempt.id,
            worker: self.id,
            result,
            timeline: course.timeline,
            inputs: course.inputs,
            outputs,
            digests: course.digests,
            lost_inputs: if payload_error {
                course.lost_inputs
            } else {
                Vec::new()
            },
            instantiation: course.instantiation,
            cpu_ns: thread_cpu_ns().saturating_sub(cpu_before),
            peak_memory_bytes: course.peak_memory_bytes,
            injected: course.injected,
            executions: 1,
            programs: course.programs,
            notes: self.runtime.notes.clone(),
        }
    }

    /// Runs the task of an attempt to its end, or to where a fault disturbs it.
    pub(crate) fn run_task(
        &mut self,
        attempt: &Attempt,
        control: &Control,
        disturbance: &mut Disturbance,
        course: &mut Course,
    ) -> Ran {
        let caller = stored::caller(self.id, attempt);
        let tickets = stored::prefetch(&self.runtime.run, attempt, caller);
        let (mut live, instantiation) = self.sandbox_for(attempt, control.clone())?;
        let listed = self.runtime.reach_of(attempt).map(|reach| &reach.programs);
        let state = live.store.data_mut();
        state.caller = caller;
        state.programs = AttemptPrograms::new(disturbance);
        state.listed = listed.cloned().unwrap_or_default();
        let ran = live.call(attempt, tickets, disturbance, &mut course.timeline);
        let state = live.store.data_mut();
        course.inputs = std::mem::take(&mut state.inputs);
        course.digests = std::mem::take(&mut state.digests);
        course.lost_inputs = std::mem::take(&mut state.lost_inputs);
        course.programs.extend(state.programs.take_uses());
        disturbance.crashed(&state.programs);
        course.used(instantiation, state.memory.peak);
        self.retire(attempt, live, ran.is_ok() && !disturbance.discards());
        ran
    }

    /// Makes the sandbox of the next task ahead of time, where the policy says so. Called by an idle
    /// worker, and after each task.
    pub fn prewarm(&mut self) {
        let component = self.last_component;
        let policy = self.runtime.policies[component];
        if policy != InstancePolicy::Prewarmed || self.spare[component].is_some() {
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
        let Some(Reach { grants, .. }) = runtime.reach_of(attempt) else {
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
            let instantiation = if self.runtime.policies[component] == InstancePolicy::Reuse {
                statistics.reused.fetch_add(1, Ordering::Relaxed);
                Instantiation::Reused
            } else {
                statistics.prewarmed.fetch_add(1, Ordering::Relaxed);
                Instantiation::Prewarmed
            };
            return Ok((live, instantiation));
        }
        let live = self.fresh(attempt, control, grants)?;
        Ok((live, Instantiation::Fresh))
    }

    /// A sandbox made for an attempt.
    pub(crate) fn fresh(
        &self,
        attempt: &Attempt,
        control: Control,
        grants: &[crate::Grant],
    ) -> Result<Live, Failure> {
        let fresh = &self.runtime.statistics.fresh;
        fresh.fetch_add(1, Ordering::Relaxed);
        let role = Role::Task {
            id: attempt.id,
            seed: attempt.seed,
            kernels: attempt.kernels,
        };
        let limits = (attempt.limits.memory_bytes, attempt.limits.window_bytes);
        let component = attempt.component as usize;
        self.instantiate(component, role, control, limits, grants)
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
        let mut store = loaded.new_store(state, None);
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
        if self.runtime.policies[attempt.component as usize] != InstancePolicy::Reuse {
            return;
        }
        if succeeded {
            live.store.data_mut().windows.clear();
            // Directories stay open in a sandbox: one with grants must not reach a task without.
            if (self.runtime.reach_of(attempt)).is_some_and(|reach| reach.grants.is_empty()) {
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

/// CPU time of this thread, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
