//! The backend in a component: the WIT imports.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::bindings::taps::core::{context, engine, payloads, program};
use super::raw::{Attachment, OutputWindow};
use super::{
    Backend, BackendPayload, KernelMode, Level, ProgramCall, ProgramContent, ProgramEnd,
    ProgramRefusal, Status, TaskOption,
};
use crate::{Argument, Error, Failure, PayloadError, Result, TaskEntry};

/// Inputs of this size and more are mapped, smaller ones read.
const ATTACH_BYTES: usize = 1_000_000;
/// Outputs of this size and more are built in a window.
const WINDOW_BYTES: usize = 1_000_000;

thread_local! {
    /// Whether a task runs, not a driver: only a task has outputs.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
}

/// Marks the start of a task.
pub(crate) fn enter_task() {
    IN_TASK.set(true);
}

/// A payload of the host.
pub struct HostPayload {
    pub(crate) wit: payloads::Payload,
    size: u64,
    /// The mapping, while somebody uses it: a payload can be attached only once.
    attachment: RefCell<Weak<Attachment>>,
}

impl HostPayload {
    pub(crate) fn new(wit: payloads::Payload) -> Self {
        Self {
            size: wit.size(),
            wit,
            attachment: RefCell::default(),
        }
    }
}

/// A mapped payload.
#[derive(Clone)]
pub struct Mapped(Rc<Attachment>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl BackendPayload for HostPayload {
    type Shared = Mapped;

    fn size(&self) -> u64 {
        self.size
    }

    fn media_type(&self) -> String {
        self.wit.media_type()
    }

    fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, PayloadError> {
        super::raw::read_into(&self.wit, offset, buffer)
    }

    fn attach(payload: &Rc<Self>) -> Result<Option<Mapped>, PayloadError> {
        let size = usize::try_from(payload.size).map_err(|_| PayloadError::WindowTooSmall)?;
        if size < ATTACH_BYTES {
            return Ok(None);
        }
        if let Some(attachment) = payload.attachment.borrow().upgrade() {
            return Ok(Some(Mapped(attachment)));
        }
        match Attachment::new(payload, size) {
            Ok(attachment) => {
                let attachment = Rc::new(attachment);
                *payload.attachment.borrow_mut() = Rc::downgrade(&attachment);
                Ok(Some(Mapped(attachment)))
            }
            // Too many windows are open: reading is slower and works.
            Err(PayloadError::WindowLimit) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The WIT imports.
pub struct Imports;

impl Backend for Imports {
    type Payload = HostPayload;
    type Output = OutputWindow;
    type Future = engine::Future;
    type Options = engine::TaskOptions;
    type Completions = engine::Completions;

    fn log(level: Level, message: &str) {
        let level = match level {
            Level::Trace => context::Level::Trace,
            Level::Debug => context::Level::Debug,
            Level::Info => context::Level::Info,
            Level::Warn => context::Level::Warn,
            Level::Error => context::Level::Error,
        };
        context::log(level, message);
    }

    fn seed() -> u64 {
        context::seed()
    }

    fn attempt() -> u32 {
        context::attempt()
    }

    fn clock() -> Duration {
        Duration::from_nanos(context::clock_ns())
    }

    fn sleep(duration: Duration) {
        context::sleep_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn kernel_mode() -> KernelMode {
        match context::kernel_mode() {
            context::KernelProvider::Host => KernelMode::Host,
            context::KernelProvider::Guest => KernelMode::Guest,
        }
    }

    fn is_cancelled() -> bool {
        false
    }

    fn end_cancelled() -> ! {
        unreachable!("in a sandbox the host ends a cancelled attempt")
    }

    fn create_output(size: usize) -> Option<OutputWindow> {
        if size < WINDOW_BYTES || !IN_TASK.get() {
            return None;
        }
        // Without a window the output is copied once: slower, and works.
        OutputWindow::create(size).ok()
    }

    fn run_program(
        call: ProgramCall<'_, HostPayload>,
    ) -> Result<ProgramEnd<HostPayload>, ProgramRefusal> {
        let invocation = program::Invocation {
            program: call.program.to_owned(),
            arguments: call.arguments.to_vec(),
            inputs: call
                .inputs
                .into_iter()
                .map(|(path, bytes)| (path.to_owned(), content(bytes)))
                .collect(),
            outputs: call.outputs.to_vec(),
            environment: call.environment.to_vec(),
            stdin: call.stdin.map(content),
            timeout_ms: call
                .timeout
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        };
        let ended = program::run(&invocation).map_err(|error| match error {
            program::ProgramError::NotAllowed(text) => ProgramRefusal::NotAllowed(text),
            program::ProgramError::NotFound(text) => ProgramRefusal::NotFound(text),
            program::ProgramError::Limit(text) => ProgramRefusal::Limit(text),
            program::ProgramError::Failed(text) => ProgramRefusal::Failed(text),
        })?;
        let file = |output: Option<payloads::Payload>| output.map(HostPayload::new);
        Ok(ProgramEnd {
            exit_code: ended.exit_code,
            signal: ended.signal,
            stdout: ended.stdout,
            stderr: ended.stderr,
            outputs: ended.outputs.into_iter().map(file).collect(),
        })
    }

    fn submit(
        task: &'static TaskEntry,
        mut arguments: Vec<Argument>,
        options: Option<&engine::TaskOptions>,
    ) -> Result<engine::Future> {
        for argument in &mut arguments {
            if let Argument::Payload(payload) = argument
                && let Err(bytes) = payload.as_handle()
            {
                *argument = Argument::Inline(bytes);
            }
        }
        let sources: Vec<_> = arguments.iter_mut().map(source).collect();
        engine::submit(task.name, &sources, options).map_err(|error| Error::Submit {
            task: task.name.to_owned(),
            reason: match error {
                engine::SubmitError::UnknownTask(_) => "the app has no such task".to_owned(),
                engine::SubmitError::Infeasible(reason)
                | engine::SubmitError::InvalidArgument(reason) => reason,
                engine::SubmitError::Cancelled => "the run is ending".to_owned(),
            },
        })
    }

    fn input_file(path: &str) -> Result<HostPayload, PayloadError> {
        engine::input_file(path)
            .map(HostPayload::new)
            .map_err(payload_error)
    }

    fn phase(name: &str) {
        engine::phase(name);
    }

    fn future_id(future: &engine::Future) -> u64 {
        future.id()
    }

    fn future_status(future: &engine::Future) -> Status {
        status(future.status())
    }

    fn future_result(future: &engine::Future, output: u32) -> Result<HostPayload, Failure> {
        future.result(output).map(HostPayload::new).map_err(failure)
    }

    fn future_failure(future: &engine::Future) -> Option<Failure> {
        future.failure().map(failure)
    }

    fn future_cancel(future: &engine::Future) {
        future.cancel();
    }

    fn options() -> engine::TaskOptions {
        engine::TaskOptions::new()
    }

    fn set_option(options: &engine::TaskOptions, option: TaskOption<'_>) {
        match option {
            TaskOption::TimeoutMs(timeout) => options.set_timeout_ms(timeout),
            TaskOption::Retries(retries) => options.set_retries(retries),
            TaskOption::Priority(priority) => options.set_priority(priority),
            TaskOption::Cores(cores) => options.set_cores(cores),
            TaskOption::MemoryBytes(memory) => options.set_memory_bytes(memory),
            TaskOption::Resource(name, amount) => options.set_resource(name, amount),
            TaskOption::Label(label) => options.set_label(label),
            TaskOption::Pure(pure) => options.set_pure(pure),
        }
    }

    fn completions() -> engine::Completions {
        engine::Completions::new()
    }

    fn completions_add(queue: &engine::Completions, future: &engine::Future, tag: u64) {
        queue.add(future, tag);
    }

    fn completions_next(
        queue: &engine::Completions,
        max: u32,
        timeout: Option<Duration>,
        into: &mut VecDeque<(u64, Status)>,
    ) {
        let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let completions = queue.next(max, timeout);
        into.extend(
            completions
                .into_iter()
                .map(|done| (done.tag, status(done.status))),
        );
    }
}

fn source(argument: &mut Argument) -> engine::Source<'_> {
    match argument {
        Argument::Inline(bytes) => engine::Source::Inline(std::mem::take(bytes)),
        Argument::Payload(payload) => match payload.as_handle() {
            Ok(handle) => engine::Source::Payload(&handle.wit),
            Err(bytes) => engine::Source::Inline(bytes),
        },
        Argument::Output(output) => engine::Source::Output((&output.future, output.index)),
    }
}

fn content(bytes: ProgramContent<'_, HostPayload>) -> program::Content<'_> {
    match bytes {
        ProgramContent::Inline(bytes) => program::Content::Inline(bytes.into_owned()),
        ProgramContent::Payload(payload) => program::Content::Payload(&payload.wit),
    }
}

fn status(status: engine::Status) -> Status {
    match status {
        engine::Status::Pending => Status::Pending,
        engine::Status::Succeeded => Status::Succeeded,
        engine::Status::Failed => Status::Failed,
    }
}

fn failure(failure: engine::Failure) -> Failure {
    Failure {
        outcome: failure.outcome,
        kind: failure.kind,
        message: failure.message,
    }
}

fn payload_error(error: payloads::PayloadError) -> PayloadError {
    use payloads::PayloadError as Wit;
    match error {
        Wit::OutOfRange => PayloadError::OutOfRange,
        Wit::MisalignedWindow => PayloadError::MisalignedWindow,
        Wit::WindowTooSmall => PayloadError::WindowTooSmall,
        Wit::WindowInUse => PayloadError::WindowInUse,
        Wit::WindowLimit => PayloadError::WindowLimit,
        Wit::WrongState => PayloadError::WrongState,
        Wit::StoreFull => PayloadError::StoreFull,
        Wit::NotGranted => PayloadError::NotGranted,
        Wit::Io => PayloadError::Io,
        Wit::Cancelled => PayloadError::Cancelled,
    }
}
