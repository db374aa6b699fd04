//! The first time that the records stream by: what was executed, files, and the graph.

use super::graph::{Graph, external_file, output_file};
use crate::{latch::Latch, sparse::Seen};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, BufWriter, Write},
};
use taps_engine::{AttemptReport, TaskId};
use taps_records::{LogEvent, WallClock};
use taps_report::{Facts, Sink};

/// What is known when all has streamed by.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) graph: Graph,
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    pub(super) executed: u64,
    pub(super) runtime_ns: u128,
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) hosts: BTreeSet<String>,
    pub(super) latest_ns: u64,
    failed: u64,
    first_ns: Option<u64>,
    last_ns: u64,
    wall: WallClock,
}

impl Sums {
    pub(super) fn wall_ns(&self, time_ns: u64) -> u64 {
        self.wall.at(time_ns)
    }

    /// From the first submission to the end of the last task.
    pub(super) fn makespan_ns(&self) -> u64 {
        self.last_ns.saturating_sub(self.first_ns.unwrap_or(0))
    }

    /// What the format cannot tell.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.graph.unknown_parents > 0 {
            notes.push(format!(
                "{} arguments are outputs of tasks that the records do not know, and were left out",
                self.graph.unknown_parents
            ));
        }
        if self.failed > 0 {
            notes.push(format!(
                "{} tasks gave no outputs, which WfFormat cannot tell",
                self.failed
            ));
        }
        let missing = (self.graph.len() as u64).saturating_sub(self.executed);
        if missing > 0 {
            notes.push(format!(
                "{missing} tasks were never executed: they are in the specification only"
            ));
        }
        notes
    }
}

/// Writes a list, and counts.
struct List<'a> {
    out: BufWriter<&'a mut File>,
    failed: Option<io::Error>,
    entries: u64,
}

impl<'a> List<'a> {
    fn new(file: &'a mut File) -> Self {
        Self {
            out: BufWriter::with_capacity(256 << 10, file),
            failed: None,
            entries: 0,
        }
    }

    fn entry(&mut self, value: &serde_json::Value) {
        if self.failed.is_some() {
            return;
        }
        let mut latch = Latch::new(&mut self.out);
        if self.entries > 0 {
            latch.text(",");
        }
        latch.json(value);
        self.failed = latch.failure();
        self.entries += 1;
    }

