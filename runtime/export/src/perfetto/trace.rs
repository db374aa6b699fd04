//! The events of a trace.

use super::{
    counters::{Counters, Step},
    lanes::{Lane, Lanes},
};
use crate::{latch::Latch, sparse::Sparse};
use serde_json::{Value, json};
use taps_engine::{AttemptReport, Timeline};
use taps_payload::Transfer;
use taps_records::LogEvent;
use taps_report::{Facts, Sink, Told};

/// Process of counters, phases and what happened to the run.
const RUN: u32 = 1;
/// Process of the workers' tracks.
const WORKERS: u32 = 2;
/// Process of what tasks wait for.
const TASKS: u32 = 3;
/// Above so many tasks, what one waited for is told by counters only: each is a track of its own.
const WAITS_LIMIT: u64 = 20_000;
/// Longest text of an argument of an event, in characters.
const TEXT_CHARS: usize = 1_000;

/// Where a task ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    /// 0 when it has not.
    track: u32,
    /// The last moment of its slice.
    at_ns: u64,
    known_ns: u64,
}

/// Writes events.
pub(super) struct Trace<'a, 'b> {
    out: &'a mut Latch<'b>,
    has_begun: bool,
    is_first: bool,
    lanes: Lanes,
    counters: Counters,
    ended: Sparse<Ended>,
    arrows: u64,
    phase: Option<(String, u64)>,
    phases_ns: u64,
    waits_left_out: bool,
    latest_ns: u64,
}

impl<'a, 'b> Trace<'a, 'b> {
    pub(super) fn new(out: &'a mut Latch<'b>) -> Self {
        Self {
            out,
            has_begun: false,
            is_first: true,
            lanes: Lanes::default(),
            counters: Counters::default(),
            ended: Sparse::default(),
            arrows: 0,
            phase: None,
            phases_ns: 0,
            waits_left_out: false,
            latest_ns: 0,
        }
    }

    /// Writes what comes first, once there is something to be told.
    fn head(&mut self) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        self.out
            .text("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
        for (process, name) in [(RUN, "run"), (WORKERS, "workers"), (TASKS, "tasks")] {
            self.metadata(process, 0, "process_name", &json!({"name": name}));
            let order = json!({"sort_index": process});
            self.metadata(process, 0, "process_sort_index", &order);
        }
        self.metadata(RUN, 1, "thread_name", &json!({"name": "phases and events"}));
    }

    /// Writes what is known only at the end.
    pub(super) fn finish(mut self, told: &Told, notes: &mut Vec<String>) {
        self.head();
        if let Some(step) = self.counters.last() {
            self.count(step);
        }
        self.end_phase(self.latest_ns);
        if self.waits_left_out {
            notes.push(format!(
                "what tasks waited for is told of the first {WAITS_LIMIT} only; of all, how many waited"
            ));
        }
        let other = json!({
            "app": told.started.app,
            "app_version": told.started.app_version,
            "executor": told.started.executor,
            "slots": told.started.slots,
            "host": told.started.host,
            "state": told.state,
            "start_unix_ns": told.started.start_unix_ns.to_string(),
            "program": concat!("taps-wasm ", env!("CARGO_PKG_VERSION")),
        });
        self.out.text("\n],\"otherData\":");
        self.out.json(&other);
        self.out.text("}\n");
    }

    /// An event: its members after those that all have.
    fn write(&mut self, kind: char, process: u32, track: u32, time_ns: u64, more: &Value) {
        self.begin(kind, process, track, time_ns);
        self.out.text(",");
        self.out.text(members(&more.to_string()));
    }

    fn begin(&mut self, kind: char, process: u32, track: u32, time_ns: u64) {
        let comma = if self.is_first { "\n" } else { ",\n" };
        self.is_first = false;
        self.out.format(format_args!(
            "{comma}{{\"ph\":\"{kind}\",\"pid\":{process},\"tid\":{track},\"ts\":{}",
            Micros(time_ns)
        ));
    }

    fn metadata(&mut self, process: u32, track: u32, name: &str, args: &Value) {
        self.write('M', process, track, 0, &json!({"name": name, "args": args}));
    }

