//! What is said on the channels to the bridge and to workers: the headers of frames.
//!
//! A task's results are known by a *key*, `TASK:GENERATION`, an attempt by `TASK:NUMBER`.

use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, str::FromStr};
use taps_engine::{AttemptId, AttemptReport, Generation, TaskId};
use taps_sandbox::Said;
use taps_schema::Kernels;

/// Version of the protocol, of both channels.
pub(crate) const PROTOCOL: u32 = 1;

/// An attempt, as it is written in headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptName(pub AttemptId);

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.task, self.0.number)
    }
}

impl FromStr for AttemptName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (task, number) = two_numbers(text).ok_or_else(|| NotAName(text.to_owned()))?;
        Ok(Self(AttemptId {
            task: TaskId(task),
            number,
        }))
    }
}

/// What an engine keeps the outputs of a task under: one for each production of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskKey {
    /// The task.
    pub task: TaskId,
    /// Which production of its outputs.
    pub generation: Generation,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.task, self.generation.0)
    }
}

impl FromStr for TaskKey {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (task, generation) = two_numbers(text).ok_or_else(|| NotAName(text.to_owned()))?;
        Ok(Self {
            task: TaskId(task),
            generation: Generation(generation),
        })
    }
}

/// A text that names nothing.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not two numbers with a colon between them")]
pub(crate) struct NotAName(String);

fn two_numbers(text: &str) -> Option<(u64, u32)> {
    let (first, second) = text.split_once(':')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(AttemptName, TaskKey);

/// Something that an engine keeps: the text of a [`TaskKey`], or that of a payload put there, and which output.
pub(crate) type Reference = (String, u32);

/// To the bridge.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename_all = "kebab-case")]
pub(crate) enum ToBridge<'a> {
    /// The first message. Buffer: the text of the shim.
    Hello {
        protocol: u32,
        version: &'a str,
        engine: &'a str,
        config: &'a serde_json::Map<String, serde_json::Value>,
        scratch: PathBuf,
        keep: bool,
        settings: Settings,
    },
    /// Attempts, in groups that the engine gets as one. Buffers: one for each attempt.
    Submit { groups: Vec<Group> },
    /// A payload for the engine to keep. Buffer: the bytes.
    Put { key: &'a str },
    /// Nobody will ask for these any more.
    Release { keys: &'a [String] },
    /// Asks for an output that the engine keeps.
    Fetch {
        request: u64,
        key: String,
        index: u32,
    },
    /// Attempts to end early.
    Cancel { ids: &'a [AttemptName] },
    /// The answer to `need-package`. Buffer: the package.
    Package,
    /// Ends the engine, if it is the run's own, and the bridge.
    Shutdown { deadline_s: f64 },
}

/// What every call of an engine carries, and is the same in all of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    /// Tells runs apart on a worker.
    pub(crate) run: String,
    pub(crate) version: &'static str,
    pub(crate) protocol: u32,
    /// Of the package.
    pub(crate) digest: String,
    /// A file with the package, for workers that see it.
    pub(crate) path: PathBuf,
    /// This program, for workers that see it.
    pub(crate) binary: Option<PathBuf>,
    /// Where a file named like an attempt asks for its end.
    pub(crate) cancel_dir: Option<PathBuf>,
    /// Outputs stay with the engine.
    pub(crate) keep: bool,
}

/// Attempts that an engine gets as one submission.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) tasks: Vec<GroupTask>,
    pub(crate) resources: Resources,
    pub(crate) priority: i32,
}

/// One attempt of a group.
#[derive(Debug, Serialize)]
pub(crate) struct GroupTask {
    pub(crate) id: AttemptName,
    pub(crate) key: TaskKey,
    pub(crate) refs: Vec<Reference>,
}

/// What a group occupies.
#[derive(Debug, Serialize)]
pub(crate) struct Resources {
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) custom: serde_json::Map<String, serde_json::Value>,
}

/// From the bridge.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "kebab-case")]
pub(crate) enum FromBridge {
    /// The engine takes attempts.
    Ready {
        version: String,
        python: String,
        workers: u32,
        #[serde(default)]
        notes: Vec<String>,
    },
    /// There is no engine, or none any more.
    Fatal {
        kind: String,
        message: String,
        #[serde(default)]
        fix: Option<String>,
    },
    /// Attempts have ended. Buffers: a report for each result that has not failed, in order.
    Done { results: Vec<BridgeResult> },
    /// The answer to a fetch. Buffer: the bytes, where it is ok.
    Fetched {
        request: u64,
        ok: bool,
        #[serde(default)]
        message: String,
        #[serde(default)]
        lost: bool,
    },
    /// A worker cannot see the package.
    NeedPackage,
    /// A line for the log.
    Log { level: String, message: String },
    /// The engine ran these again although they had ended.
    Reran { ids: Vec<AttemptName> },
    /// Workers came or went.
    Workers {
        #[serde(default)]
        joined: Vec<String>,
        #[serde(default)]
        lost: Vec<LostWorker>,
    },
}

