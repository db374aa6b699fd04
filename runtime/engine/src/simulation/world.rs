//! What must be true outside of the core.

use crate::core::{Action, Core, splitmix64};
use crate::{Attempt, AttemptId, OutputId, TaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use taps_payload::{FileRef, Fingerprint, Location, SegmentId, SegmentRef};

/// An attempt on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) attempt: Attempt,
    pub(super) worker: Option<WorkerId>,
    /// An input was lost while it was out.
    pub(super) input_lost: bool,
    pub(super) cancelled: bool,
}

/// What the executor, the payload store and the driver saw of the core's actions.
#[derive(Default)]
pub(super) struct World {
    /// Attempts whose report is due.
    pub(super) flights: Vec<Flight>,
    /// Attempts whose worker was lost with them; their report may come all the same.
    pub(super) ghosts: Vec<Flight>,
    /// Attempts asked back and not answered.
    pub(super) recalls: Vec<AttemptId>,
    /// Attempts ever asked back.
    pub(super) recalled: BTreeSet<AttemptId>,
    /// Attempts lost in the last event.
    pub(super) lost: Vec<AttemptId>,
    /// Attempts sent to a worker that ran another.
    pub(super) queued: u64,
    /// Attempts given back.
    pub(super) returned: u64,
    /// Workers that are there, and how many attempts they take ahead.
    pub(super) workers: BTreeMap<WorkerId, u32>,
    pub(super) completed: BTreeSet<TaskId>,
    attempts: BTreeMap<TaskId, u32>,
    /// Those among them that were given back.
    unstarted: BTreeMap<TaskId, u32>,
    /// Bytes that exist.
    live: BTreeSet<String>,
    /// Bytes that a second delivery of a report named: they may be freed again.
    pub(super) resent: BTreeSet<String>,
    /// Where the inputs are that a report calls lost: they are, if the core believes it.
    pub(super) doubtful: BTreeMap<OutputId, Location>,
    /// Outputs that were lost at some time.
    pub(super) lost_outputs: BTreeSet<OutputId>,
    next_bytes: u64,
    pub(super) digest: u64,
}

/// Name of bytes that have to be freed; none for those that need not.
pub(super) fn name_of(location: &Location) -> Option<String> {
    match location {
        Location::Segment(segment) => Some(format!("segment {}", segment.id.0)),
        Location::Stored(stored) => Some(format!("stored {}", stored.key)),
        Location::File(file) => Some(format!("file {}", file.path.display())),
        // Length 0: an output that the engine does not have yet.
        Location::Engine { key, len } if *len > 0 => Some(format!("key {key}")),
        _ => None,
    }
}

impl World {
    /// Fresh bytes in a segment, or kept by the engine.
    pub(super) fn publish(&mut self, by_engine: bool) -> Location {
        self.next_bytes += 1;
        let number = self.next_bytes;
        let location = if by_engine {
            Location::Engine {
                key: format!("kept-{number}").into(),
                len: 1,
            }
        } else {
            Location::Segment(SegmentRef {
                id: SegmentId(number),
                len: 1,
            })
        };
        self.live.extend(name_of(&location));
        location
    }

    /// A fresh file.
    pub(super) fn publish_file(&mut self) -> Location {
        self.next_bytes += 1;
        let location = Location::File(FileRef {
            path: Arc::new(self.next_bytes.to_string().into()),
            fingerprint: Fingerprint {
                len: 1,
                modified_ns: 0,
            },
        });
        self.live.extend(name_of(&location));
        location
    }

    /// The bytes are gone without the core's doing.
    pub(super) fn lose(&mut self, location: &Location) {
        if let Some(name) = name_of(location) {
            assert!(self.live.remove(&name), "{name} was in use and not there");
        }
        for flight in &mut self.flights {
            let mut inputs = flight.attempt.arguments.iter();
            flight.input_lost |= inputs.any(|input| input.location == *location);
        }
    }

    pub(super) fn has_live_bytes(&self) -> Option<&String> {
        self.live.first()
    }

