//! One error type for tasks and drivers.

use std::fmt::Display;

use taps_schema::{DriverError, DriverErrorKind};

/// Result of tasks and drivers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a task ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{outcome}: {kind}: {message}")]
pub struct Failure {
    /// Name of the outcome, for example `task-error`, `trap`, `timeout` or `upstream-failed`.
    pub outcome: String,
    /// Kind of error within the outcome, for example the type of a task's own error.
    pub kind: String,
    /// Text for people.
    pub message: String,
}

/// What can go wrong in a task or a driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value of the configuration that the app does not accept.
    #[error("{field} = {value}: expected {expected}")]
    Config {
        /// Field of the configuration, in snake case.
        field: String,
        /// The value given.
        value: String,
        /// What the app accepts; reads after "expected".
        expected: String,
    },
    /// The app's own error.
    #[error("{message}")]
    App {
        /// Type of the error, shown in records; for example `Singular`.
        kind: String,
        /// Text for people.
        message: String,
    },
    /// A task failed whose result was asked for.
    #[error("task failed: {0}")]
    Task(#[from] Failure),
    /// A submission was refused; nothing was submitted.
    #[error("submission of task {task} refused: {reason}")]
    Submit {
        /// Name of the task.
        task: String,
        /// Why.
        reason: String,
    },
    /// A payload could not be reached or made.
    #[error("payload: {0}")]
    Payload(#[from] PayloadError),
    /// Bytes do not hold a value of the expected type.
    #[error("bytes do not hold {expected}: {reason}")]
    Decode {
        /// The type expected.
        expected: String,
        /// What is wrong.
        reason: String,
    },
    /// A value could not be written as an archive.
    #[error("failed to archive a value: {0}")]
    Encode(String),
    /// A task was called with the wrong number of arguments.
    #[error("task called with {given} arguments, expected {expected}")]
    ArgumentCount {
        /// Arguments given.
        given: usize,
        /// Arguments expected.
        expected: String,
    },
    /// A native program could not be run, or did not do what it should.
    #[error("program `{program}`: {message}")]
    Program {
        /// Name of the program.
        program: String,
        /// What happened, with the end of its output.
        message: String,
    },
    /// Input or output failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Why a payload could not be read or made; the meanings are those of the WIT enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PayloadError {
    /// The offset lies beyond the end.
    #[error("offset out of range")]
    OutOfRange,
    /// The window is not made of whole pages.
    #[error("misaligned window")]
    MisalignedWindow,
    /// The window cannot hold the payload.
    #[error("window too small")]
    WindowTooSmall,
    /// The window overlaps one that is attached.
    #[error("window in use")]
    WindowInUse,
    /// Too many windows, or the window limit of the attempt is reached.
    #[error("window limit reached")]
    WindowLimit,
    /// Already attached, or not attached.
    #[error("wrong state")]
    WrongState,
    /// The payload store is full.
    #[error("payload store full")]
    StoreFull,
    /// The path is not granted, or there is no such file.
    #[error("path not granted or no such file")]
    NotGranted,
    /// Reading failed; the log of the run has the reason.
    #[error("reading failed")]
    Io,
    /// The attempt was cancelled or its time is up.
    #[error("cancelled")]
    Cancelled,
}

/// Kind of [`Error::Program`], by which a host knows the outcome `program-error`.
pub const PROGRAM_ERROR: &str = "ProgramError";

impl Error {
    /// A configuration error: names the field, the value given and what was expected.
    ///
    /// ```
    /// let error = taps::Error::config("block_size", 7, "a divisor of matrix_size = 100");
    /// assert_eq!(error.to_string(), "block_size = 7: expected a divisor of matrix_size = 100");
    /// ```
    pub fn config(field: &str, value: impl Display, expected: impl Display) -> Self {
        Self::Config {
            field: field.to_owned(),
            value: value.to_string(),
            expected: expected.to_string(),
        }
    }

    /// The app's own error, with a kind that records show.
    pub fn app(kind: &str, message: impl Display) -> Self {
        Self::App {
            kind: kind.to_owned(),
            message: message.to_string(),
        }
    }

    pub(crate) fn decode(expected: &str, reason: impl Display) -> Self {
        Self::Decode {
            expected: expected.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Type of the error in one word, as records show it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Config { .. } => "ConfigError",
            Self::App { kind, .. } => kind,
            Self::Task(failure) => &failure.kind,
            Self::Submit { .. } => "SubmitError",
            Self::Payload(_) => "PayloadError",
            Self::Decode { .. } => "DecodeError",
            Self::Encode(_) => "EncodeError",
            Self::ArgumentCount { .. } => "ArgumentError",
            Self::Program { .. } => PROGRAM_ERROR,
            Self::Io(_) => "IoError",
        }
    }

    /// The failure of the task that caused this error, if a task did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Task(failure) => Some(failure),
            _ => None,
        }
    }

    /// The document that `driver.run` answers with.
    pub fn to_driver_error(&self) -> DriverError {
        let (kind, field, outcome) = match self {
            Self::Config { field, .. } => (DriverErrorKind::Config, Some(field.clone()), None),
            Self::Task(failure) => (DriverErrorKind::Task, None, Some(failure.outcome.clone())),
            _ => (DriverErrorKind::App, None, None),
        };
        DriverError {
            kind,
            message: self.to_string(),
            field,
            outcome,
            error: Some(self.kind().to_owned()),
        }
    }
}

impl From<std::fmt::Error> for Error {
    fn from(error: std::fmt::Error) -> Self {
        Self::app("FormatError", error)
    }
}

impl From<std::str::Utf8Error> for Error {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::app("Utf8Error", error)
    }
}

impl From<std::num::ParseIntError> for Error {
    fn from(error: std::num::ParseIntError) -> Self {
        Self::app("ParseIntError", error)
    }
}

impl From<std::num::ParseFloatError> for Error {
    fn from(error: std::num::ParseFloatError) -> Self {
        Self::app("ParseFloatError", error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::app("JsonError", error)
    }
}

/// A task's own error as it crosses the boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// Type of the error, shown in records.
    pub kind: String,
    /// Text for people.
    pub message: String,
}

impl TaskError {
    /// Any error of a task. [`Error`] keeps its kind; another type gives its own name.
    pub fn new<E: std::error::Error + 'static>(error: &E) -> Self {
        let any: &dyn std::any::Any = error;
        let kind = match any.downcast_ref::<Error>() {
            Some(error) => error.kind(),
            None => short_name(std::any::type_name::<E>()),
        };
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self {
            kind: kind.to_owned(),
            message,
        }
    }
}

/// Last segment of a type's path, without generic arguments.
pub(crate) fn short_name(path: &str) -> &str {
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}
