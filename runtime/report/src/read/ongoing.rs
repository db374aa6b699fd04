//! A run that goes on.

use super::{
    Files, ReportError, blank, complete,
    log::{self, Watching},
};
use crate::{
    collect::Collector,
    facts::{Facts, Sink as _},
    model::Model,
};
use std::path::{Path, PathBuf};
use taps_records::{Follower, LogEvent, Reading, Record, TasksSummary};

/// Most attempts that are listed while a run goes on.
const ROWS: usize = 2_000;

/// What the log of a run that goes on has told so far. It is given the log by a [`Follower`].
///
/// What it keeps is as bounded as what [`read`](super::read) does, and so is the time that a model takes.
pub struct Ongoing {
    path: PathBuf,
    files: Files,
    watching: Watching<Collector>,
}

impl Ongoing {
    /// Nothing so far, of the run in that directory.
    pub fn new(path: &Path) -> Result<Self, ReportError> {
        Ok(Self {
            path: path.to_owned(),
            files: Files::find(path)?,
            watching: Watching::default(),
        })
    }

    /// How the run is now: as of `now_ns` on its clock where nothing that happened before is still to be read. What
    /// became of injected faults is not told before its end, and of very many attempts a few are listed.
    pub fn model(&self, follower: &Follower, now_ns: Option<u64>) -> Model {
        let mut collector = self.watching.sink.snapshot(now_ns, ROWS);
        follower.each_open(&mut Open(&mut collector));
        let mut model = blank(&self.path);
        if let Some(started) = self.watching.started.clone() {
            // That the run goes on is no news here.
            let told = log::told(started, None, true, None, &mut Vec::new());
            log::fill(told, collector, &mut model);
        }
        complete(&self.files, &mut model);
        model
    }

    /// How the run was, at its end: what [`read`](super::read) makes of its log. `summary` is what
    /// [`Follower::finish`] gave.
    pub fn last(mut self, follower: &Follower, summary: &TasksSummary) -> Model {
        let mut model = blank(&self.path);
        let watching = &mut self.watching;
        follower.each_open(&mut Open(&mut watching.sink));
        let Some(started) = watching.started.take() else {
            return model;
        };
        if summary.unmatched > 0 {
            let note = log::unmatched(summary.unmatched);
            model.notes.push(note);
        }
        let ended = watching.ended.take();
        let told = log::told(started, ended, false, None, &mut model.notes);
        log::fill(told, self.watching.sink, &mut model);
        if model.carried_faults {
            log::faults(&self.files, &mut model);
        }
        complete(&self.files, &mut model);
        model
    }
}

impl Reading for Ongoing {
    fn event(&mut self, event: &LogEvent) {
        self.watching.event(event);
    }

    fn record(&mut self, record: Record<'_>) {
        self.watching.record(record);
    }

    fn open(&mut self, record: Record<'_>) {
        self.watching.open(record);
    }
}

/// Takes tasks that are open now.
struct Open<'a>(&'a mut Collector);

impl Reading for Open<'_> {
    fn event(&mut self, _: &LogEvent) {}

    fn record(&mut self, _: Record<'_>) {}

    fn open(&mut self, record: Record<'_>) {
        self.0.open(&Facts::of(record));
    }
}
