//! `records`: the task records of a run, rebuilt from its event log.

use crate::exit::{ExitCode, Failure};
use crate::render;
use std::path::Path;
use taps_records::{EVENTS_FILE, TASKS_FILE};

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
    if let Some(offset) = summary.truncated_at {
        render::note(&format!(
            "note: the log is damaged from byte {offset} on; what came before is in the records"
        ));
    }
    Ok(ExitCode::Ok)
}
