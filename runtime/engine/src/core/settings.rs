//! What a run decides once: limits, retry policy, lineage.

use crate::OutcomeKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Settings of a [`Core`](super::Core).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Back-pressure: most tasks that may be submitted and not terminal at one time.
    pub max_outstanding: usize,
    /// Policy of tasks that bring none of their own.
    pub default_retry: RetryPolicy,
    /// Most workers that one task may lose: with one more it is given up, whatever retries it
    /// has left.
    pub crash_limit: u32,
    /// Whether the inputs of a finished task are kept, so that it can run again when its output is
    /// lost. Off, a lost output that is still needed fails its task.
    pub lineage: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_outstanding: 10_000,
            default_retry: RetryPolicy::default(),
            crash_limit: 3,
            lineage: false,
        }
    }
}

/// When and how often a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts after the first that may be made; a lost output starts the count again.
    pub retries: u32,
    /// Wait before the first retry, in milliseconds; 0 means at once.
    pub backoff_ms: u64,
    /// Each further wait is this many times the one before.
    pub backoff_factor: f64,
    /// Longest wait, in milliseconds.
    pub max_backoff_ms: u64,
    /// Outcomes that are retried.
    pub on: OutcomeSet,
    /// Retries of single outcomes, counted apart from all others.
    pub own: OwnRetries,
}

impl RetryPolicy {
    /// Retries that the policy allows at most, whatever the outcomes.
    pub fn most(&self) -> u32 {
        self.retries.max(self.own.most())
    }
}

impl Default for RetryPolicy {
    /// No retries; when some are asked for, at once and on every retryable outcome.
    fn default() -> Self {
        Self {
            retries: 0,
            backoff_ms: 0,
            backoff_factor: 2.0,
            max_backoff_ms: 60_000,
            on: OutcomeSet::RETRYABLE,
            own: OwnRetries::default(),
        }
    }
}

/// Numbers of retries that hold for one outcome each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRetries([u16; OutcomeKind::RETRYABLE.len()]);

/// No number of its own.
const NO_OWN: u16 = u16::MAX;

impl Default for OwnRetries {
    fn default() -> Self {
        Self([NO_OWN; OutcomeKind::RETRYABLE.len()])
    }
}

impl OwnRetries {
    /// The same with a number for the outcome of that name, or the name if it is not one of
    /// [`OutcomeKind::RETRYABLE`]. Numbers beyond 65,534 count as that.
    pub fn with(mut self, name: &str, retries: u32) -> Result<Self, &str> {
        let index = index_of(name).ok_or(name)?;
        self.0[index] = u16::try_from(retries).map_or(NO_OWN - 1, |number| number.min(NO_OWN - 1));
        Ok(self)
    }

    /// Position of the outcome and its number of retries, if it has one of its own.
    pub(super) fn of(self, outcome: OutcomeKind) -> Option<(usize, u32)> {
        let index = index_of(outcome.name())?;
        (self.0[index] != NO_OWN).then_some((index, u32::from(self.0[index])))
    }

    fn most(self) -> u32 {
        let own = self.0.into_iter().filter(|&number| number != NO_OWN);
        own.max().map_or(0, u32::from)
    }
}

/// A set of outcomes; kinds within an outcome (which trap, which exit code) are not told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutcomeSet(u16);

impl OutcomeSet {
    /// No outcome.
    pub const EMPTY: Self = Self(0);

    /// Every outcome of [`OutcomeKind::RETRYABLE`].
    pub const RETRYABLE: Self = Self((1 << OutcomeKind::RETRYABLE.len()) - 1);

    /// The set of the outcomes with these names, or the first name that is not one of
    /// [`OutcomeKind::RETRYABLE`].
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names.into_iter().try_fold(Self::EMPTY, |set, name| {
            let bit = bit_of(name).ok_or(name)?;
            Ok(Self(set.0 | bit))
        })
    }

    /// The same set with one more outcome. Outcomes that no retry can follow are left out.
    #[must_use]
    pub fn with(self, outcome: OutcomeKind) -> Self {
        Self(self.0 | bit_of(outcome.name()).unwrap_or(0))
    }

    /// Whether the outcome is in the set.
    pub fn contains(self, outcome: OutcomeKind) -> bool {
        bit_of(outcome.name()).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Names of the outcomes in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        OutcomeKind::RETRYABLE
            .into_iter()
            .enumerate()
            .filter(move |(index, _)| self.0 & (1 << index) != 0)
            .map(|(_, name)| name)
    }
}

impl fmt::Debug for OutcomeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn index_of(name: &str) -> Option<usize> {
    OutcomeKind::RETRYABLE.iter().position(|&n| n == name)
}

fn bit_of(name: &str) -> Option<u16> {
    Some(1 << index_of(name)?)
}
