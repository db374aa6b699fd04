//! The records of a run, made into rows while they stream by.

use super::{Rows, Value, definition::Of};
use crate::sparse::Seen;
use std::collections::BTreeMap;
use std::{borrow::Cow, collections::HashMap};
use taps_engine::{AttemptReport, Instantiation, OutcomeKind, TaskId};
use taps_payload::Transfer;
use taps_records::{LogEvent, WallClock, way_name};
use taps_report::{Facts, Sink, Streamed, Told};

/// Version of the tables.
const FORMAT: i64 = 1;
/// What most tasks are submitted with: priority and cores.
const USUAL: (i32, u32) = (0, 1);
/// Outcome of what the records leave open.
const OPEN: &str = "open";

/// A worker, of which there is a row at the end.
#[derive(Clone, Debug, Default)]
struct Worker {
    host: Option<String>,
    cores: Option<u32>,
    memory_bytes: Option<u64>,
    joined_ns: Option<u64>,
    losses: u64,
    attempts: u64,
    busy_ns: u64,
}

/// Makes rows. What it keeps: two bits for each task, what few tasks were submitted with, the workers.
pub(super) struct Fold<'a, R> {
    rows: &'a mut R,
    wall: WallClock,
    submitted: Seen,
    ended: Seen,
    /// Priority and cores of open tasks that have others than most.
    unusual: HashMap<TaskId, (i32, u32)>,
    workers: BTreeMap<u32, Worker>,
    attempts: i64,
    failures: i64,
    events: i64,
    repeated: u64,
    first_ns: Option<u64>,
    last_ns: Option<u64>,
    latest_ns: u64,
}

impl<'a, R: Rows> Fold<'a, R> {
    pub(super) fn new(rows: &'a mut R) -> Self {
        Self {
            rows,
            wall: WallClock::default(),
            submitted: Seen::default(),
            ended: Seen::default(),
            unusual: HashMap::new(),
            workers: BTreeMap::new(),
            attempts: 0,
            failures: 0,
            events: 0,
            repeated: 0,
            first_ns: None,
            last_ns: None,
            latest_ns: 0,
        }
    }

    /// Writes the rows of what is known only at the end.
    pub(super) fn finish(mut self, told: &Told, streamed: &Streamed, notes: &mut Vec<String>) {
        for (id, worker) in std::mem::take(&mut self.workers) {
            self.rows.row(
                Of::Workers,
                &[
                    Value::Integer(id.into()),
                    Value::said(worker.host.as_deref()),
                    Value::maybe(worker.cores),
                    Value::maybe(worker.memory_bytes),
                    Value::maybe(worker.joined_ns),
                    Value::number(worker.losses),
                    Value::number(worker.attempts),
                    Value::number(worker.busy_ns),
                ],
            );
        }
        if self.repeated > 0 {
            let count = self.repeated;
            notes.push(format!(
                "{count} records tell of a task what was told of it before, and were left out"
            ));
        }
        self.run(told, streamed, notes);
    }

    fn run(&mut self, told: &Told, streamed: &Streamed, notes: &[String]) {
        let started = &told.started;
        let makespan_ns = self.first_ns.map(|first_ns| {
            let last_ns = self.last_ns.unwrap_or(first_ns);
            last_ns.saturating_sub(first_ns)
        });
        let environment = streamed.environment.as_ref().map(ToString::to_string);
        self.rows.row(
            Of::Run,
            &[
                Value::Integer(FORMAT),
                Value::Text(env!("CARGO_PKG_VERSION")),
                Value::Text(&started.app),
                Value::Text(&started.app_version),
                Value::Text(&started.executor),
                Value::Integer(started.slots.into()),
                Value::Text(&started.seed.to_string()),
                Value::Text(&started.host),
                Value::number(started.start_unix_ns),
                Value::Text(told.state),
                Value::signed(told.exit_code),
                Value::said(told.error.as_deref()),
                Value::said(told.report.as_deref()),
                Value::number(self.latest_ns),
                Value::maybe(makespan_ns),
                Value::maybe(told.damaged_at),
                Value::said(streamed.config.as_deref()),
                Value::said(environment.as_deref()),
                Value::Text(&notes.join("\n")),
            ],
        );
    }

    fn submission(&mut self, task: TaskId, parents: &[TaskId], time_ns: u64) {
        self.at(time_ns);
        let first_ns = self.first_ns.unwrap_or(time_ns);
        self.first_ns = Some(first_ns.min(time_ns));
        if !self.submitted.insert(task.0) {
            self.repeated += 1;
            return;
        }
        for (position, parent) in (0..).zip(parents) {
            self.rows.row(
                Of::Dependencies,
                &[
                    Value::number(task.0),
                    Value::Integer(position),
                    Value::number(parent.0),
                ],
            );
        }
    }

