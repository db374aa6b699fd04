//! What an attempt, or a task without one, adds.

use super::{Collector, ROWS_LIMIT, add, seconds, short};
use crate::{
    facts::Facts,
    model::{FailureRow, Travelled},
};
use std::collections::BTreeMap;
use taps_engine::{AttemptReport, OutcomeKind};
use taps_payload::Transfer;
use taps_records::way_name;

impl Collector {
    pub(super) fn count(&mut self, record: &Facts<'_>, name: u32) {
        let (time_ns, statistics) = (record.known_ns, &mut self.by_name[name as usize]);
        if !record.is_last {
            // What was made again after it was lost has its line, too, and is no retry of a failure.
            if record.failure.is_some() {
                self.counts.retried += 1;
                statistics.retried += 1;
                self.series.retried.add(time_ns, 1);
            }
            return;
        }
        statistics.tasks += 1;
        match record.failure.map(|failure| failure.outcome) {
            None => {
                self.counts.succeeded += 1;
                self.counts.memoized += u64::from(record.is_memoized);
                self.series.succeeded.add(time_ns, 1);
                return;
            }
            Some(OutcomeKind::UpstreamFailed) => self.counts.upstream_failed += 1,
            Some(OutcomeKind::Cancelled) => self.counts.cancelled += 1,
            Some(_) => self.counts.failed += 1,
        }
        statistics.failed += 1;
        self.series.failed.add(time_ns, 1);
    }

    /// An attempt that was handed over.
    pub(super) fn attempt(&mut self, record: &Facts<'_>, name: u32) {
        self.counts.attempts += 1;
        self.counts.recomputed += u64::from(record.generation > 0);
        let known_ns = record.known_ns;
        let dispatched_ns = record.dispatched_ns.unwrap_or(known_ns);
        let worker = record.worker.map(|worker| worker.0);
        let times = record
            .report
            .map(|report| report.timeline)
            .unwrap_or_default();
        let (from_ns, to_ns) = record.on_worker_ns();
        self.at(to_ns);
        self.series.running.add(from_ns, to_ns);
        self.busy(worker, from_ns, to_ns);
        if record.tries <= 1 {
            self.waited(record, dispatched_ns);
        }
        if record.failure.is_some() {
            add(&mut self.parts.lost, to_ns - from_ns.min(to_ns));
        }
        match record.report {
            Some(report) if times.received > 0 && times.finished > 0 => {
                add(
                    &mut self.parts.deliver,
                    times.received.saturating_sub(dispatched_ns),
                );
                add(
                    &mut self.parts.report,
                    known_ns.saturating_sub(times.finished),
                );
                self.worked(report, record.function_ns().unwrap_or(0), name);
            }
            _ => add(&mut self.parts.unknown, to_ns.saturating_sub(from_ns)),
        }
        if let Some(report) = record.report {
            self.payloads(report, name, known_ns);
        }
    }

    fn waited(&mut self, record: &Facts<'_>, dispatched_ns: u64) {
        let submitted_ns = record.submitted_ns;
        self.series.waiting.add(submitted_ns, dispatched_ns);
        let ready_ns = self
            .lineage
            .parents_ended_ns(record.parents)
            .unwrap_or(submitted_ns);
        let ready_ns = ready_ns.clamp(submitted_ns, dispatched_ns.max(submitted_ns));
        add(&mut self.parts.parents, ready_ns - submitted_ns);
        add(
            &mut self.parts.queue,
            dispatched_ns.saturating_sub(ready_ns),
        );
    }

    /// The parts of an attempt whose worker told its times.
    fn worked(&mut self, report: &AttemptReport, run: u64, name: u32) {
        let times = report.timeline;
        let (statistics, durations) = (
            &mut self.by_name[name as usize],
            &mut self.durations[name as usize],
        );
        let length = |from: u64, to: u64| to.saturating_sub(from);
        let whole = length(times.received, times.finished);
        let before = match times.task_start {
            0 => whole,
            start => length(times.received, start).min(whole),
        };
        let resolve = length(times.inputs[0], times.inputs[1]).min(before);
        let programs: u64 = report
            .programs
            .iter()
            .map(|program| program.wall_ns)
            .fold(0, u64::saturating_add);
        let program = programs.min(run);
        add(&mut self.parts.resolve, resolve);
        add(&mut self.parts.prepare, before - resolve);
        add(&mut self.parts.compute, run - program);
        add(&mut self.parts.program, program);
        add(
            &mut self.parts.store,
            whole.saturating_sub(before.saturating_add(run)),
        );
        add(&mut self.parts.cpu, report.cpu_ns);
        if times.task_start > 0 {
            durations.add(run);
            statistics.compute_s += seconds(run);
            statistics.max_s = statistics.max_s.max(seconds(run));
        }
        statistics.overhead_s += seconds(whole.saturating_sub(run));
    }

    fn payloads(&mut self, report: &AttemptReport, name: u32, known_ns: u64) {
        let inputs = travelled(&mut self.flow.inputs, &report.inputs);
        let outputs = travelled(&mut self.flow.outputs, &report.outputs);
        self.series.input_bytes.add(known_ns, inputs);
        self.series.output_bytes.add(known_ns, outputs);
        self.series.memory.note(known_ns, report.peak_memory_bytes);
        let statistics = &mut self.by_name[name as usize];
        statistics.input_bytes = statistics.input_bytes.saturating_add(inputs);
        statistics.output_bytes = statistics.output_bytes.saturating_add(outputs);
        statistics.memory_bytes = statistics.memory_bytes.max(report.peak_memory_bytes);
        self.memory.largest_bytes = self.memory.largest_bytes.max(report.peak_memory_bytes);
        for program in &report.programs {
            let largest = &mut self.memory.largest_program_bytes;
            *largest = program.peak_memory_bytes.max(*largest);
        }
        self.memory.out_of_memory += u64::from(report.outcome() == OutcomeKind::OutOfMemory);
    }

    pub(super) fn failure(&mut self, record: &Facts<'_>, name: u32) {
        let Some(failure) = record.failure else {
            return;
        };
        let outcome = failure.outcome.to_string();
        *self.failures.by_outcome.entry(outcome.clone()).or_default() += 1;
        if self.failures.rows.len() >= ROWS_LIMIT {
            self.failures.left_out += 1;
            return;
        }
        self.failures.rows.push(FailureRow {
            task: record.task.0,
            name: self.names[name as usize].clone(),
            attempt: record.attempt,
            worker: record.worker.map(|worker| worker.0),
            outcome,
            kind: short(&failure.kind),
            message: short(&failure.message),
            injected: record.injected.map(str::to_owned),
            time_s: seconds(record.known_ns),
            retried: !record.is_last,
        });
    }
}

/// Adds payloads to those that travelled the same way, and says their bytes.
fn travelled(by_way: &mut BTreeMap<&'static str, Travelled>, transfers: &[Transfer]) -> u64 {
    let mut bytes = 0_u64;
    for transfer in transfers {
        let sums = by_way.entry(way_name(transfer.way)).or_default();
        sums.payloads += 1;
        sums.bytes = sums.bytes.saturating_add(transfer.bytes);
        sums.moved_bytes = sums.moved_bytes.saturating_add(transfer.bytes_moved);
        sums.copies += u64::from(transfer.copies);
        let copied = transfer
            .bytes_moved
            .saturating_mul(u64::from(transfer.copies));
        sums.copied_bytes = sums.copied_bytes.saturating_add(copied);
        bytes = bytes.saturating_add(transfer.bytes);
    }
    bytes
}
