//! `records`: the views of a run's event log, made again.

use crate::exit::{ExitCode, Failure};
use crate::render;
use std::path::Path;
use taps_records::{EVENTS_FILE, FAILURES_FILE, TASKS_FILE};

pub(crate) fn records(run: &Path) -> Result<ExitCode, Failure> {
    let summary = taps_records::recover(run).map_err(|error| {
        let failure = Failure::new(ExitCode::Records, error);
        if run.join(EVENTS_FILE).exists() {
            failure
        } else {
            failure.hint(format!(
                "{} has no {EVENTS_FILE}: name a run directory",
                run.display()
            ))
        }
    })?;
    let state = if summary.run_finished {
        "the run finished"
    } else {
        "the run did not finish"
    };
    render::note(&format!(
        "{}: {} lines, {} tasks, {} unfinished; {state}",
        run.join(TASKS_FILE).display(),
        summary.lines,
        summary.tasks,
        summary.unfinished
    ));
    let failures = run.join(FAILURES_FILE);
    let faults = taps_records::write_failures_json(&run.join(EVENTS_FILE), &failures)
        .map_err(|error| Failure::new(ExitCode::Records, error))?;
    if faults.total > 0 {
        let (path, total) = (failures.display(), faults.total);
        render::note(&format!("{path}: {total} injected faults"));
    }
    if let Some(offset) = summary.truncated_at {
        render::note(&format!(
            "note: the log is damaged from byte {offset} on; what came before is in the records"
        ));
    }
    Ok(ExitCode::Ok)
}
