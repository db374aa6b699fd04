//! What can go wrong.

use std::io;

/// Why a program has no completion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// The run allows no such program.
    #[error("{0}")]
    NotAllowed(String),
    /// It is not installed.
    #[error("{0}")]
    NotFound(String),
    /// It reached a limit of the call or the run, and was killed.
    #[error("{0}")]
    Limit(String),
    /// The call was given up by its task, and the program was killed.
    #[error("given up")]
    GivenUp,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl ProgramError {
    pub(crate) fn io(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::Failed(format!("failed to {what}: {error}"))
    }
}

/// Why the launcher could not be started, or went on no longer.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// The system refused something.
    #[error("launcher of programs: failed to {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The process was not started by the program itself.
    #[error("launcher of programs: standard input is no channel; it is started by `run` itself")]
    NoChannel,
}

impl LauncherError {
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }
}
