//! A sandbox that runs tasks.

use crate::{
    Control, GuestSink, RunContext, Speaker, State, Stream, classify,
    faults::Disturbance,
    host::payloads::PayloadHandle,
    publish::Ran,
    stored, verify,
    wire::{TaskArgument, TaskError, TaskOutput},
};
use std::sync::Arc;
use taps_engine::{Attempt, Failure, OutcomeKind, Timeline};
use taps_payload::{Location, Transfer, Way};
use taps_transform::Ticket;
use wasmtime::{Store, component::TypedFunc};

/// Handles that a task may hold at once beyond its arguments: pollables, streams, files, results under
/// construction. Each takes some hundred bytes of the host's memory, which no other limit counts.
const MAX_TASK_HANDLES: usize = 1 << 16;

/// An instance in its store.
pub(crate) struct Live {
    pub(crate) store: Store<State>,
    pub(crate) run: RunTask,
}

type RunTask = TypedFunc<(u32, Vec<TaskArgument>), (Result<Vec<TaskOutput>, TaskError>,)>;

impl Live {
    /// Makes a sandbox that exists already serve this attempt. Fails when it is too large for the
    /// attempt's limit: then one made under that limit says so.
    pub(crate) fn assign(&mut self, attempt: &Attempt, control: &Control) -> bool {
        let limits = attempt.limits;
        let most = limits.memory_bytes.saturating_add(limits.window_bytes);
        self.store.set_hostcall_fuel(most as usize);
        self.store.data_mut().assign(attempt, control.clone())
    }

    /// Runs the task of an attempt to its end, or to where a fault disturbs it.
    pub(crate) fn call(
        &mut self,
        attempt: &Attempt,
        tickets: Vec<Option<Ticket>>,
        disturbance: &mut Disturbance,
        timeline: &mut Timeline,
    ) -> Ran {
        let run = Arc::clone(&self.store.data().run);
        let result = self.call_guest(attempt, tickets, disturbance, timeline, &run);
        timeline.task_end = timeline.task_end.max(run.now_ns());
        // What follows is not the task's doing: no fault strikes it.
        if let Some(undisturbed) = disturbance.note(&self.store.data().control) {
            self.store.data_mut().control = undisturbed;
        }
        let stderr = self.report_output(run.sink.as_ref());
        if disturbance.has_ended_the_task() {
            return Ok(Default::default());
        }
        match result {
            Ok(Ok(outputs)) => {
                if disturbance.discards() {
                    // They are gone with the sandbox, unpublished.
                    return Ok(Default::default());
                }
                disturbance
                    .returned(&self.store.data().control)
                    .map_err(classify::interrupted)?;
                let published = self.publish(outputs, attempt, disturbance, &run);
                if run.data.is_some() {
                    timeline.results = [timeline.task_end, run.now_ns()];
                }
                published
            }
            Ok(Err(TaskError { kind, message })) => Err(self.own_failure(kind, message)),
            Err(error) => Err(classify::failure(
                &error,
                self.store.data(),
                stderr.as_deref(),
            )),
        }
    }

    /// The error that a task returned: its own, or, by its kind, that of a payload or a program
    /// because of which it gave up.
    fn own_failure(&self, kind: String, message: String) -> Failure {
        let state = self.store.data();
        let of_program = kind == PROGRAM_ERROR_OF_SDK;
        let of_payload = of_program || [PAYLOAD_ERROR, PAYLOAD_ERROR_OF_SDK].contains(&&*kind);
        match &state.payload_failure {
            Some(reason) if of_payload => Failure::new(OutcomeKind::PayloadError, reason.clone()),
            _ if of_program => state.programs.failure(kind, message),
            _ => Failure {
                outcome: OutcomeKind::TaskError,
                kind,
                message,
                detail: None,
            },
        }
    }