    /// A slice from one time to another; `more` is JSON.
    fn slice(&mut self, process: u32, track: u32, [from_ns, to_ns]: [u64; 2], more: &str) {
        self.begin('X', process, track, from_ns);
        self.out.format(format_args!(
            ",\"dur\":{},",
            Micros(to_ns.saturating_sub(from_ns))
        ));
        self.out.text(members(more));
    }

    fn count(&mut self, step: Step) {
        self.begin('C', RUN, 0, step.time_ns);
        self.out.format(format_args!(
            ",\"name\":\"tasks\",\"args\":{{\"running\":{},\"waiting\":{}}}}}",
            step.running, step.waiting
        ));
    }

    /// Something that happened to the run.
    fn instant(&mut self, time_ns: u64, name: &str, args: &Value) {
        let more = json!({"name": name, "s": "p", "args": args});
        self.write('i', RUN, 1, time_ns, &more);
    }

    fn end_phase(&mut self, to_ns: u64) {
        if let Some((name, from_ns)) = self.phase.take() {
            let more = json!({"name": name, "cat": "phase"});
            self.phases_ns = to_ns.max(from_ns);
            self.slice(RUN, 1, [from_ns, self.phases_ns], &more.to_string());
        }
    }

    fn at(&mut self, time_ns: u64) {
        self.latest_ns = self.latest_ns.max(time_ns);
    }

    /// Names a track that is new.
    fn name(&mut self, worker: Option<u32>, (lane, is_new): (Lane, bool)) -> Lane {
        if is_new {
            let mut name = worker.map_or_else(
                || "no worker".to_owned(),
                |worker| format!("worker {worker}"),
            );
            if lane.number > 0 {
                name = format!("{name}, {} at a time", lane.number + 1);
            }
            let worker = u64::from(worker.unwrap_or(u32::MAX));
            let order = worker * 1_000 + u64::from(lane.number.min(999));
            let track = lane.track;
            self.metadata(WORKERS, track, "thread_name", &json!({"name": name}));
            let order = json!({"sort_index": order});
            self.metadata(WORKERS, track, "thread_sort_index", &order);
        }
        lane
    }

    /// The slice of an attempt, with its parts; gives its track.
    fn attempt(&mut self, facts: &Facts<'_>, times_ns: [u64; 2], outcome: &str) -> Lane {
        let [from_ns, to_ns] = times_ns;
        let worker = facts.worker.map(|worker| worker.0);
        let placed = self.lanes.place(worker, from_ns, to_ns);
        let lane = self.name(worker, placed);
        let mut slice = json!({
            "name": if facts.name.is_empty() { "task" } else { facts.name },
            "cat": "attempt",
            "args": arguments(facts, outcome),
        });
        if facts.failure.is_some() {
            slice["cname"] = "terrible".into();
        }
        self.slice(WORKERS, lane.track, times_ns, &slice.to_string());
        self.arrows(facts, lane, from_ns);
        if let Some(report) = facts.report {
            self.parts(lane, times_ns, report);
        }
        lane
    }

    /// Arrows from parents, right after the slice at whose beginning they end.
    fn arrows(&mut self, facts: &Facts<'_>, lane: Lane, from_ns: u64) {
        if !facts.is_last {
            return;
        }
        let mut parents = facts.parents.to_vec();
        parents.sort_unstable();
        parents.dedup();
        for parent in parents {
            let ended = self.ended.get(parent.0);
            if ended.track == 0 || ended.at_ns > from_ns {
                continue;
            }
            self.arrows += 1;
            let id = self.arrows;
            let arrow = json!({"name": "dependency", "cat": "dependency", "id": id});
            self.write('s', WORKERS, ended.track, ended.at_ns, &arrow);
            let end = json!({"name": "dependency", "cat": "dependency", "id": id, "bp": "e"});
            self.write('f', WORKERS, lane.track, from_ns, &end);
        }
    }