    fn end(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

/// Takes the records.
pub(super) struct Execution<'a> {
    sums: Sums,
    files: List<'a>,
    executed: List<'a>,
    ended: Seen,
    listed: Seen,
    /// Priority and cores of open tasks that have others than most.
    unusual: HashMap<TaskId, (i32, u32)>,
}

impl<'a> Execution<'a> {
    /// Entries of files go to one file, those of executed tasks to the other.
    pub(super) fn new(files: &'a mut File, executed: &'a mut File) -> Self {
        Self {
            sums: Sums::default(),
            files: List::new(files),
            executed: List::new(executed),
            ended: Seen::default(),
            listed: Seen::default(),
            unusual: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> io::Result<Sums> {
        self.files.end()?;
        self.executed.end()?;
        let mut sums = self.sums;
        sums.graph.sort();
        Ok(sums)
    }

    fn at(&mut self, time_ns: u64) {
        self.sums.latest_ns = self.sums.latest_ns.max(time_ns);
    }

    /// Files of a task: results, and arguments of one that has no parents, which the driver gave.
    fn list_files(&mut self, task: TaskId, outputs: &[u64], externals: &[u64]) {
        let Some(place) = self.sums.graph.place(task) else {
            return;
        };
        if !self.listed.insert(task.0) {
            return;
        }
        self.sums.graph.files(place, outputs.len(), externals.len());
        let id = self.sums.graph.id(place);
        let made = (0..)
            .zip(outputs)
            .map(|(n, size)| (output_file(&id, n), size));
        let given = (0..)
            .zip(externals)
            .map(|(n, size)| (external_file(&id, n), size));
        for (id, size) in made.chain(given) {
            self.sums.files += 1;
            self.sums.file_bytes = self.sums.file_bytes.saturating_add(*size);
            self.files.entry(&json!({"id": id, "sizeInBytes": size}));
        }
    }

    /// The entry of a task that was executed.
    fn execute(&mut self, facts: &Facts<'_>) {
        let Some(place) = self.sums.graph.place(facts.task) else {
            return;
        };
        let (from_ns, to_ns) = facts.on_worker_ns();
        let runtime_ns = to_ns - from_ns;
        let (priority, cores) = self.unusual.remove(&facts.task).unwrap_or((0, 1));
        let mut entry = json!({
            "id": self.sums.graph.id(place),
            "runtimeInSeconds": number(runtime_ns),
            "executedAt": super::timestamp(self.sums.wall_ns(from_ns)),
            "command": {"program": if facts.name.is_empty() { "task" } else { facts.name }},
            "coreCount": cores,
        });
        if priority != 0 {
            entry["priority"] = json!(priority);
        }
        if let Some(report) = facts.report {
            self.measured(report, runtime_ns, &mut entry);
        }
        if let Some(host) = facts.host.filter(|host| !host.is_empty()) {
            entry["machines"] = json!([host]);
            if !self.sums.hosts.contains(host) {
                self.sums.hosts.insert(host.to_owned());
            }
        }
        self.sums.executed += 1;
        self.sums.runtime_ns += u128::from(runtime_ns);
        self.executed.entry(&entry);
    }

    fn measured(&mut self, report: &AttemptReport, runtime_ns: u64, entry: &mut serde_json::Value) {
        let programs = report.programs.iter();
        let program_cpu_ns = programs
            .map(|used| used.cpu_user_ns.saturating_add(used.cpu_system_ns))
            .fold(0, u64::saturating_add);
        let cpu_ns = report.cpu_ns.saturating_add(program_cpu_ns);
        if runtime_ns > 0 {
            let percent = cpu_ns as f64 / runtime_ns as f64 * 100.0;
            entry["avgCPU"] = json!((percent * 1e4).round() / 1e4);
        }
        let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
        let read = sum(&mut report.inputs.iter().map(|input| input.bytes_moved));
        let written = sum(&mut report.outputs.iter().map(|output| output.bytes));
        entry["readBytes"] = json!(read);
        entry["writtenBytes"] = json!(written);
        self.sums.read_bytes = self.sums.read_bytes.saturating_add(read);
        self.sums.written_bytes = self.sums.written_bytes.saturating_add(written);
        let programs = report.programs.iter();
        let largest = programs.map(|used| used.peak_memory_bytes).max();
        let memory = report.peak_memory_bytes.max(largest.unwrap_or(0));
        if memory > 0 {
            entry["memoryInBytes"] = json!(memory);
        }
    }
}

impl Sink for Execution<'_> {
    fn event(&mut self, event: &LogEvent) {
        match event {
            LogEvent::RunStarted(started) => self.sums.wall.set(0, started.start_unix_ns),
            LogEvent::Resumed { time_ns, unix_ns } => {
                self.at(*time_ns);
                self.sums.wall.set(*time_ns, *unix_ns);
            }
            LogEvent::Submitted {
                task,
                name,
                parents,
                options,
                time_ns,
                ..
            } => {
                self.at(*time_ns);
                let first_ns = self.sums.first_ns.unwrap_or(*time_ns);
                self.sums.first_ns = Some(first_ns.min(*time_ns));
                self.sums.graph.submitted(*task, name, parents);
                let asked = (options.priority, options.cores.max(1));
                if asked != (0, 1) {
                    self.unusual.insert(*task, asked);
                }
            }
            LogEvent::Memoized { task, outputs, .. } => {
                let sizes: Vec<u64> = outputs.iter().map(|output| output.location.len()).collect();
                self.list_files(*task, &sizes, &[]);
            }
            LogEvent::RunFinished { time_ns, .. } => self.at(*time_ns),
            _ => {}
        }
    }

    fn record(&mut self, facts: &Facts<'_>) {
        self.at(facts.known_ns);
        if !facts.is_last || !self.ended.insert(facts.task.0) {
            return;
        }
        self.sums.last_ns = self.sums.last_ns.max(facts.known_ns);
        self.sums.failed += u64::from(facts.failure.is_some());
        if let Some(report) = facts.report {
            let outputs: Vec<u64> = report.outputs.iter().map(|output| output.bytes).collect();
            let externals: Vec<u64> = if facts.parents.is_empty() {
                report.inputs.iter().map(|input| input.bytes).collect()
            } else {
                Vec::new()
            };
            let outputs = if facts.failure.is_none() {
                &outputs
            } else {
                &[][..]
            };
            self.list_files(facts.task, outputs, &externals);
        }
        if facts.dispatched_ns.is_some() || facts.report.is_some() {
            self.execute(facts);
        } else {
            self.unusual.remove(&facts.task);
        }
    }

    fn open(&mut self, _: &Facts<'_>) {}
}

/// Seconds, exact to the nanosecond.
pub(super) fn seconds(time_ns: u128) -> String {
    format!("{}.{:09}", time_ns / 1_000_000_000, time_ns % 1_000_000_000)
}

/// Seconds as a number of JSON.
fn number(time_ns: u64) -> serde_json::Value {
    json!(time_ns as f64 / 1e9)
}
