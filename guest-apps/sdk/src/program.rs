//! Native programs: how a task runs one.
//!
//! ```no_run
//! use taps::{File, Payload, Program, Result};
//!
//! /// Compresses a file.
//! #[taps::task(programs("gzip"))]
//! fn compress(file: Payload) -> Result<File> {
//!     let done = Program::new("gzip")
//!         .args(["-9", "-n", "data"])
//!         .input("data", &file)
//!         .output("data.gz")
//!         .run_checked()?;
//!     Ok(File::new(done.output("data.gz")?))
//! }
//! # fn main() {}
//! ```
//!
//! The host runs it in a scratch directory of its own, confined to it, and kills what it leaves
//! behind. The app lists its programs ([`ProgramNeed`]), a task those that it may run.

use std::borrow::Cow;
use std::time::Duration;

use crate::backend::{self, Backend as _, ProgramCall, ProgramContent, ProgramRefusal};
use crate::value::TaskOutput;
use crate::{Bytes, Error, Payload, Result, Value};

/// Characters of a program's output that an error shows, from the end.
const SHOWN_CHARACTERS: usize = 600;

/// A program that an app needs on the host, for [`#[taps::app(programs = …)]`](macro@crate::app).
#[derive(Clone, Copy, Debug)]
pub struct ProgramNeed {
    pub(crate) name: &'static str,
    pub(crate) install: &'static str,
    pub(crate) help: &'static str,
    pub(crate) version: &'static [&'static str],
    pub(crate) optional: bool,
}

impl ProgramNeed {
    /// A program by its name on the `PATH`, and the command that installs it.
    pub const fn new(name: &'static str, install: &'static str) -> Self {
        Self {
            name,
            install,
            help: "",
            version: &[],
            optional: false,
        }
    }

    /// What it is for, or when it is needed.
    #[must_use]
    pub const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    /// Arguments with which it prints its version, which the run records.
    #[must_use]
    pub const fn version(mut self, arguments: &'static [&'static str]) -> Self {
        self.version = arguments;
        self
    }

    /// Only some options need it: a run begins without it.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// Bytes for a program: its standard input, or the content of a file.
#[derive(Clone, Debug)]
pub struct Content(Source);

#[derive(Clone, Debug)]
enum Source {
    Bytes(Vec<u8>),
    Payload(Payload),
}

impl Content {
    fn as_backend(&self) -> ProgramContent<'_, backend::Payload> {
        match &self.0 {
            Source::Bytes(bytes) => ProgramContent::Inline(Cow::Borrowed(bytes)),
            Source::Payload(payload) => match payload.as_handle() {
                Ok(handle) => ProgramContent::Payload(handle),
                Err(bytes) => ProgramContent::Inline(Cow::Owned(bytes)),
            },
        }
    }
}

macro_rules! content {
    ($($from:ty: $value:ident => $source:expr),* $(,)?) => {$(
        impl From<$from> for Content {
            fn from($value: $from) -> Self {
                Self($source)
            }
        }
    )*};
}

content! {
    &Payload: payload => Source::Payload(payload.clone()),
    Payload: payload => Source::Payload(payload),
    Vec<u8>: bytes => Source::Bytes(bytes),
    String: text => Source::Bytes(text.into_bytes()),
    &String: text => Source::Bytes(text.clone().into_bytes()),
    &[u8]: bytes => Source::Bytes(bytes.to_vec()),
    &str: text => Source::Bytes(text.as_bytes().to_vec()),
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Self {
        Self(Source::Bytes(bytes.to_vec()))
    }
}

/// A call of a program, put together step by step. Nothing happens before
/// [`run`](Program::run).
#[must_use = "a program does nothing until it is run"]
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    arguments: Vec<String>,
    inputs: Vec<(String, Content)>,
    outputs: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: Option<Content>,
    timeout: Option<Duration>,
}

