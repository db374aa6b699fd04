//! Numbers for Prometheus. Names and units are as it asks for: seconds, bytes, `_total`.

use crate::traces::SpanCounts;
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::AtomicU64,
};
use taps_engine::{OutcomeKind, WorkerId};
use taps_payload::Transfer;
use taps_records::{LogEvent, Reading, Record, RunStarted, way_name};
use taps_report::Facts;

/// Most task names that are told apart, and what those beyond are called together.
const NAMES: usize = 100;
const OTHER_NAMES: &str = "(other names)";

/// Labels of one series.
type Labels = Vec<(&'static str, String)>;

/// Sums by what they are of.
type Sums<K> = BTreeMap<K, u64>;

/// What the log has told so far.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: Option<Box<RunStarted>>,
    submitted: u64,
    ended: Sums<&'static str>,
    memoized: u64,
    attempts: Sums<String>,
    retried: u64,
    recomputed: u64,
    failures: Sums<String>,
    workers: HashSet<WorkerId>,
    workers_lost: u64,
    /// Bytes and copied bytes, by direction and way.
    payloads: BTreeMap<(&'static str, &'static str), (u64, u64)>,
    /// How long the tasks of each name ran: all, and one by one.
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    by_name: BTreeMap<String, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: None,
            submitted: 0,
            ended: Sums::new(),
            memoized: 0,
            attempts: Sums::new(),
            retried: 0,
            recomputed: 0,
            failures: Sums::new(),
            workers: HashSet::new(),
            workers_lost: 0,
            payloads: BTreeMap::new(),
            // From 0.1 ms to 7 minutes.
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1e-4, 4.0, 12))
            }),
            by_name: BTreeMap::new(),
        }
    }
}

impl Reading for Metrics {
    fn event(&mut self, event: &LogEvent) {
        match event {
            LogEvent::RunStarted(started) => self.started = Some(started.clone()),
            LogEvent::Submitted { .. } => self.submitted += 1,
            LogEvent::WorkerJoined(worker) => {
                self.workers.insert(worker.id);
            }
            LogEvent::WorkerLost { worker, .. } => {
                self.workers.remove(worker);
                self.workers_lost += 1;
            }
            _ => {}
        }
    }

    fn record(&mut self, record: Record<'_>) {
        let outcome = record.outcome();
        let has_attempt = record.dispatched_ns().is_some() || record.report().is_some();
        if has_attempt {
            *self.attempts.entry(outcome.to_string()).or_default() += 1;
            self.recomputed += u64::from(record.generation() > 0);
        }
        if record.is_last() {
            *self.ended.entry(state(outcome)).or_default() += 1;
            self.memoized += u64::from(record.is_memoized());
            if outcome != OutcomeKind::Ok {
                *self.failures.entry(outcome.to_string()).or_default() += 1;
            }
        } else if outcome != OutcomeKind::Ok {
            self.retried += 1;
        }
        if let Some(report) = record.report() {
            self.travelled("input", &report.inputs);
            self.travelled("output", &report.outputs);
        }
        if let Some(function_ns) = Facts::of(record).function_ns() {
            self.durations(record.name())
                .observe(function_ns as f64 / 1e9);
        }
    }

    fn open(&mut self, _: Record<'_>) {}
}

/// How a task that ended so is counted.
fn state(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Ok => "succeeded",
        OutcomeKind::UpstreamFailed => "upstream-failed",
        OutcomeKind::Cancelled => "cancelled",
        _ => "failed",
    }
}

impl Metrics {
    fn travelled(&mut self, direction: &'static str, transfers: &[Transfer]) {
        for transfer in transfers {
            let key = (direction, way_name(transfer.way));
            let (bytes, copied) = self.payloads.entry(key).or_default();
            *bytes = bytes.saturating_add(transfer.bytes);
            let copies = u64::from(transfer.copies);
            *copied = copied.saturating_add(transfer.bytes_moved.saturating_mul(copies));
        }
    }

    fn durations(&mut self, name: &str) -> &Histogram {
        let is_known = self.by_name.contains_key(name);
        let name = if is_known || self.by_name.len() < NAMES {
            name
        } else {
            OTHER_NAMES
        };
        let all = &self.durations;
        let made = || all.get_or_create_owned(&vec![("task", name.to_owned())]);
        self.by_name.entry(name.to_owned()).or_insert_with(made)
    }

