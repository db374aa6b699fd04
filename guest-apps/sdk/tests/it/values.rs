//! Values as bytes: round trips, and bytes that hold something else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use taps::{Array, Bytes, Value, View};

#[taps::value]
#[derive(Clone, Debug, PartialEq)]
struct Record {
    name: String,
    numbers: Vec<f64>,
    inner: Option<Box<i64>>,
    pairs: Vec<(u32, String)>,
}

fn record() -> impl Strategy<Value = Record> {
    let pairs = prop::collection::vec((any::<u32>(), ".{0,9}"), 0..4);
    let numbers = prop::collection::vec(-1e9..1e9, 0..9);
    (".{0,20}", numbers, any::<Option<i64>>(), pairs).prop_map(|(name, numbers, inner, pairs)| {
        Record {
            name,
            numbers,
            inner: inner.map(Box::new),
            pairs,
        }
    })
}

proptest! {
    #[test]
    fn archives_round_trip(record in record()) {
        let bytes = record.encode().unwrap();
        let view = View::<Record>::new(bytes.clone()).unwrap();
        prop_assert_eq!(view.name.as_str(), &record.name);
        prop_assert_eq!(Record::decode(bytes).unwrap(), record);
    }

    #[test]
    fn arrays_round_trip(shape in prop::collection::vec(0usize..6, 1..=4), seed in any::<u32>()) {
        let array = Array::<u32>::from_fn(&shape, |i| seed.wrapping_mul(i as u32 + 1));
        let copy = Array::<u32>::decode(array.encode().unwrap()).unwrap();
        prop_assert_eq!(copy.shape(), shape.as_slice());
        prop_assert_eq!(copy, array);
    }

    /// Hostile bytes are an error, never a panic or a wild read.
    #[test]
    fn views_check_before_they_trust(record in record(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = record.encode().unwrap().into_vec();
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(view) = View::<Record>::new(Bytes::from(bytes.clone())) {
            let length: usize = view.pairs.iter().map(|pair| pair.1.len()).sum();
            prop_assert!(length <= bytes.len() * view.pairs.len().max(1));
        }
        let _ = Record::decode(Bytes::from(bytes));
    }

    #[test]
    fn hostile_array_headers_are_errors(mut bytes in prop::collection::vec(any::<u8>(), 0..200), shape in any::<[u64; 4]>(), ndim in 0u8..6) {
        if bytes.len() >= 64 {
            bytes[..4].copy_from_slice(b"TAPA");
            bytes[4] = 1;
            bytes[5] = ndim;
            for (place, extent) in bytes[8..40].chunks_exact_mut(8).zip(shape) {
                place.copy_from_slice(&extent.to_le_bytes());
            }
        }
        prop_assert!(Array::<f64>::decode(Bytes::from(bytes)).is_err());
    }
}

#[test]
fn an_array_of_another_type_is_refused() {
    let bytes = Array::<f32>::zeros(&[3]).encode().unwrap();
    let error = Array::<f64>::decode(bytes).unwrap_err().to_string();
    assert_eq!(
        error,
        "bytes do not hold Array<f64>: element type 2 is not f64 (1)"
    );
}
