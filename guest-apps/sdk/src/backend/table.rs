//! The engine of the local backend: runs tasks one after another, when somebody waits.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{
    KernelMode, Level, ProgramCall, ProgramEnd, ProgramRefusal, Status, TaskOption,
    local::Payload as ProgramPayload,
};
use crate::native::{Cancelled, HostPayload, NativeArgument, NativeOutput, OutputBuffer, TaskHost};
use crate::{Argument, Failure, Result, TaskEntry};

/// The tasks of one local run.
pub(crate) struct Table {
    seed: u64,
    start: Instant,
    /// Chooses the next task among those that are ready; `None`: the oldest.
    order: Option<RefCell<ChaCha8Rng>>,
    /// Not run yet, in the order of submission.
    waiting: RefCell<VecDeque<Rc<Slot>>>,
    submitted: Cell<u64>,
    events: RefCell<Events>,
}

/// What happened in a local run.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Log lines of the driver and the tasks.
    pub log: Vec<(Level, String)>,
    /// Phases in the order in which they began.
    pub phases: Vec<String>,
    /// Names of the tasks in the order in which they finished, and whether they succeeded.
    pub finished: Vec<(&'static str, bool)>,
}

/// One submitted task.
struct Slot {
    id: u64,
    task: &'static TaskEntry,
    arguments: RefCell<Vec<SlotArgument>>,
    retries: u32,
    state: RefCell<State>,
    /// Queues that wait for this task.
    watchers: RefCell<Vec<(Weak<QueueState>, u64)>>,
}

enum SlotArgument {
    Value(NativeArgument),
    Output(Rc<Slot>, u32),
}

enum State {
    Pending,
    Succeeded(Vec<Arc<dyn HostPayload>>),
    Failed(Failure),
}

fn failure(outcome: &str, kind: &str, message: impl std::fmt::Display) -> Failure {
    Failure {
        outcome: outcome.to_owned(),
        kind: kind.to_owned(),
        message: message.to_string(),
    }
}

impl Table {
    pub(crate) fn new(seed: u64, order: Option<u64>) -> Rc<Self> {
        Rc::new(Self {
            seed,
            start: Instant::now(),
            order: order.map(|seed| RefCell::new(ChaCha8Rng::seed_from_u64(seed))),
            waiting: RefCell::default(),
            submitted: Cell::new(0),
            events: RefCell::default(),
        })
    }

    pub(crate) fn events(&self) -> Events {
        self.events.borrow().clone()
    }

    pub(super) fn log(&self, level: Level, message: &str) {
        let line = (level, message.to_owned());
        self.events.borrow_mut().log.push(line);
    }