    fn note(&mut self, kind: &str, time_ns: u64, worker: Option<u32>, text: Option<&str>) {
        self.at(time_ns);
        self.events += 1;
        self.rows.row(
            Of::Events,
            &[
                Value::Integer(self.events),
                Value::number(time_ns),
                Value::number(self.wall.at(time_ns)),
                Value::Text(kind),
                Value::maybe(worker),
                Value::said(text),
            ],
        );
    }

    fn at(&mut self, time_ns: u64) {
        self.latest_ns = self.latest_ns.max(time_ns);
    }

    /// The row of an attempt, and those of what it moved and ran; gives its number.
    fn attempt(&mut self, facts: &Facts<'_>, outcome: &str, ended_ns: Option<u64>) -> i64 {
        self.attempts += 1;
        let id = self.attempts;
        let report = facts.report;
        let times = report.map(|report| report.timeline).unwrap_or_default();
        let (input_bytes, output_bytes, copies) = sums(report);
        let notes = report.map_or(Cow::Borrowed(""), |report| report.notes.join("\n").into());
        self.rows.row(
            Of::Attempts,
            &[
                Value::Integer(id),
                Value::number(facts.task.0),
                Value::maybe(facts.attempt),
                Value::Integer(facts.tries.into()),
                Value::Integer(facts.generation.into()),
                Value::Boolean(facts.is_last),
                Value::maybe(facts.worker.map(|worker| worker.0)),
                Value::said(facts.host),
                Value::Text(outcome),
                Value::said(facts.injected),
                Value::said(report.map(|report| instance(report.instantiation))),
                Value::maybe(report.map(|report| report.executions)),
                Value::maybe(facts.dispatched_ns),
                Value::reached(times.received),
                Value::reached(times.inputs[0]),
                Value::reached(times.inputs[1]),
                Value::reached(times.task_start),
                Value::reached(times.task_end),
                Value::reached(times.results[0]),
                Value::reached(times.results[1]),
                Value::reached(times.finished),
                Value::maybe(ended_ns),
                Value::maybe(report.map(|report| report.cpu_ns)),
                Value::maybe(report.map(|report| report.peak_memory_bytes)),
                Value::number(input_bytes),
                Value::number(output_bytes),
                Value::number(copies),
                Value::said(Some(&*notes).filter(|notes| !notes.is_empty())),
            ],
        );
        if let Some(worker) = facts.worker {
            let worker = self.workers.entry(worker.0).or_default();
            if ended_ns.is_some() {
                worker.attempts += 1;
                let (from_ns, to_ns) = facts.on_worker_ns();
                worker.busy_ns = worker.busy_ns.saturating_add(to_ns.saturating_sub(from_ns));
            }
        }
        if let Some(report) = report {
            self.transfers(id, "input", &report.inputs);
            self.transfers(id, "output", &report.outputs);
            self.programs(id, report);
        }
        id
    }

    fn transfers(&mut self, attempt: i64, direction: &str, transfers: &[Transfer]) {
        for (position, transfer) in (0..).zip(transfers) {
            self.rows.row(
                Of::Transfers,
                &[
                    Value::Integer(attempt),
                    Value::Text(direction),
                    Value::Integer(position),
                    Value::number(transfer.bytes),
                    Value::number(transfer.bytes_moved),
                    Value::Text(way_name(transfer.way)),
                    Value::Integer(transfer.copies.into()),
                ],
            );
        }
    }

    fn programs(&mut self, attempt: i64, report: &AttemptReport) {
        for (position, used) in (0..).zip(&report.programs) {
            self.rows.row(
                Of::Programs,
                &[
                    Value::Integer(attempt),
                    Value::Integer(position),
                    Value::Text(&used.program),
                    Value::signed(used.exit),
                    Value::signed(used.signal),
                    Value::said(used.killed.as_deref()),
                    Value::number(used.wall_ns),
                    Value::number(used.cpu_user_ns),
                    Value::number(used.cpu_system_ns),
                    Value::number(used.peak_memory_bytes),
                    Value::number(used.input_bytes),
                    Value::number(used.output_bytes),
                ],
            );
        }
    }

    fn failure(&mut self, facts: &Facts<'_>, attempt: Option<i64>) {
        let Some(failure) = facts.failure else {
            return;
        };
        let (exit, signal) = match failure.outcome {
            OutcomeKind::ProgramError { exit, signal } => (exit, signal),
            _ => (None, None),
        };
        self.failures += 1;
        self.rows.row(
            Of::Failures,
            &[
                Value::Integer(self.failures),
                Value::number(facts.task.0),
                attempt.map_or(Value::Null, Value::Integer),
                Value::Text(failure.outcome.name()),
                Value::Text(&failure.kind),
                Value::Text(&failure.message),
                Value::said(failure.detail.as_deref()),
                Value::signed(exit),
                Value::signed(signal),
                Value::said(facts.injected),
                Value::Boolean(!facts.is_last),
                Value::number(facts.known_ns),
            ],
        );
    }

