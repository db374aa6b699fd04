//! What the log tells, as spans.

use super::{
    exporter::{Batch, Exporter, SpanCounts},
    messages::{
        Event, ExportTraceServiceRequest, KeyValue, Link, Resource, ResourceSpans, Scope,
        ScopeSpans, Span, Status, attribute,
    },
};
use prost::Message as _;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use taps_engine::{Failure, TaskId};
use taps_payload::Transfer;
use taps_records::{LogEvent, Reading, Record, WallClock};

/// Spans that are sent together.
const BATCH: usize = 512;

/// How long spans wait at most for others to be sent with.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most links of a span to those of the tasks that it waited for, and most events of the run's own.
const LINKS: usize = 128;
const EVENTS: usize = 512;

/// Longest message, in characters.
const MESSAGE: usize = 1_000;

/// A span of OpenTelemetry that is neither of a server nor of a client.
const INTERNAL: i32 = 1;
const OK: i32 = 1;
const ERROR: i32 = 2;

/// Names of spans: one trace, and a number for each span in it.
pub(super) struct Names {
    trace: [u8; 16],
    key: u64,
}

impl Names {
    fn new() -> Result<Self, getrandom::Error> {
        let (mut trace, mut key) = ([0; 16], [0; 8]);
        getrandom::fill(&mut trace)?;
        getrandom::fill(&mut key)?;
        Ok(Self {
            trace,
            key: u64::from_le_bytes(key),
        })
    }

    fn run(&self) -> Vec<u8> {
        self.number(0)
    }

    fn task(&self, task: TaskId) -> Vec<u8> {
        self.number(task.0.wrapping_add(1) << 20)
    }

    fn attempt(&self, task: TaskId, attempt: u32) -> Vec<u8> {
        self.number((task.0.wrapping_add(1) << 20) | ((u64::from(attempt) + 1) & 0xf_ffff))
    }

    /// A number for what has that place, which no other place has: every step can be undone.
    fn number(&self, place: u64) -> Vec<u8> {
        let mut bits = place.wrapping_add(self.key);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // None but the one that is no name.
        bits.max(1).to_be_bytes().to_vec()
    }
}

/// How the run ended.
struct Ended {
    ok: bool,
    exit_code: i32,
    error: Option<String>,
    time_ns: u64,
}

/// Makes spans of a log, and sends them.
pub(crate) struct Spans {
    exporter: Exporter,
    names: Names,
    /// What happened before is an earlier life's, which told of it itself.
    from_ns: u64,
    clock: WallClock,
    /// When this life of the run began.
    begun_ns: u64,
    resource: Resource,
    app: String,
    about: Vec<KeyValue>,
    events: Vec<Event>,
    events_left_out: u32,
    ended: Option<Ended>,
    latest_ns: u64,
    pending: Vec<Span>,
    since: Instant,
    /// Until when the exporter is waited for, at the end.
    until: Option<Instant>,
}

