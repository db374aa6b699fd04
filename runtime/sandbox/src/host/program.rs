//! Interface `program`.

use super::{interface, payloads::PayloadHandle};
use crate::{
    State,
    programs::{CallError, MadeFile},
    wire::{self, Invocation, ProgramCompletion, ProgramError},
};
use std::{sync::Arc, time::Duration};
use taps_payload::{FileRef, Location, Segment};
use taps_programs::{Call, Completion, Content};
use wasmtime::{
    StoreContextMut,
    component::{Linker, ResourceTableError},
};

type Answer = wasmtime::Result<(Result<ProgramCompletion, ProgramError>,)>;

fn run(mut store: StoreContextMut<'_, State>, (call,): (Invocation,)) -> Answer {
    let state = store.data_mut();
    if state.role.attempt().is_none() {
        let text = "programs run in tasks only".to_owned();
        return Ok((Err(ProgramError::NotAllowed(text)),));
    }
    let mut inputs = Vec::with_capacity(call.inputs.len());
    for (path, content) in &call.inputs {
        match state.content(content)? {
            Some(content) => inputs.push((path.as_str(), content)),
            None => return Ok((Err(state.unreadable_input(path)),)),
        }
    }
    let stdin = match &call.stdin {
        None => None,
        Some(content) => match state.content(content)? {
            Some(content) => Some(content),
            None => return Ok((Err(state.unreadable_input("standard input")),)),
        },
    };
    let borrowed = Call {
        program: &call.program,
        arguments: &call.arguments,
        inputs: inputs
            .iter()
            .map(|(path, content)| (*path, content.borrow()))
            .collect(),
        outputs: &call.outputs,
        environment: &call.environment,
        stdin: stdin.as_ref().map(Owned::borrow),
        timeout: call.timeout_ms.map(Duration::from_millis),
        crash: false,
    };
    let State {
        programs,
        run,
        control,
        listed,
        ..
    } = state;
    match programs.run(run, control, listed, borrowed) {
        Ok(done) => Ok((state.complete(done)?,)),
        Err(CallError::Interrupted(why)) => Err(super::interrupt(&mut store, why)),
        Err(CallError::Program(error)) => Ok((Err(refusal(error)),)),
    }
}

fn refusal(error: taps_programs::ProgramError) -> ProgramError {
    use taps_programs::ProgramError as Reason;
    match error {
        Reason::NotAllowed(text) => ProgramError::NotAllowed(text),
        Reason::NotFound(text) => ProgramError::NotFound(text),
        Reason::Limit(text) => ProgramError::Limit(text),
        Reason::GivenUp => ProgramError::Failed(Reason::GivenUp.to_string()),
        Reason::Failed(text) => ProgramError::Failed(text),
    }
}

/// Bytes for a program: the guest's own, or those of a payload, apart from its handle.
enum Owned<'a> {
    Inline(&'a [u8]),
    Payload(Given),
}

/// The bytes of a payload, for a program.
pub(super) enum Given {
    Bytes(Arc<[u8]>),
    File(FileRef),
    Segment(Arc<Segment>),
}

impl Owned<'_> {
    fn borrow(&self) -> Content<'_> {
        match self {
            Self::Inline(bytes) => Content::Bytes(bytes),
            Self::Payload(Given::Bytes(bytes)) => Content::Bytes(bytes),
            Self::Payload(Given::File(file)) => Content::File(file),
            Self::Payload(Given::Segment(segment)) => Content::Segment(Arc::clone(segment)),
        }
    }
}

impl State {
    /// Bytes that a guest gives to a program; none where they cannot be read, and why is noted.
    fn content<'a>(&mut self, content: &'a wire::Content) -> wasmtime::Result<Option<Owned<'a>>> {
        Ok(match content {
            wire::Content::Inline(bytes) => Some(Owned::Inline(bytes)),
            wire::Content::Payload(handle) => self.give_to_program(handle)?.map(Owned::Payload),
        })
    }

    fn unreadable_input(&self, path: &str) -> ProgramError {
        let reason = self
            .payload_failure
            .as_deref()
            .unwrap_or("it cannot be read");
        ProgramError::Failed(format!("input `{path}`: {reason}"))
    }

    /// Gives the outputs of a program to the guest.
    fn complete(
        &mut self,
        done: Completion,
    ) -> wasmtime::Result<Result<ProgramCompletion, ProgramError>> {
        let mut outputs = Vec::with_capacity(done.outputs.len());
        for file in done.outputs {
            let Some(file) = file else {
                outputs.push(None);
                continue;
            };
            let made = MadeFile::new(Arc::clone(&self.run), file.clone());
            match self
                .table
                .push(PayloadHandle::made(Location::File(file), made))
            {
                Ok(handle) => outputs.push(Some(handle)),
                Err(ResourceTableError::Full) => {
                    let text = "the sandbox may not have more handles".to_owned();
                    return Ok(Err(ProgramError::Failed(text)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ok(ProgramCompletion {
            exit_code: done.exit_code,
            signal: done.signal,
            stdout: done.stdout,
            stderr: done.stderr,
            outputs,
        }))
    }
}

pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance(interface!("program"))?
        .func_wrap("run", run)
}