    pub(super) fn phase(&self, name: &str) {
        self.events.borrow_mut().phases.push(name.to_owned());
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn clock(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn submit(
        self: &Rc<Self>,
        task: &'static TaskEntry,
        arguments: Vec<Argument>,
        options: Option<&LocalOptions>,
    ) -> LocalFuture {
        let arguments = arguments.into_iter().map(slot_argument).collect();
        let slot = Rc::new(Slot {
            id: self.submitted.replace(self.submitted.get() + 1),
            task,
            arguments: RefCell::new(arguments),
            retries: options.map_or(0, |options| options.retries.get()),
            state: RefCell::new(State::Pending),
            watchers: RefCell::default(),
        });
        self.waiting.borrow_mut().push_back(Rc::clone(&slot));
        LocalFuture {
            table: Rc::clone(self),
            slot,
        }
    }

    /// Runs one task; false when none is left.
    fn step(self: &Rc<Self>) -> bool {
        let Some(slot) = self.choose() else {
            return false;
        };
        if slot.status() == Status::Pending {
            let state = self.run(&slot);
            self.finish(&slot, state);
        }
        true
    }

    fn choose(&self) -> Option<Rc<Slot>> {
        let mut waiting = self.waiting.borrow_mut();
        let position = match &self.order {
            None => 0,
            Some(order) => {
                let ready: Vec<usize> = (0..waiting.len())
                    .filter(|position| waiting[*position].is_ready())
                    .collect();
                match ready.len() {
                    0 => return None,
                    count => ready[order.borrow_mut().random_range(0..count)],
                }
            }
        };
        waiting.remove(position)
    }

    fn run(self: &Rc<Self>, slot: &Slot) -> State {
        let mut arguments = Vec::new();
        for argument in slot.arguments.take() {
            match argument {
                SlotArgument::Value(value) => arguments.push(value),
                SlotArgument::Output(parent, index) => match &*parent.state.borrow() {
                    State::Succeeded(outputs) => match outputs.get(index as usize) {
                        Some(output) => {
                            arguments.push(NativeArgument::Payload(Arc::clone(output)));
                        }
                        None => return State::Failed(missing_output(&parent, index)),
                    },
                    State::Failed(cause) => return State::Failed(upstream(&parent, cause)),
                    State::Pending => unreachable!("parents are submitted, and so run, before"),
                },
            }
        }
        let mut attempt = 0;
        loop {
            match self.attempt(slot, attempt, arguments.clone()) {
                Ok(outputs) => return State::Succeeded(outputs),
                Err(_) if attempt < slot.retries => attempt += 1,
                Err(failure) => return State::Failed(failure),
            }
        }
    }

    fn attempt(
        self: &Rc<Self>,
        slot: &Slot,
        attempt: u32,
        arguments: Vec<NativeArgument>,
    ) -> Result<Vec<Arc<dyn HostPayload>>, Failure> {
        let mut hasher = DefaultHasher::new();
        (self.seed, slot.task.name, slot.id).hash(&mut hasher);
        let host = Rc::new(LocalHost {
            table: Rc::clone(self),
            programs: slot.task.programs,
            seed: hasher.finish(),
            attempt,
        });
        let run = AssertUnwindSafe(|| slot.task.run_native(host, arguments));
        match std::panic::catch_unwind(run) {
            Ok(Ok(outputs)) => Ok(outputs.into_iter().map(publish).collect()),
            Ok(Err(error)) => Err(failure("task-error", &error.kind, error.message)),
            Err(payload) if payload.is::<Cancelled>() => Err(failure("cancelled", "", "cancelled")),
            Err(payload) => Err(failure("trap", "panic", panic_message(&*payload))),
        }
    }

    fn finish(&self, slot: &Slot, state: State) {
        *slot.state.borrow_mut() = state;
        let status = slot.status();
        self.events
            .borrow_mut()
            .finished
            .push((slot.task.name, status == Status::Succeeded));
        for (queue, tag) in slot.watchers.take() {
            if let Some(queue) = queue.upgrade() {
                queue.ready.borrow_mut().push_back((tag, status));
            }
        }
    }
}

fn slot_argument(argument: Argument) -> SlotArgument {
    match argument {
        Argument::Inline(bytes) => SlotArgument::Value(NativeArgument::Inline(bytes)),
        Argument::Payload(payload) => SlotArgument::Value(match payload.as_handle() {
            Ok(handle) => NativeArgument::Payload(Arc::clone(&handle.0)),
            Err(bytes) => NativeArgument::Inline(bytes),
        }),
        Argument::Output(output) => {
            SlotArgument::Output(Rc::clone(&output.future.slot), output.index)
        }
    }
}

fn missing_output(parent: &Slot, index: u32) -> Failure {
    let name = parent.task.name;
    failure(
        "payload-error",
        "",
        format!("task {name} has no output {index}"),
    )
}

fn upstream(parent: &Slot, cause: &Failure) -> Failure {
    let name = parent.task.name;
    failure(
        "upstream-failed",
        &cause.kind,
        format!("{name} failed: {}", cause.message),
    )
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("panic")
}

fn publish(output: NativeOutput) -> Arc<dyn HostPayload> {
    match output {
        NativeOutput::Bytes(bytes) => Arc::new(bytes),
        NativeOutput::Buffer(buffer) => Arc::new(buffer.as_slice().to_vec()),
        NativeOutput::File(file) => file,
    }
}

impl Slot {
    fn status(&self) -> Status {
        match &*self.state.borrow() {
            State::Pending => Status::Pending,
            State::Succeeded(_) => Status::Succeeded,
            State::Failed(_) => Status::Failed,
        }
    }

    fn is_ready(&self) -> bool {
        self.arguments
            .borrow()
            .iter()
            .all(|argument| match argument {
                SlotArgument::Value(_) => true,
                SlotArgument::Output(parent, _) => parent.status() != Status::Pending,
            })
    }
}

/// The surroundings of a task in a local run.
struct LocalHost {
    table: Rc<Table>,
    programs: &'static [&'static str],
    seed: u64,
    attempt: u32,
}

impl TaskHost for LocalHost {
    fn seed(&self) -> u64 {
        self.seed
    }
    fn attempt(&self) -> u32 {
        self.attempt
    }
    fn clock(&self) -> Duration {
        self.table.clock()
    }
    fn kernel_mode(&self) -> KernelMode {
        KernelMode::Host
    }
    fn log(&self, level: Level, message: &str) {
        self.table.log(level, message);
    }
    fn sleep(&self, duration: Duration) -> Result<(), Cancelled> {
        std::thread::sleep(duration);
        Ok(())
    }
    fn is_cancelled(&self) -> bool {
        false
    }
    fn create_output(&self, _size: usize) -> Option<Box<dyn OutputBuffer>> {
        None
    }
    fn run_program(
        &self,
        call: ProgramCall<'_, ProgramPayload>,
    ) -> Result<ProgramEnd<ProgramPayload>, ProgramRefusal> {
        if !self.programs.contains(&call.program) {
            return Err(ProgramRefusal::NotAllowed(format!(
                "the task's list has {:?}",
                self.programs
            )));
        }
        super::bare::run(&call)
    }
}

/// A future of a local run.
pub struct LocalFuture {
    table: Rc<Table>,
    slot: Rc<Slot>,
}

impl LocalFuture {
    pub(super) fn id(&self) -> u64 {
        self.slot.id
    }

