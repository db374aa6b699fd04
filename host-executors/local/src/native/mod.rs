//! The worker of `native`: the same task functions, called in this process.
//!
//! There is no sandbox: a task that aborts takes the run with it, memory is not limited, and a
//! time limit is noticed only where the task sleeps or computes in kernels.

mod faults;
mod host;

use crate::{AttemptRunner, RunnerFactory};
use bytes::Bytes;
use host::{InFile, InMemory, Surroundings, read_whole, take_made};
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use taps::{
    PROGRAM_ERROR, TaskEntry, TaskError,
    native::{Cancelled, HostPayload, NativeArgument, NativeOutput, TaskHost},
};
use taps_bundle::FAULT_PREFIX;
use taps_engine::{
    Attempt, AttemptReport, Failure, FaultPlan, Instantiation, OutcomeKind, Output, ProgramUse,
    Timeline, TrapKind, WorkerId, panic_message,
};
use taps_payload::{FilePayload, FileRef, Location, Transfer, Way};
use taps_sandbox::{
    CancelToken, Control, Interrupted, RunContext, faults::Disturbance, programs::AttemptPrograms,
    stored,
};
use taps_transform::{Resolved, Ticket};

/// Calls the task functions of one app.
pub struct NativeRunner {
    worker: WorkerId,
    tasks: Arc<[&'static TaskEntry]>,
    /// Tasks that go wrong on purpose.
    faults: Arc<[&'static TaskEntry]>,
    run: Arc<RunContext>,
}

/// Cargo package of the tasks that go wrong on purpose, where it is linked into this binary.
const FAULTS_PACKAGE: &str = "taps-faults";

/// What is noted of an attempt on its way.
struct Course {
    timeline: Timeline,
    inputs: Vec<Transfer>,
    lost_inputs: Vec<u32>,
    injected: Option<FaultPlan>,
    programs: Vec<ProgramUse>,
}

impl NativeRunner {
    /// Workers that call the tasks of the app defined by this Cargo package; none when the app is
    /// not linked into this binary.
    pub fn factory(package: &str, run: Arc<RunContext>) -> Option<RunnerFactory> {
        let tasks: Arc<[_]> = taps::tasks(package).into();
        let faults: Arc<[_]> = taps::tasks(FAULTS_PACKAGE).into();
        (!tasks.is_empty()).then(|| -> RunnerFactory {
            Arc::new(move |worker| {
                Box::new(Self {
                    worker,
                    tasks: Arc::clone(&tasks),
                    faults: Arc::clone(&faults),
                    run: Arc::clone(&run),
                })
            })
        })
    }

    /// The task of an attempt.
    fn entry(&self, attempt: &Attempt) -> Result<&'static TaskEntry, Failure> {
        let found = match attempt.name.strip_prefix(FAULT_PREFIX) {
            Some(fault) => self.fault(fault),
            None => self.tasks.get(attempt.task as usize).copied(),
        };
        found.ok_or_else(|| Failure::new(OutcomeKind::EngineError, "the app has no such task"))
    }

    /// A task that goes wrong on purpose.
    fn fault(&self, name: &str) -> Option<&'static TaskEntry> {
        self.faults.iter().find(|task| task.name == name).copied()
    }

    fn call(
        &self,
        task: &'static TaskEntry,
        attempt: &Attempt,
        control: &Control,
        disturbance: &mut Disturbance,
        course: &mut Course,
    ) -> Result<Vec<NativeOutput>, Failure> {
        control.check().map_err(interrupted)?;
        let arguments = self.arguments(attempt, control, course)?;
        if course.timeline.task_start == 0 {
            course.timeline.task_start = self.run.now_ns();
            if self.run.data.is_some() {
                course.timeline.inputs = [course.timeline.received, course.timeline.task_start];
            }
        }
        let within = disturbance
            .within(control)
            .unwrap_or_else(|| control.clone());
        let host = Rc::new(Surroundings {
            id: attempt.id,
            seed: attempt.seed,
            kernels: attempt.kernels,
            control: within.clone(),
            run: Arc::clone(&self.run),
            listed: task.programs,
            programs: RefCell::new(AttemptPrograms::new(disturbance)),
        });
        let outcome = call_function(task, &host, arguments);
        let mut programs = host.programs.borrow_mut();
        course.programs.extend(programs.take_uses());
        disturbance.crashed(&programs);
        disturbance.note(&within);
        outcome
    }

