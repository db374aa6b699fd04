//! The worker of `native`: the same task functions, called in this process.
//!
//! There is no sandbox: a task that aborts takes the run with it, memory is not limited, and a
//! time limit is noticed only where the task sleeps or computes in kernels.

use crate::{AttemptRunner, RunnerFactory};
use bytes::Bytes;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use taps::{
    KernelMode, Level, TaskEntry, TaskError,
    native::{Cancelled, HostPayload, NativeArgument, NativeOutput, OutputBuffer, TaskHost},
};
use taps_engine::{
    Attempt, AttemptReport, Failure, Instantiation, OutcomeKind, Output, Timeline, TrapKind,
    WorkerId, panic_message,
};
use taps_payload::{FilePayload, Location, SegmentMap, Transfer, Way};
use taps_sandbox::{CancelToken, Control, Interrupted, LogLevel, RunContext, Speaker, stored};
use taps_schema::Kernels;
use taps_transform::{Resolved, Ticket};

/// Calls the task functions of one app.
pub struct NativeRunner {
    worker: WorkerId,
    tasks: Arc<[&'static TaskEntry]>,
    run: Arc<RunContext>,
}

impl NativeRunner {
    /// Workers that call the tasks of the app defined by this Cargo package; none when the app is
    /// not linked into this binary.
    pub fn factory(package: &str, run: Arc<RunContext>) -> Option<RunnerFactory> {
        let tasks: Arc<[_]> = taps::tasks(package).into();
        (!tasks.is_empty()).then(|| -> RunnerFactory {
            Arc::new(move |worker| {
                Box::new(Self {
                    worker,
                    tasks: Arc::clone(&tasks),
                    run: Arc::clone(&run),
                })
            })
        })
    }

    fn call(
        &self,
        attempt: &Attempt,
        control: &Control,
        inputs: &mut [Transfer],
        timeline: &mut Timeline,
    ) -> Result<Vec<NativeOutput>, Failure> {
        let task = self
            .tasks
            .get(attempt.task as usize)
            .ok_or_else(|| Failure::new(OutcomeKind::EngineError, "the app has no such task"))?;
        control.check().map_err(interrupted)?;
        let arguments = self.arguments(attempt, control, inputs)?;
        timeline.task_start = self.run.now_ns();
        if self.run.data.is_some() {
            timeline.inputs = [timeline.received, timeline.task_start];
        }
        let host: Rc<dyn TaskHost> = Rc::new(Surroundings {
            id: attempt.id,
            seed: attempt.seed,
            kernels: attempt.kernels,
            control: control.clone(),
            run: Arc::clone(&self.run),
        });
        match catch_unwind(AssertUnwindSafe(|| task.run_native(host, arguments))) {
            Ok(Ok(outputs)) => Ok(outputs),
            Ok(Err(TaskError { kind, message })) => Err(Failure {
                outcome: OutcomeKind::TaskError,
                kind,
                message,
                detail: None,
            }),
            Err(panic) if panic.is::<Cancelled>() => Err(interrupted(
                control.check().err().unwrap_or(Interrupted::Cancelled),
            )),
            // What a sandbox would report for the same panic.
            Err(panic) => Err(Failure::new(
                OutcomeKind::Trap(TrapKind::Unreachable),
                panic_message(panic.as_ref()),
            )),
        }
    }

    /// Opens the arguments. Those in a transformer's store are fetched, all at the same time: a native
    /// task has its arguments at hand when it starts, so `lazy` means `eager` here.
    fn arguments(
        &self,
        attempt: &Attempt,
        control: &Control,
        inputs: &mut [Transfer],
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
        for ((location, ticket), input) in locations().zip(tickets).zip(inputs) {
            let Some(ticket) = ticket else {
                arguments.push(self.argument(location)?);
                continue;
            };
            let payload: Arc<dyn HostPayload> = match stored::wait(&ticket, control)? {
                Resolved::Bytes(bytes) => Arc::new(InMemory(bytes)),
                Resolved::Segment(segment) => Arc::new(Mapped(segment.map().map_err(|error| {
                    Failure::new(OutcomeKind::PayloadError, error.to_string())
                })?)),
            };
            input.way = Way::Stored;
            input.copies = ticket.copies();
            arguments.push(NativeArgument::Payload(payload));
        }
        Ok(arguments)
    }

