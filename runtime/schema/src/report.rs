//! What a driver reports when it ends.

use serde::{Deserialize, Serialize};

/// Result of a driver: the checks that it made of its own result, and values worth showing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Checks, in the order made. A run with a failed check exits with the code for it.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Named results for people and scripts, in the order given.
    #[serde(default)]
    pub values: Vec<(String, serde_json::Value)>,
}

/// One check of a result against a bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether the value meets the bound.
    pub passed: bool,
    /// The value found.
    pub value: serde_json::Value,
    /// What it was held against.
    pub bound: Bound,
}

/// What a checked value must satisfy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Not above this number; NaN never passes.
    AtMost(f64),
    /// Not below this number; NaN never passes.
    AtLeast(f64),
    /// Equal to this value.
    Equals(serde_json::Value),
}

impl Bound {
    /// Whether `value` satisfies the bound.
    pub fn holds(&self, value: &serde_json::Value) -> bool {
        match self {
            Self::AtMost(limit) => value.as_f64().is_some_and(|v| v <= *limit),
            Self::AtLeast(limit) => value.as_f64().is_some_and(|v| v >= *limit),
            Self::Equals(expected) => value == expected,
        }
    }
}

/// A limit as people write it: plain in the middle of the range, with an exponent outside.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0.0 || (1e-3..1e9).contains(&self.0.abs()) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "at most {}", Number(*limit)),
            Self::AtLeast(limit) => write!(f, "at least {}", Number(*limit)),
            Self::Equals(expected) => write!(f, "equal to {expected}"),
        }
    }
}

impl Report {
    /// An empty report.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check of `value` against `bound`. A value that JSON cannot hold (NaN, infinity)
    /// is kept as null, which no bound accepts.
    #[must_use]
    pub fn check(mut self, name: &str, value: impl Into<serde_json::Value>, bound: Bound) -> Self {
        let value = value.into();
        self.checks.push(Check {
            name: name.to_owned(),
            passed: bound.holds(&value),
            value,
            bound,
        });
        self
    }

    /// Adds a named result.
    #[must_use]
    pub fn value(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.values.push((name.to_owned(), value.into()));
        self
    }

    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// Why a driver ended without a report: the error string of `driver.run`, as JSON.
///
/// A driver checks its whole configuration before it submits anything. A host that wants to
/// know whether a configuration is good just calls `run`: an error of kind
/// [`DriverErrorKind::Config`] comes before the first submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverError {
    /// Who is to blame.
    pub kind: DriverErrorKind,
    /// Text for people. For a configuration error: the field, the value and what was expected.
    pub message: String,
    /// Field of the configuration, in snake case; only for configuration errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Outcome of the task that failed, for example `task-error` or `timeout`; only for tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Type of the error, for example the kind of a task's own error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Who is to blame for a driver's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverErrorKind {
    /// The configuration: nothing was submitted.
    Config,
    /// The app itself.
    App,
    /// A task whose result the app needed.
    Task,
}

impl DriverError {
    /// Reads the error string of `driver.run`; a text that is not such a document (a guest in
    /// another language may send plain text) becomes the message of an app's error.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self {
            kind: DriverErrorKind::App,
            message: text.to_owned(),
            field: None,
            outcome: None,
            error: None,
        })
    }

    /// The document as it crosses the boundary.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl std::fmt::Display for DriverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DriverError {}
