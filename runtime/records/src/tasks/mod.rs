//! `tasks.jsonl`: one JSON object per line, a view of the event log.
//!
//! Each task has one line with `"final": true`: TaPS's fields with TaPS's names, meanings and
//! order, then ours. Attempts that were followed by another, and runs of a finished task whose
//! output was lost, have a line each with `"final": false`. The fields are in the crate's
//! README.

mod follow;
mod line;
mod record;
mod state;

use crate::{EVENTS_FILE, LogError, LogEvent, LogReader, TASKS_FILE, whole_file::WholeFile};
pub use follow::Follower;
use line::Line;
pub use line::way_name;
pub use record::{Reading, Record, read_records};
use state::State;
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
};

/// Lines are written when so many bytes are waiting.
const BUFFER_BYTES: usize = 256 << 10;

/// Takes what is known of attempts and tasks as they end.
trait Lines {
    /// One that ended.
    fn line(&mut self, line: &Line<'_>);
}

/// The text of `tasks.jsonl`.
impl Lines for Vec<u8> {
    fn line(&mut self, line: &Line<'_>) {
        line.write(self);
    }
}

/// A log on its way through the state.
struct Fold<'a> {
    log: &'a Path,
    reader: LogReader<BufReader<File>>,
    state: State,
    repeats_known: bool,
}

impl<'a> Fold<'a> {
    fn open(log: &'a Path) -> Result<Self, LogError> {
        Ok(Self {
            log,
            reader: LogReader::open(log)?,
            state: State::default(),
            repeats_known: false,
        })
    }

    /// The next event, for which the state is prepared, and which is to be applied to it.
    fn next_event(&mut self) -> Result<Option<LogEvent>, LogError> {
        let event = self.reader.next_event()?;
        if let Some(event) = &event
            && !self.repeats_known
            && self.state.needs_submission_of(event)
        {
            remember_repeated(self.log, &mut self.state)?;
            self.repeats_known = true;
        }
        Ok(event)
    }

    fn finish(&mut self, out: &mut dyn Lines) -> TasksSummary {
        let state = &mut self.state;
        let unfinished = state.unfinished();
        let before = state.tasks;
        state.finish(out);
        TasksSummary {
            lines: state.lines,
            tasks: state.tasks,
            unfinished: unfinished - (state.tasks - before),
            unmatched: state.unmatched,
            run_finished: state.run_finished,
            truncated_at: self.reader.truncated_at(),
        }
    }
}

/// What was written to `tasks.jsonl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TasksSummary {
    /// Lines.
    pub lines: u64,
    /// Lines with `"final": true`: tasks that ended.
    pub tasks: u64,
    /// Tasks that were submitted and had not ended when the log did.
    pub unfinished: u64,
    /// Reports that belong to no open task, and are therefore in no line.
    pub unmatched: u64,
    /// Whether the log tells of the end of the run; otherwise the run was killed, or goes on.
    pub run_finished: bool,
    /// Where the log is damaged, as of [`LogReader::truncated_at`].
    pub truncated_at: Option<u64>,
}

/// Why `tasks.jsonl` could not be made. What was there before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The view could not be written.
    #[error("write {}", path.display())]
    Write {
        /// The view.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes the lines of every finished attempt and task of a log, in the order in which they
/// finished. The file appears when it is whole. Memory is bounded by the tasks open at one
/// time, not by the run.
pub fn write_tasks_jsonl(log: &Path, tasks: &Path) -> Result<TasksSummary, ViewError> {
    let failed = |source| ViewError::Write {
        path: tasks.to_owned(),
        source,
    };
    let mut fold = Fold::open(log)?;
    let mut file = WholeFile::create(tasks).map_err(failed)?;
    let mut out = Vec::with_capacity(BUFFER_BYTES + (BUFFER_BYTES >> 2));
    while let Some(event) = fold.next_event()? {
        fold.state.apply(event, &mut out);
        if out.len() >= BUFFER_BYTES {
            file.write_all(&out).map_err(failed)?;
            out.clear();
        }
    }
    let summary = fold.finish(&mut out);
    file.write_all(&out).map_err(failed)?;
    file.commit().map_err(failed)?;
    Ok(summary)
}

/// Writes `tasks.jsonl` of a run that was killed, from its `events.log`. Every attempt and
/// task that finished before the kill has its line.
pub fn recover(run_dir: &Path) -> Result<TasksSummary, ViewError> {
    write_tasks_jsonl(&run_dir.join(EVENTS_FILE), &run_dir.join(TASKS_FILE))
}

/// Finished tasks that run again are rare, and forgotten once their line is written: when the
/// first turns up, two more passes over the log find the submissions of all.
fn remember_repeated(log: &Path, state: &mut State) -> Result<(), LogError> {
    let mut repeated = HashSet::new();
    // Tasks below this one were submitted before the run was killed, and may have finished then.
    let (mut submitted, mut before_kill) = (0, 0);
    for event in LogReader::open(log)? {
        match event? {
            LogEvent::Submitted { task, .. } => submitted = submitted.max(task.0.saturating_add(1)),
            LogEvent::Resumed { .. } => before_kill = submitted,
            LogEvent::AttemptStarted { id, generation, .. }
                if generation > 0 || id.task.0 < before_kill =>
            {
                repeated.insert(id.task);
            }
            _ => {}
        }
    }
    for event in LogReader::open(log)? {
        let event = event?;
        if let LogEvent::Submitted { task, .. } = &event
            && repeated.contains(task)
        {
            state.remember(event);
        }
    }
    Ok(())
}
