//! A run as a trace of JSON events, which Perfetto and Chrome show.
//!
//! ```text
//!  process run      counters of tasks running and waiting; phases of the driver; what happened to the run
//!  process workers  a track for each worker; where attempts overlap on one, a track more
//!  process tasks    what a task waited for before its first attempt: parents, queue, delivery
//!  arrows           from the end of a task to the beginning of those that wait for it
//! ```
//!
//! Events are written in the order of the log; viewers sort them.

mod counters;
mod lanes;
mod trace;

use crate::{
    destination::{self, Destination},
    error::ExportError,
};
use std::path::Path;
use trace::Trace;

/// Writes a run.
pub(crate) fn write(run: &Path, to: Destination<'_>) -> Result<Vec<String>, ExportError> {
    destination::text(to, |out, _| {
        let mut trace = Trace::new(out);
        let streamed = taps_report::stream(run, &mut trace)?;
        let Some(told) = &streamed.told else {
            return Err(ExportError::Unreadable {
                path: run.to_owned(),
                notes: streamed.notes,
            });
        };
        let mut notes = streamed.notes.clone();
        trace.finish(told, &mut notes);
        Ok(notes)
    })
}
