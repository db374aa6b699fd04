//! A resumed run shows its driver what it saw before, in the same order, until it has seen it all.

use crate::{
    history::{History, Step},
    state::State,
};
use std::collections::{HashSet, VecDeque};
use taps_engine::{TaskId, core::Core};
use taps_records::{Delivery, LogEvent};

/// What is left to be shown. Empty in a run that was not resumed.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    steps: VecDeque<Step>,
    /// Tasks whose end is in the log already.
    ended: HashSet<TaskId>,
    /// How the driver went another way.
    pub(crate) diverged: Option<String>,
}

impl Replay {
    /// Gives the core what it needs to know.
    pub(crate) fn begin(history: Option<History>, core: &mut Core) -> Self {
        let Some(history) = history else {
            return Self::default();
        };
        let ended = history.tasks.iter().filter(|(_, past)| past.end.is_some());
        let ended = ended.map(|(task, _)| *task).collect();
        core.remember(history.tasks);
        Self {
            steps: history.steps,
            ended,
            diverged: None,
        }
    }

    /// What the driver did or saw next.
    pub(crate) fn next(&self) -> Option<&Step> {
        self.steps.front()
    }

    /// That has been shown.
    pub(crate) fn advance(&mut self) {
        self.steps.pop_front();
        if self.steps.is_empty() {
            self.steps = VecDeque::new();
        }
    }

    /// Whether the task that is submitted next ended before, so that nobody will read its arguments.
    pub(crate) fn next_has_ended(&self) -> bool {
        match self.steps.front() {
            Some(Step::Submitted { task, .. }) => self.ended.contains(task),
            _ => false,
        }
    }

    /// Whether the log knows already that the task ended; says so once.
    pub(crate) fn knows_end_of(&mut self, task: TaskId) -> bool {
        self.ended.remove(&task)
    }
}

impl State {
    /// The driver did something else than before: the run cannot go on.
    pub(crate) fn diverge(&mut self, does: &str) {
        let did = self.replay.next().map(shown).unwrap_or_default();
        self.replay
            .diverged
            .get_or_insert_with(|| format!("before, the driver {did}; now it {does}"));
        self.ending = true;
    }

    /// The driver sees something. Its clock stands at this moment from now on; in a replay, at the moment
    /// when it saw the same before.
    pub(crate) fn deliver(&mut self, now_ns: u64, delivery: Delivery) {
        match self.replay.next() {
            None => {
                self.delivered_ns = now_ns;
                self.log.append(&LogEvent::Delivered {
                    delivery,
                    time_ns: now_ns,
                });
            }
            Some(Step::Delivered {
                delivery: before,
                time_ns,
            }) if *before == delivery => {
                self.delivered_ns = *time_ns;
                self.replay.advance();
            }
            Some(_) => self.diverge(&saw(&delivery)),
        }
    }

    /// In a replay, takes the next thing that the driver saw, if it is of the right kind.
    pub(crate) fn replayed<R>(
        &mut self,
        does: impl FnOnce() -> String,
        take: impl FnOnce(&Delivery) -> Option<R>,
    ) -> Replayed<R> {
        let taken = match self.replay.next() {
            None => return Replayed::Live,
            Some(Step::Delivered { delivery, time_ns }) => {
                take(delivery).map(|taken| (taken, *time_ns))
            }
            Some(_) => None,
        };
        let Some((taken, time_ns)) = taken else {
            self.diverge(&does());
            return Replayed::Diverged;
        };
        self.delivered_ns = time_ns;
        self.replay.advance();
        Replayed::Seen(taken)
    }
}

/// What a driver that waits is shown.
pub(crate) enum Replayed<R> {
    /// What happens now: there is nothing left of before.
    Live,
    /// What it saw before.
    Seen(R),
    /// Nothing: it went another way, and ends.
    Diverged,
}

fn shown(step: &Step) -> String {
    match step {
        Step::Submitted { task, name, .. } => format!("submitted task {task} ({name})"),
        Step::Delivered { delivery, .. } => saw(delivery),
        Step::Phase { name, .. } => format!("began the phase {name}"),
    }
}

fn saw(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Completions(all) => {
            let tasks: Vec<String> = all.iter().map(|one| one.task.to_string()).collect();
            format!("saw tasks {} complete", tasks.join(", "))
        }
        Delivery::Status { task, status } => format!("asked for task {task} and saw {status:?}"),
        Delivery::Result { output, len } => {
            let (task, index) = (output.task, output.index);
            format!("read output {index} of task {task}, {len} bytes")
        }
        Delivery::Failure { task, outcome } => format!("saw task {task} fail: {outcome}"),
        Delivery::Timeout => "waited until its time was over".to_owned(),
        Delivery::Empty => "had nothing to wait for".to_owned(),
        Delivery::Slept => "slept".to_owned(),
        Delivery::InputFile { path, fingerprint } => {
            let (len, time) = (fingerprint.len, fingerprint.modified_ns);
            format!("opened {path}: {len} bytes, changed at {time} ns")
        }
        Delivery::InputFileFailed { path, error } => format!("could not open {path}: {error}"),
    }
}