impl Program {
    /// A call of the program without arguments.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            environment: Vec::new(),
            stdin: None,
            timeout: None,
        }
    }

    /// Adds an argument. No shell looks at it.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Puts a file into the scratch directory before the start, read-only. The path is relative to
    /// it; directories are made as needed.
    pub fn input(mut self, path: impl Into<String>, content: impl Into<Content>) -> Self {
        self.inputs.push((path.into(), content.into()));
        self
    }

    /// Names a file that the program writes, relative to the scratch directory.
    pub fn output(mut self, path: impl Into<String>) -> Self {
        self.outputs.push(path.into());
        self
    }

    /// Sets an environment variable. Nothing is inherited.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives it a standard input; it is empty otherwise.
    pub fn stdin(mut self, content: impl Into<Content>) -> Self {
        self.stdin = Some(content.into());
        self
    }

    /// Limits its wall-clock time, within the limit of the attempt.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Runs it to its end, whatever its exit code. An error says that it could not be run, or was
    /// killed at a limit.
    pub fn run(self) -> Result<Completion> {
        let call = ProgramCall {
            program: &self.name,
            arguments: &self.arguments,
            inputs: self
                .inputs
                .iter()
                .map(|(path, content)| (path.as_str(), content.as_backend()))
                .collect(),
            outputs: &self.outputs,
            environment: &self.environment,
            stdin: self.stdin.as_ref().map(Content::as_backend),
            timeout: self.timeout,
        };
        let ended =
            backend::Current::run_program(call).map_err(|refusal| refusal.error(&self.name))?;
        Ok(Completion {
            exit_code: ended.exit_code,
            signal: ended.signal,
            stdout: ended.stdout,
            stderr: ended.stderr,
            outputs: self
                .outputs
                .iter()
                .cloned()
                .zip(ended.outputs)
                .map(|(path, output)| (path, output.map(Payload::handle)))
                .collect(),
            program: self.name,
        })
    }

    /// Runs it, and takes everything but exit code 0 for an error.
    pub fn run_checked(self) -> Result<Completion> {
        let done = self.run()?;
        if done.succeeded() {
            Ok(done)
        } else {
            Err(done.error("it failed"))
        }
    }
}

impl ProgramRefusal {
    fn error(self, program: &str) -> Error {
        let (reason, text) = match self {
            Self::NotAllowed(text) => ("is not allowed", text),
            Self::NotFound(text) => ("is not installed", text),
            Self::Limit(text) => ("was stopped", text),
            Self::Failed(text) => ("could not be run", text),
        };
        Error::Program {
            program: program.to_owned(),
            message: format!("{reason}: {text}"),
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Completion {
    program: String,
    /// Exit code; `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    outputs: Vec<(String, Option<Payload>)>,
}

impl Completion {
    /// Whether it exited with code 0.
    pub fn succeeded(&self) -> bool {
        self.exit_code == Some(0)
    }

    /// Standard output as text; what is not UTF-8 is replaced.
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text; what is not UTF-8 is replaced.
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }

    /// A file that it wrote, by the path given to [`Program::output`].
    pub fn output(&self, path: &str) -> Result<Payload> {
        self.outputs
            .iter()
            .find(|(name, _)| name == path)
            .and_then(|(_, output)| output.clone())
            .ok_or_else(|| self.error(format!("it wrote no file `{path}`")))
    }

    /// An error that names the program, how it ended, the reason given and the end of its output.
    pub fn error(&self, reason: impl std::fmt::Display) -> Error {
        let ended = match (self.exit_code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown end".to_owned(),
        };
        let output = [&self.stderr, &self.stdout]
            .into_iter()
            .map(|bytes| String::from_utf8_lossy(bytes.trim_ascii()))
            .find(|text| !text.is_empty())
            .map(|text| format!("; it said: {}", tail(&text)))
            .unwrap_or_default();
        Error::Program {
            program: self.program.clone(),
            message: format!("{reason} ({ended}){output}"),
        }
    }
}

/// The end of a text.
fn tail(text: &str) -> &str {
    let skipped = text.chars().count().saturating_sub(SHOWN_CHARACTERS);
    text.char_indices()
        .nth(skipped)
        .map_or(text, |(start, _)| &text[start..])
}

/// A file as the result of a task: it passes from program to program without being read.
///
/// A task that wants it takes a [`Payload`]; a driver reads it through
/// [`Future::payload`](crate::Future::payload). Taken as a value, it is read into memory.
#[derive(Clone, Debug)]
pub struct File(Payload);

impl File {
    /// A file that a program wrote, from [`Completion::output`].
    pub fn new(payload: Payload) -> Self {
        Self(payload)
    }

    /// The file's bytes, to be read.
    pub fn payload(&self) -> &Payload {
        &self.0
    }
}

impl Value for File {
    fn encode(&self) -> Result<Bytes> {
        self.0.bytes()
    }

    fn into_output(self) -> Result<TaskOutput> {
        Ok(TaskOutput::File(self.0))
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        Ok(Self(Payload::inline(bytes.into_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_program_end_reason_and_the_last_words() {
        let done = Completion {
            program: "mDiff".to_owned(),
            exit_code: Some(1),
            signal: None,
            stdout: b"[struct stat=\"ERROR\"]\n".to_vec(),
            stderr: b"  \n".to_vec(),
            outputs: vec![("a".to_owned(), None)],
        };
        assert!(!done.succeeded());
        assert_eq!(
            done.output("a").expect_err("none").to_string(),
            "program `mDiff`: it wrote no file `a` (exit code 1); it said: [struct stat=\"ERROR\"]"
        );
        assert_eq!(done.error("x").kind(), "ProgramError");
    }

    #[test]
    fn only_the_end_of_long_output_is_shown() {
        let text = format!("{}äend", "x".repeat(2 * SHOWN_CHARACTERS));
        let shown = tail(&text);
        assert_eq!(shown.chars().count(), SHOWN_CHARACTERS);
        assert!(shown.ends_with("äend"));
    }
}