    /// Parts of an attempt, one after the other within it.
    fn parts(&mut self, lane: Lane, [from_ns, to_ns]: [u64; 2], report: &AttemptReport) {
        let Timeline {
            received,
            task_start,
            task_end,
            finished,
            inputs,
            results,
        } = report.timeline;
        if received == 0 || finished == 0 {
            return;
        }
        let ready_ns = if task_start == 0 { to_ns } else { task_start };
        let done_ns = if task_end == 0 { to_ns } else { task_end };
        let [resolve_ns, resolved_ns] = if inputs[0] == 0 {
            [ready_ns; 2]
        } else {
            inputs
        };
        let [put_ns, stored_ns] = if results[0] == 0 {
            [done_ns; 2]
        } else {
            results
        };
        let mut before_ns = from_ns;
        for (name, end_ns) in [
            ("prepare", resolve_ns),
            ("resolve", resolved_ns),
            ("prepare", ready_ns),
            ("compute", done_ns),
            ("publish", put_ns),
            ("store", stored_ns),
            ("publish", to_ns),
        ] {
            let end_ns = end_ns.clamp(before_ns, to_ns);
            if end_ns > before_ns {
                let part = if name == "compute" && !report.programs.is_empty() {
                    programs(report)
                } else {
                    format!("{{\"name\":\"{name}\",\"cat\":\"part\"}}")
                };
                self.slice(WORKERS, lane.track, [before_ns, end_ns], &part);
            }
            before_ns = end_ns;
        }
    }

    /// What a task waited for before its first attempt.
    fn waits(&mut self, facts: &Facts<'_>, taken_ns: u64) {
        if facts.tries > 1 || facts.generation > 0 {
            return;
        }
        let Some(dispatched_ns) = facts.dispatched_ns else {
            return;
        };
        if facts.task.0 >= WAITS_LIMIT {
            self.waits_left_out = true;
            return;
        }
        let parents = facts.parents.iter();
        let ended = parents
            .map(|parent| self.ended.get(parent.0).known_ns)
            .max();
        let submitted_ns = facts.submitted_ns;
        let dispatched_ns = dispatched_ns.max(submitted_ns);
        let ready_ns = ended.unwrap_or(0).clamp(submitted_ns, dispatched_ns);
        let taken_ns = taken_ns.max(dispatched_ns);
        let begin = |trace: &mut Self, kind: char, time_ns: u64, name: &str| {
            let id = facts.task.0.to_string();
            let more = json!({"name": name, "cat": "wait", "id": id});
            trace.write(kind, TASKS, 1, time_ns, &more);
        };
        begin(self, 'b', submitted_ns, facts.name);
        for (name, from_ns, to_ns) in [
            ("parents", submitted_ns, ready_ns),
            ("queue", ready_ns, dispatched_ns),
            ("deliver", dispatched_ns, taken_ns),
        ] {
            if to_ns > from_ns {
                begin(self, 'b', from_ns, name);
                begin(self, 'e', to_ns, name);
            }
        }
        begin(self, 'e', taken_ns, facts.name);
    }

    /// A mark where an attempt failed, and what followed.
    fn failure(&mut self, facts: &Facts<'_>, lane: Option<Lane>, at_ns: u64) {
        let Some(failure) = facts.failure else {
            return;
        };
        let name = if facts.is_last { "failed" } else { "retried" };
        let args = json!({
            "task": facts.task.0,
            "attempt": facts.attempt,
            "outcome": failure.outcome.to_string(),
            "type": failure.kind,
            "message": short(&failure.message),
            "injected": facts.injected,
        });
        match lane {
            Some(lane) => {
                let more = json!({"name": name, "cat": "failure", "s": "t", "args": args});
                self.write('i', WORKERS, lane.track, at_ns, &more);
            }
            None => self.instant(at_ns, name, &args),
        }
    }
}

