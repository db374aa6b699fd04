//! What a driver does: submit tasks and wait for them.

use std::cell::{RefCell, RefMut};
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::backend::{self, Backend as _, Current, TaskOption};
use crate::call::{Output, refused};
use crate::value::Archivable;
use crate::{
    Argument, Bytes, Call, Completions, Failure, Outputs, Payload, Result, Status, Value, View,
};

/// The engine as a driver sees it.
pub struct Engine {
    rng: RefCell<ChaCha8Rng>,
    _not_send: PhantomData<Rc<()>>,
}

impl Engine {
    /// The engine of this driver; made by the code that `#[taps::app]` generates.
    #[doc(hidden)]
    pub fn current() -> Self {
        Self {
            rng: RefCell::new(crate::context::rng()),
            _not_send: PhantomData,
        }
    }

    /// Submits a call and gives the future of its result (a tuple of futures if the task has
    /// several outputs). Blocks while the run has too many tasks outstanding.
    pub fn submit<O: Outputs>(&self, call: Call<O>) -> Result<O::Futures> {
        Self::submit_raw(call, None)
    }

    /// Submits a call with options.
    pub fn submit_with<O: Outputs>(
        &self,
        call: Call<O>,
        options: &TaskOptions,
    ) -> Result<O::Futures> {
        Self::submit_raw(call, Some(options))
    }

    fn submit_raw<O: Outputs>(call: Call<O>, options: Option<&TaskOptions>) -> Result<O::Futures> {
        let arguments = call.arguments.map_err(|error| refused(call.task, error))?;
        let future = Current::submit(call.task, arguments, options.map(|options| &options.0))?;
        Ok(O::futures(Rc::new(future)))
    }

    /// Submits all calls and gives their results in the order of the calls. The first failure
    /// ends it.
    pub fn map<T: Value>(&self, calls: impl IntoIterator<Item = Call<T>>) -> Result<Vec<T>> {
        let futures = calls
            .into_iter()
            .map(|call| self.submit(call))
            .collect::<Result<Vec<_>>>()?;
        futures.into_iter().map(|future| future.result()).collect()
    }

    /// Waits until the first or all of the futures have finished, or the time is up.
    pub fn wait<T>(&self, futures: &[Future<T>], wait: Wait, timeout: Option<Duration>) -> Waited {
        crate::completions::wait(futures, wait, timeout)
    }

    /// The futures in the order in which they finish, failed ones too.
    pub fn as_completed<T>(
        &self,
        futures: impl IntoIterator<Item = Future<T>>,
    ) -> impl Iterator<Item = Future<T>> {
        let mut completions = Completions::new();
        for future in futures {
            completions.add(future);
        }
        completions
    }

    /// Marks the start of a phase of the app; the one before ends. Reports show each phase's
    /// duration.
    pub fn phase(&self, name: &str) {
        Current::phase(name);
    }

    /// A payload of a file below a granted path: the bytes stay where they are until a task (or
    /// this driver) reads them.
    pub fn input_file(&self, path: impl AsRef<str>) -> Result<Payload> {
        Ok(Payload::handle(Current::input_file(path.as_ref())?))
    }

    /// The driver's seeded generator: the same numbers for the same seed of the run.
    pub fn rng(&self) -> RefMut<'_, ChaCha8Rng> {
        self.rng.borrow_mut()
    }
}

/// How long [`Engine::wait`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until one future has finished.
    First,
    /// Until all futures have finished.
    All,
}

/// Positions in the slice given to [`Engine::wait`], each list in increasing order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// Futures that have finished, with or without a result.
    pub finished: Vec<usize>,
    /// The others.
    pub pending: Vec<usize>,
}

/// Options of submissions; one may serve many.
pub struct TaskOptions(backend::Options);

impl TaskOptions {
    /// The defaults of the run.
    pub fn new() -> Self {
        Self(Current::options())
    }

    fn set(self, option: TaskOption<'_>) -> Self {
        Current::set_option(&self.0, option);
        self
    }

