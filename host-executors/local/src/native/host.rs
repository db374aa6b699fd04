//! What a native task finds around it: its host, and payloads in this process.

use parking_lot::Mutex;
use std::{any::Any, borrow::Cow, cell::RefCell, io, ops::Deref, sync::Arc, time::Duration};
use taps::{
    KernelMode, Level,
    native::{
        Cancelled, HostPayload, OutputBuffer, ProgramCall, ProgramContent, ProgramEnd,
        ProgramPayload, ProgramRefusal, TaskHost,
    },
};
use taps_payload::{FileError, FilePayload, FileRef};
use taps_programs::{Call, Content, ProgramError};
use taps_sandbox::{
    Control, LogLevel, RunContext, Speaker,
    programs::{AttemptPrograms, CallError, MadeFile},
};
use taps_schema::Kernels;

/// What a native task finds around it.
pub(super) struct Surroundings {
    pub(super) id: taps_engine::AttemptId,
    pub(super) seed: u64,
    pub(super) kernels: Kernels,
    pub(super) control: Control,
    pub(super) run: Arc<RunContext>,
    /// Names of the programs that the task lists.
    pub(super) listed: &'static [&'static str],
    pub(super) programs: RefCell<AttemptPrograms>,
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

    fn run_program(
        &self,
        call: ProgramCall<'_, ProgramPayload>,
    ) -> Result<ProgramEnd<ProgramPayload>, ProgramRefusal> {
        let unreadable = |error: io::Error| ProgramRefusal::Failed(error.to_string());
        let inputs = call.inputs.iter().map(|(_, content)| owned(content));
        let inputs = inputs.collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
        let stdin = call.stdin.as_ref().map(owned).transpose();
        let stdin = stdin.map_err(unreadable)?;
        let paths = call.inputs.iter().map(|(path, _)| *path);
        let borrowed = Call {
            program: call.program,
            arguments: call.arguments,
            inputs: paths.zip(inputs.iter().map(Owned::borrow)).collect(),
            outputs: call.outputs,
            environment: call.environment,
            stdin: stdin.as_ref().map(Owned::borrow),
            timeout: call.timeout,
            crash: false,
        };
        let mut programs = self.programs.borrow_mut();
        let done = programs.run(&self.run, &self.control, self.listed, borrowed);
        let done = done.map_err(|error| match error {
            // The SDK ends the task: it asks whether the attempt was cancelled.
            CallError::Interrupted(why) => ProgramRefusal::Failed(why.to_string()),
            CallError::Program(ProgramError::NotAllowed(text)) => ProgramRefusal::NotAllowed(text),
            CallError::Program(ProgramError::NotFound(text)) => ProgramRefusal::NotFound(text),
            CallError::Program(ProgramError::Limit(text)) => ProgramRefusal::Limit(text),
            CallError::Program(error) => ProgramRefusal::Failed(error.to_string()),
        })?;
        let outputs = done.outputs.into_iter().map(|file| match file {
            None => Ok(None),
            Some(file) => {
                let made = Made::new(&self.run, file)
                    .map_err(|error| ProgramRefusal::Failed(format!("failed to {error}")))?;
                Ok(Some(ProgramPayload(Arc::new(made))))
            }
        });
        Ok(ProgramEnd {
            exit_code: done.exit_code,
            signal: done.signal,
            outputs: outputs.collect::<Result<_, _>>()?,
            stdout: done.stdout,
            stderr: done.stderr,
        })
    }
}

/// Bytes for a program, apart from where they came from.
enum Owned<'a> {
    Bytes(Cow<'a, [u8]>),
    File(FileRef),
}

impl Owned<'_> {
    fn borrow(&self) -> Content<'_> {
        match self {
            Self::Bytes(bytes) => Content::Bytes(bytes),
            Self::File(file) => Content::File(file),
        }
    }
}

fn owned<'a>(content: &'a ProgramContent<'_, ProgramPayload>) -> io::Result<Owned<'a>> {
    let payload = match content {
        ProgramContent::Inline(bytes) => return Ok(Owned::Bytes(Cow::Borrowed(bytes))),
        ProgramContent::Payload(payload) => payload.0.as_ref(),
    };
    let file = payload.as_file().and_then(|file| {
        let made = file.downcast_ref::<Made>().map(|made| &made.payload);
        made.or_else(|| file.downcast_ref::<InFile>().map(|file| &file.0))
    });
    Ok(match (file, payload.as_slice()) {
        (Some(file), _) => Owned::File(file.reference().clone()),
        (None, Some(bytes)) => Owned::Bytes(Cow::Borrowed(bytes)),
        (None, None) => Owned::Bytes(Cow::Owned(read_whole(payload)?)),
    })
}

/// All bytes of a payload.
pub(super) fn read_whole(payload: &dyn HostPayload) -> io::Result<Vec<u8>> {
    let size = usize::try_from(payload.size()).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    let read = payload.read_at(0, &mut bytes)?;
    if read < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// A file that a program of this attempt made.
struct Made {
    payload: FilePayload,
    owned: Mutex<MadeFile>,
}

impl Made {
    fn new(run: &Arc<RunContext>, file: FileRef) -> Result<Self, FileError> {
        let payload = FilePayload::open(&file);
        let owned = MadeFile::new(Arc::clone(run), file);
        Ok(Self {
            payload: payload?,
            owned: Mutex::new(owned),
        })
    }
}

/// The file, where a program of this attempt made it and it was not taken before.
pub(super) fn take_made(payload: &dyn HostPayload) -> Option<FileRef> {
    let made: &Made = payload.as_file()?.downcast_ref()?;
    made.owned.lock().take()
}

impl HostPayload for Made {
    fn size(&self) -> u64 {
        self.payload.len()
    }

    fn as_slice(&self) -> Option<&[u8]> {
        None
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.payload
            .read_at(offset, buffer)
            .map_err(io::Error::other)
    }

    fn as_file(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

/// A payload in this process: it travelled with the attempt, or is in a segment that is mapped.
pub(super) struct InMemory<B>(pub(super) B);

impl<B: Deref<Target = [u8]> + Send + Sync + 'static> HostPayload for InMemory<B> {
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
pub(super) struct InFile(pub(super) FilePayload);

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

    fn as_file(&self) -> Option<&dyn Any> {
        Some(self)
    }
}
