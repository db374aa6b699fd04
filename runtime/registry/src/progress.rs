//! How far a transfer is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes that are where they should be, those that were there before among them.
    pub done: u64,
    /// Bytes in all, as far as they are known.
    pub total: u64,
}

/// Who is told how far a transfer is.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Transfer) + Send + Sync>);

impl Progress {
    /// Tells `listener`, often.
    pub fn new(listener: impl Fn(Transfer) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(|_| ())
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

/// Counts what is moved, and tells.
#[derive(Clone)]
pub(crate) struct Meter {
    listener: Progress,
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn new(listener: &Progress) -> Self {
        Self {
            listener: listener.clone(),
            done: Arc::default(),
            total: Arc::default(),
        }
    }

    /// There is more to do than was known.
    pub(crate) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// So much more is done.
    pub(crate) fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// How much is done.
    pub(crate) fn position(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// So much is done after all: what came before was for nothing, or what comes is known to be there.
    pub(crate) fn set(&self, position: u64) {
        self.done.store(position, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let transfer = Transfer {
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
        };
        (self.listener.0)(transfer);
    }
}
