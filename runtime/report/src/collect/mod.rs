//! Makes a model of a log that streams by.

mod attempt;
mod finish;
mod snapshot;

use crate::{
    facts::{Facts, Sink},
    histogram::Histogram,
    lineage::Lineage,
    model::{Counts, Flow, Loss, Memory, NameStatistics, OpenRow, Phase, Worker},
    sample::{LAST, OPEN, RETRIED, Sample},
    series::{Counts as Bins, Largest, Overlap},
};
use std::collections::HashMap;
use taps_engine::TaskId;
use taps_records::LogEvent;

/// Bins of the charts over time.
const BINS: usize = 1_024;
/// Bins of the load of each worker.
const COARSE_BINS: usize = 256;
/// Most workers that are told apart.
const WORKERS_LIMIT: usize = 1_024;
/// Most task names that are told apart.
const NAMES_LIMIT: usize = 500;
/// What those beyond are called together.
const OTHER_NAMES: &str = "(other names)";
/// Most rows of failures, and of open tasks.
const ROWS_LIMIT: usize = 1_000;
/// Longest message that is shown, in characters.
const MESSAGE_CHARS: usize = 2_000;
/// Most losses that are listed of a worker.
const LOSSES_LIMIT: usize = 50;
/// Most phases and resumptions.
const MARKS_LIMIT: usize = 1_000;

/// What a log has told so far.
pub(crate) struct Collector {
    /// Worker slots of the run.
    pub(crate) slots: u32,
    /// Whether an attempt carried a fault.
    pub(crate) faults: bool,
    end_ns: u64,
    makespan_ns: Option<(u64, u64)>,
    names: Vec<String>,
    name_places: HashMap<String, u32>,
    by_name: Vec<NameStatistics>,
    durations: Vec<Histogram>,
    workers: Vec<Worker>,
    worker_places: HashMap<u32, usize>,
    loads: Vec<Overlap>,
    workers_beyond: bool,
    phases: Vec<Phase>,
    resumes_s: Vec<f64>,
    series: Series,
    counts: Counts,
    parts: Parts,
    lineage: Lineage,
    sample: Sample,
    flow: Flow,
    memory: Memory,
    failures: crate::model::Failures,
}

#[derive(Clone)]
struct Series {
    submitted: Bins,
    succeeded: Bins,
    failed: Bins,
    retried: Bins,
    running: Overlap,
    waiting: Overlap,
    input_bytes: Bins,
    output_bytes: Bins,
    memory: Largest,
}

/// Sums in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Parts {
    resolve: u64,
    prepare: u64,
    compute: u64,
    program: u64,
    store: u64,
    unknown: u64,
    lost: u64,
    cpu: u64,
    parents: u64,
    queue: u64,
    deliver: u64,
    report: u64,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            slots: 0,
            faults: false,
            end_ns: 0,
            makespan_ns: None,
            names: Vec::new(),
            name_places: HashMap::new(),
            by_name: Vec::new(),
            durations: Vec::new(),
            workers: Vec::new(),
            worker_places: HashMap::new(),
            loads: Vec::new(),
            workers_beyond: false,
            phases: Vec::new(),
            resumes_s: Vec::new(),
            series: Series {
                submitted: Bins::new(BINS),
                succeeded: Bins::new(BINS),
                failed: Bins::new(BINS),
                retried: Bins::new(BINS),
                running: Overlap::new(BINS),
                waiting: Overlap::new(BINS),
                input_bytes: Bins::new(BINS),
                output_bytes: Bins::new(BINS),
                memory: Largest::new(BINS),
            },
            counts: Counts::default(),
            parts: Parts::default(),
            lineage: Lineage::default(),
            sample: Sample::default(),
            flow: Flow::default(),
            memory: Memory::default(),
            failures: crate::model::Failures::default(),
        }
    }
}

impl Sink for Collector {
    fn event(&mut self, event: &LogEvent) {
        match event {
            LogEvent::RunStarted(started) => self.slots = started.slots,
            LogEvent::Submitted {
                task,
                name,
                parents,
                time_ns,
                ..
            } => self.submitted(*task, name, parents, *time_ns),
            LogEvent::WorkerJoined(info) => {
                let joined_s = seconds(self.end_ns);
                if let Some(place) = self.worker(info.id.0) {
                    let worker = &mut self.workers[place];
                    worker.host = Some(info.host.clone());
                    worker.joined_s.get_or_insert(joined_s);
                }
            }
            LogEvent::WorkerLost {
                worker,
                reason,
                time_ns,
            } => self.worker_lost(worker.0, reason, *time_ns),
            LogEvent::Phase { name, time_ns } => {
                self.at(*time_ns);
                if self.phases.len() < MARKS_LIMIT {
                    let (name, time_s) = (short(name), seconds(*time_ns));
                    self.phases.push(Phase { name, time_s });
                }
            }
            other => self.event_besides(other),
        }
    }

    fn record(&mut self, facts: &Facts<'_>) {
        self.take(facts);
    }

    fn open(&mut self, facts: &Facts<'_>) {
        self.left_open(facts);
    }
}

