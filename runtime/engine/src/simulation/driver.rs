//! The driver's part, and the course of a simulation.

use super::random::Random;
use super::world::World;
use super::{Plan, Summary};
use crate::core::{
    Action, ArgumentSpec, Core, Event, PayloadKey, RetryPolicy, SubmitError, TaskOptions, TaskSpec,
};
use crate::{Argument, AttemptReport, Failure, Limits, OutcomeKind, OutputId, TaskId};
use taps_payload::Location;
use taps_schema::Kernels;

/// Steps after which a simulation that does not end is taken to be stuck.
const MAX_STEPS: u64 = 200_000;

/// A simulation in progress.
pub(super) struct Driver<'a> {
    pub(super) plan: &'a Plan,
    pub(super) random: Random,
    pub(super) core: Core,
    pub(super) world: World,
    /// Outputs that each task declares, by submission.
    pub(super) declared: Vec<u32>,
    /// Reports to be delivered again.
    pub(super) reports: Vec<AttemptReport>,
    /// Futures that the driver holds.
    futures: Vec<TaskId>,
    handles: Vec<OutputId>,
    held: Vec<PayloadKey>,
    pub(super) now_ns: u64,
    events: u64,
    failed: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            random: Random::new(plan.seed ^ 0x5eed),
            core: core(plan),
            world: World::default(),
            declared: Vec::new(),
            reports: Vec::new(),
            futures: Vec::new(),
            handles: Vec::new(),
            held: Vec::new(),
            now_ns: 0,
            events: 0,
            failed: false,
        }
    }

    /// Gives the core an event, and checks everything.
    pub(super) fn handle(&mut self, event: Event) {
        self.handle_and_check(event, false);
    }

    /// The same for a report that the core has seen.
    pub(super) fn handle_resent(&mut self, event: Event) {
        self.handle_and_check(event, true);
    }

    fn handle_and_check(&mut self, event: Event, resent: bool) {
        let mut actions = Vec::new();
        self.core.handle(self.now_ns, event, &mut actions);
        self.check(actions, resent);
    }

    fn check(&mut self, actions: Vec<Action>, resent: bool) {
        self.events += 1;
        // Mostly a moment, now and then long enough for anybody's patience.
        let long = self.random.chance(100);
        self.now_ns += if long { 2_000_000 } else { 100_000 };
        self.core.sanity_check();
        self.world.apply(&self.core, actions, resent);
    }

    /// The whole simulation.
    pub(super) fn play(mut self) -> Summary {
        let late = self.random.chance(200);
        for worker in 0..self.plan.workers {
            if !late {
                self.join(worker);
            }
        }
        let mut steps = 0;
        while self.declared.len() < self.plan.tasks && !self.failed {
            self.step();
            steps += 1;
            assert!(steps < MAX_STEPS, "the run does not get on");
        }
        self.drain();
        self.leave();
        Summary {
            digest: self.world.digest,
            events: self.events,
            counts: self.core.counts(),
            queued: self.world.queued,
            recalled: self.world.recalled.len() as u64,
            returned: self.world.returned,
        }
    }

    fn step(&mut self) {
        let rates = self.plan.rates;
        let places = self.plan.capabilities.places;
        if places && self.random.chance(rates.worker_loss) {
            self.change_worker(true);
        }
        if self.random.chance(rates.rejoin) || self.world.workers.is_empty() {
            self.change_worker(false);
        }
        if self.random.chance(rates.cancel) {
            let task = TaskId(self.random.below(self.declared.len() + 1) as u64);
            self.handle(Event::Cancel(task));
        }
        if self.random.chance(rates.cancel_all) {
            self.handle(Event::CancelAll);
        }
        if self.random.chance(rates.output_loss) && !self.declared.is_empty() {
            self.lose_outputs();
        }
        if self.random.chance(rates.late_report) {
            self.deliver_late();
        }
        if self.random.chance(rates.recall_answer) {
            self.answer_recall();
        }
        if self.random.chance(rates.unasked_return) {
            self.return_one();
        }
        if self.random.chance(rates.release) {
            self.release_one();
        }
        if self.random.chance(rates.handle) {
            self.change_handle();
        }
        if self.random.chance(rates.executor_failure) {
            self.failed = true;
            let failure = Failure::new(OutcomeKind::EngineError, "simulated");
            self.handle(Event::ExecutorFailed(failure));
        }
        self.tick();
        if self.random.chance(500) && !self.failed {
            self.submit();
        } else {
            self.finish_one();
        }
    }

    fn tick(&mut self) {
        if let Some(due_ns) = self.core.next_timer_ns()
            && (due_ns <= self.now_ns || self.world.flights.is_empty())
        {
            self.now_ns = self.now_ns.max(due_ns);
            let now_ns = self.now_ns;
            self.handle(Event::Tick);
            let overdue = self.core.next_timer_ns().filter(|&due| due <= now_ns);
            assert_eq!(overdue, None, "a tick at {now_ns} leaves things undone");
        }
    }

    fn submit(&mut self) {
        let spec = self.spec();
        let declared = spec.outputs;
        let allowed = self.core.can_submit();
        let before = self.core.counts().submitted;
        let value_bytes = spec.arguments.iter().find_map(|argument| match argument {
            ArgumentSpec::Value(value) => Some(value.location.clone()),
            _ => None,
        });
        let mut actions = Vec::new();
        match self.core.submit(self.now_ns, spec, &mut actions) {
            Ok(task) => {
                assert!(allowed, "task {task} was taken against back-pressure");
                let injected = actions
                    .iter()
                    .any(|action| matches!(action, Action::ParentInjected { .. }));
                let first = before + u64::from(injected);
                assert_eq!(task.0, first, "ids are submissions, counted");
                self.declared.extend(injected.then_some(1));
                self.declared.push(declared);
                self.futures.push(task);
            }
            Err(error) => {
                let full = matches!(error, SubmitError::Full { .. });
                assert_eq!(full, !allowed, "back-pressure: {error}");
                assert!(actions.is_empty(), "a refused task acts: {actions:?}");
                assert_eq!(self.core.counts().submitted, before, "refused, but counted");
                // What was refused belongs to the caller.
                if let Some(bytes) = value_bytes {
                    self.world.lose(&bytes);
                }
            }
        }
        self.check(actions, false);
    }

    fn spec(&mut self) -> TaskSpec {
        let names = ["a", "b", "c"];
        let mut arguments = Vec::new();
        for _ in 0..self.random.below(self.plan.fan_in + 1) {
            let reach = self.plan.reach.min(self.futures.len());
            let back = 1 + self.random.below(reach);
            let Some(&task) = self.futures.iter().rev().nth(back - 1) else {
                break;
            };
            let reachable = if self.random.chance(100) { 4 } else { 1 };
            let index = self.random.below(reachable) as u32;
            arguments.push(ArgumentSpec::Output(OutputId { task, index }));
        }
        if let Some(&key) = self.random.pick(&self.held)
            && self.random.chance(300)
        {
            arguments.push(ArgumentSpec::Held(key));
        }
        if self.random.chance(300) {
            let location = self.world.publish(false);
            arguments.push(ArgumentSpec::Value(payload(location)));
        }
        TaskSpec {
            name: names[self.random.below(names.len())].into(),
            component: 0,
            task: 0,
            arguments,
            options: self.options(),
            limits: Limits::default(),
            kernels: Kernels::Host,
            outputs: self.random.below(4) as u32,
            media_type: "application/octet-stream".into(),
            done: None,
        }
    }

    fn options(&mut self) -> TaskOptions {
        let mut options = TaskOptions::default();
        if !self.random.chance(self.plan.rates.options) {
            return options;
        }
        options.priority = [-1, 0, 1][self.random.below(3)];
        options.cores = self.random.below(4) as u32;
        options.memory_bytes = self.random.below(3) as u64 * 60;
        if self.random.chance(200) {
            options.resources = vec![("gpu".to_owned(), 1)];
        }
        if self.random.chance(200) {
            options.retries = Some(self.random.below(3) as u32);
        }
        if self.random.chance(100) {
            options.retry = Some(RetryPolicy {
                retries: 2,
                backoff_ms: 5,
                ..RetryPolicy::default()
            });
        }
        options
    }

    fn release_one(&mut self) {
        if self.random.chance(20) {
            let task = TaskId(self.random.next_u64());
            self.handle(Event::Release(task));
        }
        if self.futures.is_empty() {
            return;
        }
        let index = self.random.below(self.futures.len());
        let task = self.futures.remove(index);
        self.handle(Event::Release(task));
    }

    fn change_handle(&mut self) {
        match self.random.below(4) {
            0 => {
                let Some(&task) = self.random.pick(&self.futures) else {
                    return;
                };
                let index = self.random.below(2) as u32;
                let output = OutputId { task, index };
                let lost = self.world.lost_outputs.contains(&output);
                if lost || self.core.output(output).is_some() {
                    self.handles.push(output);
                    self.handle(Event::PayloadAcquired(output));
                }
            }
            1 if !self.handles.is_empty() => {
                let index = self.random.below(self.handles.len());
                let output = self.handles.remove(index);
                self.handle(Event::PayloadReleased(output));
            }
            2 => {
                let location = self.world.publish(false);
                let key = self.core.hold(payload(location));
                self.held.push(key);
            }
            3 if !self.held.is_empty() => {
                let index = self.random.below(self.held.len());
                let key = self.held.remove(index);
                self.handle(Event::HeldReleased(key));
            }
            _ => {}
        }
    }

    /// Lets everything that was submitted come to its end.
    fn drain(&mut self) {
        let mut steps = 0_u64;
        loop {
            for worker in 0..self.plan.workers {
                if !self
                    .world
                    .workers
                    .contains_key(&crate::WorkerId(worker as u32))
                {
                    self.join(worker);
                }
            }
            self.tick();
            if self.world.flights.is_empty() && self.core.next_timer_ns().is_none() {
                break;
            }
            if self.random.chance(self.plan.rates.recall_answer) {
                self.answer_recall();
            }
            self.finish_one();
            steps += 1;
            assert!(steps < MAX_STEPS, "the run does not end");
        }
        if self.core.counts().outstanding > 0 {
            // Demands that were taken before workers were known, and that none can meet.
            let counts = self.core.counts();
            assert!(counts.ready > 0, "nothing is ready, nothing is out");
            self.handle(Event::CancelAll);
        }
        let all = self.declared.len();
        assert_eq!(self.world.completed.len(), all, "tasks completed");
        let counts = self.core.counts();
        let ended = counts.succeeded + counts.failed + counts.cancelled;
        assert_eq!(ended, all as u64, "tasks counted as ended");
        for &task in &self.futures {
            let status = self.core.status(task).expect("the driver holds it");
            assert!(status.is_terminal(), "task {task} did not end");
        }
    }

    /// Drops everything, and checks that nothing remains.
    fn leave(&mut self) {
        for _ in 0..self.futures.len() + self.handles.len() + self.held.len() {
            while !self.futures.is_empty() {
                let index = self.random.below(self.futures.len());
                let task = self.futures.remove(index);
                self.handle(Event::Release(task));
            }
            if let Some(output) = self.handles.pop() {
                self.handle(Event::PayloadReleased(output));
            }
            if let Some(key) = self.held.pop() {
                self.handle(Event::HeldReleased(key));
            }
        }
        assert_eq!(self.core.counts().tasks_held, 0, "tasks are left over");
        let bytes = self.world.has_live_bytes();
        assert_eq!(bytes, None, "bytes are left over");
    }
}

/// The core of a simulation.
fn core(plan: &Plan) -> Core {
    let mut core = Core::new(plan.settings, plan.seed, plan.capabilities);
    if let Some(faults) = &plan.faults {
        core.inject(faults.clone(), Some((1, 0)));
    }
    core
}

fn payload(location: Location) -> Argument {
    Argument {
        location,
        media_type: "application/octet-stream".into(),
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "simulation failed after {} events; plan: {:#?}",
                self.events, self.plan
            );
        }
    }
}
