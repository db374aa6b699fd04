//! What every operation of a data plane cost.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// One operation. Serialisable: worker processes forward theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// What was done.
    pub operation: OperationKind,
    /// Which side of the run did it.
    pub side: Side,
    /// The worker that did it, where one did.
    pub worker: Option<u32>,
    /// The task that it was done for, where there is one.
    pub task: Option<u64>,
    /// The payload.
    pub key: Arc<str>,
    /// Bytes of the payload.
    pub bytes: u64,
    /// Begin, in nanoseconds since the start of the run.
    pub start_ns: u64,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
    /// Whether it succeeded.
    pub ok: bool,
}

/// Kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A payload was put into the store.
    Put,
    /// A payload was fetched from the store.
    Get,
    /// A payload was removed from the store.
    Remove,
    /// A payload was wanted that the process had, or was fetching already.
    CacheHit,
}

/// Side of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The driver, and the coordinator on its behalf.
    Driver,
    /// A worker.
    Worker,
}

/// Takes operations as they end; called from many threads.
pub trait OperationSink: Send + Sync {
    /// An operation ended.
    fn record(&self, operation: Operation);
}

/// Forgets operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOperations;

impl OperationSink for NoOperations {
    fn record(&self, _: Operation) {}
}

/// All operations of one kind on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// How many.
    pub count: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Bytes of the payloads.
    pub bytes: u64,
    /// Shortest duration, in seconds.
    pub min_s: f64,
    /// Mean duration, in seconds.
    pub mean_s: f64,
    /// Longest duration, in seconds.
    pub max_s: f64,
    /// All durations together, in seconds.
    pub total_s: f64,
}

impl Aggregate {
    fn add(&mut self, operation: &Operation) {
        let seconds = operation.duration_ns as f64 / 1e9;
        self.min_s = if self.count == 0 {
            seconds
        } else {
            self.min_s.min(seconds)
        };
        self.max_s = self.max_s.max(seconds);
        self.total_s += seconds;
        self.count += 1;
        self.failed += u64::from(!operation.ok);
        self.bytes += operation.bytes;
        self.mean_s = self.total_s / self.count as f64;
    }
}

/// The metrics files of a run could not be written. Completes "failed to …".
#[derive(Debug, thiserror::Error)]
#[error("write {}", path.display())]
pub struct StatsError {
    path: PathBuf,
    source: io::Error,
}

/// Writes `stats.jsonl` as operations come, and `aggregated.json` at the end; holds no operations.
#[derive(Debug)]
pub struct StatsFiles {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: BufWriter<File>,
    aggregates: BTreeMap<Side, BTreeMap<OperationKind, Aggregate>>,
    /// The first failure; nothing is written after it.
    failure: Option<io::Error>,
}

impl StatsFiles {
    const LINES: &str = "stats.jsonl";
    const AGGREGATED: &str = "aggregated.json";

    /// Makes the files in a run directory.
    pub fn create(directory: &Path) -> Result<Self, StatsError> {
        let path = directory.join(Self::LINES);
        let file = File::create_new(&path).map_err(|source| StatsError { path, source })?;
        Ok(Self {
            directory: directory.to_owned(),
            state: Mutex::new(State {
                lines: BufWriter::new(file),
                aggregates: BTreeMap::new(),
                failure: None,
            }),
        })
    }

    /// Writes what is left. Operations that come later are lost.
    pub fn finish(&self) -> Result<(), StatsError> {
        let failed = |name: &str, source| StatsError {
            path: self.directory.join(name),
            source,
        };
        let mut state = self.state.lock();
        if let Some(source) = state.failure.take() {
            return Err(failed(Self::LINES, source));
        }
        state
            .lines
            .flush()
            .map_err(|error| failed(Self::LINES, error))?;
        let mut text = serde_json::to_string_pretty(&state.aggregates)
            .map_err(|error| failed(Self::AGGREGATED, error.into()))?;
        text.push('\n');
        let path = self.directory.join(Self::AGGREGATED);
        std::fs::write(path, text).map_err(|error| failed(Self::AGGREGATED, error))
    }
}

impl State {
    fn write(&mut self, operation: &Operation) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, operation)?;
        self.lines.write_all(b"\n")
    }
}

impl OperationSink for StatsFiles {
    fn record(&self, operation: Operation) {
        let mut state = self.state.lock();
        if state.failure.is_some() {
            return;
        }
        state
            .aggregates
            .entry(operation.side)
            .or_default()
            .entry(operation.operation)
            .or_default()
            .add(&operation);
        if let Err(error) = state.write(&operation) {
            state.failure = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(side: Side, operation: OperationKind, bytes: u64, duration_ns: u64) -> Operation {
        Operation {
            operation,
            side,
            worker: None,
            task: Some(3),
            key: "key".into(),
            bytes,
            start_ns: 1,
            duration_ns,
            ok: bytes != 7,
        }
    }

    #[test]
    fn files_hold_each_operation_and_their_sums() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = StatsFiles::create(directory.path()).expect("a new file");
        files.record(operation(
            Side::Driver,
            OperationKind::Put,
            7,
            1_000_000_000,
        ));
        files.record(operation(
            Side::Driver,
            OperationKind::Put,
            5,
            3_000_000_000,
        ));
        files.record(operation(Side::Worker, OperationKind::CacheHit, 5, 0));
        files.finish().expect("written");
        let lines = std::fs::read_to_string(directory.path().join("stats.jsonl")).expect("read");
        let parsed: Vec<Operation> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("an operation"))
            .collect();
        assert_eq!(parsed.len(), 3);
        assert_eq!(parsed[1].bytes, 5);
        let text = std::fs::read_to_string(directory.path().join("aggregated.json")).expect("read");
        let sums: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let put: Aggregate =
            serde_json::from_value(sums["driver"]["put"].clone()).expect("an aggregate");
        let expected = Aggregate {
            count: 2,
            failed: 1,
            bytes: 12,
            min_s: 1.0,
            mean_s: 2.0,
            max_s: 3.0,
            total_s: 4.0,
        };
        assert_eq!(put, expected);
        assert_eq!(sums["worker"]["cache-hit"]["count"], 1);
    }

    #[test]
    fn operations_cross_processes_as_they_are() {
        let before = operation(Side::Worker, OperationKind::Get, 9, 12);
        let packed = postcard::to_allocvec(&before).expect("plain data");
        let after: Operation = postcard::from_bytes(&packed).expect("just written");
        assert_eq!(after, before);
    }
}
