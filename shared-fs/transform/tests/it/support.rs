//! Data planes for tests.

use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use taps_payload::{Location, SegmentStore, StoreOptions, StoredRef};
use taps_transform::{
    Caller, DataPlane, FilterConfig, OpenError, Operation, OperationKind, OperationSink, Ownership,
    PlaneConfig, Resolved, RunKey, TransformerConfig, TypeNames,
};

/// Payloads up to this size are resolved to bytes.
pub(crate) const INLINE: u64 = 1000;

/// Keeps operations.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<Operation>>);

impl OperationSink for Seen {
    fn record(&self, operation: Operation) {
        self.0.lock().push(operation);
    }
}

impl Seen {
    /// How many operations of a kind succeeded.
    pub(crate) fn count(&self, kind: OperationKind) -> usize {
        let seen = self.0.lock();
        seen.iter()
            .filter(|operation| operation.operation == kind && operation.ok)
            .count()
    }
}

pub(crate) fn store() -> SegmentStore {
    SegmentStore::new(StoreOptions {
        limit_bytes: Some(256 << 20),
        huge_pages: false,
        recycle_bytes: 0,
        ..StoreOptions::default()
    })
    .expect("a segment store")
}

/// A transformer by the names of its configuration.
pub(crate) fn transformer(name: &str, fields: &Value) -> TransformerConfig {
    let empty = Map::new();
    let fields = fields.as_object().unwrap_or(&empty);
    TransformerConfig::from_fields(name, fields).expect("a valid configuration")
}

pub(crate) fn config(transformer: TransformerConfig) -> PlaneConfig {
    PlaneConfig {
        filter: FilterConfig::All,
        transformer,
        run: RunKey::random().expect("random bytes"),
        types: TypeNames::default(),
        inline_max_bytes: INLINE,
    }
}

pub(crate) fn try_open(transformer: TransformerConfig) -> Result<Arc<DataPlane>, OpenError> {
    DataPlane::open(config(transformer), store(), Ownership::Run)
}

/// The plane of a run, and what it does.
pub(crate) fn open(transformer: TransformerConfig) -> (Arc<DataPlane>, Arc<Seen>) {
    let plane = try_open(transformer).expect("the store works");
    let seen = Arc::new(Seen::default());
    plane.record_to(Arc::clone(&seen) as Arc<dyn OperationSink>, Instant::now());
    (plane, seen)
}

pub(crate) fn patient() -> bool {
    true
}

/// Puts bytes, and gives what stands for them.
pub(crate) fn put(plane: &DataPlane, bytes: &[u8]) -> Arc<StoredRef> {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    match plane.put(&bytes, Caller::DRIVER, &patient).expect("put") {
        Location::Stored(stored) => stored,
        other => panic!("not stored: {other:?}"),
    }
}

/// What a payload resolves to.
pub(crate) fn bytes(resolved: Resolved) -> Vec<u8> {
    match resolved {
        Resolved::Bytes(bytes) => bytes.to_vec(),
        Resolved::Segment(segment) => segment.map().expect("map").to_vec(),
    }
}

pub(crate) fn get(plane: &DataPlane, stored: &Arc<StoredRef>) -> Vec<u8> {
    bytes(
        plane
            .resolve(stored, Caller::worker(1, 2), &patient)
            .expect("resolve"),
    )
}

/// Short enough for a test to wait for, long enough for a busy machine.
pub(crate) fn soon(transformer: TransformerConfig) -> TransformerConfig {
    TransformerConfig {
        timeout: Duration::from_millis(400),
        ..transformer
    }
}

/// Nothing is kept after use: every resolution is a fetch.
pub(crate) fn uncached(transformer: TransformerConfig) -> TransformerConfig {
    TransformerConfig {
        cache_entries: 0,
        ..transformer
    }
}

/// What every store must do.
pub(crate) fn keeps_payloads(transformer: TransformerConfig) {
    let (plane, seen) = open(uncached(transformer));
    let sizes = [0, 1, INLINE as usize, INLINE as usize + 1, 3 << 20];
    let payloads: Vec<Vec<u8>> = sizes
        .iter()
        .map(|size| (0..*size).map(|index| (index * 7 + size) as u8).collect())
        .collect();
    let stored: Vec<_> = payloads
        .iter()
        .map(|payload| put(&plane, payload))
        .collect();
    for (payload, stored) in payloads.iter().zip(&stored) {
        assert_eq!(stored.len, payload.len() as u64);
        assert_eq!(stored.digest, taps_transform::digest(payload));
        let resolved = plane
            .resolve(stored, Caller::DRIVER, &patient)
            .expect("resolve");
        let in_segment = matches!(resolved, Resolved::Segment(_));
        assert_eq!(in_segment, stored.len > INLINE, "{} bytes", stored.len);
        assert!(bytes(resolved) == *payload, "{} bytes", stored.len);
    }
    assert_eq!(seen.count(OperationKind::Get), sizes.len());
    for stored in &stored {
        plane.remove(stored);
    }
    plane.close().expect("close");
    assert_eq!(seen.count(OperationKind::Remove), sizes.len());
}
