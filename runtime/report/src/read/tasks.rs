//! `tasks.jsonl`, where the event log cannot be read: it has no version, and says of tasks almost all.

use super::Files;
use crate::{
    collect::Collector,
    facts::{Facts, Sink},
    model::{Model, Run},
};
use serde::Deserialize;
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};
use taps_engine::{
    AttemptId, AttemptReport, Failure, OutcomeKind, ProgramUse, TaskId, Timeline, TrapKind,
    WorkerId,
};
use taps_payload::{Transfer, Way};
use taps_records::{LogEvent, RunStarted, SubmitOptions, TASKS_FILE};

/// Longest line that is read.
const LINE_LIMIT: u64 = 16 << 20;

/// A line, as far as it is used. What is missing is as if it were null.
#[derive(Deserialize)]
struct Line {
    task_id: String,
    name: String,
    #[serde(default)]
    parent_task_ids: Vec<String>,
    submit_time: Option<f64>,
    exception: Option<Exception>,
    attempt: Option<u32>,
    #[serde(default)]
    attempts: u32,
    #[serde(default, rename = "final")]
    is_final: bool,
    worker: Option<u32>,
    #[serde(default)]
    outcome: String,
    exit_code: Option<i32>,
    signal: Option<i32>,
    #[serde(default)]
    memoized: bool,
    #[serde(default)]
    inputs: Vec<Travelled>,
    #[serde(default)]
    outputs: Vec<Travelled>,
    peak_memory_bytes: Option<u64>,
    cpu_time: Option<f64>,
    monotonic_submit_ns: u64,
    monotonic_dispatch_ns: Option<u64>,
    monotonic_execution_start_ns: Option<u64>,
    monotonic_task_start_ns: Option<u64>,
    monotonic_task_end_ns: Option<u64>,
    monotonic_execution_end_ns: Option<u64>,
    monotonic_received_ns: u64,
    #[serde(default)]
    generation: u32,
    label: Option<String>,
    phase: Option<String>,
    injected: Option<Injected>,
    #[serde(default)]
    programs: Vec<Program>,
    /// Null unless the worker told of it.
    execution: Option<Execution>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

#[derive(Deserialize)]
struct Travelled {
    bytes: u64,
    moved: u64,
    way: Way,
    copies: u8,
}

#[derive(Deserialize)]
struct Injected {
    action: String,
}

#[derive(Deserialize)]
struct Program {
    #[serde(default)]
    wall_time: f64,
    #[serde(default)]
    peak_memory_bytes: u64,
}

/// On the wall clock, in seconds; a transformer's times differ from the others.
#[derive(Deserialize)]
struct Execution {
    hostname: Option<String>,
    #[serde(rename = "execution_start_time")]
    begun: Option<f64>,
    #[serde(rename = "task_start_time")]
    ready: Option<f64>,
    #[serde(rename = "input_transform_start_time")]
    resolving: Option<f64>,
    #[serde(rename = "input_transform_end_time")]
    resolved: Option<f64>,
}

/// What reading came to.
#[derive(Default)]
struct Lines {
    good: u64,
    damaged: u64,
    start_unix_s: Option<f64>,
    workers: HashSet<u32>,
}

/// Streams the task records by, if there are any.
pub(super) fn stream(
    files: &Files,
    config: &toml::Table,
    sink: &mut impl Sink,
    notes: &mut Vec<String>,
) -> Option<super::Told> {
    let text = |table: &str, name: &str| {
        let value = config.get(table)?.get(name)?.as_str()?;
        Some(value.to_owned())
    };
    let name = text("engine", "task_record_file_name").unwrap_or_else(|| TASKS_FILE.to_owned());
    let path = files.directory.as_ref()?.join(&name);
    let lines = match lines(&path, sink) {
        Ok(lines) if lines.good > 0 => lines,
        Ok(_) => return None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            notes.push(format!("{name} cannot be read: {error}"));
            return None;
        }
    };
    notes.push(format!(
        "tasks and times are those of {name}: it does not say how the run ended, how many slots it had (counted are \
         the workers that it names), which workers were lost, and which tasks were open"
    ));
    if lines.damaged > 0 {
        let damaged = lines.damaged;
        notes.push(format!("damaged lines of {name} were left out: {damaged}"));
    }
    let executor = config
        .get("engine")
        .and_then(|engine| engine.get("executor")?.get("name")?.as_str());
    let started = RunStarted {
        app: text("app", "name").unwrap_or_default(),
        executor: executor.unwrap_or_default().to_owned(),
        slots: u32::try_from(lines.workers.len()).unwrap_or(u32::MAX),
        seed: config
            .get("run")
            .and_then(|run| u64::try_from(run.get("seed")?.as_integer()?).ok())
            .unwrap_or(0),
        start_unix_ns: lines.start_unix_s.map_or(0, nanoseconds),
        ..RunStarted::default()
    };
    sink.event(&LogEvent::RunStarted(Box::new(started.clone())));
    Some(super::Told {
        started,
        state: "unknown",
        ..super::Told::default()
    })
}