    pub(super) fn status(&self) -> Status {
        self.slot.status()
    }

    pub(super) fn result(&self, output: u32) -> Result<Arc<dyn HostPayload>, Failure> {
        while self.status() == Status::Pending && self.table.step() {}
        match &*self.slot.state.borrow() {
            State::Succeeded(outputs) => outputs
                .get(output as usize)
                .cloned()
                .ok_or_else(|| missing_output(&self.slot, output)),
            State::Failed(failure) => Err(failure.clone()),
            State::Pending => Err(failure("engine-error", "", "the task was never run")),
        }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        match &*self.slot.state.borrow() {
            State::Failed(failure) => Some(failure.clone()),
            _ => None,
        }
    }

    pub(super) fn cancel(&self) {
        if self.status() == Status::Pending {
            let state = State::Failed(failure("cancelled", "", "cancelled by the driver"));
            self.table.finish(&self.slot, state);
        }
    }
}

/// Options of local submissions. Only retries change what happens.
#[derive(Default)]
pub struct LocalOptions {
    retries: Cell<u32>,
}

impl LocalOptions {
    pub(super) fn set(&self, option: TaskOption<'_>) {
        if let TaskOption::Retries(retries) = option {
            self.retries.set(retries);
        }
    }
}

/// A completion queue of a local run.
pub struct LocalQueue {
    table: Option<Rc<Table>>,
    state: Rc<QueueState>,
}

#[derive(Default)]
struct QueueState {
    ready: RefCell<VecDeque<(u64, Status)>>,
    open: Cell<usize>,
}

impl LocalQueue {
    pub(super) fn new(table: Option<Rc<Table>>) -> Self {
        Self {
            table,
            state: Rc::default(),
        }
    }

    pub(super) fn add(&self, future: &LocalFuture, tag: u64) {
        self.state.open.set(self.state.open.get() + 1);
        match future.status() {
            Status::Pending => future
                .slot
                .watchers
                .borrow_mut()
                .push((Rc::downgrade(&self.state), tag)),
            status => self.state.ready.borrow_mut().push_back((tag, status)),
        }
    }

    pub(super) fn next(
        &self,
        max: u32,
        timeout: Option<Duration>,
        into: &mut VecDeque<(u64, Status)>,
    ) {
        let waits = timeout.is_none_or(|timeout| timeout > Duration::ZERO);
        while self.state.ready.borrow().is_empty() && self.state.open.get() > 0 {
            let ran = waits && self.table.as_ref().is_some_and(Table::step);
            if !ran {
                break;
            }
        }
        let mut ready = self.state.ready.borrow_mut();
        let count = ready.len().min(max as usize);
        self.state.open.set(self.state.open.get() - count);
        into.extend(ready.drain(..count));
    }
}
