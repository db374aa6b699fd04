//! What runs attempts.

use crate::{Attempt, AttemptId, AttemptReport, Failure, WorkerId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use taps_payload::SegmentId;

/// What an executor can do. Declared once, before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent yes-or-no facts, read by name"
)]
pub struct Capabilities {
    /// The core names the worker of each attempt; otherwise the engine places it.
    pub places: bool,
    /// Results stay with the engine until fetched.
    pub keeps_results: bool,
    /// A running attempt can be cancelled.
    pub cancels_running: bool,
    /// A worker can be killed without harm to the others: `free` guests are allowed.
    pub kills_workers: bool,
    /// Workers see the paths of the host that the run was started on.
    pub sees_host_paths: bool,
    /// The loss of a worker is reported.
    pub reports_worker_loss: bool,
}

/// One worker slot, as it joins. What it brings is its share of the host: cores, memory and custom
/// resources of a host are the sums over its workers, and a task may take more than one share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its number.
    pub id: WorkerId,
    /// Host that it runs on.
    pub host: String,
    /// Cores that it brings; 1 for a pool of single-threaded workers.
    pub cores: u32,
    /// Memory that it brings, in bytes.
    pub memory_bytes: u64,
    /// Custom resources that it brings: name and amount.
    pub resources: Vec<(String, u64)>,
    /// Most attempts that may be sent to it while it runs another: it starts them in that order,
    /// each when the one before has ended. 0 where a report costs no round trip.
    #[serde(default)]
    pub look_ahead: u32,
}

/// What an executor tells the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ExecutorEvent {
    /// A worker is ready.
    WorkerJoined(WorkerInfo),
    /// A worker is gone, with everything that was on it.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
        /// What it was running: that is charged with the loss, and every other attempt on the
        /// worker goes again uncounted.
        #[serde(default)]
        running: Running,
    },
    /// An attempt ended.
    Finished(Box<AttemptReport>),
    /// An attempt was given back: it never started and never will. The answer to
    /// [`Executor::recall`], but no recall is needed.
    Returned(AttemptId),
    /// The executor cannot go on; outstanding attempts will not end.
    Failed(Failure),
}

/// What a worker was running when it was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Running {
    /// The executor does not know: of the attempts that are on the worker, the first.
    #[default]
    Unknown,
    /// Nothing: none of the attempts on the worker had begun.
    Nothing,
    /// This attempt, if it is on the worker; else the first that is.
    Attempt(AttemptId),
}

/// Where an executor delivers its events: the coordinator of the run.
///
/// `deliver` applies the events at once on the calling thread: it may call back into
/// [`Executor::submit`] from within, so that a finishing worker finds its next attempt
/// queued when the call returns, and no other thread needs to wake.
pub trait EventSink: Send + Sync {
    /// Applies the events. Never blocks for longer than it takes to apply them.
    fn deliver(&self, events: Vec<ExecutorEvent>);
}

/// Runs attempts somewhere. Batch first; every method returns without waiting for tasks.
pub trait Executor: Send + Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// What the executor can do.
    fn capabilities(&self) -> Capabilities;

    /// The workers that it will start, where it is known beforehand and they do not join at once: a demand
    /// that none of them can meet is refused when it is made.
    fn promised(&self) -> Vec<WorkerInfo> {
        Vec::new()
    }

    /// Starts the workers; each says `WorkerJoined` through the sink, possibly before this returns.
    fn start(&self, sink: Arc<dyn EventSink>) -> Result<(), StartError>;

    /// Takes attempts, each with the worker chosen by the core where it places. A worker that runs
    /// an attempt gets at most [`WorkerInfo::look_ahead`] more, to be run in this order.
    fn submit(&self, batch: Vec<(Option<WorkerId>, Attempt)>);

    /// Asks for attempts to end early. Each still gets its report.
    fn cancel(&self, attempts: &[AttemptId]);

    /// Asks for attempts back that wait on their worker behind another. One that has not started
    /// is answered with [`ExecutorEvent::Returned`], and must not start any more; one that has
    /// started with its report, as ever. An attempt that is not known is passed over: its report
    /// is on its way, or the call that submits it. An executor that does nothing is right, too:
    /// the attempt is then run where it waits.
    fn recall(&self, attempts: &[AttemptId]) {
        let _ = attempts;
    }

    /// The run dropped its own reference to these segments; nobody will be sent them any more.
    fn freed(&self, segments: &[SegmentId]) {
        let _ = segments;
    }

    /// Fetches the bytes of a result that the engine kept: the key of its [`Location::Engine`]. Waits for them.
    /// An executor that keeps nothing is never asked.
    ///
    /// [`Location::Engine`]: taps_payload::Location::Engine
    fn fetch(&self, key: &str) -> Result<Vec<u8>, FetchError> {
        Err(FetchError {
            lost: true,
            reason: format!("{} keeps no results; asked for {key}", self.name()),
        })
    }

    /// Tells that nobody can read these kept results any more.
    fn release(&self, keys: &[Arc<str>]) {
        let _ = keys;
    }

    /// Ends all workers and waits for them. Attempts still running are cancelled first.
    fn shutdown(&self);
}

/// Why a result that an engine kept could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FetchError {
    /// The bytes are gone for good: they have to be made again.
    pub lost: bool,
    /// Why, for people.
    pub reason: String,
}

/// Why an executor could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A worker could not be started.
    #[error("start worker {worker}: {source}")]
    Worker {
        /// Which.
        worker: WorkerId,
        /// Why.
        source: std::io::Error,
    },
    /// An engine could not be reached or started, or does not fit.
    #[error("{engine}: {message}")]
    Engine {
        /// Name of the executor.
        engine: &'static str,
        /// What is wrong, and what to do about it.
        message: String,
    },
    /// The sandbox could not be set up.
    #[error("set up the sandbox")]
    Sandbox(#[source] Box<dyn std::error::Error + Send + Sync>),
}
