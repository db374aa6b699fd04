//! The executor's part: workers come and go, attempts end one way or another.

use super::driver::Driver;
use super::world::{Flight, name_of};
use crate::core::Event;
use crate::{
    AttemptId, AttemptReport, Failure, Instantiation, OutcomeKind, Output, OutputId, Running,
    TaskId, Timeline, TrapKind, WorkerId, WorkerInfo,
};
use std::sync::Arc;
use taps_payload::Location;

const FAILURES: [OutcomeKind; 10] = [
    OutcomeKind::TaskError,
    OutcomeKind::Trap(TrapKind::Unreachable),
    OutcomeKind::OutOfMemory,
    OutcomeKind::Timeout,
    OutcomeKind::ProgramError {
        exit: Some(1),
        signal: None,
    },
    OutcomeKind::WorkerLost,
    OutcomeKind::UpstreamFailed,
    OutcomeKind::Cancelled,
    OutcomeKind::PayloadError,
    OutcomeKind::EngineError,
];

impl Driver<'_> {
    /// Worker `number` joins.
    pub(super) fn join(&mut self, number: usize) {
        let id = WorkerId(number as u32);
        let look_ahead = match (self.plan.look_ahead, number % 3) {
            (0, _) | (_, 2) => 0,
            (look_ahead, extra) => look_ahead + extra as u32,
        };
        self.world.workers.insert(id, look_ahead);
        let gpu = number.is_multiple_of(2);
        self.handle(Event::WorkerJoined(WorkerInfo {
            id,
            host: format!("host-{}", number % self.plan.hosts),
            cores: 1 + (number % 2) as u32,
            memory_bytes: 100,
            resources: vec![("gpu".to_owned(), u64::from(gpu))],
            look_ahead,
        }));
    }

    /// A worker that is there is lost, or one that is not joins again.
    pub(super) fn change_worker(&mut self, lose: bool) {
        let id = WorkerId(self.random.below(self.plan.workers) as u32);
        if self.world.workers.contains_key(&id) != lose {
            return;
        }
        if lose {
            self.lose_worker(id);
        } else {
            self.join(id.0 as usize);
        }
    }

    /// One of the attempts on the worker is lost, and the others are not.
    fn lose_worker(&mut self, worker: WorkerId) {
        self.world.workers.remove(&worker);
        let on: Vec<AttemptId> = self.world.on(worker).map(|f| f.attempt.id).collect();
        let known = match self.random.below(4) {
            0 => self.random.pick(&self.world.flights).map(|f| f.attempt.id),
            1 => self.random.pick(&on).copied(),
            _ => None,
        };
        let (running, charged) = match known {
            Some(id) => {
                let charged = on.iter().find(|on| **on == id).or(on.first());
                (Running::Attempt(id), charged.copied())
            }
            None if self.random.chance(500) => (Running::Nothing, None),
            None => (Running::Unknown, on.first().copied()),
        };
        self.handle(Event::WorkerLost {
            worker,
            reason: "killed".to_owned(),
            running,
        });
        assert_eq!(self.world.lost, Vec::from_iter(charged), "lost of {on:?}");
    }

    /// An attempt that was asked back comes, or has started.
    pub(super) fn answer_recall(&mut self) {
        if self.world.recalls.is_empty() {
            return;
        }
        let index = self.random.below(self.world.recalls.len());
        let id = self.world.recalls.remove(index);
        let out = self.world.flights.iter().any(|f| f.attempt.id == id);
        if out && self.random.chance(600) {
            self.give_back(id);
        }
    }

    /// An attempt comes back that nobody asked for, or that is not out any more.
    pub(super) fn return_one(&mut self) {
        if let Some(flight) = self.random.pick(&self.world.flights) {
            self.give_back(flight.attempt.id);
        } else if let Some(ghost) = self.random.pick(&self.world.ghosts) {
            let absorbed = self.core.counts().absorbed;
            self.handle(Event::Returned(ghost.attempt.id));
            assert_eq!(self.core.counts().absorbed, absorbed + 1);
        }
    }

    fn give_back(&mut self, id: AttemptId) {
        let crashes = self.core.counts().crashes;
        self.handle(Event::Returned(id));
        assert!(!self.core.is_out(id), "{id} is back and out");
        assert_eq!(self.core.counts().crashes, crashes, "{id} is a crash");
        // It will not report any more.
        self.world.ghosts.retain(|ghost| ghost.attempt.id != id);
    }

    /// One of the attempts that are out ends.
    pub(super) fn finish_one(&mut self) {
        let Some(mut flight) = self.random.pick(&self.world.flights).cloned() else {
            return;
        };
        // Workers run what they have in its order, and reports may overtake each other.
        if let Some(worker) = flight.worker
            && self.random.chance(900)
            && let Some(current) = self.world.on(worker).next()
        {
            flight = current.clone();
        }
        let forwarded = self.is_forwarded(&flight);
        if forwarded && !self.random.chance(150) {
            // The engine waits for the parents too.
            return;
        }
        self.world.land(flight.attempt.id);
        let result = self.outcome(&flight, forwarded);
        let mut report = report(&flight, result);
        report.timeline = self.timeline(&flight);
        if report.outcome() == OutcomeKind::PayloadError && self.random.chance(500) {
            report.lost_inputs = self.blamed(&flight);
        }
        if self.random.chance(self.plan.rates.late_report) {
            self.reports.push(report.clone());
        }
        self.handle(Event::Finished(Box::new(report)));
        self.world.doubtful.clear();
    }

    /// Positions of arguments that a report says are gone, some of them beyond the last.
    fn blamed(&mut self, flight: &Flight) -> Vec<u32> {
        let outputs = (0..self.declared.len() as u64)
            .flat_map(|task| (0..4).map(move |index| (TaskId(task), index)));
        for (task, index) in outputs {
            let output = OutputId { task, index };
            if let Some(there) = self.core.output(output) {
                self.world.doubtful.insert(output, there.location.clone());
            }
        }
        let positions = 0..flight.attempt.arguments.len() as u32 + 1;
        positions.filter(|_| self.random.chance(500)).collect()
    }

    /// Tasks are short, of middling length, or long by their name; some take another time.
    fn timeline(&mut self, flight: &Flight) -> Timeline {
        let took_ns = match (self.random.below(20), &*flight.attempt.name) {
            (0, _) => self.random.below(1_000_000) as u64,
            (_, "a") => 5_000,
            (_, "b") => 150_000,
            _ => 2_000_000,
        };
        Timeline {
            received: self.now_ns,
            finished: self.now_ns + took_ns,
            ..Timeline::default()
        }
    }

    fn is_forwarded(&self, flight: &Flight) -> bool {
        let mut arguments = flight.attempt.arguments.iter();
        arguments.any(|argument| match &argument.location {
            Location::Engine { key, len: 0 } => {
                let task = key.split(':').nth(1).and_then(|id| id.parse().ok());
                let task = TaskId(task.expect("the documented form of a forward key"));
                self.core.state(task).is_some_and(|s| !s.is_terminal())
            }
            _ => false,
        })
    }

    fn outcome(&mut self, flight: &Flight, forwarded: bool) -> Result<Vec<Output>, Failure> {
        let failing = |outcome| Err(Failure::new(outcome, "simulated"));
        if flight.cancelled && self.random.chance(800) {
            return failing(OutcomeKind::Cancelled);
        }
        if flight.input_lost && self.random.chance(500) {
            return failing(OutcomeKind::PayloadError);
        }
        if forwarded && self.random.chance(700) {
            return failing(OutcomeKind::UpstreamFailed);
        }
        if self.random.chance(self.plan.rates.failure) {
            return failing(FAILURES[self.random.below(FAILURES.len())]);
        }
        let declared = self.declared[flight.attempt.id.task.0 as usize];
        let count = match declared {
            0 => self.random.below(4),
            _ if self.random.chance(10) => 0,
            declared => declared as usize,
        };
        Ok((0..count).map(|_| self.output()).collect())
    }

    fn output(&mut self) -> Output {
        let location = match self.random.below(4) {
            0 => Location::Inline(Arc::from([1_u8, 2])),
            1 => self.world.publish_file(),
            _ => self.world.publish(self.plan.capabilities.keeps_results),
        };
        Output { location }
    }

    /// A report that nobody waits for: one that was delivered before, or that of a lost worker.
    pub(super) fn deliver_late(&mut self) {
        if self.random.chance(500) && !self.world.ghosts.is_empty() {
            let index = self.random.below(self.world.ghosts.len());
            let ghost = self.world.ghosts.remove(index);
            let result = self.outcome(&ghost, false);
            let report = report(&ghost, result);
            assert!(!self.core.is_out(report.id), "{} is out", report.id);
            self.handle(Event::Finished(Box::new(report)));
            return;
        }
        let Some(report) = self.random.pick(&self.reports).cloned() else {
            return;
        };
        let outputs = report.result.iter().flatten();
        let names = outputs.filter_map(|output| name_of(&output.location));
        self.world.resent.extend(names);
        self.handle_resent(Event::Finished(Box::new(report)));
    }

    /// Some outputs that are there are lost, those of one task or of several.
    pub(super) fn lose_outputs(&mut self) {
        let mut lost = Vec::new();
        for _ in 0..=self.random.below(4) {
            let task = TaskId(self.random.below(self.declared.len()) as u64);
            let index = self.random.below(3) as u32;
            let output = OutputId { task, index };
            if lost.contains(&output) {
                continue;
            }
            if let Some(there) = self.core.output(output) {
                self.world.lose(&there.location.clone());
                lost.push(output);
            }
        }
        if self.random.chance(100) {
            let task = TaskId(self.random.next_u64());
            lost.push(OutputId { task, index: 0 });
        }
        self.handle(Event::OutputsLost(lost));
    }
}

fn report(flight: &Flight, result: Result<Vec<Output>, Failure>) -> AttemptReport {
    AttemptReport {
        instantiation: Instantiation::Fresh,
        ..AttemptReport::bare(
            flight.attempt.id,
            flight.worker.unwrap_or(WorkerId(0)),
            result,
        )
    }
}
