//! The event log.

use super::{FAULTS_LIMIT, Files, Told};
use crate::{
    collect::{Collector, seconds, short},
    facts::{Facts, Sink},
    model::{Model, Run},
};
use std::path::Path;
use taps_records::{
    EVENTS_FILE, EventLog, FAILURES_FILE, LogError, LogEvent, Reading, Record, RunStarted,
    TasksSummary, read_faults, read_records,
};

/// Exit code of a run that was interrupted.
const INTERRUPTED: i32 = 130;
/// Above so many tasks, of which each takes some 300 bytes meanwhile, faults are not judged again.
const FAULT_TASKS_LIMIT: u64 = 1_000_000;

/// How a run ended, when it did.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    ok: bool,
    exit_code: i32,
    error: Option<String>,
    report: Option<String>,
}

/// Passes on what the log tells from its beginning on, and keeps how the run began and ended.
#[derive(Default)]
pub(super) struct Watching<S> {
    pub(super) sink: S,
    pub(super) started: Option<RunStarted>,
    pub(super) ended: Option<Ended>,
}

impl<S: Sink> Reading for Watching<S> {
    fn event(&mut self, event: &LogEvent) {
        match event {
            LogEvent::RunStarted(started) => self.started = Some((**started).clone()),
            LogEvent::Resumed { .. } => self.ended = None,
            LogEvent::RunFinished {
                ok,
                exit_code,
                report,
                error,
                ..
            } => {
                self.ended = Some(Ended {
                    ok: *ok,
                    exit_code: *exit_code,
                    error: error.clone(),
                    report: report.clone(),
                });
            }
            _ => {}
        }
        if self.started.is_some() {
            self.sink.event(event);
        }
    }

    fn record(&mut self, record: Record<'_>) {
        if self.started.is_some() {
            self.sink.record(&Facts::of(record));
        }
    }

    fn open(&mut self, record: Record<'_>) {
        if self.started.is_some() {
            self.sink.open(&Facts::of(record));
        }
    }
}

/// Streams the log by; `None` where it does not even say how the run began. Notes say what could not be read.
pub(super) fn stream<S: Sink>(
    files: &Files,
    sink: &mut S,
    notes: &mut Vec<String>,
) -> Option<Told> {
    let mut watching = Watching {
        sink,
        started: None,
        ended: None,
    };
    // Asked first: a run that ends meanwhile has ended, and was not killed.
    let in_use = EventLog::is_in_use(&files.log).unwrap_or(false);
    let read = read_records(&files.log, &mut watching);
    let summary = match read {
        Ok(summary) => summary,
        Err(error) => {
            notes.push(no_log(&files.log, &error));
            // It could be read up to there.
            watching.started.as_ref()?;
            TasksSummary::default()
        }
    };
    let damaged_at = summary.truncated_at.filter(|_| !in_use);
    if let Some(offset) = damaged_at {
        notes.push(format!(
            "the log is damaged from byte {offset} on: what came before is shown"
        ));
    }
    if summary.unmatched > 0 {
        notes.push(unmatched(summary.unmatched));
    }
    let Some(started) = watching.started else {
        notes.push("the log does not say how the run began: it was killed before, or the beginning is lost".into());
        return None;
    };
    Some(told(started, watching.ended, in_use, damaged_at, notes))
}

/// The note on events that belong to no task.
pub(super) fn unmatched(count: u64) -> String {
    format!("{count} events are of tasks that the log does not know, and were left out")
}

pub(super) fn told(
    started: RunStarted,
    ended: Option<Ended>,
    in_use: bool,
    damaged_at: Option<u64>,
    notes: &mut Vec<String>,
) -> Told {
    let state = match &ended {
        Some(ended) if ended.ok => "finished",
        Some(ended) if ended.exit_code == INTERRUPTED => "interrupted",
        Some(_) => "failed",
        None if in_use => "going-on",
        None => "killed",
    };
    match state {
        "going-on" => {
            notes.push("the run goes on: this is how it stood when it was read".into());
        }
        "killed" => notes
            .push("the run is gone without having ended: its latest event is its end here".into()),
        _ => {}
    }
    Told {
        started,
        state,
        exit_code: ended.as_ref().map(|ended| ended.exit_code),
        error: ended.as_ref().and_then(|ended| ended.error.clone()),
        report: ended.and_then(|ended| ended.report),
        damaged_at,
    }
}

/// Reads the log into a model, or says why that cannot be.
pub(super) fn read(files: &Files, model: &mut Model) {
    let mut collector = Collector::default();
    let Some(told) = stream(files, &mut collector, &mut model.notes) else {
        return;
    };
    fill(told, collector, model);
    if model.carried_faults {
        faults(files, model);
    }
}

/// Fills in what the log told.
pub(super) fn fill(told: Told, collector: Collector, model: &mut Model) {
    model.run = Some(Run {
        app: told.started.app,
        app_version: told.started.app_version,
        executor: told.started.executor,
        slots: told.started.slots,
        seed: told.started.seed,
        host: told.started.host,
        start_unix_s: seconds(told.started.start_unix_ns),
        state: told.state,
        exit_code: told.exit_code,
        error: told.error.as_deref().map(short),
        report: told
            .report
            .and_then(|report| serde_json::from_str(&report).ok()),
        damaged_at: told.damaged_at,
        ..collector.run()
    });
    model.config = Some(told.started.config_toml);
    model.carried_faults = collector.faults;
    collector.finish(model);
}

/// Why the log cannot be read, and what is missing for it.
fn no_log(log: &Path, error: &LogError) -> String {
    if !log.exists() {
        return format!("there is no {EVENTS_FILE}");
    }
    let because =
        std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
    let advice = match error {
        LogError::Version { .. } => "; the version of taps-wasm that made the run reads it",
        _ => "",
    };
    format!("{error}{because}{advice}")
}

/// Injected faults, from the log; of very many tasks from the file that the run made of it.
pub(super) fn faults(files: &Files, model: &mut Model) {
    if model.counts.submitted > FAULT_TASKS_LIMIT {
        model.injection = super::failures(files, &mut model.notes);
        if model.injection.is_none() {
            model.notes.push(format!(
                "there are more than {FAULT_TASKS_LIMIT} tasks, and no {FAILURES_FILE}: what became of injected \
                 faults is not told"
            ));
        }
        return;
    }
    match read_faults(&files.log) {
        Ok((_, summary)) if summary.total == 0 => {}
        Ok((faults, summary)) => {
            let left_out = faults.len().saturating_sub(FAULTS_LIMIT);
            if left_out > 0 {
                model
                    .notes
                    .push(format!("{left_out} more injected faults are not listed"));
            }
            let listed = &faults[..faults.len() - left_out];
            model.injection = Some(serde_json::json!({"summary": summary, "faults": listed}));
        }
        Err(error) => model.notes.push(format!(
            "what became of injected faults cannot be told: {error}"
        )),
    }
}
