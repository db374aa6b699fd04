//! What a native task finds around it: its host, and payloads in this process.

use std::{io, ops::Deref, sync::Arc, time::Duration};
use taps::{
    KernelMode, Level,
    native::{
        Cancelled, HostPayload, OutputBuffer, ProgramCall, ProgramEnd, ProgramPayload,
        ProgramRefusal, TaskHost,
    },
};
use taps_payload::FilePayload;
use taps_sandbox::{Control, LogLevel, RunContext, Speaker};
use taps_schema::Kernels;

/// What a native task finds around it.
pub(super) struct Surroundings {
    pub(super) id: taps_engine::AttemptId,
    pub(super) seed: u64,
    pub(super) kernels: Kernels,
    pub(super) control: Control,
    pub(super) run: Arc<RunContext>,
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
        Err(ProgramRefusal::NotAllowed(format!(
            "`{}`: this version of the runtime serves no programs",
            call.program
        )))
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
}
