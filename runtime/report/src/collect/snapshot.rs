//! What was collected so far, of a run that goes on.

use super::Collector;

impl Collector {
    /// A copy that can be finished, as of that time if it is later than the latest event. Of very many attempts at
    /// most `rows` are in it, and nothing of what single tasks are known by: it costs the same however many there
    /// were.
    pub(crate) fn snapshot(&self, now_ns: Option<u64>, rows: usize) -> Self {
        Self {
            slots: self.slots,
            faults: self.faults,
            end_ns: self.end_ns.max(now_ns.unwrap_or(0)),
            makespan_ns: self.makespan_ns,
            names: self.names.clone(),
            name_places: self.name_places.clone(),
            by_name: self.by_name.clone(),
            durations: self.durations.clone(),
            workers: self.workers.clone(),
            worker_places: self.worker_places.clone(),
            loads: self.loads.clone(),
            workers_beyond: self.workers_beyond,
            phases: self.phases.clone(),
            resumes_s: self.resumes_s.clone(),
            series: self.series.clone(),
            counts: self.counts,
            parts: self.parts,
            lineage: self.lineage.of_all(),
            sample: self.sample.thinned(rows),
            flow: self.flow.clone(),
            memory: self.memory,
            failures: self.failures.clone(),
        }
    }
}
