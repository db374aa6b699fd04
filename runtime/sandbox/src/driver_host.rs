//! What a driver's sandbox asks of the run: implemented by the coordinator.

use std::{
    sync::Arc,
    task::{Poll, Waker},
};
use taps_engine::{
    Failure, OutputId, TaskId,
    core::{ArgumentSpec, PayloadKey, TaskOptions},
};
use taps_payload::Location;

/// Where a driver has a payload from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadOrigin {
    /// Output of a task.
    Output(OutputId),
    /// Made by the driver, or a file granted to it.
    Held(PayloadKey),
}

/// A payload given to the driver.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverPayload {
    /// Where it is from.
    pub origin: PayloadOrigin,
    /// Where the bytes are.
    pub location: Location,
    /// Declared type.
    pub media_type: Arc<str>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverStatus {
    /// Not finished.
    Pending,
    /// Finished with outputs.
    Succeeded,
    /// Finished without.
    Failed,
}

/// Why a submission was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such task.
    UnknownTask(String),
    /// No host of the run can ever meet the demand.
    Infeasible(String),
    /// An argument is invalid.
    InvalidArgument(String),
    /// The run is ending.
    Cancelled,
}

/// Number of a completion queue.
pub type QueueId = u64;

/// The run, as its driver sees it. One driver, one fiber: at most one thing is waited for.
/// A `poll_…` that is pending wakes the waker once it is worth asking again.
pub trait DriverHost: Send + Sync {
    /// Ready when back-pressure allows another task.
    fn poll_capacity(&self, waker: &Waker) -> Poll<()>;

    /// Submits a task by name.
    fn submit(
        &self,
        task: &str,
        arguments: Vec<ArgumentSpec>,
        options: TaskOptions,
    ) -> Result<TaskId, Refusal>;

    /// Takes bytes made by the driver, too large to travel inline; the host has written them.
    fn hold(&self, location: Location) -> PayloadKey;

    /// Where a task stands, without waiting.
    fn status(&self, task: TaskId) -> DriverStatus;

    /// Why a task failed.
    fn failure(&self, task: TaskId) -> Option<Failure>;

    /// One output of a task, once it is finished.
    fn poll_result(
        &self,
        task: TaskId,
        output: u32,
        waker: &Waker,
    ) -> Poll<Result<DriverPayload, Failure>>;

    /// Asks for a task to be cancelled.
    fn cancel(&self, task: TaskId);

    /// The driver dropped its future.
    fn release_future(&self, task: TaskId);

    /// The driver dropped a payload.
    fn release_payload(&self, origin: PayloadOrigin);

    /// Makes a completion queue.
    fn create_queue(&self) -> QueueId;

    /// The driver dropped a queue.
    fn drop_queue(&self, queue: QueueId);

    /// Puts a future into a queue.
    fn add_to_queue(&self, queue: QueueId, task: TaskId, tag: u64);

    /// Takes completions: ready with some, or with none when the time (of the driver's clock) has
    /// come or nothing is left to wait for.
    fn poll_queue(
        &self,
        queue: QueueId,
        max: u32,
        until_ns: Option<u64>,
        waker: &Waker,
    ) -> Poll<Vec<(u64, DriverStatus)>>;

    /// Ready once the driver's clock has reached the time.
    fn poll_sleep(&self, until_ns: u64, waker: &Waker) -> Poll<()>;

    /// The driver's clock: time of the last event delivered to it.
    fn clock_ns(&self) -> u64;

    /// Makes a payload of a file below a granted path, given as the guest sees it.
    fn input_file(&self, guest_path: &str) -> Result<DriverPayload, InputFileError>;

    /// A phase of the app starts.
    fn phase(&self, name: &str);
}

/// Why a file could not become a payload.
#[derive(Debug, thiserror::Error)]
pub enum InputFileError {
    /// The path lies below no grant.
    #[error("`{0}` is not below a granted path")]
    NotGranted(String),
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(String),
}