    /// Wall-clock limit of an attempt.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.set(TaskOption::TimeoutMs(milliseconds))
    }

    /// Attempts after the first that may be made.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        self.set(TaskOption::Retries(retries))
    }

    /// Tasks of higher priority start first; 0 by default.
    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        self.set(TaskOption::Priority(priority))
    }

    /// Cores that the task occupies; 1 by default.
    #[must_use]
    pub fn cores(self, cores: u32) -> Self {
        self.set(TaskOption::Cores(cores))
    }

    /// Memory that the task needs: used for placement and as its limit.
    #[must_use]
    pub fn memory_bytes(self, memory: u64) -> Self {
        self.set(TaskOption::MemoryBytes(memory))
    }

    /// Amount of a custom resource.
    #[must_use]
    pub fn resource(self, name: &str, amount: u64) -> Self {
        self.set(TaskOption::Resource(name, amount))
    }

    /// Label shown in records.
    #[must_use]
    pub fn label(self, label: &str) -> Self {
        self.set(TaskOption::Label(label))
    }

    /// Whether equal arguments always give equal results; overrides the task's own word.
    #[must_use]
    pub fn pure(self, pure: bool) -> Self {
        self.set(TaskOption::Pure(pure))
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The future result of a task. Cloning is cheap; dropping the last clone gives up the driver's
/// interest in the result. `&Future` can be given to any number of calls.
pub struct Future<T> {
    pub(crate) raw: Rc<backend::Future>,
    output: u32,
    _type: PhantomData<fn() -> T>,
}

impl<T> Future<T> {
    pub(crate) fn new(raw: Rc<backend::Future>, output: u32) -> Self {
        Self {
            raw,
            output,
            _type: PhantomData,
        }
    }

    /// The future as an argument, for calls whose arguments are of several kinds.
    pub fn as_argument(&self) -> Argument {
        Argument::Output(Output {
            future: Rc::clone(&self.raw),
            index: self.output,
        })
    }

    /// Number of the submission, from 0.
    pub fn id(&self) -> u64 {
        Current::future_id(&self.raw)
    }

    /// Where the task stands, without waiting.
    pub fn status(&self) -> Status {
        Current::future_status(&self.raw)
    }

    /// Why the task failed; `None` if it is pending or succeeded.
    pub fn failure(&self) -> Option<Failure> {
        Current::future_failure(&self.raw)
    }

    /// Asks for the task to be cancelled.
    pub fn cancel(&self) {
        Current::future_cancel(&self.raw);
    }

    /// Waits for the task without fetching its result.
    pub fn finish(&self) -> Result<()> {
        if self.status() == Status::Pending {
            crate::completions::wait(std::slice::from_ref(self), Wait::All, None);
        }
        match self.status() {
            Status::Succeeded => Ok(()),
            _ => Err(self.failure().unwrap_or_else(unfinished).into()),
        }
    }

    /// Waits for the task and gives its result.
    pub fn result(&self) -> Result<T>
    where
        T: FutureValue,
    {
        T::fetch(self)
    }
}

fn unfinished() -> Failure {
    Failure {
        outcome: "cancelled".to_owned(),
        kind: String::new(),
        message: "the run ends before the task".to_owned(),
    }
}

impl<T: Value> Future<T> {
    /// Waits for the task and gives its result as a handle, without reading it.
    pub fn payload(&self) -> Result<Payload> {
        Ok(Payload::handle(Current::future_result(
            &self.raw,
            self.output,
        )?))
    }

    /// Waits for the task and gives its result as bytes.
    pub fn bytes(&self) -> Result<Bytes> {
        self.payload()?.into_bytes()
    }
}

impl<T: Archivable + Value> Future<T> {
    /// Waits for the task and gives its result as an archive read in place.
    pub fn view(&self) -> Result<View<T>> {
        View::new(self.bytes()?)
    }
}

/// What [`Future::result`] can give: any value, or `()` for a task without outputs.
pub trait FutureValue: Sized {
    /// Waits and fetches.
    #[doc(hidden)]
    fn fetch(future: &Future<Self>) -> Result<Self>;
}

impl<T: Value> FutureValue for T {
    fn fetch(future: &Future<T>) -> Result<T> {
        T::decode(future.bytes()?)
    }
}

impl FutureValue for () {
    fn fetch(future: &Future<()>) -> Result<()> {
        future.finish()
    }
}

impl<T> Clone for Future<T> {
    fn clone(&self) -> Self {
        Self::new(Rc::clone(&self.raw), self.output)
    }
}

impl<T> std::fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Future({}.{})", self.id(), self.output)
    }
}