impl Spans {
    pub(crate) fn new(
        exporter: Exporter,
        run_dir: &Path,
        from_ns: u64,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            exporter,
            names: Names::new()?,
            from_ns,
            clock: WallClock::default(),
            begun_ns: 0,
            resource: Resource {
                attributes: vec![
                    attribute("service.name", "taps-wasm"),
                    attribute("service.version", env!("CARGO_PKG_VERSION")),
                    attribute("process.pid", u64::from(std::process::id())),
                ],
            },
            app: String::new(),
            about: vec![attribute(
                "taps.run.directory",
                run_dir.display().to_string(),
            )],
            events: Vec::new(),
            events_left_out: 0,
            ended: None,
            latest_ns: from_ns,
            pending: Vec::new(),
            since: Instant::now(),
            until: None,
        })
    }

    /// What became of spans so far.
    pub(crate) fn counts(&self) -> SpanCounts {
        self.exporter.counts()
    }

    /// Sends what has waited long enough.
    pub(crate) fn tick(&mut self) {
        if self.since.elapsed() >= PATIENCE {
            self.flush();
        }
    }

    /// From now on there is nothing more important than that spans go, until that time.
    pub(crate) fn wait_until(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// The log has ended. Sends the span of the run and what is left, until that time.
    pub(crate) fn end(mut self, until: Instant) -> SpanCounts {
        let run = self.run();
        self.add(run);
        self.flush();
        self.exporter.end(until)
    }

    fn add(&mut self, span: Span) {
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        self.pending.push(span);
        if self.pending.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let spans = std::mem::take(&mut self.pending);
        let count = spans.len() as u64;
        let scope = Scope {
            name: "taps-wasm".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        };
        let body = request.encode_to_vec().into();
        let batch = Batch { spans: count, body };
        self.exporter.push(batch, self.until);
    }

    fn event_of_run(&mut self, name: &str, time_ns: u64, attributes: Vec<KeyValue>) {
        if time_ns < self.from_ns {
            return;
        }
        if self.events.len() >= EVENTS {
            self.events_left_out += 1;
            return;
        }
        let event = Event {
            time_unix_nano: self.clock.at(time_ns),
            name: name.to_owned(),
            attributes,
        };
        self.events.push(event);
    }

    /// The span of the run.
    fn run(&mut self) -> Span {
        let ended = self.ended.take();
        let end_ns = ended.as_ref().map_or(self.latest_ns, |ended| ended.time_ns);
        let mut attributes = std::mem::take(&mut self.about);
        let status = ended.map(|ended| {
            let code = i64::from(ended.exit_code);
            attributes.push(attribute("process.exit.code", code));
            if !ended.ok {
                attributes.push(attribute("error.type", "run-failed"));
            }
            Status {
                message: ended.error.as_deref().map_or_else(String::new, short),
                code: if ended.ok { OK } else { ERROR },
            }
        });
        Span {
            trace_id: self.names.trace.to_vec(),
            span_id: self.names.run(),
            name: self.app.clone(),
            kind: INTERNAL,
            start_time_unix_nano: self.clock.at(self.begun_ns),
            end_time_unix_nano: self.clock.at(end_ns),
            attributes,
            events: std::mem::take(&mut self.events),
            dropped_events_count: self.events_left_out,
            status,
            ..Span::default()
        }
    }

    fn attempt(&self, record: Record<'_>, number: u32) -> Span {
        let known_ns = record.received_ns();
        let begun_ns = record.dispatched_ns().unwrap_or(known_ns);
        let mut attributes = vec![
            attribute("taps.task.id", record.task().0),
            attribute("taps.attempt.number", number),
            attribute("taps.attempt.try", record.tries()),
            attribute("taps.outcome", record.outcome().to_string()),
        ];
        if let Some(worker) = record.worker() {
            attributes.push(attribute("taps.worker.id", worker.0));
            attributes.push(attribute("host.name", record.host_of(worker)));
        }
        if record.generation() > 0 {
            attributes.push(attribute("taps.attempt.generation", record.generation()));
        }
        if let Some(fault) = record.injected() {
            attributes.push(attribute("taps.fault.injected", fault.action.name()));
        }
        let mut events = Vec::new();
        if let Some(report) = record.report() {
            attributes.extend([
                attribute("taps.input.bytes", bytes(&report.inputs)),
                attribute("taps.output.bytes", bytes(&report.outputs)),
                attribute("taps.memory.peak_bytes", report.peak_memory_bytes),
                attribute("taps.cpu.seconds", report.cpu_ns as f64 / 1e9),
            ]);
            let times = report.timeline;
            let phases = [
                ("received", times.received),
                ("function.started", times.task_start),
                ("function.returned", times.task_end),
                ("finished", times.finished),
            ];
            let reached = phases.into_iter().filter(|(_, time_ns)| *time_ns > 0);
            events.extend(reached.map(|(name, time_ns)| Event {
                time_unix_nano: record.wall_ns(time_ns),
                name: name.to_owned(),
                attributes: Vec::new(),
            }));
        }
        let end = record.wall_ns(known_ns);
        Span {
            trace_id: self.names.trace.to_vec(),
            span_id: self.names.attempt(record.task(), number),
            parent_span_id: self.names.task(record.task()),
            name: format!("{} attempt", record.name()),
            kind: INTERNAL,
            start_time_unix_nano: record.wall_ns(begun_ns),
            end_time_unix_nano: end,
            status: Some(failed(record.failure(), end, &mut attributes, &mut events)),
            attributes,
            events,
            ..Span::default()
        }
    }

    fn task(&self, record: Record<'_>) -> Span {
        let mut attributes = vec![
            attribute("code.function.name", record.name()),
            attribute("taps.task.id", record.task().0),
            attribute("taps.outcome", record.outcome().to_string()),
        ];
        let texts = [
            ("taps.task.label", record.label()),
            ("taps.phase", record.phase()),
        ];
        for (key, text) in texts {
            attributes.extend(text.map(|text| attribute(key, text)));
        }
        if record.is_memoized() {
            attributes.push(attribute("taps.task.memoized", true));
        }
        let links = record.parents().iter().take(LINKS).map(|parent| Link {
            trace_id: self.names.trace.to_vec(),
            span_id: self.names.task(*parent),
        });
        let end = record.wall_ns(record.received_ns());
        let mut events = Vec::new();
        Span {
            trace_id: self.names.trace.to_vec(),
            span_id: self.names.task(record.task()),
            parent_span_id: self.names.run(),
            name: record.name().to_owned(),
            kind: INTERNAL,
            start_time_unix_nano: record.wall_ns(record.submitted_ns()),
            end_time_unix_nano: end,
            links: links.collect(),
            dropped_links_count: record.parents().len().saturating_sub(LINKS) as u32,
            status: Some(failed(record.failure(), end, &mut attributes, &mut events)),
            attributes,
            events,
            ..Span::default()
        }
    }
}

