//! The model of what was collected.

use super::{BINS, COARSE_BINS, Collector, NAMES_LIMIT, Parts, WORKERS_LIMIT, seconds};
use crate::{
    lineage::TASKS_LIMIT,
    model::{Memory, Model, Run, TimeParts, Timeline},
    series,
};

impl Collector {
    /// How long the run was, of all that there is to say of it.
    pub(crate) fn run(&self) -> Run {
        let makespan = self.makespan_ns;
        Run {
            elapsed_s: seconds(self.end_ns),
            makespan_s: makespan.map(|(begin, end)| seconds(end.saturating_sub(begin))),
            ..Run::default()
        }
    }

    /// Fills in what the log told.
    pub(crate) fn finish(mut self, model: &mut Model) {
        let end_ns = self.end_ns;
        model.notes.extend(self.left_out());
        model.timeline = self.timeline();
        let sampled = self.sample.one_of() > 1;
        let (coarse_ns, coarse) = series::grid(end_ns, COARSE_BINS);
        for (worker, load) in self.workers.iter_mut().zip(&mut self.loads) {
            if sampled {
                let loads = load.read(coarse_ns, coarse, end_ns).into_iter();
                worker.load = loads.map(|load| (load * 100.0).round() as u32).collect();
            }
        }
        model.time = self.parts.finish(seconds(end_ns) * f64::from(self.slots));
        for (statistics, durations) in self.by_name.iter_mut().zip(&self.durations) {
            // The middle of a step may be beyond the largest value in it.
            let quantile =
                |share| Some((durations.quantile_ns(share)? / 1e9).min(statistics.max_s));
            (statistics.median_s, statistics.p95_s) = (quantile(0.5), quantile(0.95));
        }
        let counts: Vec<_> = self
            .by_name
            .iter()
            .map(|name| (name.tasks, name.failed))
            .collect();
        model.graph = self.lineage.graph(&counts);
        model.critical_path_s = (!self.lineage.beyond && self.counts.submitted > 0)
            .then(|| seconds(self.lineage.longest_ns));
        model.counts = self.counts;
        model.names = self.names;
        model.by_name = self.by_name;
        model.workers = self.workers;
        model.phases = self.phases;
        model.resumes_s = self.resumes_s;
        model.attempts = self.sample.finish();
        model.flow = self.flow;
        model.memory = Memory {
            limit_bytes: model.memory.limit_bytes,
            default_limit_bytes: model.memory.default_limit_bytes,
            ..self.memory
        };
        model.failures = self.failures;
    }

    /// What there was no room for.
    fn left_out(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let one_of = self.sample.one_of();
        if one_of > 1 {
            notes.push(format!(
                "the run is large: attempts of one task in {one_of} are listed, and besides them attempts that \
                 failed or were repeated; sums, rates and loads are those of all"
            ));
        }
        if self.sample.troubled_left_out > 0 {
            notes.push(format!(
                "{} more attempts that failed or were repeated are not listed",
                self.sample.troubled_left_out
            ));
        }
        if self.workers_beyond {
            notes.push(format!(
                "only the first {WORKERS_LIMIT} workers are told apart"
            ));
        }
        if self.names.len() > NAMES_LIMIT {
            notes.push(format!(
                "only the first {NAMES_LIMIT} task names are told apart"
            ));
        }
        if self.lineage.beyond {
            notes.push(format!(
                "there are more than {TASKS_LIMIT} tasks: for those beyond, waiting for parents counts as queueing, and \
                 no longest chain is known"
            ));
        }
        notes
    }

    fn timeline(&mut self) -> Timeline {
        let end_ns = self.end_ns;
        let (width_ns, bins) = series::grid(end_ns, BINS);
        let (coarse_ns, _) = series::grid(end_ns, COARSE_BINS);
        let series = &mut self.series;
        let round = |values: Vec<f64>| {
            values
                .into_iter()
                .map(|value| (value * 1e3).round() / 1e3)
                .collect()
        };
        Timeline {
            bin_s: seconds(width_ns),
            coarse_s: seconds(coarse_ns),
            submitted: series.submitted.read(width_ns, bins),
            succeeded: series.succeeded.read(width_ns, bins),
            failed: series.failed.read(width_ns, bins),
            retried: series.retried.read(width_ns, bins),
            running: round(series.running.read(width_ns, bins, end_ns)),
            waiting: round(series.waiting.read(width_ns, bins, end_ns)),
            input_bytes: series.input_bytes.read(width_ns, bins),
            output_bytes: series.output_bytes.read(width_ns, bins),
            memory_bytes: series.memory.read(width_ns, bins),
        }
    }
}

impl Parts {
    fn finish(&self, slot_s: f64) -> TimeParts {
        let on_workers = [
            self.resolve,
            self.prepare,
            self.compute,
            self.program,
            self.store,
            self.unknown,
        ];
        let busy_s: f64 = on_workers.into_iter().map(seconds).sum();
        TimeParts {
            slot_s,
            resolve_s: seconds(self.resolve),
            prepare_s: seconds(self.prepare),
            compute_s: seconds(self.compute),
            program_s: seconds(self.program),
            store_s: seconds(self.store),
            unknown_s: seconds(self.unknown),
            idle_s: (slot_s - busy_s).max(0.0),
            lost_s: seconds(self.lost),
            cpu_s: seconds(self.cpu),
            parents_s: seconds(self.parents),
            queue_s: seconds(self.queue),
            deliver_s: seconds(self.deliver),
            report_s: seconds(self.report),
        }
    }
}
