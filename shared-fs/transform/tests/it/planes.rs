//! What a data plane promises over any store.

use crate::support::{bytes, config, get, open, patient, put, store, transformer, uncached};
use proptest::prelude::*;
use serde_json::json;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use taps_payload::{Location, SegmentStore, StoreOptions};
use taps_transform::{
    Caller, DataPlane, FilterConfig, OperationKind, Ownership, TransformError, TransformerConfig,
};
use tempfile::TempDir;

fn files() -> (TempDir, TransformerConfig) {
    let directory = tempfile::tempdir().expect("a directory");
    let transformer = transformer("file", &json!({"file_dir": directory.path()}));
    (directory, transformer)
}

#[test]
fn many_who_want_the_same_fetch_it_once() {
    let (_directory, transformer) = files();
    let (plane, seen) = open(transformer);
    let payload = vec![5; 2 << 20];
    let stored = put(&plane, &payload);
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (plane, stored) = (Arc::clone(&plane), Arc::clone(&stored));
            thread::spawn(move || get(&plane, &stored).len())
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().expect("no panic"), payload.len());
    }
    assert_eq!(seen.count(OperationKind::Get), 1);
    assert_eq!(seen.count(OperationKind::CacheHit), 7);
    plane.close().expect("close");
}

#[test]
fn without_a_cache_a_ticket_still_keeps_what_it_fetched() {
    let (_directory, transformer) = files();
    let (plane, seen) = open(uncached(transformer));
    let stored = put(&plane, b"held");
    let ticket = plane.prefetch(&stored, Caller::DRIVER);
    assert_eq!(bytes(ticket.wait(&patient).expect("there")), b"held");
    assert_eq!(get(&plane, &stored), b"held");
    assert_eq!(seen.count(OperationKind::Get), 1);
    assert!(ticket.copies() > 0);
    drop(ticket);
    // The thread that fetched it may hold it for a moment longer.
    let deadline = Instant::now() + Duration::from_secs(30);
    while seen.count(OperationKind::Get) < 2 {
        assert_eq!(get(&plane, &stored), b"held");
        assert!(Instant::now() < deadline, "it was never fetched again");
    }
}

#[test]
fn a_populated_plane_has_what_it_put() {
    let (_directory, transformer) = files();
    let (plane, seen) = open(TransformerConfig {
        populate: true,
        ..transformer
    });
    let stored = put(&plane, &[9; 5000]);
    assert_eq!(get(&plane, &stored), [9; 5000]);
    assert_eq!(seen.count(OperationKind::Get), 0);
    assert_eq!(seen.count(OperationKind::CacheHit), 1);
}

#[test]
fn a_full_segment_store_is_said_and_does_not_stay_in_the_way() {
    let (_directory, transformer) = files();
    let segments = SegmentStore::new(StoreOptions {
        limit_bytes: Some(1 << 20),
        huge_pages: false,
        recycle_bytes: 0,
        ..StoreOptions::default()
    })
    .expect("a store");
    let plane = DataPlane::open(config(transformer), segments.clone(), Ownership::Run)
        .expect("the store works");
    let small = put(&plane, &[1; 5000]);
    let large = put(&plane, &vec![1; 2 << 20]);
    let refused = plane.resolve(&large, Caller::DRIVER, &patient);
    let error = refused.expect_err("2 MiB do not fit 1 MiB");
    assert!(matches!(error, TransformError::NoRoom { .. }), "{error}");
    assert!(
        error.to_string().contains("the payload store is full"),
        "{error}"
    );
    assert_eq!(get(&plane, &small), [1; 5000]);
}

#[test]
fn resolved_segments_are_given_back_with_their_last_reader() {
    let (_directory, transformer) = files();
    let segments = store();
    let plane = DataPlane::open(
        config(uncached(transformer)),
        segments.clone(),
        Ownership::Run,
    )
    .expect("the store works");
    let stored = put(&plane, &vec![3; 1 << 20]);
    let resolved = plane
        .resolve(&stored, Caller::DRIVER, &patient)
        .expect("there");
    assert!(segments.statistics().live_bytes > 0);
    drop(resolved);
    plane.close().expect("close");
    assert_eq!(segments.statistics().live_bytes, 0);
}

#[test]
fn a_put_that_nobody_waits_for_leaves_nothing() {
    let (directory, transformer) = files();
    let (plane, _) = open(transformer);
    let bytes = bytes::Bytes::from_static(&[1; 4096]);
    let impatient = plane.put(&bytes, Caller::DRIVER, &|| false);
    // It may have been quicker than the first look.
    if let Ok(Location::Stored(stored)) = &impatient {
        plane.remove(stored);
    } else {
        let error = impatient.expect_err("not stored");
        assert!(matches!(error, TransformError::Interrupted(_)), "{error}");
    }
    plane.close().expect("close");
    assert!(crate::servers::files_below(directory.path()).is_empty());
}