    /// The text, with what the caller knows besides: tasks of which an attempt is out, tasks that wait for one, and
    /// what became of spans.
    pub(crate) fn text(&self, out: u64, waiting: u64, spans: Option<SpanCounts>) -> String {
        let mut registry = Registry::with_prefix("taps");
        self.of_run(&mut registry);
        self.of_tasks(&mut registry, out, waiting);
        self.of_payloads(&mut registry);
        if let Some(spans) = spans {
            let mut counter = |name: &str, help: &str, count| {
                registry.register(name, help, ConstCounter::new(count));
            };
            counter(
                "spans_exported",
                "Spans that the collector took",
                spans.exported,
            );
            counter(
                "spans_dropped",
                "Spans that did not reach the collector",
                spans.dropped,
            );
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    fn of_run(&self, registry: &mut Registry) {
        if let Some(run) = &self.started {
            let labels = [
                ("app", run.app.clone()),
                ("app_version", run.app_version.clone()),
                ("executor", run.executor.clone()),
                ("host", run.host.clone()),
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ];
            registry.register("run", "What runs", Info::new(labels.to_vec()));
            let slots = ConstGauge::new(i64::from(run.slots));
            registry.register("slots", "Worker slots that were asked for", slots);
            let start_s = ConstGauge::new(run.start_unix_ns as f64 / 1e9);
            let help = "When the run began, since 1970";
            registry.register_with_unit("run_start_time", help, Unit::Seconds, start_s);
        }
        let workers = gauge(self.workers.len() as u64);
        registry.register("workers", "Workers that are there", workers);
        let lost = ConstCounter::new(self.workers_lost);
        registry.register("workers_lost", "Workers that were lost", lost);
    }

    fn of_tasks(&self, registry: &mut Registry, out: u64, waiting: u64) {
        let mut counter = |name: &str, help: &str, count| {
            registry.register(name, help, ConstCounter::new(count));
        };
        counter("tasks_submitted", "Tasks submitted", self.submitted);
        counter(
            "tasks_memoized",
            "Tasks that had the outputs of an earlier run",
            self.memoized,
        );
        counter(
            "retries",
            "Attempts without outputs that another followed",
            self.retried,
        );
        counter(
            "attempts_recomputed",
            "Attempts that made outputs again which were lost",
            self.recomputed,
        );
        registry.register(
            "tasks_running",
            "Tasks of which an attempt is out",
            gauge(out),
        );
        registry.register(
            "tasks_waiting",
            "Tasks that wait for parents or for a slot",
            gauge(waiting),
        );
        let ended = ["succeeded", "failed", "upstream-failed", "cancelled"]
            .map(|state| (state, self.ended.get(state).copied().unwrap_or(0)));
        let help = "Tasks that ended, by how";
        registry.register("tasks_ended", help, family("state", ended));
        let help = "Attempts that ended, by outcome";
        registry.register("attempts", help, by_outcome(&self.attempts));
        let help = "Tasks that ended without outputs, by outcome";
        registry.register("task_failures", help, by_outcome(&self.failures));
        registry.register_with_unit(
            "task_duration",
            "How long task functions ran, by name of the task",
            Unit::Seconds,
            self.durations.clone(),
        );
    }

    fn of_payloads(&self, registry: &mut Registry) {
        let (all, copied) = (Counters::default(), Counters::default());
        for ((direction, way), (bytes, bytes_copied)) in &self.payloads {
            let labels = vec![
                ("direction", (*direction).to_owned()),
                ("way", (*way).to_owned()),
            ];
            all.get_or_create(&labels).inc_by(*bytes);
            copied.get_or_create(&labels).inc_by(*bytes_copied);
        }
        let help = "Payloads of attempts, by direction and way of travel";
        registry.register_with_unit("payload", help, Unit::Bytes, all);
        let help = "Bytes of payloads that were copied: moved, times copies";
        registry.register_with_unit("payload_copied", help, Unit::Bytes, copied);
    }
}

type Counters = Family<Labels, Counter<u64, AtomicU64>>;

/// Counts with one label.
fn family(label: &'static str, counts: impl IntoIterator<Item = (&'static str, u64)>) -> Counters {
    let family = Counters::default();
    for (value, count) in counts {
        let labels = vec![(label, value.to_owned())];
        family.get_or_create(&labels).inc_by(count);
    }
    family
}

fn by_outcome(counts: &Sums<String>) -> Counters {
    let family = Counters::default();
    for (outcome, count) in counts {
        let labels = vec![("outcome", outcome.clone())];
        family.get_or_create(&labels).inc_by(*count);
    }
    family
}

/// A number of things that are there now.
fn gauge(number: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_begun_has_numbers() {
        let spans = SpanCounts {
            exported: 5,
            dropped: 2,
        };
        let text = Metrics::default().text(1, 2, Some(spans));
        for line in [
            "taps_tasks_submitted_total 0",
            "taps_tasks_running 1",
            "taps_tasks_waiting 2",
            "taps_tasks_ended_total{state=\"failed\"} 0",
            "taps_spans_dropped_total 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn names_beyond_the_limit_are_one() {
        let mut metrics = Metrics::default();
        for name in 0..1_000 {
            metrics.durations(&format!("task-{name}"));
        }
        assert_eq!(metrics.by_name.len(), NAMES + 1);
        metrics.durations("task-999").observe(3.0);
        let text = metrics.text(0, 0, None);
        let line = "taps_task_duration_seconds_count{task=\"(other names)\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