    /// Applies the actions that an event set off. `resent` says that the event was a report that
    /// the core had seen before.
    pub(super) fn apply(&mut self, core: &Core, actions: Vec<Action>, resent: bool) {
        self.lost.clear();
        for action in actions {
            match action {
                Action::Dispatch { worker, attempt } => self.dispatch(core, worker, attempt),
                Action::CancelAttempt(id) => {
                    self.note(2, id.task.0, id.number);
                    let mut flights = self.flights.iter_mut();
                    let flight = flights.find(|flight| flight.attempt.id == id);
                    let flight = flight.unwrap_or_else(|| panic!("{id} cancelled, but not out"));
                    assert!(!flight.cancelled, "{id} was cancelled twice");
                    flight.cancelled = true;
                }
                Action::AttemptLost { attempt, .. } => {
                    self.note(3, attempt.task.0, attempt.number);
                    let flight = self.land(attempt);
                    self.ghosts.push(flight);
                    self.lost.push(attempt);
                }
                Action::Recall(id) => self.recall(id),
                Action::AttemptReturned { attempt } => {
                    self.note(9, attempt.task.0, attempt.number);
                    let flight = self.land(attempt);
                    self.ghosts.push(flight);
                    self.returned += 1;
                    *self.unstarted.entry(attempt.task).or_default() += 1;
                }
                Action::Retrying { failed, .. } => {
                    self.note(4, failed.task.0, failed.number);
                }
                Action::Completed { task, .. } => {
                    self.note(5, task.0, 0);
                    assert!(self.completed.insert(task), "task {task} completed twice");
                }
                Action::Recomputed { task } => {
                    self.note(6, task.0, 0);
                    let before = self.completed.contains(&task);
                    assert!(before, "task {task} ran again before it had completed");
                }
                Action::ParentInjected { parent, child } => {
                    self.note(10, parent.0, 0);
                    assert_eq!(
                        child.0,
                        parent.0 + 1,
                        "a parent is put right before its child"
                    );
                }
                Action::OutputsLost { outputs } => {
                    for output in outputs {
                        self.note(11, output.task.0, output.index);
                        self.lost_outputs.insert(output);
                        if let Some(location) = self.doubtful.remove(&output) {
                            self.lose(&location);
                            // What is left of them is freed all the same.
                            self.resent.extend(name_of(&location));
                        }
                    }
                }
                Action::Free { location } => self.free(&location, resent),
            }
        }
        let ran = self.attempts.iter().map(|(task, attempts)| {
            let returned = self.unstarted.get(task).copied().unwrap_or_default();
            u64::from((attempts - returned).saturating_sub(1))
        });
        assert_eq!(core.counts().retried, ran.sum::<u64>(), "retries counted");
    }

    fn note(&mut self, what: u64, task: u64, number: u32) {
        for value in [what, task, u64::from(number)] {
            self.digest = splitmix64(self.digest ^ value);
        }
    }

    fn dispatch(&mut self, core: &Core, worker: Option<WorkerId>, attempt: Attempt) {
        let id = attempt.id;
        self.note(1, id.task.0, id.number);
        let next = self.attempts.entry(id.task).or_default();
        assert_eq!(
            id.number, *next,
            "attempts of task {} out of order",
            id.task
        );
        *next += 1;
        assert!(core.is_out(id), "{id} was dispatched and is not out");
        for flight in &self.flights {
            assert_ne!(flight.attempt.id.task, id.task, "two attempts of a task");
        }
        if let Some(worker) = worker {
            let look_ahead = self.workers.get(&worker);
            let look_ahead = look_ahead.unwrap_or_else(|| panic!("{id} sent to lost {worker}"));
            let before = self.on(worker).count();
            assert!(
                before <= *look_ahead as usize,
                "{id} was sent to a busy worker, after {before} others"
            );
            self.queued += u64::from(before > 0);
        }
        for argument in &attempt.arguments {
            let name = name_of(&argument.location);
            let there = name.as_ref().is_none_or(|name| self.live.contains(name));
            assert!(there, "{id} reads {name:?}, which is gone");
        }
        self.flights.push(Flight {
            attempt,
            worker,
            input_lost: false,
            cancelled: false,
        });
    }

    /// Attempts on a worker, in the order in which they were sent.
    pub(super) fn on(&self, worker: WorkerId) -> impl Iterator<Item = &Flight> {
        let on = move |flight: &&Flight| flight.worker == Some(worker);
        self.flights.iter().filter(on)
    }

    fn recall(&mut self, id: AttemptId) {
        self.note(8, id.task.0, id.number);
        let flight = self.flights.iter().find(|flight| flight.attempt.id == id);
        let flight = flight.unwrap_or_else(|| panic!("{id} was asked back, but is not out"));
        let worker = flight
            .worker
            .expect("only what the core placed is asked back");
        let current = self.on(worker).next().map(|flight| flight.attempt.id);
        assert_ne!(current, Some(id), "{id} was asked back, but is current");
        let mut workers = self.workers.keys();
        let idle = workers.any(|&worker| self.on(worker).next().is_none());
        assert!(idle, "{id} was asked back, but no worker is idle");
        assert!(self.recalled.insert(id), "{id} was asked back twice");
        self.recalls.push(id);
    }

    /// Takes an attempt from those on their way.
    pub(super) fn land(&mut self, id: AttemptId) -> Flight {
        let position = self.flights.iter().position(|f| f.attempt.id == id);
        let position = position.unwrap_or_else(|| panic!("{id} ended, but was not out"));
        self.flights.remove(position)
    }

    fn free(&mut self, location: &Location, resent: bool) {
        let name = name_of(location).unwrap_or_else(|| panic!("{location:?} needs no freeing"));
        self.note(7, name.len() as u64, 0);
        let was_live = self.live.remove(&name);
        assert!(
            !(resent && was_live),
            "{name} was in use and freed because a report came twice"
        );
        assert!(
            was_live || self.resent.contains(&name),
            "{name} was freed twice"
        );
        // Attempts may still name bytes that were lost under them.
        for flight in self.flights.iter().filter(|_| was_live) {
            let mut inputs = flight.attempt.arguments.iter();
            let reads = inputs.any(|input| input.location == *location);
            assert!(
                !reads,
                "{name} was freed under attempt {}",
                flight.attempt.id
            );
        }
    }
}