    fn argument(&self, location: &Location) -> Result<NativeArgument, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(OutcomeKind::PayloadError, error.to_string())
        };
        Ok(match location {
            Location::Inline(bytes) => NativeArgument::Payload(Arc::new(InMemory(bytes.clone()))),
            Location::Segment(reference) => {
                let segment = self
                    .run
                    .store
                    .get(reference.id)
                    .ok_or_else(|| failed(&format!("segment {} is gone", reference.id.0)))?;
                NativeArgument::Payload(Arc::new(Mapped(segment.map().map_err(|e| failed(&e))?)))
            }
            Location::File(file) => NativeArgument::Payload(Arc::new(InFile(
                FilePayload::open(file).map_err(|error| failed(&error))?,
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

    fn publish_all(
        &self,
        outputs: Vec<NativeOutput>,
        attempt: &Attempt,
        control: &Control,
    ) -> Result<Vec<(Output, Transfer)>, Failure> {
        let mut published: Vec<(Output, Transfer)> = Vec::with_capacity(outputs.len());
        for (index, output) in outputs.into_iter().enumerate() {
            match self.publish(output, (attempt, index), control) {
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

    fn publish(
        &self,
        output: NativeOutput,
        (attempt, index): (&Attempt, usize),
        control: &Control,
    ) -> Result<(Output, Transfer), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(OutcomeKind::PayloadError, error.to_string())
        };
        let bytes = match output {
            NativeOutput::Bytes(bytes) => bytes,
            NativeOutput::Buffer(buffer) => buffer.as_slice().to_vec(),
        };
        let len = bytes.len() as u64;
        if let Some(plane) = stored::plane_for(&self.run, attempt, index, len) {
            let caller = stored::caller(self.worker, attempt);
            let location = stored::put(plane, &Bytes::from(bytes), caller, control)?;
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
        let mut inputs: Vec<Transfer> = attempt.arguments.iter().map(travelled).collect();
        let mut timeline = Timeline {
            received,
            task_start: received,
            ..Timeline::default()
        };
        let called = self.call(attempt, &control, &mut inputs, &mut timeline);
        timeline.task_end = self.run.now_ns();
        let published = called.and_then(|outputs| self.publish_all(outputs, attempt, &control));
        timeline.finished = self.run.now_ns();
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
        AttemptReport {
            id: attempt.id,
            worker: self.worker,
            result,
            timeline,
            inputs,
            outputs,
            lost_inputs: Vec::new(),
            instantiation: Instantiation::None,
            cpu_ns: taps_sandbox::thread_cpu_ns().saturating_sub(cpu_before),
            peak_memory_bytes: 0,
            injected: None,
            notes: Vec::new(),
        }
    }
}

fn interrupted(why: Interrupted) -> Failure {
    let outcome = match why {
        Interrupted::Cancelled => OutcomeKind::Cancelled,
        Interrupted::Timeout => OutcomeKind::Timeout,
    };
    Failure::new(outcome, why.to_string())
}

/// What a native task finds around it.
struct Surroundings {
    id: taps_engine::AttemptId,
    seed: u64,
    kernels: Kernels,
    control: Control,
    run: Arc<RunContext>,
}

impl TaskHost for Surroundings {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn attempt(&self) -> u32 {
        self.id.number
    }

    fn clock(&self) -> Duration {
        self.run.start.elapsed()
    }

    fn kernel_mode(&self) -> KernelMode {
        match self.kernels {
            Kernels::Host => KernelMode::Host,
            Kernels::Guest => KernelMode::Guest,
        }
    }

    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.run.sink.log(Speaker::Attempt(self.id), level, message);
    }

    fn sleep(&self, duration: Duration) -> Result<(), Cancelled> {
        self.control.sleep(duration).map_err(|_| Cancelled)
    }

    fn is_cancelled(&self) -> bool {
        self.control.check().is_err()
    }

    fn create_output(&self, _: usize) -> Option<Box<dyn OutputBuffer>> {
        None
    }
}

/// A payload that travelled with the attempt.
struct InMemory(Arc<[u8]>);

impl HostPayload for InMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(copy_from(&self.0, offset, buffer))
    }
}

/// A segment, mapped into this process.
struct Mapped(SegmentMap);

impl HostPayload for Mapped {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(copy_from(&self.0, offset, buffer))
    }
}

/// Fills the buffer from bytes in memory; says how many there were.
fn copy_from(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|from| bytes.get(from..))
        .unwrap_or_default();
    let len = rest.len().min(buffer.len());
    buffer[..len].copy_from_slice(&rest[..len]);
    len
}

/// A file, read in pieces.
struct InFile(FilePayload);

impl HostPayload for InFile {
    fn size(&self) -> u64 {
        self.0.len()
    }

    fn as_slice(&self) -> Option<&[u8]> {
        None
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer).map_err(io::Error::other)
    }
}
