//! The table in Rust: columns in, columns out.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::ArrowError;
use taps::{Arrow, Error, Result};

/// Adds the share of each word in all to a table of counts, and leaves the words out.
#[taps::task(pure)]
pub(crate) fn shares(table: Arrow) -> Result<Arrow> {
    let counts = column(&table, "count")?;
    let total: f64 = counts.iter().sum();
    let shares: Float64Array = counts.iter().map(|count| Some(count / total)).collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("count", Arc::new(Float64Array::from(counts))),
        ("share", Arc::new(shares)),
    ];
    RecordBatch::try_from_iter(columns)
        .map(Arrow::from)
        .map_err(|error: ArrowError| Error::app("Arrow", error.to_string()))
}

/// A column of 64-bit floating-point numbers.
fn column(table: &Arrow, name: &str) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(table.rows());
    for batch in &table.batches {
        let column = batch
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<Float64Type>());
        let Some(column) = column else {
            let reason = format!("no column `{name}` of float64 in {}", table.schema);
            return Err(Error::app("MissingColumn", reason));
        };
        values.extend_from_slice(column.values());
    }
    Ok(values)
}