impl Sink for Trace<'_, '_> {
    fn event(&mut self, event: &LogEvent) {
        self.head();
        if let Some(step) = self.counters.after(event) {
            self.at(step.time_ns);
            self.count(step);
        }
        match event {
            LogEvent::Phase { name, time_ns } => {
                self.at(*time_ns);
                self.end_phase(*time_ns);
                self.phase = Some((name.to_string(), self.phases_ns.max(*time_ns)));
            }
            LogEvent::WorkerJoined(info) => {
                let placed = self.lanes.first(info.id.0);
                let lane = self.name(Some(info.id.0), placed);
                let args = json!({"host": info.host, "cores": info.cores});
                let more = json!({"name": "joined", "cat": "worker", "s": "t", "args": args});
                self.write('i', WORKERS, lane.track, self.latest_ns, &more);
            }
            LogEvent::WorkerLost {
                worker,
                reason,
                time_ns,
            } => {
                self.at(*time_ns);
                let placed = self.lanes.first(worker.0);
                let lane = self.name(Some(worker.0), placed);
                let args = json!({"reason": short(reason)});
                let more = json!({"name": "lost", "cat": "worker", "s": "t", "args": args});
                self.write('i', WORKERS, lane.track, *time_ns, &more);
            }
            LogEvent::Resumed { time_ns, .. } => self.instant(*time_ns, "resumed", &json!({})),
            LogEvent::Ending { time_ns } => self.instant(*time_ns, "ending", &json!({})),
            LogEvent::OutputsLost { outputs, time_ns } => {
                let args = json!({"outputs": outputs.len()});
                self.instant(*time_ns, "outputs lost", &args);
            }
            LogEvent::RunFinished {
                ok,
                exit_code,
                time_ns,
                ..
            } => {
                self.at(*time_ns);
                let args = json!({"ok": ok, "exit_code": exit_code});
                self.instant(*time_ns, "finished", &args);
            }
            _ => {}
        }
    }

    fn record(&mut self, facts: &Facts<'_>) {
        self.head();
        self.at(facts.known_ns);
        let was_sent = facts.dispatched_ns.is_some() || facts.report.is_some();
        let (from_ns, to_ns) = facts.on_worker_ns();
        let outcome = facts.outcome().to_string();
        let lane = was_sent.then(|| {
            self.at(to_ns);
            self.waits(facts, from_ns);
            self.attempt(facts, [from_ns, to_ns], &outcome)
        });
        let at_ns = if was_sent { to_ns } else { facts.known_ns };
        self.failure(facts, lane, at_ns);
        if facts.failure.is_none() {
            let ended = Ended {
                track: lane.map_or(0, |lane| lane.track),
                at_ns: to_ns.saturating_sub(1).max(from_ns),
                known_ns: facts.known_ns,
            };
            self.ended.set(facts.task.0, ended);
        }
    }

    fn open(&mut self, facts: &Facts<'_>) {
        // Nobody knows whether it ran: until the end of what is known.
        if let Some(dispatched_ns) = facts.dispatched_ns {
            let to_ns = self.latest_ns.max(dispatched_ns);
            self.attempt(facts, [dispatched_ns, to_ns], "open");
        }
    }
}

/// The task function, with the native programs that it ran.
fn programs(report: &AttemptReport) -> String {
    let programs = report.programs.iter().map(|used| {
        let wall_us = used.wall_ns as f64 / 1e3;
        json!({"program": used.program, "wall_us": wall_us, "exit_code": used.exit})
    });
    let args = json!({"programs": programs.collect::<Vec<_>>()});
    json!({"name": "compute", "cat": "part", "args": args}).to_string()
}

/// The text of an object without its beginning.
fn members(object: &str) -> &str {
    object.strip_prefix('{').unwrap_or(object)
}

fn arguments(facts: &Facts<'_>, outcome: &str) -> Value {
    let mut args = json!({
        "task": facts.task.0,
        "attempt": facts.attempt,
        "try": facts.tries,
        "outcome": outcome,
    });
    if let Some(label) = facts.label {
        args["label"] = short(label).into();
    }
    if let Some(phase) = facts.phase {
        args["phase"] = short(phase).into();
    }
    if let Some(dispatched_ns) = facts.dispatched_ns {
        let since_submission = dispatched_ns.saturating_sub(facts.submitted_ns);
        args["dispatched_after_us"] = json!(since_submission as f64 / 1e3);
    }
    if let Some(injected) = facts.injected {
        args["injected"] = injected.into();
    }
    if let Some(report) = facts.report {
        let bytes = |transfers: &[Transfer]| {
            let sizes = transfers.iter().map(|transfer| transfer.bytes);
            sizes.fold(0, u64::saturating_add)
        };
        args["input_bytes"] = bytes(&report.inputs).into();
        args["output_bytes"] = bytes(&report.outputs).into();
        args["peak_memory_bytes"] = report.peak_memory_bytes.into();
        args["cpu_us"] = json!(report.cpu_ns as f64 / 1e3);
    }
    args
}

/// A time in microseconds, exact to the nanosecond.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// The beginning of a text.
fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
