//! The backend on the host: tables that belong to the thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::table::{LocalFuture, LocalOptions, LocalQueue, Table};
use super::{
    Backend, BackendPayload, KernelMode, Level, ProgramCall, ProgramEnd, ProgramRefusal, Status,
    TaskOption,
};
use crate::native::{Cancelled, HostPayload, OutputBuffer, TaskHost};
use crate::{Argument, Error, Failure, PayloadError, Result, TaskEntry};

thread_local! {
    /// The task that runs on this thread.
    static HOST: RefCell<Option<Rc<dyn TaskHost>>> = const { RefCell::new(None) };
    /// The driver that runs on this thread.
    static DRIVER: RefCell<Option<Rc<Table>>> = const { RefCell::new(None) };
}

/// Puts the value before it back, also when a task unwinds.
struct Restore<T: 'static>(
    &'static std::thread::LocalKey<RefCell<Option<T>>>,
    Option<T>,
);

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        let before = self.1.take();
        self.0.with(|place| *place.borrow_mut() = before);
    }
}

/// Runs `body` with `host` as the surroundings of a task.
pub(crate) fn with_host<R>(host: Rc<dyn TaskHost>, body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&HOST, HOST.replace(Some(host)));
    body()
}

/// Runs `body` as a driver on `table`.
pub(crate) fn with_driver<R>(table: Rc<Table>, body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&DRIVER, DRIVER.replace(Some(table)));
    body()
}

fn host() -> Option<Rc<dyn TaskHost>> {
    HOST.with_borrow(Clone::clone)
}

fn driver() -> Option<Rc<Table>> {
    DRIVER.with_borrow(Clone::clone)
}

/// A payload of the host.
pub struct Payload(pub Arc<dyn HostPayload>);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.size())
    }
}

/// Bytes of the host, read in place.
#[derive(Clone)]
pub struct SharedBytes(Arc<dyn HostPayload>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice().unwrap_or_default()
    }
}

/// Memory of the host that becomes an output.
pub struct HostOutput(pub(crate) Box<dyn OutputBuffer>);

impl AsRef<[u8]> for HostOutput {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl AsMut<[u8]> for HostOutput {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }
}

impl BackendPayload for Payload {
    type Shared = SharedBytes;

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn media_type(&self) -> String {
        self.0.media_type().to_owned()
    }

    fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, PayloadError> {
        if offset > self.0.size() {
            return Err(PayloadError::OutOfRange);
        }
        self.0.read_at(offset, buffer).map_err(|error| {
            Local::log(Level::Error, &format!("reading a payload failed: {error}"));
            PayloadError::Io
        })
    }

    fn attach(payload: &Rc<Self>) -> Result<Option<SharedBytes>, PayloadError> {
        let in_memory = payload.0.as_slice().is_some();
        Ok(in_memory.then(|| SharedBytes(Arc::clone(&payload.0))))
    }
}

/// The backend of this thread: a native task, a local driver, or neither (a plain unit test).
pub struct Local;

impl Backend for Local {
    type Payload = Payload;
    type Output = HostOutput;
    type Future = LocalFuture;
    type Options = LocalOptions;
    type Completions = LocalQueue;

    fn log(level: Level, message: &str) {
        if let Some(host) = host() {
            host.log(level, message);
        } else if let Some(driver) = driver() {
            driver.log(level, message);
        }
    }

    fn seed() -> u64 {
        host()
            .map(|host| host.seed())
            .or_else(|| driver().map(|driver| driver.seed()))
            .unwrap_or_default()
    }

    fn attempt() -> u32 {
        host().map(|host| host.attempt()).unwrap_or_default()
    }

    fn clock() -> Duration {
        host()
            .map(|host| host.clock())
            .or_else(|| driver().map(|driver| driver.clock()))
            .unwrap_or_default()
    }

    fn sleep(duration: Duration) {
        match host() {
            Some(host) => {
                if host.sleep(duration).is_err() {
                    Self::end_cancelled();
                }
            }
            None => std::thread::sleep(duration),
        }
    }

    fn kernel_mode() -> KernelMode {
        host().map(|host| host.kernel_mode()).unwrap_or_default()
    }

    fn is_cancelled() -> bool {
        host().is_some_and(|host| host.is_cancelled())
    }

    fn end_cancelled() -> ! {
        std::panic::resume_unwind(Box::new(Cancelled))
    }

    fn create_output(size: usize) -> Option<HostOutput> {
        host()?.create_output(size).map(HostOutput)
    }

    fn run_program(call: ProgramCall<'_, Payload>) -> Result<ProgramEnd<Payload>, ProgramRefusal> {
        match host() {
            Some(host) => {
                let ended = host.run_program(call);
                if ended.is_err() && host.is_cancelled() {
                    Self::end_cancelled();
                }
                ended
            }
            None => Err(ProgramRefusal::NotAllowed(
                "programs run in tasks only".to_owned(),
            )),
        }
    }

    fn submit(
        task: &'static TaskEntry,
        arguments: Vec<Argument>,
        options: Option<&LocalOptions>,
    ) -> Result<LocalFuture> {
        let Some(driver) = driver() else {
            return Err(Error::Submit {
                task: task.name.to_owned(),
                reason: "no driver runs here; use taps::testing::run".to_owned(),
            });
        };
        Ok(driver.submit(task, arguments, options))
    }

    fn input_file(path: &str) -> Result<Payload, PayloadError> {
        super::files::open(path).map(|file| Payload(Arc::new(file)))
    }

    fn phase(name: &str) {
        if let Some(driver) = driver() {
            driver.phase(name);
        }
    }

    fn future_id(future: &LocalFuture) -> u64 {
        future.id()
    }

    fn future_status(future: &LocalFuture) -> Status {
        future.status()
    }

    fn future_result(future: &LocalFuture, output: u32) -> Result<Payload, Failure> {
        future.result(output).map(Payload)
    }

    fn future_failure(future: &LocalFuture) -> Option<Failure> {
        future.failure()
    }

    fn future_cancel(future: &LocalFuture) {
        future.cancel();
    }

    fn options() -> LocalOptions {
        LocalOptions::default()
    }

    fn set_option(options: &LocalOptions, option: TaskOption<'_>) {
        options.set(option);
    }

    fn completions() -> LocalQueue {
        LocalQueue::new(driver())
    }

    fn completions_add(queue: &LocalQueue, future: &LocalFuture, tag: u64) {
        queue.add(future, tag);
    }

    fn completions_next(
        queue: &LocalQueue,
        max: u32,
        timeout: Option<Duration>,
        into: &mut VecDeque<(u64, Status)>,
    ) {
        queue.next(max, timeout, into);
    }
}
