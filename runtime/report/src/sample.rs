//! Attempts that are listed one by one: all of a small run, a sample of a large one.

use crate::{facts::Facts, model::Attempts};

/// Most attempts in the sample.
const SAMPLE_LIMIT: usize = 20_000;
/// Most attempts of other tasks that are listed because something went wrong.
const TROUBLED_LIMIT: usize = 2_000;
/// Longest label that is kept, in characters.
const LABEL_CHARS: usize = 80;

/// What the table and the Gantt chart show of an attempt.
#[derive(Clone, Debug)]
struct Row {
    task: u64,
    name: u32,
    attempt: Option<u32>,
    tries: u32,
    worker: Option<u32>,
    submitted_ns: u64,
    dispatched_ns: Option<u64>,
    /// Received, start, end, finished; 0 where never reached.
    worker_ns: [u64; 4],
    known_ns: u64,
    outcome: u32,
    last: u8,
    fault: Option<u32>,
    input_bytes: u64,
    output_bytes: u64,
    memory: u64,
    cpu_ns: u64,
    label: Option<String>,
}

/// Attempts so far: those of every n-th task, and those that failed.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    one_of: u64,
    limit: usize,
    rows: Vec<Row>,
    troubled: Vec<Row>,
    outcomes: Vec<String>,
    faults: Vec<String>,
    /// How many troubled ones there was no room for.
    pub(crate) troubled_left_out: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            one_of: 1,
            limit: SAMPLE_LIMIT,
            rows: Vec::new(),
            troubled: Vec::new(),
            outcomes: Vec::new(),
            faults: Vec::new(),
            troubled_left_out: 0,
        }
    }
}

/// How a row ends: another attempt followed, it is the task's last word, or the log leaves it open.
pub(crate) const RETRIED: u8 = 0;
pub(crate) const LAST: u8 = 1;
pub(crate) const OPEN: u8 = 2;

impl Sample {
    pub(crate) fn add(&mut self, record: &Facts<'_>, name: u32, last: u8) {
        let (task, troubled) = (record.task.0, is_troubled(record));
        if task.is_multiple_of(self.one_of) {
            let row = self.row(record, name, last);
            self.rows.push(row);
            while self.rows.len() > self.limit {
                self.thin();
            }
        } else if troubled {
            if self.troubled.len() < TROUBLED_LIMIT {
                let row = self.row(record, name, last);
                self.troubled.push(row);
            } else {
                self.troubled_left_out += 1;
            }
        }
    }

    /// A copy of at most so many rows, and as many of those that failed.
    pub(crate) fn thinned(&self, limit: usize) -> Self {
        let mut copy = Self {
            one_of: self.one_of,
            limit,
            rows: self.rows.clone(),
            troubled: self.troubled.clone(),
            outcomes: self.outcomes.clone(),
            faults: self.faults.clone(),
            troubled_left_out: self.troubled_left_out,
        };
        while copy.rows.len() > limit {
            copy.thin();
        }
        let beyond = copy.troubled.len().saturating_sub(limit);
        copy.troubled.truncate(limit);
        copy.troubled_left_out += beyond as u64;
        copy
    }

    /// Keeps the rows of half of the tasks.
    fn thin(&mut self) {
        self.one_of *= 2;
        let ok = position(&mut self.outcomes, "ok");
        let (one_of, troubled) = (self.one_of, &mut self.troubled);
        let left_out = &mut self.troubled_left_out;
        self.rows.retain(|row| {
            if row.task.is_multiple_of(one_of) {
                return true;
            }
            if row.outcome != ok || row.fault.is_some() || row.tries > 1 {
                if troubled.len() < TROUBLED_LIMIT {
                    troubled.push(row.clone());
                } else {
                    *left_out += 1;
                }
            }
            false
        });
    }

    fn row(&mut self, record: &Facts<'_>, name: u32, last: u8) -> Row {
        let report = record.report;
        let times = report.map(|report| report.timeline).unwrap_or_default();
        let bytes = |transfers: &[taps_payload::Transfer]| {
            let sizes = transfers.iter().map(|transfer| transfer.bytes);
            sizes.fold(0, u64::saturating_add)
        };
        let outcome = if last == OPEN {
            "open".to_owned()
        } else {
            record.outcome().to_string()
        };
        let fault = record.injected;
        Row {
            task: record.task.0,
            name,
            attempt: record.attempt,
            tries: record.tries,
            worker: record.worker.map(|worker| worker.0),
            submitted_ns: record.submitted_ns,
            dispatched_ns: record.dispatched_ns,
            worker_ns: [
                times.received,
                times.task_start,
                times.task_end,
                times.finished,
            ],
            known_ns: record.known_ns,
            outcome: position(&mut self.outcomes, &outcome),
            last,
            fault: fault.map(|fault| position(&mut self.faults, fault)),
            input_bytes: report.map_or(0, |report| bytes(&report.inputs)),
            output_bytes: report.map_or(0, |report| bytes(&report.outputs)),
            memory: report.map_or(0, |report| report.peak_memory_bytes),
            cpu_ns: report.map_or(0, |report| report.cpu_ns),
            label: record
                .label
                .map(|label| label.chars().take(LABEL_CHARS).collect()),
        }
    }

    /// Whether some attempts are left out.
    pub(crate) fn one_of(&self) -> u64 {
        self.one_of
    }

    pub(crate) fn finish(self) -> Attempts {
        let mut rows = self.rows;
        rows.extend(self.troubled);
        rows.sort_by_key(|row| (row.task, row.attempt));
        let mut columns = Attempts {
            one_of: self.one_of,
            outcomes: self.outcomes,
            faults: self.faults,
            ..Attempts::default()
        };
        for row in rows {
            push(&mut columns, row);
        }
        columns
    }
}

fn push(columns: &mut Attempts, row: Row) {
    let [received, start, end, finished] = row.worker_ns.map(reached);
    columns.task.push(row.task);
    columns.name.push(row.name);
    columns.attempt.push(row.attempt);
    columns.tries.push(row.tries);
    columns.worker.push(row.worker);
    columns.submitted.push(micros(row.submitted_ns));
    columns.dispatched.push(row.dispatched_ns.map(micros));
    columns.received.push(received);
    columns.start.push(start);
    columns.end.push(end);
    columns.finished.push(finished);
    columns.known.push(micros(row.known_ns));
    columns.outcome.push(row.outcome);
    columns.last.push(row.last);
    columns.fault.push(row.fault);
    columns.input_bytes.push(row.input_bytes);
    columns.output_bytes.push(row.output_bytes);
    columns.memory.push(row.memory);
    columns.cpu.push(micros(row.cpu_ns));
    columns.label.push(row.label);
}

/// Whether an attempt is worth a mark in a sample that it would not be in.
fn is_troubled(record: &Facts<'_>) -> bool {
    record.failure.is_some() || record.injected.is_some() || record.tries > 1
}

/// The place of a text among those seen.
fn position(texts: &mut Vec<String>, text: &str) -> u32 {
    if let Some(at) = texts.iter().position(|known| known == text) {
        return at as u32;
    }
    texts.push(text.to_owned());
    (texts.len() - 1) as u32
}

fn reached(time_ns: u64) -> Option<f64> {
    (time_ns > 0).then(|| micros(time_ns))
}

/// Seconds, to the microsecond: what a page can show, in half of the digits.
fn micros(time_ns: u64) -> f64 {
    (time_ns as f64 / 1e3).round() / 1e6
}
