//! Faults, acted out around and within the sandbox of an attempt.
//!
//! ```text
//!   before             mid                                  after
//!     │  task function  │╌╌╌╌ interrupted, or returned ╌╌╌╌╌╌│  outputs published
//!     ▼                 ▼                                    ▼
//!   the fault's own code in a fresh sandbox, a pause, or the end of a process
//! ```
//!
//! The task that is hit runs as far as the point says; then its partial work is gone with its sandbox,
//! and the fault's own task, real code as any other (`guest-apps/faults`), runs under the same limits,
//! deadline, token and seed. A task that fails by itself before its fault could strike keeps its own
//! failure: a fault hides nothing.

use crate::{
    Control, Grant, Interrupted, classify,
    programs::AttemptPrograms,
    publish::Ran,
    task::{Course, TaskWorker},
};
use rustc_hash::FxHashMap;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use taps_bundle::{FAULT_PREFIX, Manifest, TaskRoute};
use taps_engine::core::INJECTED_PARENT;
use taps_engine::{
    Attempt, Failure, FaultAction, FaultActor, FaultPlan, FaultPoint, Instantiation, OutcomeKind,
    Timeline,
};

/// Ends processes as a fault says, this one among them. Where it returns it could not, and says why.
pub type Killer = Arc<dyn Fn(FaultAction) -> String + Send + Sync>;

/// Where the tasks of faults are, by name without [`FAULT_PREFIX`].
#[derive(Debug, Default)]
pub(crate) struct FaultRoutes(FxHashMap<String, TaskRoute>);

impl FaultRoutes {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let tasks = manifest.app.tasks.iter().zip(&manifest.routes);
        let faults = tasks.filter_map(|(task, route)| {
            let name = task.name.strip_prefix(FAULT_PREFIX)?;
            Some((name.to_owned(), *route))
        });
        Self(faults.collect())
    }
}

/// What a fault does to the task that it hits, and whether it has done it.
#[derive(Debug)]
pub struct Disturbance {
    kind: Kind,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nothing,
    /// The task is ended after a time, at the latest when it returns; what it made is discarded.
    End(Duration),
    /// What the task made is discarded.
    Discard,
    /// The worker stands still: after a time, at the latest when the task returns.
    Stall {
        after: Option<Duration>,
        pause: Duration,
    },
    /// A bit of the first output that has any is flipped, chosen by a seed.
    Spoil(u64),
    /// The first program that the task runs gets a signal that ends it.
    CrashProgram,
}

impl Disturbance {
    /// None: the task runs to its end.
    pub fn none() -> Self {
        Self::new(Kind::Nothing)
    }

    /// Ends the task at the point of the plan, and discards what it made; none where it is not to begin.
    pub fn ending(plan: FaultPlan) -> Option<Self> {
        match plan.point {
            FaultPoint::Before => None,
            FaultPoint::Mid => Some(Self::new(Kind::End(mid(plan)))),
            FaultPoint::After => Some(Self::new(Kind::Discard)),
        }
    }

    /// Makes the worker stand still at the point of the plan; none where the task has not begun.
    pub fn stalling(plan: FaultPlan) -> Option<Self> {
        let after = match plan.point {
            FaultPoint::Before => return None,
            FaultPoint::Mid => Some(mid(plan)),
            FaultPoint::After => None,
        };
        let pause = pause(plan);
        Some(Self::new(Kind::Stall { after, pause }))
    }

    /// Flips a bit of the first output that has any.
    pub fn spoiling(plan: FaultPlan) -> Self {
        Self::new(Kind::Spoil(plan.seed))
    }

    /// Makes the first program that the task runs crash.
    pub fn crashing_a_program() -> Self {
        Self::new(Kind::CrashProgram)
    }

    /// Whether the first program is to crash.
    pub fn crashes_a_program(&self) -> bool {
        matches!(self.kind, Kind::CrashProgram)
    }

    /// Notes whether it did.
    pub fn crashed(&mut self, programs: &AttemptPrograms) {
        self.done |= self.crashes_a_program() && programs.has_crashed();
    }

    fn new(kind: Kind) -> Self {
        Self { kind, done: false }
    }

    /// Whether it has happened.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The control of the task function, which begins now; none where it is that of the attempt.
    pub fn within(&self, control: &Control) -> Option<Control> {
        match self.kind {
            Kind::End(after) => Some(control.struck_at(Instant::now() + after)),
            Kind::Stall {
                after: Some(after),
                pause,
            } => Some(control.stalled_at(Instant::now() + after, pause)),
            _ => None,
        }
    }

    /// Notes what happened within the task, whose control this was; gives that of the attempt, where it
    /// is another.
    pub fn note(&mut self, control: &Control) -> Option<Control> {
        self.done |= control.has_struck();
        control.without_strike()
    }

    /// Whether it ended the task before the task did.
    pub fn has_ended_the_task(&self) -> bool {
        self.done && matches!(self.kind, Kind::End(_))
    }

    /// Whether what the task makes is for nobody.
    pub fn discards(&self) -> bool {
        matches!(self.kind, Kind::End(_) | Kind::Discard)
    }

    /// The task returned, and its outputs are about to be published.
    pub fn returned(&mut self, control: &Control) -> Result<(), Interrupted> {
        match self.kind {
            Kind::Stall { pause, .. } if !std::mem::replace(&mut self.done, true) => {
                control.sleep(pause)
            }
            _ => Ok(()),
        }
    }

    /// Whether this output, of so many bytes, is the one to spoil.
    pub fn wants_to_spoil(&self, bytes: u64) -> bool {
        matches!(self.kind, Kind::Spoil(_)) && !self.done && bytes > 0
    }