    fn call_guest(
        &mut self,
        attempt: &Attempt,
        tickets: Vec<Option<Ticket>>,
        disturbance: &Disturbance,
        timeline: &mut Timeline,
        run: &RunContext,
    ) -> wasmtime::Result<Result<Vec<TaskOutput>, TaskError>> {
        self.store.data().control.check()?;
        if let Some((position, reason)) = verify::damaged(run, attempt) {
            let state = self.store.data_mut();
            state.lost_inputs.push(position);
            state.payload_failure = Some(reason);
            return Ok(Err(TaskError {
                kind: PAYLOAD_ERROR.to_owned(),
                message: String::new(),
            }));
        }
        let transform_start = run.data.is_some().then(|| run.now_ns());
        let arguments = match self.arguments(attempt, tickets, stored::is_eager(run))? {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Err(error)),
        };
        timeline.task_start = run.now_ns();
        if let Some(start) = transform_start {
            timeline.inputs = [start, timeline.task_start];
        }
        if let Some(control) = disturbance.within(&self.store.data().control) {
            self.store.data_mut().control = control;
        }
        let (result,) = self.run.call(&mut self.store, (attempt.task, arguments))?;
        timeline.task_end = run.now_ns();
        Ok(result)
    }

    /// Small inline payloads travel with the call, others as handles.
    fn arguments(
        &mut self,
        attempt: &Attempt,
        tickets: Vec<Option<Ticket>>,
        eager: bool,
    ) -> wasmtime::Result<Result<Vec<TaskArgument>, TaskError>> {
        let state = self.store.data_mut();
        let most = attempt.arguments.len().saturating_add(MAX_TASK_HANDLES);
        state.table.set_max_capacity(most);
        let mut tickets = tickets.into_iter();
        let mut arguments = Vec::with_capacity(attempt.arguments.len());
        for (index, argument) in attempt.arguments.iter().enumerate() {
            let bytes = argument.location.len();
            let ticket = tickets.next().flatten();
            if let Location::Inline(data) = &argument.location {
                let inline = Transfer {
                    bytes,
                    bytes_moved: bytes,
                    way: Way::Inline,
                    copies: 1,
                };
                state.inputs.push(inline);
                arguments.push(TaskArgument::Inline(Arc::clone(data)));
            } else {
                state.inputs.push(Transfer {
                    bytes,
                    bytes_moved: 0,
                    way: Way::Untouched,
                    copies: 0,
                });
                let media_type = Arc::clone(&argument.media_type);
                let handle = PayloadHandle::argument(
                    argument.location.clone(),
                    media_type,
                    attempt.id,
                    index,
                )
                .with_ticket(ticket);
                let handle = state.table.push(handle)?;
                if eager && state.fetch(&handle)?.is_err() {
                    return Ok(Err(TaskError {
                        kind: PAYLOAD_ERROR.to_owned(),
                        message: String::new(),
                    }));
                }
                arguments.push(TaskArgument::Payload(handle));
            }
        }
        Ok(Ok(arguments))
    }

    /// Passes on what the guest wrote to its standard streams; gives standard error back.
    fn report_output(&self, sink: &dyn GuestSink) -> Option<String> {
        let state = self.store.data();
        let speaker = state
            .role
            .attempt()
            .map_or(Speaker::Driver, Speaker::Attempt);
        if let Some((text, dropped)) = state.stdout.take() {
            sink.output(speaker, Stream::Stdout, &text, dropped);
        }
        let (text, dropped) = state.stderr.take()?;
        sink.output(speaker, Stream::Stderr, &text, dropped);
        Some(text)
    }
}

/// Kind of the error of a task that gave up because a payload failed.
const PAYLOAD_ERROR: &str = "payload-error";
/// The same, as Rust guests name it when it comes from reading an argument.
const PAYLOAD_ERROR_OF_SDK: &str = "PayloadError";
/// Kind of the error of a task that gave up because of a program, as Rust guests name it.
const PROGRAM_ERROR_OF_SDK: &str = "ProgramError";