    /// Opens the arguments. Those in a transformer's store are fetched, all at the same time: a native
    /// task has its arguments at hand when it starts, so `lazy` means `eager` here.
    fn arguments(
        &self,
        attempt: &Attempt,
        control: &Control,
        course: &mut Course,
    ) -> Result<Vec<NativeArgument>, Failure> {
        let caller = stored::caller(self.worker, attempt);
        let locations = || attempt.arguments.iter().map(|argument| &argument.location);
        let tickets: Vec<Option<Ticket>> = locations()
            .map(|location| match (location, &self.run.data) {
                (Location::Stored(stored), Some(plane)) => Some(plane.prefetch(stored, caller)),
                _ => None,
            })
            .collect();
        let mut arguments = Vec::with_capacity(tickets.len());
        for (position, (location, ticket)) in (0..).zip(locations().zip(tickets)) {
            let lost_inputs = &mut course.lost_inputs;
            let mut note = |(failure, lost): (Failure, bool)| {
                if lost {
                    lost_inputs.push(position);
                }
                failure
            };
            let Some(ticket) = ticket else {
                arguments.push(self.argument(location).map_err(note)?);
                continue;
            };
            let resolved = stored::wait(&ticket, control).map_err(&mut note)?;
            let payload: Arc<dyn HostPayload> = match resolved {
                Resolved::Bytes(bytes) => Arc::new(InMemory(bytes)),
                Resolved::Segment(segment) => {
                    Arc::new(InMemory(segment.map().map_err(|error| {
                        Failure::new(OutcomeKind::PayloadError, error.to_string())
                    })?))
                }
            };
            if let Some(input) = course.inputs.get_mut(position as usize) {
                input.way = Way::Stored;
                input.copies = ticket.copies();
            }
            arguments.push(NativeArgument::Payload(payload));
        }
        Ok(arguments)
    }

    /// Opens an argument that is in no transformer's store. An error says why there is nothing, and
    /// whether the bytes are lost.
    fn argument(&self, location: &Location) -> Result<NativeArgument, (Failure, bool)> {
        let because = |error: &dyn std::fmt::Display, lost| {
            let failure = Failure::new(OutcomeKind::PayloadError, error.to_string());
            (failure, lost)
        };
        let failed = |error: &dyn std::fmt::Display| because(error, false);
        Ok(match location {
            Location::Inline(bytes) => NativeArgument::Payload(Arc::new(InMemory(bytes.clone()))),
            Location::Segment(reference) => {
                let segment =
                    self.run.store.get(reference.id).ok_or_else(|| {
                        because(&format!("segment {} is gone", reference.id.0), true)
                    })?;
                NativeArgument::Payload(Arc::new(InMemory(segment.map().map_err(|e| failed(&e))?)))
            }
            Location::File(file) => NativeArgument::Payload(Arc::new(InFile(
                FilePayload::open(file)
                    .map_err(|error| because(&error, stored::is_file_lost(&error)))?,
            ))),
            Location::Stored(stored) => {
                return Err(failed(&format!(
                    "payload {}: the run has no transformer",
                    stored.key
                )));
            }
            Location::Engine { key, .. } => {
                return Err(failed(&format!(
                    "payload {key} was not fetched from the engine"
                )));
            }
        })
    }

    /// How an argument came: by reference, unless it lies on a disk.
    fn travelled(&self, location: &Location) -> Transfer {
        let bytes = location.len();
        let read = match location {
            Location::Segment(segment) => (self.run.store.get(segment.id))
                .is_some_and(|segment| segment.is_read_to_be_mapped()),
            _ => false,
        };
        Transfer {
            bytes,
            bytes_moved: if read { bytes } else { 0 },
            way: if read { Way::Read } else { Way::Reference },
            copies: u8::from(read),
        }
    }