/// Reads the task records into a model that has no log.
pub(super) fn read(files: &Files, config: &toml::Table, model: &mut Model) {
    let mut collector = Collector::default();
    let Some(told) = stream(files, config, &mut collector, &mut model.notes) else {
        return;
    };
    model.run = Some(Run {
        app: told.started.app,
        executor: told.started.executor,
        slots: told.started.slots,
        seed: told.started.seed,
        start_unix_s: told.started.start_unix_ns as f64 / 1e9,
        state: told.state,
        ..collector.run()
    });
    collector.finish(model);
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9).round() as u64
}

fn lines(path: &Path, sink: &mut impl Sink) -> io::Result<Lines> {
    let mut reader = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut lines = Lines::default();
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader
            .by_ref()
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok(lines);
        }
        let line = serde_json::from_slice::<Line>(&text).ok();
        match line.and_then(|line| taken(&line, sink, &mut lines)) {
            Some(()) => lines.good += 1,
            None => lines.damaged += 1,
        }
    }
}

/// Passes a line on; `None` when it makes no sense.
fn taken(line: &Line, sink: &mut impl Sink, lines: &mut Lines) -> Option<()> {
    let task = TaskId(line.task_id.parse().ok()?);
    let parents = line.parent_task_ids.iter().map(|id| id.parse().map(TaskId));
    let parents: Vec<TaskId> = parents.collect::<Result<_, _>>().ok()?;
    let failure = match (&line.exception, line.outcome.as_str()) {
        (None, "ok") => None,
        (Some(exception), name) => Some(Failure {
            outcome: outcome(name, line, &exception.kind)?,
            kind: exception.kind.clone(),
            message: exception.message.clone(),
            detail: None,
        }),
        (None, _) => return None,
    };
    let submitted_ns = line.monotonic_submit_ns;
    if let (None, Some(submit_s)) = (lines.start_unix_s, line.submit_time) {
        lines.start_unix_s = Some(submit_s - submitted_ns as f64 / 1e9);
    }
    lines.workers.extend(line.worker);
    // The first line of a task.
    if line.attempts <= 1 && line.generation == 0 {
        sink.event(&LogEvent::Submitted {
            task,
            name: line.name.as_str().into(),
            parents: parents.clone(),
            label: line.label.as_deref().map(Into::into),
            arguments_hash: 0,
            options: SubmitOptions::default(),
            phase: 0,
            time_ns: submitted_ns,
        });
    }
    let report = report(line, task, failure.as_ref());
    sink.record(&Facts {
        task,
        name: &line.name,
        parents: &parents,
        label: line.label.as_deref(),
        phase: line.phase.as_deref(),
        submitted_ns,
        dispatched_ns: line.monotonic_dispatch_ns,
        known_ns: line.monotonic_received_ns,
        attempt: line.attempt,
        tries: line.attempts,
        generation: line.generation,
        worker: line.worker.map(WorkerId),
        host: line
            .execution
            .as_ref()
            .and_then(|execution| execution.hostname.as_deref()),
        report: report.as_ref(),
        failure: failure.as_ref(),
        is_last: line.is_final,
        is_memoized: line.memoized,
        injected: line
            .injected
            .as_ref()
            .map(|injected| injected.action.as_str()),
    });
    Some(())
}