/// A worker of an engine that is gone.
#[derive(Debug, Deserialize)]
pub(crate) struct LostWorker {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// How an attempt ended, for the engine.
#[derive(Debug, Deserialize)]
pub(crate) struct BridgeResult {
    pub(crate) id: AttemptName,
    #[serde(default = "once")]
    pub(crate) executions: u32,
    pub(crate) failed: Option<EngineFailure>,
}

fn once() -> u32 {
    1
}

/// What an engine did to an attempt. How a task itself fails is in its report.
#[derive(Debug, Deserialize)]
pub(crate) struct EngineFailure {
    pub(crate) outcome: String,
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// To a worker, from the shim on its node.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "kebab-case")]
pub(crate) enum ToWorker {
    /// The first message: for the attempts of a run by `digest`, for calls of single tasks by `app`.
    Setup {
        protocol: u32,
        version: String,
        #[serde(default)]
        digest: Option<String>,
        #[serde(default)]
        path: Option<PathBuf>,
        #[serde(default)]
        keep: bool,
        #[serde(default)]
        cancel_dir: Option<PathBuf>,
        #[serde(default)]
        app: Option<String>,
        /// Whether outputs may come as descriptors.
        #[serde(default)]
        shares: bool,
    },
    /// What was asked for by `need-package`. Buffer: the package.
    Package,
    /// Runs attempts, one after the other. Buffers: `n` attempts, then what the references stand for; empty ones for
    /// what is lent, whose descriptors come with the frame, and for what is held here.
    Run {
        n: usize,
        #[serde(default)]
        refs: Vec<Reference>,
        #[serde(default)]
        lent: Vec<LentBuffer>,
        #[serde(default)]
        held: Vec<HeldBuffer>,
        /// What was given and is not needed any more.
        #[serde(default)]
        free: Vec<u64>,
    },
    /// Calls one task. Buffers: its arguments.
    Call(Call),
    /// Attempts, or calls, to end early.
    Cancel { ids: Vec<String> },
}

/// What a reference stands for, in memory of the shim that stays as it is until the answer.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct LentBuffer {
    /// Which of the references.
    pub(crate) reference: usize,
    /// Its length.
    pub(crate) len: u64,
    /// Size of the file; its bytes after `len` are zero, up to the end of a page.
    pub(crate) capacity: u64,
}

/// A reference that stands for an output that this worker gave and that is not free.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct HeldBuffer {
    /// Which of the references.
    pub(crate) reference: usize,
    /// Its name.
    pub(crate) segment: u64,
}

/// An output in memory of this worker, which stays as it is until it is said to be free.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct GivenBuffer {
    /// The buffer, here empty, that it stands for.
    pub(crate) buffer: usize,
    /// Its name.
    pub(crate) segment: u64,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) len: u64,
}

/// A call of one task of an app.
#[derive(Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) task: String,
    #[serde(default)]
    pub(crate) seed: u64,
    #[serde(default)]
    pub(crate) timeout_ms: Option<u64>,
    #[serde(default)]
    pub(crate) memory_bytes: Option<u64>,
    #[serde(default)]
    pub(crate) kernels: Kernels,
    #[serde(default)]
    pub(crate) arguments: Vec<CallArgument>,
}

/// What is said of an argument.
#[derive(Debug, Deserialize)]
pub(crate) struct CallArgument {
    #[serde(default)]
    pub(crate) media_type: Option<String>,
}

/// From a worker.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename_all = "kebab-case")]
pub(crate) enum FromWorker<'a> {
    /// It can run attempts, or the tasks of an app.
    Ready {
        name: &'a str,
        version: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        app: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tasks: Option<&'a [taps_schema::TaskDescription]>,
        /// Whether what references stand for may be lent.
        shares: bool,
    },
    /// It has not got the package.
    NeedPackage { digest: &'a str },
    /// It cannot serve.
    Failed { kind: &'a str, message: String },
    /// The attempts of a `run`. Buffers: for each its report, then its outputs; empty ones for what is given, whose
    /// descriptors come with the frame.
    Done {
        results: Vec<Ran>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        given: Vec<GivenBuffer>,
        /// Whether something that was lent is still read: it must not be changed, and not be lent again.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        holds: bool,
    },
    /// A call has ended. Buffers: the outputs.
    Result(Called<'a>),
}

/// One attempt of a `run`.
#[derive(Debug, Serialize)]
pub(crate) struct Ran {
    pub(crate) id: AttemptName,
    pub(crate) ok: bool,
    pub(crate) outs: usize,
}

/// How a call ended.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Called<'a> {
    pub(crate) id: &'a str,
    pub(crate) ok: bool,
    pub(crate) outputs: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'a str>,
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) peak_memory_bytes: u64,
}

/// What a worker says of an attempt, in a buffer that only this program reads: postcard.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerReport {
    /// The worker: its host and the number of its process.
    pub(crate) worker: String,
    /// Its host.
    pub(crate) host: String,
    pub(crate) report: AttemptReport,
    /// What guests said.
    pub(crate) words: Vec<Said>,
}