    /// Runs the task of an attempt to its end, or to where a fault disturbs it.
    fn run_task(
        &self,
        attempt: &Attempt,
        control: &Control,
        disturbance: &mut Disturbance,
        course: &mut Course,
    ) -> Result<Vec<(Output, Transfer)>, Failure> {
        let task = self.entry(attempt)?;
        let called = self.call(task, attempt, control, disturbance, course);
        course.timeline.task_end = self.run.now_ns();
        if disturbance.has_ended_the_task() {
            return Ok(Vec::new());
        }
        let outputs = called?;
        if disturbance.discards() {
            return Ok(Vec::new());
        }
        disturbance.returned(control).map_err(interrupted)?;
        self.publish_all(outputs, attempt, control, disturbance)
    }

    fn publish_all(
        &self,
        outputs: Vec<NativeOutput>,
        attempt: &Attempt,
        control: &Control,
        disturbance: &mut Disturbance,
    ) -> Result<Vec<(Output, Transfer)>, Failure> {
        let mut published: Vec<(Output, Transfer)> = Vec::with_capacity(outputs.len());
        for (index, output) in outputs.into_iter().enumerate() {
            match self.publish(output, (attempt, index), control, disturbance) {
                Ok(done) => published.push(done),
                Err(failure) => {
                    // Nobody will hear of the outputs before this one.
                    for (output, _) in &published {
                        stored::free(&self.run, &output.location);
                    }
                    return Err(failure);
                }
            }
        }
        Ok(published)
    }

    /// A file that a program made stays where it is.
    fn publish_file(
        &self,
        file: FileRef,
        disturbance: &mut Disturbance,
    ) -> Result<(Output, Transfer), Failure> {
        let file = stored::spoil_file(&self.run, file, disturbance)
            .map_err(|error| Failure::new(OutcomeKind::PayloadError, error.to_string()))?;
        let location = Location::File(file);
        let transfer = Transfer {
            bytes: location.len(),
            bytes_moved: location.len(),
            way: Way::Linked,
            copies: 0,
        };
        Ok((Output { location }, transfer))
    }

    fn publish(
        &self,
        output: NativeOutput,
        (attempt, index): (&Attempt, usize),
        control: &Control,
        disturbance: &mut Disturbance,
    ) -> Result<(Output, Transfer), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(OutcomeKind::PayloadError, error.to_string())
        };
        let mut bytes = match output {
            NativeOutput::Bytes(bytes) => bytes,
            NativeOutput::Buffer(buffer) => buffer.as_slice().to_vec(),
            NativeOutput::File(payload) => match take_made(payload.as_ref()) {
                None => read_whole(payload.as_ref()).map_err(|error| failed(&error))?,
                Some(file) => {
                    let location = Location::File(file.clone());
                    if stored::plane_for(&self.run, attempt, index, location.len()).is_none() {
                        return self.publish_file(file, disturbance);
                    }
                    let bytes = std::fs::read(&*file.path);
                    stored::free(&self.run, &location);
                    bytes.map_err(|error| failed(&error))?
                }
            },
        };
        let len = bytes.len() as u64;
        let plane = stored::plane_for(&self.run, attempt, index, len);
        let digest = plane
            .filter(|_| disturbance.wants_to_spoil(len))
            .map(|_| taps_transform::digest(&bytes));
        disturbance.spoil(&mut bytes);
        if let Some(plane) = plane {
            let caller = stored::caller(self.worker, attempt);
            let location = stored::put(plane, &Bytes::from(bytes), caller, control)?;
            let location = match digest {
                Some(digest) => stored::with_digest(location, digest),
                None => location,
            };
            let transfer = Transfer {
                bytes: len,
                bytes_moved: len,
                way: Way::Stored,
                copies: 1,
            };
            return Ok((Output { location }, transfer));
        }
        if len <= self.run.inline_max_bytes {
            let transfer = Transfer {
                bytes: len,
                bytes_moved: len,
                way: Way::Reference,
                copies: 0,
            };
            return Ok((
                Output {
                    location: Location::Inline(bytes.into()),
                },
                transfer,
            ));
        }
        let store = &self.run.store;
        let mut segment = store.create(len).map_err(|error| failed(&error))?;
        segment
            .write_at(0, &bytes)
            .map_err(|error| failed(&error))?;
        let segment = store.publish(segment).map_err(|error| failed(&error))?;
        let transfer = Transfer {
            bytes: len,
            bytes_moved: len,
            way: Way::Copied,
            copies: 1,
        };
        Ok((
            Output {
                location: Location::Segment(segment.reference()),
            },
            transfer,
        ))
    }
}

