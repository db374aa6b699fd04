//! A run as tables: one definition, one fold over the records, two writers.

mod definition;
mod fold;
pub(crate) mod parquet;
pub(crate) mod sqlite;

pub use definition::{Column, Kind, Table, tables, tables_as_markdown};

use crate::error::ExportError;
use definition::Of;
use fold::Fold;
use std::path::Path;

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Boolean(bool),
}

impl<'a> Value<'a> {
    /// A number; the largest there is for one that is larger.
    fn number(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// A number, or null.
    fn maybe(number: Option<impl Into<u64>>) -> Self {
        number.map_or(Self::Null, |number| Self::number(number.into()))
    }

    /// A time; null for 0, which is one that was never reached.
    fn reached(time_ns: u64) -> Self {
        Self::maybe((time_ns > 0).then_some(time_ns))
    }

    /// A text, or null.
    fn said(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// A signed number, or null.
    fn signed(number: Option<i32>) -> Self {
        number.map_or(Self::Null, |number| Self::Integer(number.into()))
    }
}

/// Takes rows, values in the order of the columns. Keeps its first error to itself until the end.
pub(crate) trait Rows {
    fn row(&mut self, table: Of, values: &[Value<'_>]);
}

/// Reads a run into rows; gives what could not be read.
fn fill(run: &Path, rows: &mut impl Rows) -> Result<Vec<String>, ExportError> {
    let mut fold = Fold::new(rows);
    let streamed = taps_report::stream(run, &mut fold)?;
    let Some(told) = &streamed.told else {
        return Err(ExportError::Unreadable {
            path: run.to_owned(),
            notes: streamed.notes,
        });
    };
    let mut notes = streamed.notes.clone();
    fold.finish(told, &streamed, &mut notes);
    Ok(notes)
}
