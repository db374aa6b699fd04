//! What the operations of a plane share: the store and its time limit, the clock, the cache, and how many are under
//! way.

use super::{Caller, Resolved, digest};
use crate::{
    Operation, OperationKind, OperationSink, TransformError,
    backend::{Backend, Refusal},
    cache::Cache,
};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::{
    future::Future,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};
use taps_payload::{Segment, SegmentStore, StoreError, StoredRef};

/// What operations under way need.
pub(super) struct Shared {
    /// None for shared memory.
    pub(super) backend: Option<Arc<dyn Backend>>,
    /// The store, without secrets.
    pub(super) name: Arc<str>,
    pub(super) limit: Duration,
    pub(super) sink: OnceLock<(Arc<dyn OperationSink>, Instant)>,
    pub(super) cache: Mutex<Cache>,
    pub(super) pending: Pending,
    pub(super) closed: AtomicBool,
}

/// Operations under way.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) count: Mutex<usize>,
    pub(super) none: Condvar,
}

/// One operation under way, until dropped.
pub(super) struct Under(Arc<Shared>);

impl Under {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        *shared.pending.count.lock() += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        let mut count = self.0.pending.count.lock();
        *count -= 1;
        if *count == 0 {
            self.0.pending.none.notify_all();
        }
    }
}

impl Shared {
    /// The clock of operations; stands still where none is recorded.
    pub(super) fn now_ns(&self) -> u64 {
        self.sink
            .get()
            .map_or(0, |(_, start)| start.elapsed().as_nanos() as u64)
    }

    pub(super) async fn within<T>(
        &self,
        operation: &'static str,
        key: &Arc<str>,
        limit: Duration,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, TransformError> {
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Refusal(reason))) => Err(TransformError::Backend {
                operation,
                key: Arc::clone(key),
                store: Arc::clone(&self.name),
                reason: reason.into(),
            }),
            Err(_) => Err(TransformError::Timeout {
                operation,
                key: Arc::clone(key),
                store: Arc::clone(&self.name),
                limit,
            }),
        }
    }

    /// Bytes that came back are those that were put, or an error; then they are placed.
    pub(super) fn check(
        &self,
        bytes: Option<Bytes>,
        stored: &StoredRef,
        segments: Option<&SegmentStore>,
        inline_max: u64,
    ) -> Result<Resolved, TransformError> {
        let key = Arc::clone(&stored.key);
        let name = Arc::clone(&self.name);
        let Some(bytes) = bytes else {
            return Err(TransformError::Missing { key, store: name });
        };
        let found = digest(&bytes);
        if found != stored.digest || bytes.len() as u64 != stored.len {
            return Err(TransformError::Damaged {
                key,
                store: name,
                expected: stored.digest,
                expected_len: stored.len,
                found,
                found_len: bytes.len() as u64,
            });
        }
        place(segments, &stored.key, &bytes, inline_max)
    }

    pub(super) fn record(
        &self,
        operation: OperationKind,
        caller: Caller,
        key: &Arc<str>,
        bytes: usize,
        start_ns: u64,
        ok: bool,
    ) {
        if let Some((sink, _)) = self.sink.get() {
            let Caller { side, worker, task } = caller;
            sink.record(Operation {
                operation,
                side,
                worker,
                task,
                key: Arc::clone(key),
                bytes: bytes as u64,
                start_ns,
                duration_ns: self.now_ns().saturating_sub(start_ns),
                ok,
            });
        }
    }
}

/// Where readers want the bytes: small ones at hand, large ones where they can be mapped.
pub(super) fn place(
    segments: Option<&SegmentStore>,
    key: &Arc<str>,
    bytes: &Bytes,
    inline_max: u64,
) -> Result<Resolved, TransformError> {
    if bytes.len() as u64 <= inline_max {
        return Ok(Resolved::Bytes(Arc::from(&bytes[..])));
    }
    let segment = segment_of(segments, key, bytes)?;
    if let Some(segments) = segments {
        // Only those who hold it know it; with the last of them its memory is free.
        segments.free(segment.id());
    }
    Ok(Resolved::Segment(segment))
}

pub(super) fn segment_of(
    segments: Option<&SegmentStore>,
    key: &Arc<str>,
    bytes: &[u8],
) -> Result<Arc<Segment>, TransformError> {
    let Some(segments) = segments else {
        return Err(TransformError::NoRoom {
            key: Arc::clone(key),
            reason: "there is no payload store yet".into(),
        });
    };
    let write = || {
        let mut segment = segments.create(bytes.len() as u64)?;
        segment
            .write_at(0, bytes)
            .map_err(|source| StoreError::Io {
                operation: "write a payload to shared memory",
                source,
            })?;
        segments.publish(segment)
    };
    write().map_err(|error| TransformError::no_room(key, &error))
}

/// The end of a put, for the one who waits.
#[derive(Default)]
pub(super) struct Done {
    state: Mutex<DoneState>,
    wake: Condvar,
}

#[derive(Default)]
struct DoneState {
    result: Option<Result<(), TransformError>>,
    given_up: bool,
}

impl Done {
    /// Gives the result; says whether anybody takes it.
    pub(super) fn give(&self, result: Result<(), TransformError>) -> bool {
        let mut state = self.state.lock();
        state.result = Some(result);
        self.wake.notify_all();
        !state.given_up
    }

    pub(super) fn wait(
        &self,
        keep_waiting: &dyn Fn() -> bool,
    ) -> Option<Result<(), TransformError>> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = state.result.take() {
                return Some(result);
            }
            if !keep_waiting() {
                state.given_up = true;
                return None;
            }
            self.wake.wait_for(&mut state, Duration::from_millis(2));
        }
    }
}