/// Calls the function of a task; a panic is an outcome.
fn call_function(
    task: &'static TaskEntry,
    host: &Rc<Surroundings>,
    arguments: Vec<NativeArgument>,
) -> Result<Vec<NativeOutput>, Failure> {
    let lent: Rc<dyn TaskHost> = Rc::<Surroundings>::clone(host);
    match catch_unwind(AssertUnwindSafe(|| task.run_native(lent, arguments))) {
        Ok(Ok(outputs)) => Ok(outputs),
        Ok(Err(TaskError { kind, message })) if kind == PROGRAM_ERROR => {
            Err(host.programs.borrow().failure(kind, message))
        }
        Ok(Err(TaskError { kind, message })) => Err(Failure {
            outcome: OutcomeKind::TaskError,
            kind,
            message,
            detail: None,
        }),
        Err(panic) if panic.is::<Cancelled>() => Err(interrupted(
            host.control.check().err().unwrap_or(Interrupted::Cancelled),
        )),
        // What a sandbox would report for the same panic.
        Err(panic) => Err(Failure::new(
            OutcomeKind::Trap(TrapKind::Unreachable),
            panic_message(panic.as_ref()),
        )),
    }
}

impl AttemptRunner for NativeRunner {
    fn run(&mut self, attempt: &Attempt, token: &CancelToken) -> AttemptReport {
        let received = self.run.now_ns();
        let cpu_before = taps_sandbox::thread_cpu_ns();
        let deadline = attempt
            .limits
            .timeout_ms
            .map(|limit| Instant::now() + Duration::from_millis(limit));
        let control = Control::new(token.clone(), deadline);
        let travelled = |argument: &taps_engine::Argument| self.travelled(&argument.location);
        let mut course = Course {
            timeline: Timeline {
                received,
                ..Timeline::default()
            },
            inputs: attempt.arguments.iter().map(travelled).collect(),
            lost_inputs: Vec::new(),
            injected: None,
            programs: Vec::new(),
        };
        let published = match attempt.fault {
            None => self.run_task(attempt, &control, &mut Disturbance::none(), &mut course),
            Some(plan) => self.run_with_fault(attempt, plan, &control, &mut course),
        };
        let Course {
            mut timeline,
            inputs,
            lost_inputs,
            injected,
            programs,
        } = course;
        timeline.finished = self.run.now_ns();
        if timeline.task_start == 0 {
            timeline.task_start = received;
        }
        if timeline.task_end == 0 {
            timeline.task_end = timeline.finished;
        }
        if self.run.data.is_some() && published.is_ok() {
            timeline.results = [timeline.task_end, timeline.finished];
        }
        let (result, outputs) = match published {
            Ok(published) => {
                let (outputs, transfers) = published.into_iter().unzip();
                (Ok(outputs), transfers)
            }
            Err(failure) => (Err(failure), Vec::new()),
        };
        let payload_error =
            matches!(&result, Err(failure) if failure.outcome == OutcomeKind::PayloadError);
        AttemptReport {
            id: attempt.id,
            worker: self.worker,
            result,
            timeline,
            inputs,
            outputs,
            digests: Vec::new(),
            lost_inputs: if payload_error {
                lost_inputs
            } else {
                Vec::new()
            },
            instantiation: Instantiation::None,
            cpu_ns: taps_sandbox::thread_cpu_ns().saturating_sub(cpu_before),
            peak_memory_bytes: 0,
            injected,
            executions: 1,
            programs,
            notes: Vec::new(),
        }
    }
}

fn interrupted(why: Interrupted) -> Failure {
    let outcome = match why {
        Interrupted::Cancelled => OutcomeKind::Cancelled,
        Interrupted::Timeout => OutcomeKind::Timeout,
        // Not seen: who makes a fault strike puts the fault's own outcome in its place.
        Interrupted::Struck => OutcomeKind::EngineError,
    };
    Failure::new(outcome, why.to_string())
}
