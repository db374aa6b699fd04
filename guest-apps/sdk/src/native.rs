//! Running tasks on the host without a sandbox: what the `native` executor calls.
//!
//! ```no_run
//! # use std::{rc::Rc, sync::Arc};
//! # fn run(host: Rc<dyn taps::native::TaskHost>) {
//! let task = taps::native::find("taps-cholesky", 0).expect("linked in");
//! let argument = taps::native::NativeArgument::Payload(Arc::new(vec![1u8, 2, 3]));
//! let result = task.run_native(host, vec![argument]);
//! # }
//! ```
//!
//! The task runs on the calling thread, with `host` as its surroundings until the call returns
//! or unwinds. A panic unwinds through [`TaskEntry::run_native`]; the caller catches it, and
//! tells [`Cancelled`] (the payload of the unwinding when `sleep` was cancelled) from a real one.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::local;
pub use crate::backend::local::Payload as ProgramPayload;
pub use crate::backend::{ProgramCall, ProgramContent, ProgramEnd, ProgramRefusal};
use crate::value::TaskOutput;
use crate::{KernelMode, Level, Payload, TaskEntry, TaskError};

/// A payload of the host: in memory, or read on demand.
pub trait HostPayload: Send + Sync + 'static {
    /// Length in bytes.
    fn size(&self) -> u64;
    /// Declared type of the bytes.
    fn media_type(&self) -> &str {
        Default::default()
    }
    /// The bytes, if they are in memory: read in place, never copied. Immutable.
    fn as_slice(&self) -> Option<&[u8]>;
    /// Fills `buffer` from `offset` and returns how many bytes there were; used when
    /// [`HostPayload::as_slice`] gives nothing.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize>;
    /// The host's own type, where the payload is a file: it goes to programs, and back to the host as a
    /// result, as it is.
    fn as_file(&self) -> Option<&dyn Any> {
        None
    }
}

impl HostPayload for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn as_slice(&self) -> Option<&[u8]> {
        Some(self)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// Zero-filled memory of the host that becomes an output without a copy.
pub trait OutputBuffer: 'static {
    /// The bytes so far.
    fn as_slice(&self) -> &[u8];
    /// The bytes, to be written.
    fn as_mut_slice(&mut self) -> &mut [u8];
    /// The host's own type back, from a finished [`NativeOutput::Buffer`].
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// The attempt was cancelled or its time is up. Also the payload of the unwinding by which a
/// native task ends then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// The surroundings of one attempt. Methods may be called only on the thread that runs it.
pub trait TaskHost {
    /// Seed of the attempt.
    fn seed(&self) -> u64;
    /// Number of the attempt, from 0.
    fn attempt(&self) -> u32;
    /// Time since the run began.
    fn clock(&self) -> Duration;
    /// Which kernels the run asks for. Native tasks use the native kernels either way.
    fn kernel_mode(&self) -> KernelMode;
    /// Writes a line to the log of the run.
    fn log(&self, level: Level, message: &str);
    /// Sleeps; an error ends the attempt at once.
    fn sleep(&self, duration: Duration) -> Result<(), Cancelled>;
    /// Whether the attempt should end; asked by kernels between panels.
    fn is_cancelled(&self) -> bool;
    /// Memory for an output of `size` bytes, at a 64-byte boundary. `None` when the host would
    /// rather take plain bytes (small outputs, a full store).
    fn create_output(&self, size: usize) -> Option<Box<dyn OutputBuffer>>;
    /// Runs a native program to its end.
    fn run_program(
        &self,
        call: ProgramCall<'_, ProgramPayload>,
    ) -> Result<ProgramEnd<ProgramPayload>, ProgramRefusal>;
}

/// One argument of a native task.
#[derive(Clone)]
pub enum NativeArgument {
    /// Bytes that travelled with the attempt.
    Inline(Vec<u8>),
    /// A payload of the host.
    Payload(Arc<dyn HostPayload>),
}

/// One output of a native task.
pub enum NativeOutput {
    /// Plain bytes.
    Bytes(Vec<u8>),
    /// A buffer that [`TaskHost::create_output`] gave, filled.
    Buffer(Box<dyn OutputBuffer>),
    /// A file that [`TaskHost::run_program`] gave.
    File(Arc<dyn HostPayload>),
}

/// The task of an app by the app's Cargo package and the task's index in its description.
pub fn find(package: &str, index: u32) -> Option<&'static TaskEntry> {
    crate::tasks(package).get(index as usize).copied()
}

impl TaskEntry {
    /// Runs the task on this thread. Panics of the task unwind through this call.
    pub fn run_native(
        &self,
        host: Rc<dyn TaskHost>,
        arguments: Vec<NativeArgument>,
    ) -> Result<Vec<NativeOutput>, TaskError> {
        let arguments = arguments
            .into_iter()
            .map(|argument| match argument {
                NativeArgument::Inline(bytes) => Payload::inline(bytes),
                NativeArgument::Payload(payload) => Payload::handle(local::Payload(payload)),
            })
            .collect();
        let outputs = local::with_host(host, || self.run_with(arguments))?;
        let outputs: crate::Result<_> = outputs.into_iter().map(native_output).collect();
        outputs.map_err(|error| TaskError::new(&error))
    }
}

fn native_output(output: TaskOutput) -> crate::Result<NativeOutput> {
    let bytes = match output {
        TaskOutput::Bytes(bytes) => bytes,
        TaskOutput::File(payload) => match payload.as_handle() {
            Ok(local::Payload(file)) if file.as_file().is_some() => {
                return Ok(NativeOutput::File(Arc::clone(file)));
            }
            _ => payload.into_bytes()?,
        },
    };
    Ok(match bytes.into_output() {
        Ok(local::HostOutput(buffer)) => NativeOutput::Buffer(buffer),
        Err(bytes) => NativeOutput::Bytes(bytes),
    })
}
