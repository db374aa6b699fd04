//! Runs of random graphs that are killed at any step and go on in a new core, over many seeds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use taps_engine::core::{
    Action, ArgumentSpec, Core, Event, FaultSettings, OwnRetries, Past, PastEnd, RetryPolicy,
    Settings, TaskOptions, TaskSpec, TaskStatus, task_seed,
};
use taps_engine::{
    Attempt, AttemptId, AttemptReport, Capabilities, Failure, FaultAction, Limits, OutcomeKind,
    Output, OutputId, Running, TaskId, WorkerId, WorkerInfo,
};
use taps_payload::{Location, SegmentId, SegmentRef};
use taps_schema::Kernels;

/// Seeds tried by default; `TAPS_RESUME_SEEDS=start..end` asks for others.
const SEEDS: std::ops::Range<u64> = 0..2000;
const WORKERS: u32 = 3;
const RETRIES: u32 = 2;

fn seeds() -> std::ops::Range<u64> {
    let Ok(asked) = std::env::var("TAPS_RESUME_SEEDS") else {
        return SEEDS;
    };
    let (start, end) = asked.split_once("..").expect("start..end");
    start.parse().expect("a number")..end.parse().expect("a number")
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 += 1;
        task_seed(self.0, "dice", self.0) % bound
    }
}

/// A graph, and what its tasks do: both decided by a seed.
struct Program {
    seed: u64,
    parents: Vec<Vec<TaskId>>,
    faults: bool,
}

/// How tasks ended: with outputs, or not.
type Ends = BTreeMap<TaskId, bool>;

/// What a log would hold.
#[derive(Clone, Default)]
struct Log {
    past: HashMap<TaskId, Past>,
    killers: BTreeSet<AttemptId>,
    events: u64,
}

impl Program {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let tasks = 1 + dice.below(25);
        let parents = (0..tasks).map(|task| {
            let count = dice.below(3).min(task);
            (0..count).map(|_| TaskId(dice.below(task))).collect()
        });
        Self {
            parents: parents.collect(),
            seed,
            faults: seed.is_multiple_of(3),
        }
    }

    /// Whether a try of a task fails: nothing but the seed decides.
    fn fails(&self, task: TaskId, tried: u32) -> bool {
        task_seed(self.seed, "fails", task.0 << 8 | u64::from(tried)) % 100 < 25
    }

    fn core(&self) -> Core {
        let settings = Settings {
            default_retry: RetryPolicy {
                retries: RETRIES,
                own: OwnRetries::default()
                    .with("worker-lost", 1000)
                    .expect("an outcome"),
                ..RetryPolicy::default()
            },
            crash_limit: 1000,
            lineage: true,
            ..Settings::default()
        };
        let places = Capabilities {
            places: true,
            keeps_results: false,
            cancels_running: true,
            kills_workers: true,
            sees_host_paths: true,
            reports_worker_loss: true,
        };
        let mut core = Core::new(settings, self.seed, places);
        if self.faults {
            let faults = FaultSettings {
                actions: vec![FaultAction::WorkerKilled, FaultAction::Failure],
                rate: 0.3,
                seed: self.seed,
                ..FaultSettings::default()
            };
            core.inject(faults, None);
        }
        core
    }

    fn spec(&self, task: usize) -> TaskSpec {
        let arguments = self.parents[task].iter();
        let arguments = arguments.map(|&task| ArgumentSpec::Output(OutputId { task, index: 0 }));
        TaskSpec {
            name: "task".into(),
            component: 0,
            task: 0,
            arguments: arguments.collect(),
            options: TaskOptions::default(),
            limits: Limits::default(),
            kernels: Kernels::Host,
            outputs: 1,
            media_type: "raw".into(),
            done: None,
        }
    }

    /// Runs until the end, or until so many events were logged.
    fn live(&self, log: &mut Log, kill_at: u64, dice: &mut Dice) -> Option<Ends> {
        let mut life = Life {
            program: self,
            core: self.core(),
            flights: Vec::new(),
            log,
        };
        life.core.remember(life.log.past.clone());
        for worker in 0..WORKERS {
            life.join(worker);
        }
        for task in 0..self.parents.len() {
            let mut actions = Vec::new();
            let spec = self.spec(task);
            let id = life
                .core
                .submit(0, spec, &mut actions)
                .expect("it is taken");
            assert_eq!(id, TaskId(task as u64));
            life.carry_out(actions);
        }
        while !life.flights.is_empty() {
            if life.log.events >= kill_at {
                return None;
            }
            life.step(dice);
        }
        Some(life.read_all(dice))
    }
}

struct Life<'a> {
    program: &'a Program,
    core: Core,
    flights: Vec<(WorkerId, Attempt)>,
    log: &'a mut Log,
}

