//! One line of `tasks.jsonl`.
//!
//! Written by hand rather than through a serialised struct: times are exact decimals of
//! nanoseconds, which neither an integer nor a float would give, and a line costs less.

use super::state::{Run, Running, Task};
use serde::Serialize;
use taps_engine::{
    AttemptReport, Failure, FaultPlan, Instantiation, OutcomeKind, TaskId, Timeline,
};
use taps_payload::{Transfer, Way};

/// Most lines are shorter.
const TYPICAL_BYTES: usize = 2_048;

/// What a line says.
pub(super) struct Line<'a> {
    pub(super) run: &'a Run,
    pub(super) id: TaskId,
    pub(super) task: &'a Task,
    /// The attempt as the coordinator started it.
    pub(super) started: Option<Running>,
    /// The attempt as its worker reported it.
    pub(super) report: Option<&'a AttemptReport>,
    pub(super) failure: Option<&'a Failure>,
    pub(super) received_ns: u64,
    /// Whether this line is the task's.
    pub(super) last: bool,
}

impl Line<'_> {
    /// Appends the line, its end included.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(TYPICAL_BYTES);
        let mut json = Json { out };
        self.write_head(&mut json);
        self.write_execution(&mut json);
        self.write_attempt(&mut json);
        self.write_payloads(&mut json);
        self.write_clocks(&mut json);
        self.write_context(&mut json);
        json.raw("}\n");
    }

    /// TaPS's fields, in its order, but for `execution`.
    fn write_head(&self, json: &mut Json<'_>) {
        json.raw(r#"{"task_id": ""#);
        json.integer(self.id.0);
        json.raw(r#"", "name": "#);
        json.value(&*self.task.name);
        json.raw(r#", "parent_task_ids": ["#);
        for (index, parent) in self.task.parents.iter().enumerate() {
            json.raw(if index == 0 { "\"" } else { ", \"" });
            json.integer(parent.0);
            json.raw("\"");
        }
        json.raw(r#"], "submit_time": "#);
        json.seconds(self.run.wall_ns(self.task.submitted_ns));
        json.raw(r#", "received_time": "#);
        json.seconds(self.run.wall_ns(self.received_ns));
        let Some(failure) = self.failure else {
            json.raw(r#", "success": true, "exception": null"#);
            return;
        };
        json.raw(r#", "success": false, "exception": {"type": "#);
        json.value(&failure.kind);
        json.raw(r#", "message": "#);
        json.value(&failure.message);
        json.raw(r#", "traceback": "#);
        json.value(failure.detail.as_deref().unwrap_or(""));
        json.raw("}");
    }

    fn write_execution(&self, json: &mut Json<'_>) {
        let Some(report) = self.report else {
            json.raw(r#", "execution": null"#);
            return;
        };
        json.raw(r#", "execution": {"hostname": "#);
        json.value(self.run.host_of(report.worker));
        let Timeline {
            received,
            task_start,
            task_end,
            finished,
            inputs,
            results,
        } = report.timeline;
        // Without a transformer: all that happens before and after the task function.
        let or = |[start, end]: [u64; 2], otherwise: [u64; 2]| {
            if start == 0 { otherwise } else { [start, end] }
        };
        let [input_start, input_end] = or(inputs, [received, task_start]);
        let [result_start, result_end] = or(results, [task_end, finished]);
        for (name, time_ns) in [
            (r#", "execution_start_time": "#, received),
            (r#", "execution_end_time": "#, finished),
            (r#", "task_start_time": "#, task_start),
            (r#", "task_end_time": "#, task_end),
            (r#", "input_transform_start_time": "#, input_start),
            (r#", "input_transform_end_time": "#, input_end),
            (r#", "result_transform_start_time": "#, result_start),
            (r#", "result_transform_end_time": "#, result_end),
        ] {
            json.raw(name);
            match time_ns {
                0 => json.raw("null"),
                _ => json.seconds(self.run.wall_ns(time_ns)),
            }
        }
        json.raw("}");
    }

    fn write_attempt(&self, json: &mut Json<'_>) {
        let number = match (self.report, self.started) {
            (Some(report), _) => Some(report.id.number),
            (None, started) => started.map(|started| started.number),
        };
        let worker = match (self.report, self.started) {
            (Some(report), _) => Some(report.worker),
            (None, started) => started.and_then(|started| started.worker),
        };
        json.raw(r#", "attempt": "#);
        json.optional(number.map(u64::from));
        json.raw(r#", "attempts": "#);
        let returned = u64::from(self.task.returned);
        json.integer(number.map_or(0, |number| (u64::from(number) + 1).saturating_sub(returned)));
        json.raw(r#", "final": "#);
        json.raw(if self.last { "true" } else { "false" });
        json.raw(r#", "worker": "#);
        json.optional(worker.map(|worker| u64::from(worker.0)));
        let outcome = self
            .failure
            .map_or(OutcomeKind::Ok, |failure| failure.outcome);
        json.raw(r#", "outcome": ""#);
        json.raw(outcome.name());
        json.raw("\"");
        if let OutcomeKind::ProgramError { exit, signal } = outcome {
            json.raw(r#", "exit_code": "#);
            json.value(&exit);
            json.raw(r#", "signal": "#);
            json.value(&signal);
        }
        let instance = self
            .report
            .map_or(Instantiation::None, |report| report.instantiation);
        json.raw(r#", "instance": ""#);
        json.raw(match instance {
            Instantiation::Fresh => "fresh",
            Instantiation::Prewarmed => "prewarmed",
            Instantiation::Reused => "reused",
            Instantiation::None => "none",
        });
        json.raw(r#"", "memoized": "#);
        json.raw(if self.task.memoized { "true" } else { "false" });
    }

    fn write_payloads(&self, json: &mut Json<'_>) {
        let (inputs, outputs) = self.report.map_or((&[][..], &[][..]), |report| {
            (&report.inputs[..], &report.outputs[..])
        });
        json.raw(r#", "inputs": "#);
        json.transfers(inputs);
        json.raw(r#", "outputs": "#);
        json.transfers(outputs);
        let copies: u64 = inputs
            .iter()
            .chain(outputs)
            .map(|transfer| u64::from(transfer.copies))
            .sum();
        json.raw(r#", "copies": "#);
        json.integer(copies);
        json.raw(r#", "peak_memory_bytes": "#);
        json.optional(self.report.map(|report| report.peak_memory_bytes));
        json.raw(r#", "cpu_time": "#);
        match self.report {
            Some(report) => json.seconds(report.cpu_ns),
            None => json.raw("null"),
        }
    }

    /// The same moments as above on the monotonic clock, in nanoseconds since the run began.
    fn write_clocks(&self, json: &mut Json<'_>) {
        let timeline = self.report.map(|report| report.timeline);
        let reached = |time: fn(Timeline) -> u64| timeline.map(time).filter(|time| *time != 0);
        json.raw(r#", "monotonic_submit_ns": "#);
        json.integer(self.task.submitted_ns);
        json.raw(r#", "monotonic_dispatch_ns": "#);
        json.optional(self.started.map(|started| started.time_ns));
        json.raw(r#", "monotonic_execution_start_ns": "#);
        json.optional(reached(|timeline| timeline.received));
        json.raw(r#", "monotonic_task_start_ns": "#);
        json.optional(reached(|timeline| timeline.task_start));
        json.raw(r#", "monotonic_task_end_ns": "#);
        json.optional(reached(|timeline| timeline.task_end));
        json.raw(r#", "monotonic_execution_end_ns": "#);
        json.optional(reached(|timeline| timeline.finished));
        json.raw(r#", "monotonic_received_ns": "#);
        json.integer(self.received_ns);
    }

    /// The fault that was acted out: as the worker said, or as it was lost for.
    pub(super) fn injected(&self) -> Option<FaultPlan> {
        if let Some(report) = self.report
            && report.injected.is_some()
        {
            return report.injected;
        }
        let outcome = match (self.report, self.failure) {
            (Some(report), _) => report.outcome(),
            (None, failure) => failure?.outcome,
        };
        let fault = self.started.and_then(|started| started.fault);
        fault.filter(|fault| fault.action.kills() && outcome == OutcomeKind::WorkerLost)
    }

    /// The native programs of the attempt; nothing where it ran none.
    fn write_programs(&self, json: &mut Json<'_>) {
        let programs = self.report.map_or(&[][..], |report| &report.programs);
        for (index, used) in programs.iter().enumerate() {
            json.raw(if index == 0 {
                r#", "programs": ["#
            } else {
                ", "
            });
            json.raw(r#"{"program": "#);
            json.value(&used.program);
            json.raw(r#", "exit_code": "#);
            json.value(&used.exit);
            json.raw(r#", "signal": "#);
            json.value(&used.signal);
            json.raw(r#", "killed": "#);
            json.value(&used.killed);
            for (name, time_ns) in [
                (r#", "wall_time": "#, used.wall_ns),
                (r#", "cpu_user_time": "#, used.cpu_user_ns),
                (r#", "cpu_system_time": "#, used.cpu_system_ns),
            ] {
                json.raw(name);
                json.seconds(time_ns);
            }
            for (name, number) in [
                (r#", "peak_memory_bytes": "#, used.peak_memory_bytes),
                (r#", "input_bytes": "#, used.input_bytes),
                (r#", "inputs_linked": "#, used.inputs_linked.into()),
                (r#", "inputs_copied": "#, used.inputs_copied.into()),
                (r#", "output_bytes": "#, used.output_bytes),
                (r#", "said_bytes": "#, used.said_bytes),
                (r#", "left_behind": "#, used.left_behind.into()),
            ] {
                json.raw(name);
                json.integer(number);
            }
            json.raw(r#", "confinement": "#);
            json.value(&used.confinement);
            json.raw("}");
        }
        if !programs.is_empty() {
            json.raw("]");
        }
    }

    fn write_context(&self, json: &mut Json<'_>) {
        json.raw(r#", "generation": "#);
        json.integer(
            self.started
                .map_or(0, |started| u64::from(started.generation)),
        );
        json.raw(r#", "label": "#);
        json.value(&self.task.label.as_deref());
        json.raw(r#", "phase": "#);
        json.value(&self.run.phase(self.task.phase));
        json.raw(r#", "injected": "#);
        match self.injected() {
            Some(FaultPlan { action, point, .. }) => {
                json.raw(r#"{"action": "#);
                json.value(&action);
                json.raw(r#", "point": "#);
                json.value(&point);
                json.raw("}");
            }
            None => json.raw("null"),
        }
        self.write_programs(json);
        json.raw(r#", "executions": "#);
        let executions = self.report.map_or(0, |report| report.executions);
        json.integer(u64::from(executions));
        json.raw(r#", "notes": ["#);
        let notes = self.report.map_or(&[][..], |report| &report.notes);
        for (index, note) in notes.iter().enumerate() {
            json.raw(if index == 0 { "" } else { ", " });
            json.value(note);
        }
        json.raw("]");
    }
}

/// JSON text being made.
struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl Json<'_> {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let before = self.out.len();
        if serde_json::to_writer(&mut *self.out, value).is_err() {
            // Strings, numbers and plain enums always serialise; a line stays valid regardless.
            self.out.truncate(before);
            self.raw("null");
        }
    }

    fn integer(&mut self, number: u64) {
        self.value(&number);
    }

    fn optional(&mut self, number: Option<u64>) {
        self.value(&number);
    }

    /// Nanoseconds as seconds with nine decimals: exact.
    fn seconds(&mut self, time_ns: u64) {
        self.integer(time_ns / 1_000_000_000);
        // Three groups of three digits: independent, so the divisions overlap.
        let rest = (time_ns % 1_000_000_000) as u32;
        let mut decimals = *b".000000000";
        for (at, group) in [
            (1, rest / 1_000_000),
            (4, rest / 1_000 % 1_000),
            (7, rest % 1_000),
        ] {
            decimals[at] += (group / 100) as u8;
            decimals[at + 1] += (group / 10 % 10) as u8;
            decimals[at + 2] += (group % 10) as u8;
        }
        self.out.extend_from_slice(&decimals);
    }

    fn transfers(&mut self, transfers: &[Transfer]) {
        self.raw("[");
        for (index, transfer) in transfers.iter().enumerate() {
            self.raw(if index == 0 {
                r#"{"bytes": "#
            } else {
                r#", {"bytes": "#
            });
            self.integer(transfer.bytes);
            self.raw(r#", "moved": "#);
            self.integer(transfer.bytes_moved);
            self.raw(r#", "way": ""#);
            self.raw(way_name(transfer.way));
            self.raw(r#"", "copies": "#);
            self.integer(u64::from(transfer.copies));
            self.raw("}");
        }
        self.raw("]");
    }
}

/// Name of a way in records.
pub fn way_name(way: Way) -> &'static str {
    match way {
        Way::Inline => "inline",
        Way::Read => "read",
        Way::Mapped => "mapped",
        Way::Copied => "copied",
        Way::Reference => "reference",
        Way::Untouched => "untouched",
        Way::Stored => "stored",
        Way::Linked => "linked",
    }
}