    /// Flips a bit, if this output is the one.
    pub fn spoil(&mut self, bytes: &mut [u8]) {
        if let Kind::Spoil(seed) = self.kind
            && self.wants_to_spoil(bytes.len() as u64)
        {
            self.done = true;
            flip(bytes, seed);
        }
    }
}

fn mid(plan: FaultPlan) -> Duration {
    Duration::from_micros(plan.mid_us.into())
}

/// How long a worker stands still.
pub fn pause(plan: FaultPlan) -> Duration {
    Duration::from_millis(plan.slow_ms.into())
}

/// Flips one bit of some bytes, chosen by a seed; none where there are no bytes.
fn flip(bytes: &mut [u8], seed: u64) {
    if let Some(bit) = seed.checked_rem(8 * bytes.len() as u64) {
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}

/// The outcome of an attempt whose fault cannot be acted out here.
pub fn cannot(plan: FaultPlan, why: &str) -> Failure {
    let message = format!("fault `{}`: {why}", plan.action);
    Failure::new(OutcomeKind::EngineError, message)
}

impl TaskWorker {
    /// Runs an attempt that carries a fault.
    pub(crate) fn run_with_fault(
        &mut self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        course: &mut Course,
    ) -> Ran {
        match plan.action.actor() {
            FaultActor::Scheduler if &*attempt.name == INJECTED_PARENT => {
                course.injected = Some(plan);
                self.fault_code(attempt, plan, control, course)
            }
            // For the task itself there is nothing to do: its parent is the one that fails.
            FaultActor::Scheduler => {
                self.run_task(attempt, control, &mut Disturbance::none(), course)
            }
            FaultActor::Coordinator => {
                course.injected = Some(plan);
                self.run_task(attempt, control, &mut Disturbance::none(), course)
            }
            FaultActor::Sandbox => {
                // Known before the task has run for nothing.
                self.route(plan)?;
                self.reach(attempt, plan, control, course)?;
                course.injected = Some(plan);
                self.fault_code(attempt, plan, control, course)
            }
            FaultActor::Worker if plan.action == FaultAction::CorruptPayload => {
                let spoiling = Disturbance::spoiling(plan);
                self.disturbed(attempt, plan, control, spoiling, course)
            }
            FaultActor::Worker => self.slow(attempt, plan, control, course),
            FaultActor::Process => {
                let Some(kill) = self.runtime.killer.clone() else {
                    let why = "the workers of this executor are threads of the run's own process; \
                               `process-pool` has processes to kill";
                    return Err(cannot(plan, why));
                };
                self.reach(attempt, plan, control, course)?;
                let why = kill(plan.action);
                Err(cannot(plan, &why))
            }
            // Where the task runs no program, nothing happens, and the report says so.
            FaultActor::Program => {
                let crashing = Disturbance::crashing_a_program();
                self.disturbed(attempt, plan, control, crashing, course)
            }
        }
    }

    /// Runs the task as far as the point of its fault says.
    fn reach(
        &mut self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        course: &mut Course,
    ) -> Result<(), Failure> {
        match Disturbance::ending(plan) {
            None => control.check().map_err(classify::interrupted),
            Some(mut ending) => self
                .run_task(attempt, control, &mut ending, course)
                .map(drop),
        }
    }

    /// Runs the task with something done to it, which the report says if it was.
    fn disturbed(
        &mut self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        mut disturbance: Disturbance,
        course: &mut Course,
    ) -> Ran {
        let ran = self.run_task(attempt, control, &mut disturbance, course);
        course.injected = disturbance.done.then_some(plan);
        ran
    }

    /// The worker stands still at the point, and goes on.
    fn slow(
        &mut self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        course: &mut Course,
    ) -> Ran {
        if let Some(stalling) = Disturbance::stalling(plan) {
            return self.disturbed(attempt, plan, control, stalling, course);
        }
        course.injected = Some(plan);
        control.sleep(pause(plan)).map_err(classify::interrupted)?;
        self.run_task(attempt, control, &mut Disturbance::none(), course)
    }

    fn route(&self, plan: FaultPlan) -> Result<TaskRoute, Failure> {
        let found = self.runtime.faults.0.get(plan.action.name());
        found
            .copied()
            .ok_or_else(|| cannot(plan, "the bundle of this run has no tasks of faults"))
    }

    /// Runs the fault's own task in the place of the attempt's.
    fn fault_code(
        &mut self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        course: &mut Course,
    ) -> Ran {
        const NO_GRANTS: &[Grant] = &[];
        let route = self.route(plan)?;
        let attempt = Attempt {
            component: route.component,
            task: route.task,
            arguments: Vec::new(),
            fault: None,
            ..attempt.clone()
        };
        let mut live = self.fresh(&attempt, control.clone(), NO_GRANTS)?;
        let mut timeline = Timeline::default();
        let mut undisturbed = Disturbance::none();
        let ran = live.call(&attempt, Vec::new(), &mut undisturbed, &mut timeline);
        course.used(Instantiation::Fresh, live.store.data().memory.peak);
        // The time of the task is that of both.
        if course.timeline.task_start == 0 {
            course.timeline.task_start = timeline.task_start;
        }
        course.timeline.task_end = timeline.task_end;
        ran
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_bit_is_flipped() {
        for seed in [0, 1, 7, 8, 1000, u64::MAX] {
            let mut bytes = [0_u8; 5];
            super::flip(&mut bytes, seed);
            let flipped: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(flipped, 1, "{seed}");
        }
        super::flip(&mut [], 3);
    }
}