impl Collector {
    /// A task that was submitted.
    fn submitted(&mut self, task: TaskId, name: &str, parents: &[TaskId], time_ns: u64) {
        self.at(time_ns);
        self.counts.submitted += 1;
        self.series.submitted.add(time_ns, 1);
        let name = self.name(name);
        self.lineage.submitted(task, name, parents);
        let (begin, end) = self.makespan_ns.unwrap_or((time_ns, time_ns));
        self.makespan_ns = Some((begin.min(time_ns), end));
    }

    /// An attempt, or a task without one, that ended.
    fn take(&mut self, record: &Facts<'_>) {
        let name = self.name(record.name);
        let last = if record.is_last { LAST } else { RETRIED };
        let known_ns = record.known_ns;
        self.at(known_ns);
        self.count(record, name);
        if record.dispatched_ns.is_some() || record.report.is_some() {
            self.attempt(record, name);
        }
        if record.failure.is_some() {
            self.failure(record, name);
        }
        if record.is_last {
            let run_ns = record.function_ns().unwrap_or(0);
            let ok = record.failure.is_none();
            self.lineage
                .ended(record.task, record.parents, run_ns, known_ns, ok);
            if let Some((_, end)) = &mut self.makespan_ns {
                *end = known_ns.max(*end);
            }
        }
        self.sample.add(record, name, last);
    }

    /// A task that is not finished, with the attempt that is out.
    fn left_open(&mut self, record: &Facts<'_>) {
        let name = self.name(record.name);
        self.counts.open += 1;
        let out_since = record.dispatched_ns;
        let end_ns = self.end_ns;
        match out_since {
            Some(since_ns) => {
                self.series.running.add(since_ns, end_ns);
                add(&mut self.parts.unknown, end_ns.saturating_sub(since_ns));
                self.busy(record.worker.map(|worker| worker.0), since_ns, end_ns);
            }
            None => self.series.waiting.add(record.submitted_ns, end_ns),
        }
        if self.failures.open.len() < ROWS_LIMIT {
            self.failures.open.push(OpenRow {
                task: record.task.0,
                name: self.names[name as usize].clone(),
                submitted_s: seconds(record.submitted_ns),
                attempt: record.attempt,
                worker: record.worker.map(|worker| worker.0),
            });
        }
        self.sample.add(record, name, OPEN);
    }

    fn at(&mut self, time_ns: u64) {
        self.end_ns = self.end_ns.max(time_ns);
    }

    fn event_besides(&mut self, event: &LogEvent) {
        match event {
            LogEvent::Resumed { time_ns, .. } => {
                self.at(*time_ns);
                if self.resumes_s.len() < MARKS_LIMIT {
                    self.resumes_s.push(seconds(*time_ns));
                }
            }
            LogEvent::AttemptStarted { time_ns, fault, .. } => {
                self.at(*time_ns);
                self.faults |= fault.is_some();
            }
            LogEvent::RunFinished { time_ns, .. }
            | LogEvent::AttemptReturned { time_ns, .. }
            | LogEvent::Ending { time_ns }
            | LogEvent::OutputsLost { time_ns, .. }
            | LogEvent::Delivered { time_ns, .. } => self.at(*time_ns),
            _ => {}
        }
    }

    fn worker_lost(&mut self, worker: u32, reason: &str, time_ns: u64) {
        self.at(time_ns);
        self.counts.workers_lost += 1;
        if let Some(place) = self.worker(worker) {
            let worker = &mut self.workers[place];
            worker.losses += 1;
            if worker.lost.len() < LOSSES_LIMIT {
                let (time_s, reason) = (seconds(time_ns), short(reason));
                worker.lost.push(Loss { time_s, reason });
            }
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(&place) = self.name_places.get(name) {
            return place;
        }
        let name = if self.names.len() < NAMES_LIMIT {
            name
        } else {
            OTHER_NAMES
        };
        if let Some(&place) = self.name_places.get(name) {
            return place;
        }
        let place = self.names.len() as u32;
        self.names.push(short(name));
        self.name_places.insert(name.to_owned(), place);
        self.by_name.push(NameStatistics::default());
        self.durations.push(Histogram::default());
        place
    }

    fn worker(&mut self, id: u32) -> Option<usize> {
        if let Some(&place) = self.worker_places.get(&id) {
            return Some(place);
        }
        if self.workers.len() >= WORKERS_LIMIT {
            self.workers_beyond = true;
            return None;
        }
        let place = self.workers.len();
        self.workers.push(Worker {
            id,
            ..Worker::default()
        });
        self.loads.push(Overlap::new(COARSE_BINS));
        self.worker_places.insert(id, place);
        Some(place)
    }

    fn busy(&mut self, worker: Option<u32>, from_ns: u64, to_ns: u64) {
        if let Some(place) = worker.and_then(|worker| self.worker(worker)) {
            self.loads[place].add(from_ns, to_ns);
            let worker = &mut self.workers[place];
            worker.attempts += 1;
            worker.busy_s += seconds(to_ns.saturating_sub(from_ns));
        }
    }
}

/// Adds to a sum that stays at its largest: times of a log may be anything.
fn add(sum: &mut u64, time_ns: u64) {
    *sum = sum.saturating_add(time_ns);
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(time_ns: u64) -> f64 {
    time_ns as f64 / 1e9
}

/// The beginning of a text.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