    fn task(
        &mut self,
        facts: &Facts<'_>,
        attempt: Option<i64>,
        outcome: &str,
        ended_ns: Option<u64>,
    ) {
        let (priority, cores) = self.unusual.remove(&facts.task).unwrap_or(USUAL);
        let (input_bytes, output_bytes, _) = sums(facts.report);
        self.rows.row(
            Of::Tasks,
            &[
                Value::number(facts.task.0),
                Value::Text(facts.name),
                Value::said(facts.label),
                Value::said(facts.phase),
                Value::Text(outcome),
                attempt.map_or(Value::Null, Value::Integer),
                Value::Integer(facts.tries.into()),
                Value::Boolean(facts.is_memoized),
                Value::Integer(priority.into()),
                Value::Integer(cores.into()),
                Value::number(facts.parents.len() as u64),
                Value::number(facts.submitted_ns),
                Value::number(self.wall.at(facts.submitted_ns)),
                Value::maybe(ended_ns),
                Value::maybe(facts.function_ns()),
                Value::number(input_bytes),
                Value::number(output_bytes),
            ],
        );
    }
}

impl<R: Rows> Sink for Fold<'_, R> {
    fn event(&mut self, event: &LogEvent) {
        match event {
            LogEvent::RunStarted(started) => {
                self.wall.set(0, started.start_unix_ns);
                self.note("run-started", 0, None, None);
            }
            LogEvent::Submitted {
                task,
                parents,
                options,
                time_ns,
                ..
            } => {
                let asked = (options.priority, options.cores.max(1));
                if asked != USUAL {
                    self.unusual.insert(*task, asked);
                }
                self.submission(*task, parents, *time_ns);
            }
            LogEvent::WorkerJoined(info) => {
                let joined_ns = self.latest_ns;
                let worker = self.workers.entry(info.id.0).or_default();
                worker.host = Some(info.host.clone());
                worker.cores = Some(info.cores);
                worker.memory_bytes = Some(info.memory_bytes);
                worker.joined_ns.get_or_insert(joined_ns);
                self.note("worker-joined", joined_ns, Some(info.id.0), None);
            }
            LogEvent::WorkerLost {
                worker,
                reason,
                time_ns,
            } => {
                self.workers.entry(worker.0).or_default().losses += 1;
                self.note("worker-lost", *time_ns, Some(worker.0), Some(reason));
            }
            LogEvent::Phase { name, time_ns } => self.note("phase", *time_ns, None, Some(name)),
            LogEvent::Resumed { time_ns, unix_ns } => {
                self.wall.set(*time_ns, *unix_ns);
                self.note("resumed", *time_ns, None, None);
            }
            LogEvent::Ending { time_ns } => self.note("ending", *time_ns, None, None),
            LogEvent::OutputsLost { outputs, time_ns } => {
                let count = outputs.len().to_string();
                self.note("outputs-lost", *time_ns, None, Some(&count));
            }
            LogEvent::RunFinished { time_ns, .. } => {
                self.note("run-finished", *time_ns, None, None);
            }
            LogEvent::AttemptStarted { time_ns, .. }
            | LogEvent::AttemptReturned { time_ns, .. }
            | LogEvent::Delivered { time_ns, .. } => self.at(*time_ns),
            _ => {}
        }
    }

    fn record(&mut self, facts: &Facts<'_>) {
        self.at(facts.known_ns);
        if facts.is_last && !self.ended.insert(facts.task.0) {
            self.repeated += 1;
            return;
        }
        let outcome = facts.outcome().name();
        let ended_ns = Some(facts.known_ns);
        let attempt = (facts.dispatched_ns.is_some() || facts.report.is_some())
            .then(|| self.attempt(facts, outcome, ended_ns));
        self.failure(facts, attempt);
        if facts.is_last {
            self.last_ns = self.last_ns.max(Some(facts.known_ns));
            self.task(facts, attempt, outcome, ended_ns);
        }
    }

    fn open(&mut self, facts: &Facts<'_>) {
        let attempt = facts.dispatched_ns.map(|_| self.attempt(facts, OPEN, None));
        // One that ended before and runs again has its row.
        if self.ended.insert(facts.task.0) {
            self.task(facts, attempt, OPEN, None);
        }
    }
}

/// Bytes of arguments and of results, and copies of both.
fn sums(report: Option<&AttemptReport>) -> (u64, u64, u64) {
    let Some(report) = report else {
        return (0, 0, 0);
    };
    let bytes = |transfers: &[Transfer]| {
        let sizes = transfers.iter().map(|transfer| transfer.bytes);
        sizes.fold(0, u64::saturating_add)
    };
    let all = report.inputs.iter().chain(&report.outputs);
    let copies = all.map(|transfer| u64::from(transfer.copies)).sum();
    (bytes(&report.inputs), bytes(&report.outputs), copies)
}

fn instance(instantiation: Instantiation) -> &'static str {
    match instantiation {
        Instantiation::Fresh => "fresh",
        Instantiation::Prewarmed => "prewarmed",
        Instantiation::Reused => "reused",
        Instantiation::None => "none",
    }
}
