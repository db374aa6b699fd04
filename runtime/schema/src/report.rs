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

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "at most {limit:e}"),
            Self::AtLeast(limit) => write!(f, "at least {limit:e}"),
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