#[test]
fn a_closed_plane_says_so() {
    let (_directory, transformer) = files();
    let (plane, _) = open(transformer);
    let stored = put(&plane, b"gone");
    plane.close().expect("close");
    plane.close().expect("closing twice is harmless");
    let put = plane.put(&bytes::Bytes::from_static(b"x"), Caller::DRIVER, &patient);
    assert!(matches!(put, Err(TransformError::Closed(_))), "{put:?}");
    let got = plane.resolve(&stored, Caller::DRIVER, &patient);
    assert!(matches!(got, Err(TransformError::Closed(_))), "{got:?}");
}

#[test]
fn shared_memory_keeps_small_payloads_in_segments_too() {
    let segments = store();
    let transformer = transformer("shared-memory", &json!({}));
    let plane = DataPlane::open(config(transformer), segments.clone(), Ownership::Run)
        .expect("it is there");
    let put = plane.put(
        &bytes::Bytes::from_static(b"tiny"),
        Caller::DRIVER,
        &patient,
    );
    let Ok(Location::Segment(reference)) = put else {
        panic!("not a segment: {put:?}");
    };
    let segment = segments.get(reference.id).expect("published");
    assert_eq!(*segment.map().expect("map"), *b"tiny");
}

#[test]
fn workers_open_what_the_run_describes() {
    let (directory, transformer) = files();
    let run = config(transformer);
    let owner = DataPlane::open(run.clone(), store(), Ownership::Run).expect("it works");
    let packed = postcard::to_allocvec(owner.config()).expect("plain data");
    let described = postcard::from_bytes(&packed).expect("just written");
    assert_eq!(run, described);
    let worker = DataPlane::open(described, store(), Ownership::Worker).expect("it works");
    let from_worker = put(&worker, b"a result");
    assert_eq!(get(&owner, &from_worker), b"a result");
    worker.close().expect("close");
    // The worker is gone; what it put belongs to the run, whose mark is there too.
    assert_eq!(crate::servers::files_below(directory.path()).len(), 2);
    owner.close().expect("close");
    assert!(crate::servers::files_below(directory.path()).is_empty());
}

#[test]
fn filters_see_declared_types() {
    let (_directory, transformer) = files();
    let app: taps_schema::AppDescription = serde_json::from_value(json!({
        "name": "a", "version": "1", "wit_version": "0.1.0", "summary": "",
        "tasks": [{"name": "t", "parameters": [["x", "u32"], ["y", "Array<f64>"]], "outputs": ["Array<u8>"]}],
    }))
    .expect("a description");
    let mut described = config(transformer);
    described.types = taps_transform::TypeNames::of(&app);
    described.filter = FilterConfig::Type {
        patterns: vec!["Array<f".to_owned()],
    };
    let plane = DataPlane::open(described, store(), Ownership::Run).expect("it works");
    assert!(!plane.takes_argument("t", 0, 1));
    assert!(plane.takes_argument("t", 1, 1));
    assert!(!plane.takes_argument("t", 2, 1));
    assert!(!plane.takes_output("t", 0, 1));
    assert!(!plane.takes_output("unknown", 0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is put, read and removed in whatever order: what is there reads as it was put, what is
    /// not is missing, and at the end nothing is left.
    #[test]
    fn payloads_come_back_as_they_were_put(
        steps in prop::collection::vec((0_u8..3, 0_usize..6, prop::collection::vec(any::<u8>(), 0..3000)), 1..40),
        cache_entries in 0_usize..4,
    ) {
        let (directory, transformer) = files();
        let (plane, _) = open(TransformerConfig { cache_entries, ..transformer });
        let mut there: Vec<Option<(Arc<taps_payload::StoredRef>, Vec<u8>)>> = vec![None; 6];
        for (step, slot, payload) in steps {
            match (step, &there[slot]) {
                (0, None) => there[slot] = Some((put(&plane, &payload), payload)),
                (1, Some((stored, payload))) => prop_assert_eq!(&get(&plane, stored), payload),
                (2, Some((stored, _))) => {
                    plane.remove(stored);
                    there[slot] = None;
                }
                _ => {}
            }
        }
        plane.close().expect("close");
        prop_assert!(crate::servers::files_below(directory.path()).is_empty());
    }
}