/// The outcome of a name; traps are told apart by the type of the error.
fn outcome(name: &str, line: &Line, kind: &str) -> Option<OutcomeKind> {
    const TRAPS: [TrapKind; 9] = [
        TrapKind::Unreachable,
        TrapKind::OutOfBounds,
        TrapKind::StackOverflow,
        TrapKind::DivisionByZero,
        TrapKind::IntegerOverflow,
        TrapKind::BadCall,
        TrapKind::Exit,
        TrapKind::HostCall,
        TrapKind::Other,
    ];
    let trap = TRAPS.into_iter().find(|trap| trap.name() == kind);
    let all = [
        OutcomeKind::TaskError,
        OutcomeKind::Trap(trap.unwrap_or(TrapKind::Other)),
        OutcomeKind::OutOfMemory,
        OutcomeKind::Timeout,
        OutcomeKind::ProgramError {
            exit: line.exit_code,
            signal: line.signal,
        },
        OutcomeKind::WorkerLost,
        OutcomeKind::UpstreamFailed,
        OutcomeKind::Cancelled,
        OutcomeKind::PayloadError,
        OutcomeKind::EngineError,
    ];
    all.into_iter().find(|outcome| outcome.name() == name)
}

/// What the worker said, as far as a line has it.
fn report(line: &Line, task: TaskId, failure: Option<&Failure>) -> Option<AttemptReport> {
    let execution = line.execution.as_ref()?;
    let id = AttemptId {
        task,
        number: line.attempt.unwrap_or(0),
    };
    let result = failure.cloned().map_or(Ok(Vec::new()), Err);
    Some(AttemptReport {
        timeline: timeline(line, execution),
        inputs: line.inputs.iter().map(transfer).collect(),
        outputs: line.outputs.iter().map(transfer).collect(),
        cpu_ns: line.cpu_time.map_or(0, nanoseconds),
        peak_memory_bytes: line.peak_memory_bytes.unwrap_or(0),
        programs: line
            .programs
            .iter()
            .map(|program| ProgramUse {
                wall_ns: nanoseconds(program.wall_time),
                peak_memory_bytes: program.peak_memory_bytes,
                ..ProgramUse::default()
            })
            .collect(),
        ..AttemptReport::bare(id, WorkerId(line.worker.unwrap_or(0)), result)
    })
}

fn transfer(travelled: &Travelled) -> Transfer {
    Transfer {
        bytes: travelled.bytes,
        bytes_moved: travelled.moved,
        way: travelled.way,
        copies: travelled.copies,
    }
}

fn timeline(line: &Line, execution: &Execution) -> Timeline {
    let received = line.monotonic_execution_start_ns.unwrap_or(0);
    // Where no transformer was, its times are those of all that happens before the task function.
    let inputs = || {
        let (begin, start) = (execution.begun?, execution.ready?);
        let from = execution.resolving?;
        let to = execution.resolved?;
        let after = |time: f64| received + ((time - begin).max(0.0) * 1e9).round() as u64;
        (from > begin || to < start).then(|| [after(from), after(to)])
    };
    Timeline {
        received,
        task_start: line.monotonic_task_start_ns.unwrap_or(0),
        task_end: line.monotonic_task_end_ns.unwrap_or(0),
        finished: line.monotonic_execution_end_ns.unwrap_or(0),
        inputs: inputs().unwrap_or([0, 0]),
        results: [0, 0],
    }
}
