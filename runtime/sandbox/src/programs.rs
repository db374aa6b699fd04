//! The native programs of one attempt: which it may run, what they used, and how the last one failed.

use crate::{Control, Interrupted, RunContext, faults::Disturbance};
use std::sync::Arc;
use taps_engine::{Failure, OutcomeKind, ProgramUse};
use taps_payload::FileRef;
use taps_programs::{Call, Completion, ProgramError};

/// Programs of an attempt, on either side of a sandbox.
#[derive(Debug, Default)]
pub struct AttemptPrograms {
    uses: Vec<ProgramUse>,
    /// Whether the next one is to crash, by a fault.
    crash: bool,
    crashed: bool,
}

/// Why a call has no completion.
#[derive(Debug)]
pub enum CallError {
    /// The attempt is to end.
    Interrupted(Interrupted),
    /// The program's own reasons, or the run's.
    Program(ProgramError),
}

impl AttemptPrograms {
    /// Programs of an attempt, of which the first one crashes as soon as it runs where a fault wants it.
    pub fn new(disturbance: &Disturbance) -> Self {
        Self {
            crash: disturbance.crashes_a_program(),
            ..Self::default()
        }
    }

    /// Runs a program that the task lists to its end, or to that of the attempt.
    pub fn run<Name: AsRef<str>>(
        &mut self,
        run: &RunContext,
        control: &Control,
        listed: &[Name],
        mut call: Call<'_>,
    ) -> Result<Completion, CallError> {
        let refused = |text: String| Err(CallError::Program(ProgramError::NotAllowed(text)));
        let names: Vec<&str> = listed.iter().map(AsRef::as_ref).collect();
        if !names.contains(&call.program) {
            return refused(match names.as_slice() {
                [] => "the task lists no programs".to_owned(),
                names => format!("the task lists {}", names.join(", ")),
            });
        }
        let Some(programs) = &run.programs else {
            return refused("this run has no launcher of programs".to_owned());
        };
        control.check().map_err(CallError::Interrupted)?;
        call.crash = std::mem::take(&mut self.crash);
        self.crashed |= call.crash;
        programs
            .run(&call, &|| control.check().is_err(), &mut self.uses)
            .map_err(|error| match (error, control.check()) {
                (ProgramError::GivenUp, Err(why)) => CallError::Interrupted(why),
                (error, _) => CallError::Program(error),
            })
    }

    /// Whether a program was made to crash.
    pub fn has_crashed(&self) -> bool {
        self.crashed
    }

    /// What was run.
    pub fn take_uses(&mut self) -> Vec<ProgramUse> {
        std::mem::take(&mut self.uses)
    }

    /// The outcome of a task that gave up because of a program.
    pub fn failure(&self, kind: String, message: String) -> Failure {
        let last = self.uses.last();
        Failure {
            outcome: OutcomeKind::ProgramError {
                exit: last.and_then(|used| used.exit),
                signal: last.and_then(|used| used.signal),
            },
            kind,
            message,
            detail: None,
        }
    }
}

/// A file that a program of this attempt made: gone with it, unless it becomes a result.
pub struct MadeFile {
    run: Arc<RunContext>,
    /// None once it was taken.
    file: Option<FileRef>,
}

impl MadeFile {
    /// Owns a file that the run's programs made.
    pub fn new(run: Arc<RunContext>, file: FileRef) -> Self {
        Self {
            run,
            file: Some(file),
        }
    }

    /// The file, to be owned by whoever takes it; none if it was taken before.
    pub fn take(&mut self) -> Option<FileRef> {
        self.file.take()
    }
}

impl Drop for MadeFile {
    fn drop(&mut self) {
        if let (Some(file), Some(programs)) = (&self.file, &self.run.programs) {
            // It goes with the store otherwise.
            let _ = programs.files().remove(file);
        }
    }
}
