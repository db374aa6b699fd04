//! What can be wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// All problems of a configuration, in the order of files, lines and flags. Never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl ConfigErrors {
    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// How many there are; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One problem, shown on one line: `place: problem`.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where the user wrote it, or would have to.
    pub place: Place,
    /// What is wrong, and what is allowed.
    #[source]
    pub problem: Problem,
}

impl ConfigError {
    pub(crate) fn new(place: Place, problem: Problem) -> Self {
        Self { place, problem }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A flag, with its dashes, as written (or as it would be written).
    Flag(String),
    /// An argument that is not a flag.
    Argument(String),
    /// A key of a config file.
    File {
        /// The file as named by the user.
        file: String,
        /// Line, from 1.
        line: Option<usize>,
        /// Dotted key; empty for the file as a whole.
        key: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(&one_line(flag)),
            Self::Argument(argument) => write!(f, "argument `{}`", one_line(argument)),
            Self::File { file, line, key } => {
                f.write_str(&one_line(file))?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if !key.is_empty() {
                    write!(f, ": {}", one_line(key))?;
                }
                Ok(())
            }
        }
    }
}

/// What is wrong with a value, a key or a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No such key in the chosen app's, executor's or the general sections.
    #[error("unknown key{}", hint(nearest.as_deref()))]
    UnknownKey {
        /// Nearest valid key, written as at its place.
        nearest: Option<String>,
    },
    /// No such flag.
    #[error("unknown flag{}", hint(nearest.as_deref()))]
    UnknownFlag {
        /// Nearest valid flag.
        nearest: Option<String>,
    },
    /// A key of a plugin that was not chosen, because none was.
    #[error("no {what} is chosen that could have this key")]
    NothingChosen {
        /// What would have to be chosen, for example `filter`.
        what: &'static str,
    },
    /// No app, executor, filter or transformer of that name.
    #[error("no {what} named `{}`{}; {}", one_line(name), hint(nearest.as_deref()), choices(available))]
    UnknownPlugin {
        /// `app`, `executor`, `filter` or `transformer`.
        what: &'static str,
        /// Name given.
        name: String,
        /// Nearest available name.
        nearest: Option<String>,
        /// Names that would do.
        available: Vec<String>,
    },
    /// The app is a path, and nothing was loaded from it.
    #[error("no app could be loaded from `{}`", one_line(path))]
    NotLoaded {
        /// Path as given.
        path: String,
    },
    /// The component only offers tasks.
    #[error("`{}` cannot be run: it has tasks but no driver", one_line(name))]
    NoDriver {
        /// Name of the app.
        name: String,
    },
    /// A value of another type, or out of range, or not one of the allowed.
    #[error("expected {expected}, got {given}{}", hint(nearest.as_deref()))]
    Value {
        /// What is allowed.
        expected: String,
        /// What was given, quoted.
        given: String,
        /// Nearest allowed word.
        nearest: Option<String>,
    },
    /// `none` for a field that must have a value.
    #[error("`none` is not allowed here: expected {expected}")]
    NotOptional {
        /// What is allowed.
        expected: String,
    },
    /// A required field has no value in any layer.
    #[error("missing: {what} `{owner}` needs {expected}{}", described(help))]
    Missing {
        /// `app`, `executor`, `filter` or `transformer`.
        what: &'static str,
        /// Its name.
        owner: String,
        /// What is allowed.
        expected: String,
        /// Help of the field.
        help: String,
    },
    /// No app was named.
    #[error("missing: name an app to run; {}", choices(available))]
    NoApp {
        /// Names that would do.
        available: Vec<String>,
    },
    /// The argument and the flag name different apps.
    #[error(
        "the app is named twice, `{}` and `{}`",
        one_line(first),
        one_line(second)
    )]
    TwoApps {
        /// Named first.
        first: String,
        /// Named later.
        second: String,
    },
    /// A flag at the end, or before another flag.
    #[error("needs a value (write `{flag}=VALUE` when the value begins with a dash)")]
    NoValue {
        /// The flag as written.
        flag: String,
    },
    /// A value for a switch.
    #[error("takes no value")]
    TakesNoValue,
    /// A second argument.
    #[error("unexpected: only the app is given without a flag")]
    Unexpected,
    /// Not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// A value that TOML cannot hold.
    #[error("{given} cannot be stored: numbers must be finite and fit 64 bits")]
    Number {
        /// What was given.
        given: String,
    },
    /// A config file that is not TOML.
    #[error("not valid TOML: {message}")]
    Toml {
        /// What the parser says, on one line.
        message: String,
    },
    /// A config file that cannot be read.
    #[error("cannot read the config file: {reason}{}", hint(suggestion.as_deref()))]
    Unreadable {
        /// Why.
        #[source]
        reason: io::Error,
        /// What was perhaps meant instead.
        suggestion: Option<String>,
    },
    /// A config file beyond reason.
    #[error("larger than {limit_bytes} bytes: not a config file")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// A path that cannot be used as its field asks.
    #[error("`{}` is not {expected}: {reason}", one_line(&path.to_string_lossy()))]
    Path {
        /// Absolute path.
        path: PathBuf,
        /// What it should be, for example `a readable directory`.
        expected: &'static str,
        /// Why it is not.
        #[source]
        reason: io::Error,
    },
    /// A directory format with a fault.
    #[error("{given} {reason}; placeholders are {{name}}, {{executor}}, {{timestamp}}")]
    DirFormat {
        /// What was given, quoted.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that the run directory already uses.
    #[error("{given} is taken: the run directory has its own file of that name")]
    NameTaken {
        /// What was given, quoted.
        given: String,
    },
    /// A share of tasks that is none. The words are TaPS's.
    #[error("Failure rate must be in the range [0, 1]. Got {given}.")]
    Rate {
        /// What was given.
        given: String,
    },
    /// `failures` over itself.
    #[error("failures cannot be its own base; {}", choices(available))]
    OwnBase {
        /// Apps that would do.
        available: Vec<String>,
    },
    /// A fault is aimed at a task that the app does not have.
    #[error("app `{}` has no task named `{}`{}; {}", one_line(app), one_line(name), hint(nearest.as_deref()), choices(available))]
    UnknownTask {
        /// Name of the app.
        app: String,
        /// Name given.
        name: String,
        /// Nearest task.
        nearest: Option<String>,
        /// The app's tasks.
        available: Vec<String>,
    },
    /// Faults that kill workers, where workers are threads.
    #[error(
        "only worker processes can act out {faults}, and the workers of `{executor}` are threads \
         of this process; use `--executor process-pool`"
    )]
    NoWorkerProcesses {
        /// Names of the faults.
        faults: String,
        /// The executor.
        executor: String,
    },
    /// A key that the executor does not have, which faults chose.
    #[error(
        "the executor is `{executor}`, because `{fault}` kills worker processes, and it has no \
         such key{}", hint(nearest.as_deref())
    )]
    NotOfChosenExecutor {
        /// The executor.
        executor: &'static str,
        /// The fault that chose it.
        fault: String,
        /// Nearest valid key, written as at its place.
        nearest: Option<String>,
    },
    /// Faults that meet the limits of a sandbox, where there is none.
    #[error(
        "only a sandbox can act out {faults}, and `{executor}` has none; use `--executor \
         thread-pool` or `--executor process-pool`"
    )]
    NoSandbox {
        /// Names of the faults.
        faults: String,
        /// The executor.
        executor: String,
    },
    /// A fault that only a time limit ends.
    #[error("only a time limit ends {faults}: give `--task-timeout SECONDS`")]
    NoTimeLimit {
        /// Names of the faults.
        faults: String,
    },
    /// Faults of external programs.
    #[error("{faults} is for tasks that run external programs, and the app has none")]
    NoPrograms {
        /// Names of the faults.
        faults: String,
    },
    /// Two values that do not go together.
    #[error("must not be above `{other}` ({limit})")]
    AboveOther {
        /// The other key.
        other: &'static str,
        /// Its value.
        limit: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| {
        format!("; did you mean `{}`?", one_line(name))
    })
}

fn choices(available: &[String]) -> String {
    match available {
        [] => "there are none".to_owned(),
        [none] if none == "none" => "there are none yet: leave it out, or write `none`".to_owned(),
        names => format!("available: {}", names.join(", ")),
    }
}

fn described(help: &str) -> String {
    let first = help.lines().next().unwrap_or_default().trim();
    if first.is_empty() {
        String::new()
    } else {
        format!(" ({})", first.trim_end_matches('.'))
    }
}

/// `text` without line breaks and control characters, cut to a length fit for a message.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut line = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == LONGEST {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
