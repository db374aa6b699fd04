//! Exit codes, and the errors that lead to them.

use std::error::Error;

/// How the program ends. The numbers are documented in `--help` and the manual page, and never
/// change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// Everything asked for was done, and every check passed.
    Ok,
    /// A task or the app failed.
    AppFailed,
    /// The command line or the configuration is wrong; nothing was run.
    Usage,
    /// The app ended, but a check of its result failed.
    CheckFailed,
    /// A bundle or a component cannot be used.
    Bundle,
    /// The run directory or its records cannot be written or read.
    Records,
    /// The executor or the runtime itself failed.
    Runtime,
    /// A run that was resumed went another way than before.
    Diverged,
    /// Interrupted by Ctrl-C; tasks were cancelled, records kept.
    Interrupted,
}

impl ExitCode {
    /// All codes, in order.
    pub(crate) const ALL: [Self; 9] = [
        Self::Ok,
        Self::AppFailed,
        Self::Usage,
        Self::CheckFailed,
        Self::Bundle,
        Self::Records,
        Self::Runtime,
        Self::Diverged,
        Self::Interrupted,
    ];

    /// The number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::AppFailed => 1,
            Self::Usage => 2,
            Self::CheckFailed => 3,
            Self::Bundle => 4,
            Self::Records => 5,
            Self::Runtime => 6,
            Self::Diverged => 7,
            Self::Interrupted => 130,
        }
    }

    /// One line for help.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done, and every check passed",
            Self::AppFailed => "a task or the app failed",
            Self::Usage => "the command line or the configuration is wrong; nothing was run",
            Self::CheckFailed => "the app ended, but a check of its result failed",
            Self::Bundle => "a bundle or a component cannot be used",
            Self::Records => "the run directory or its records cannot be written or read",
            Self::Runtime => "the executor or the runtime itself failed",
            Self::Diverged => "a run that was resumed went another way than before",
            Self::Interrupted => "interrupted; tasks were cancelled, records kept",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// Why a command failed: what is shown, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) exit: ExitCode,
    /// Shown with its chain of causes.
    pub(crate) error: Box<dyn Error + Send + Sync>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: ExitCode, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit,
            error: error.into(),
            hint: None,
        }
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The error and its causes on one line, for JSON.
    pub(crate) fn message(&self) -> String {
        causes(self.error.as_ref()).join(": ")
    }
}

/// The messages of an error and its causes, outermost first; a cause whose message the one
/// before already contains is left out.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        let said = messages.last().is_some_and(|last| last.contains(&message));
        if !said {
            messages.push(message);
        }
        next = cause.source();
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_documented() {
        let mut numbers: Vec<u8> = ExitCode::ALL.iter().map(|code| code.number()).collect();
        numbers.dedup();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 130]);
    }

    #[test]
    fn causes_are_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("open log.txt: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("no space"));
        assert_eq!(causes(&error), ["open log.txt: no space"]);
    }
}
