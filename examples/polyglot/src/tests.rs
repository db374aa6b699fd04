//! The driver on its own, with stand-ins in Rust for the tasks of other components.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;
use taps::rand::RngExt as _;
use taps::{Arrow, Bytes, Call, Json, List, Result, Value};

use crate::{APP, Counts, Statistics, table};

macro_rules! stand_ins {
    ($($count:ident, $merge:ident, $reverse:ident;)*) => {$(
        #[taps::task]
        fn $count(text: &[u8]) -> Json<Counts> {
            Json(crate::text::counts(text))
        }

        #[taps::task]
        fn $merge(counts: List<Json<Counts>>) -> Result<Json<Counts>> {
            merged(counts)
        }

        #[taps::task]
        fn $reverse(data: Bytes) -> Bytes {
            data.into_vec().into_iter().rev().collect::<Vec<_>>().into()
        }
    )*};
}

stand_ins! {
    c_count_words, c_merge_counts, c_reverse;
    python_count_words, python_merge_counts, python_reverse;
    javascript_count_words, javascript_merge_counts, javascript_reverse;
}

fn merged(all: List<Json<Counts>>) -> Result<Json<Counts>> {
    let mut total = Counts::new();
    for counts in all {
        for (word, count) in counts?.0 {
            *total.entry(word).or_default() += count;
        }
    }
    Ok(Json(total))
}

#[taps::task]
fn python_draw() -> Json<f64> {
    Json(taps::rng().random())
}

#[taps::task]
fn javascript_draw() -> Json<f64> {
    Json(taps::rng().random())
}

#[taps::task]
fn javascript_counts_table(counts: Json<Counts>) -> Arrow {
    column("count", counts.0.values().map(|count| *count as f64))
}

#[taps::task]
fn javascript_column_statistics(
    table: Arrow,
) -> Json<std::collections::BTreeMap<String, Statistics>> {
    use arrow_array::{cast::AsArray as _, types::Float64Type};
    let of = |values: &[f64]| Statistics {
        rows: values.len() as f64,
        sum: values.iter().sum(),
        least: values.iter().copied().fold(f64::INFINITY, f64::min),
        greatest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    let fields = table.schema.fields().iter();
    let found = fields.map(|field| {
        let column = table.batches[0].column_by_name(field.name()).unwrap();
        let values = column.as_primitive::<Float64Type>().values();
        (field.name().clone(), of(values))
    });
    Json(found.collect())
}

fn column(name: &str, values: impl Iterator<Item = f64>) -> Arrow {
    let values: arrow_array::ArrayRef =
        std::sync::Arc::new(arrow_array::Float64Array::from_iter_values(values));
    arrow_array::RecordBatch::try_from_iter([(name, values)])
        .unwrap()
        .into()
}

#[test]
fn every_check_holds_whatever_the_size() {
    for (words, parts) in [(1, 1), (7, 8), (20_000, 8), (5_000, 1)] {
        let config = json!({ "words": words, "parts": parts, "misbehave": false });
        let report = taps::testing::run_app(&APP, &config).unwrap();
        assert!(report.passed(), "{words} words: {report:?}");
        assert_eq!(report.checks.len(), 10);
    }
}

#[test]
fn a_task_that_is_nowhere_fails_by_name() {
    let error = taps::testing::run(|engine| {
        engine
            .submit(Call::<Json<Counts>>::named("cobol_count_words", []))?
            .result()
    });
    let text = error.unwrap_err().to_string();
    assert!(text.contains("UnknownTask"), "{text}");
}

#[test]
fn a_table_without_the_column_is_refused_by_name() {
    let table = column("number", [1.0].into_iter());
    let error = table::shares(table).unwrap_err().to_string();
    assert!(error.contains("count"), "{error}");
}

#[test]
fn a_table_survives_its_journey_and_rubbish_is_no_table() {
    let table = column("count", (0..1000).map(f64::from));
    let bytes = table.encode().unwrap();
    assert_eq!(Arrow::decode(bytes.clone()).unwrap(), table);
    for length in [0, 7, 100] {
        let cut = bytes.as_slice()[..length].to_vec();
        // An empty stream has no schema; a cut one ends within a message.
        assert!(Arrow::decode(cut.into()).is_err(), "{length} bytes");
    }
}