impl Reading for Spans {
    fn event(&mut self, event: &LogEvent) {
        match event {
            LogEvent::RunStarted(started) => {
                self.clock.set(0, started.start_unix_ns);
                self.app.clone_from(&started.app);
                let host = attribute("host.name", started.host.as_str());
                self.resource.attributes.push(host);
                self.about.extend([
                    attribute("taps.app", started.app.as_str()),
                    attribute("taps.app.version", started.app_version.as_str()),
                    attribute("taps.executor", started.executor.as_str()),
                    attribute("taps.slots", started.slots),
                    attribute("taps.seed", started.seed),
                ]);
            }
            LogEvent::Resumed { time_ns, unix_ns } => {
                self.clock.set(*time_ns, *unix_ns);
                self.begun_ns = *time_ns;
                self.ended = None;
            }
            LogEvent::Phase { name, time_ns } => {
                let attributes = vec![attribute("taps.phase", &**name)];
                self.event_of_run("phase", *time_ns, attributes);
            }
            LogEvent::WorkerLost {
                worker,
                reason,
                time_ns,
            } => {
                let attributes = vec![
                    attribute("taps.worker.id", worker.0),
                    attribute("taps.reason", short(reason)),
                ];
                self.event_of_run("worker lost", *time_ns, attributes);
            }
            LogEvent::RunFinished {
                ok,
                exit_code,
                error,
                time_ns,
                ..
            } => {
                self.ended = Some(Ended {
                    ok: *ok,
                    exit_code: *exit_code,
                    error: error.clone(),
                    time_ns: *time_ns,
                });
            }
            _ => {}
        }
    }

    fn record(&mut self, record: Record<'_>) {
        let known_ns = record.received_ns();
        if known_ns < self.from_ns {
            return;
        }
        self.latest_ns = self.latest_ns.max(known_ns);
        let has_attempt = record.dispatched_ns().is_some() || record.report().is_some();
        if let Some(number) = record.attempt().filter(|_| has_attempt) {
            let span = self.attempt(record, number);
            self.add(span);
        }
        if record.is_last() {
            let span = self.task(record);
            self.add(span);
        }
    }

    fn open(&mut self, _: Record<'_>) {}
}

/// The status of what failed, by OpenTelemetry's conventions: its class, and the error as an event.
fn failed(
    failure: Option<&Failure>,
    time_unix_nano: u64,
    attributes: &mut Vec<KeyValue>,
    events: &mut Vec<Event>,
) -> Status {
    let Some(failure) = failure else {
        return Status {
            message: String::new(),
            code: OK,
        };
    };
    let class = failure.outcome.to_string();
    let kind = if failure.kind.is_empty() {
        class.clone()
    } else {
        short(&failure.kind)
    };
    attributes.push(attribute("error.type", class));
    events.push(Event {
        time_unix_nano,
        name: "exception".to_owned(),
        attributes: vec![
            attribute("exception.type", kind),
            attribute("exception.message", short(&failure.message)),
        ],
    });
    Status {
        message: short(&failure.message),
        code: ERROR,
    }
}

fn bytes(transfers: &[Transfer]) -> u64 {
    let sizes = transfers.iter().map(|transfer| transfer.bytes);
    sizes.fold(0, u64::saturating_add)
}

fn short(text: &str) -> String {
    text.chars().take(MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_place_has_its_own_name() {
        let names = Names::new().expect("random bytes");
        let mut seen = HashSet::from([names.run()]);
        for task in 0..1_000 {
            assert!(seen.insert(names.task(TaskId(task))));
            for attempt in 0..20 {
                assert!(seen.insert(names.attempt(TaskId(task), attempt)));
            }
        }
    }
}
