//! What can go wrong with a transformer.

use std::{sync::Arc, time::Duration};
use taps_payload::{PayloadDigest, StoreError};

/// A value of a filter's or transformer's configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {given}")]
pub struct ConfigProblem {
    /// Key below the section of the filter or the transformer.
    pub field: String,
    /// The value, quoted.
    pub given: String,
    /// What is allowed.
    pub expected: String,
}

impl ConfigProblem {
    pub(crate) fn new(field: &str, given: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            given: given.into(),
            expected: expected.into(),
        }
    }
}

/// Why a data plane could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A value cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    /// The threads of the data plane could not be started.
    #[error("start the threads of the transformer")]
    Runtime(#[source] std::io::Error),
    /// The store did not do what a run needs of it.
    #[error(
        "expected a store that payloads can be put into, got from and removed from, got `{given}` ({step}: {reason})"
    )]
    Probe {
        /// Key below the section of the transformer that names the store.
        field: &'static str,
        /// The store, without secrets.
        given: String,
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        reason: Arc<str>,
    },
}

/// Why an operation failed. Clones share one failure: everybody who waited for it hears the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransformError {
    /// The store did not answer in time.
    #[error("{operation} payload {key}: no answer from {store} within {} s", limit.as_secs_f64())]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// The payload.
        key: Arc<str>,
        /// The store, without secrets.
        store: Arc<str>,
        /// The limit.
        limit: Duration,
    },
    /// The store refused, or cannot be reached.
    #[error("{operation} payload {key}: {store}: {reason}")]
    Backend {
        /// What was tried.
        operation: &'static str,
        /// The payload.
        key: Arc<str>,
        /// The store, without secrets.
        store: Arc<str>,
        /// What it says.
        reason: Arc<str>,
    },
    /// The store has no such payload (any more).
    #[error("get payload {key}: {store} has no such payload")]
    Missing {
        /// The payload.
        key: Arc<str>,
        /// The store, without secrets.
        store: Arc<str>,
    },
    /// The bytes are not those that were put.
    #[error(
        "get payload {key}: the bytes in {store} are damaged: expected {expected_len} bytes with digest \
         {expected}, found {found_len} bytes with digest {found}"
    )]
    Damaged {
        /// The payload.
        key: Arc<str>,
        /// The store, without secrets.
        store: Arc<str>,
        /// Digest of what was put.
        expected: PayloadDigest,
        /// Its length.
        expected_len: u64,
        /// Digest of what came back.
        found: PayloadDigest,
        /// Its length.
        found_len: u64,
    },
    /// The segment store has no room for the bytes.
    #[error("hold payload {key}: {reason}")]
    NoRoom {
        /// The payload.
        key: Arc<str>,
        /// What the segment store says.
        reason: Arc<str>,
    },
    /// Whoever asked does not wait any more.
    #[error("the wait for payload {0} was interrupted")]
    Interrupted(Arc<str>),
    /// The data plane is closed: the run has ended.
    #[error("payload {0}: the run has ended")]
    Closed(Arc<str>),
}

impl TransformError {
    pub(crate) fn no_room(key: &Arc<str>, error: &StoreError) -> Self {
        Self::NoRoom {
            key: Arc::clone(key),
            reason: chain(error).into(),
        }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.replace('\n', " ")
}
