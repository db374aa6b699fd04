//! How an attempt, and in the end a task, can fail.

use serde::{Deserialize, Serialize};
use std::{error::Error, fmt};

/// The typed outcomes of a task. Every attempt ends in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// The task gave its outputs.
    Ok,
    /// The task returned an error of its own.
    TaskError,
    /// The sandbox trapped.
    Trap(TrapKind),
    /// The heap limit was reached.
    OutOfMemory,
    /// The wall-clock limit was reached.
    Timeout,
    /// A native program failed: its exit code or signal.
    ProgramError {
        /// Exit code, when it exited.
        exit: Option<i32>,
        /// Signal, when one ended it.
        signal: Option<i32>,
    },
    /// The worker died or was lost while the attempt was on it.
    WorkerLost,
    /// A parent failed; the task never ran.
    UpstreamFailed,
    /// The driver or the user cancelled the task.
    Cancelled,
    /// An argument could not be read, or a result could not be stored.
    PayloadError,
    /// The runtime itself, or an external engine, failed.
    EngineError,
}

/// Why a sandbox trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrapKind {
    /// `unreachable`: in Rust guests, a panic or abort.
    Unreachable,
    /// An access outside of the guest's memory; in Rust guests also deep recursion.
    OutOfBounds,
    /// The native stack of the guest is exhausted.
    StackOverflow,
    /// Integer division by zero.
    DivisionByZero,
    /// Integer overflow in a conversion or division.
    IntegerOverflow,
    /// An indirect call through a bad table entry.
    BadCall,
    /// The guest exited (`std::process::exit`).
    Exit,
    /// The guest broke a rule of the host interface.
    HostCall,
    /// Any other trap.
    Other,
}

impl OutcomeKind {
    /// The name in records, reports and `--retry-on`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::TaskError => "task-error",
            Self::Trap(_) => "trap",
            Self::OutOfMemory => "out-of-memory",
            Self::Timeout => "timeout",
            Self::ProgramError { .. } => "program-error",
            Self::WorkerLost => "worker-lost",
            Self::UpstreamFailed => "upstream-failed",
            Self::Cancelled => "cancelled",
            Self::PayloadError => "payload-error",
            Self::EngineError => "engine-error",
        }
    }

    /// Names of all outcomes that a retry can follow, for help and validation.
    pub const RETRYABLE: [&'static str; 8] = [
        "task-error",
        "trap",
        "out-of-memory",
        "timeout",
        "program-error",
        "worker-lost",
        "payload-error",
        "engine-error",
    ];
}

impl TrapKind {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::OutOfBounds => "out-of-bounds",
            Self::StackOverflow => "stack-overflow",
            Self::DivisionByZero => "division-by-zero",
            Self::IntegerOverflow => "integer-overflow",
            Self::BadCall => "bad-call",
            Self::Exit => "exit",
            Self::HostCall => "host-call",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(kind) => write!(f, "trap ({})", kind.name()),
            Self::ProgramError {
                exit: Some(code), ..
            } => write!(f, "program-error (exit {code})"),
            Self::ProgramError {
                signal: Some(signal),
                ..
            } => {
                write!(f, "program-error (signal {signal})")
            }
            other => f.write_str(other.name()),
        }
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The typed outcome; never [`OutcomeKind::Ok`].
    pub outcome: OutcomeKind,
    /// Type of the error within the outcome: a task's own error type, a trap's name.
    pub kind: String,
    /// Message for people.
    pub message: String,
    /// Backtrace of the guest or other detail, when there is one.
    pub detail: Option<String>,
}

impl Failure {
    /// A failure without detail, whose kind is the name of the outcome.
    pub fn new(outcome: OutcomeKind, message: impl Into<String>) -> Self {
        let kind = match outcome {
            OutcomeKind::Trap(trap) => trap.name().to_owned(),
            other => other.name().to_owned(),
        };
        Self {
            outcome,
            kind,
            message: message.into(),
            detail: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.outcome, self.message)
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