impl Life<'_> {
    fn handle(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.core.handle(0, event, &mut actions);
        self.core.sanity_check();
        self.carry_out(actions);
    }

    fn join(&mut self, worker: u32) {
        self.handle(Event::WorkerJoined(WorkerInfo {
            id: WorkerId(worker),
            host: "here".into(),
            cores: 1,
            memory_bytes: 100,
            resources: Vec::new(),
            look_ahead: worker,
        }));
    }

    fn past(&mut self, task: TaskId) -> &mut Past {
        self.log.events += 1;
        self.log.past.entry(task).or_default()
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Dispatch { worker, attempt } => {
                    let generation = attempt.generation;
                    let id = attempt.id;
                    let past = self.past(id.task);
                    assert_eq!(past.attempts, id.number, "numbers go on");
                    past.attempts = id.number + 1;
                    past.generation = generation;
                    if attempt.fault.is_some_and(|fault| fault.action.kills()) {
                        self.log.killers.insert(id);
                    }
                    self.flights.push((worker.expect("placed"), attempt));
                }
                Action::AttemptReturned { attempt } => {
                    self.past(attempt.task).returned += 1;
                    self.flights.retain(|(_, flight)| flight.id != attempt);
                }
                Action::AttemptLost { attempt, .. } => {
                    let kills = self.log.killers.contains(&attempt);
                    let past = self.past(attempt.task);
                    past.crashes += 1;
                    past.tries += u32::from(kills);
                    past.retried.push(OutcomeKind::WorkerLost);
                    self.flights.retain(|(_, flight)| flight.id != attempt);
                }
                Action::Completed {
                    task,
                    failed: Some(failed),
                } => {
                    let failure = (*failed.failure).clone();
                    self.past(task).end = Some(PastEnd::Failed(failure));
                }
                _ => {}
            }
        }
    }

    /// One of the attempts ends, or takes its worker with it.
    fn step(&mut self, dice: &mut Dice) {
        let chosen = dice.below(self.flights.len() as u64) as usize;
        let (worker, _) = self.flights[chosen];
        let (_, attempt) = self
            .flights
            .iter()
            .find(|(on, _)| *on == worker)
            .expect("there is one")
            .clone();
        let kills = attempt.fault.is_some_and(|fault| fault.action.kills());
        if kills || dice.below(100) < 5 {
            self.handle(Event::WorkerLost {
                worker,
                reason: "killed".into(),
                running: Running::Attempt(attempt.id),
            });
            self.join(worker.0);
            return;
        }
        self.flights.retain(|(_, flight)| flight.id != attempt.id);
        let past = self.past(attempt.id.task);
        let tried = past.tries;
        past.tries += 1;
        let again = matches!(past.end, Some(PastEnd::Succeeded { .. }));
        let fails =
            !again && (attempt.fault.is_some() || self.program.fails(attempt.id.task, tried));
        let result = if fails {
            let past = self.past(attempt.id.task);
            past.retried.push(OutcomeKind::TaskError);
            Err(Failure::new(OutcomeKind::TaskError, "by its seed"))
        } else {
            let output = Output {
                location: Location::Segment(SegmentRef {
                    id: SegmentId(self.log.events),
                    len: 1,
                }),
            };
            self.past(attempt.id.task).end = Some(PastEnd::Succeeded {
                outputs: vec![output.clone()],
                lost: Vec::new(),
            });
            Ok(vec![output])
        };
        let report = AttemptReport::bare(attempt.id, worker, result);
        self.handle(Event::Finished(Box::new(report)));
    }

    /// The driver reads all results; those that were lost are made again.
    fn read_all(mut self, dice: &mut Dice) -> Ends {
        let mut ends = Ends::new();
        for task in (0..self.program.parents.len() as u64).map(TaskId) {
            let output = OutputId { task, index: 0 };
            self.handle(Event::PayloadAcquired(output));
            while !self.flights.is_empty() {
                self.step(dice);
            }
            let status = self.core.status(task).expect("the driver holds it");
            let ok = matches!(status, TaskStatus::Succeeded { .. });
            assert!(status.is_terminal(), "task {task} did not end");
            assert_eq!(
                self.core.output(output).is_some(),
                ok,
                "task {task} has its output"
            );
            ends.insert(task, ok);
        }
        ends
    }
}

/// The killed run's results are gone, but for some that were kept.
fn lose_results(log: &mut Log, dice: &mut Dice) {
    let mut tasks: Vec<TaskId> = log.past.keys().copied().collect();
    tasks.sort_unstable();
    for task in tasks {
        if let Some(Past {
            end: Some(PastEnd::Succeeded { lost, .. }),
            ..
        }) = log.past.get_mut(&task)
            && dice.below(2) == 0
        {
            *lost = vec![0];
        }
    }
}

#[test]
fn a_run_that_is_killed_anywhere_ends_as_if_it_had_not_been() {
    let mut recomputed = 0;
    for seed in seeds() {
        let program = Program::new(seed);
        let mut whole = Log::default();
        let ends = program
            .live(&mut whole, u64::MAX, &mut Dice(seed))
            .expect("it is not killed");
        let mut dice = Dice(seed ^ 0x5eed);
        let mut log = Log::default();
        let mut lives = 0;
        let resumed = loop {
            let kill_at = match lives {
                0..4 => log.events + 1 + dice.below(whole.events.max(1)),
                _ => u64::MAX,
            };
            let order = Dice(seed + lives);
            match program.live(&mut log, kill_at, &mut { order }) {
                Some(ends) => break ends,
                None => lose_results(&mut log, &mut dice),
            }
            lives += 1;
            recomputed += 1;
        };
        assert_eq!(resumed, ends, "seed {seed}, killed {lives} times");
    }
    assert!(recomputed > 0);
}
