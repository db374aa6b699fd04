//! Runs in the formats of other tools.
//!
//! [`export`] streams the records of a run into one of them, whatever the size of the run: [`Format::WfFormat`] for
//! the tools of WfCommons, [`Format::Perfetto`] for trace viewers, and the tables of [`tables`] as Parquet files or
//! as an SQLite database. Kept of a task is what another may refer to: some ten bytes, not its records. What cannot be
//! read of a run is named in the notes, and what can be is exported.
//!
//! This crate changes no run, prints nothing, and never leaves half a file in its place.

mod destination;
mod error;
mod latch;
mod perfetto;
mod sparse;
mod tables;
mod wfformat;

pub use destination::Destination;
pub use error::ExportError;
pub use tables::{Column, Kind, Table, tables, tables_as_markdown};
pub use wfformat::WfVersion;

use std::path::Path;

/// What a run is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document of WfCommons.
    WfFormat(WfVersion),
    /// A trace of JSON events, for Perfetto and Chrome.
    Perfetto,
    /// A directory of Parquet files, one for each table.
    Parquet,
    /// One SQLite database of the same tables.
    Sqlite,
}

impl Format {
    /// The name of the file or directory in a run directory, unless another is given.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::WfFormat(_) => "wfformat.json",
            Self::Perfetto => "trace.json.gz",
            Self::Parquet => "parquet",
            Self::Sqlite => "run.sqlite",
        }
    }

    /// Whether it is text, which can go to a stream.
    pub fn is_text(self) -> bool {
        matches!(self, Self::WfFormat(_) | Self::Perfetto)
    }
}

/// Writes a run, named by its directory or its event log, and says what could not be read of it or be told. Fails
/// before the run is read where the destination cannot be used.
pub fn export(run: &Path, format: Format, to: Destination<'_>) -> Result<Vec<String>, ExportError> {
    if !run.exists() {
        // A run that is missing is told before an output that exists.
        let path = run.to_owned();
        return Err(taps_report::ReportError::NoRun { path }.into());
    }
    match format {
        Format::WfFormat(version) => wfformat::write(run, version, to),
        Format::Perfetto => perfetto::write(run, to),
        Format::Parquet => tables::parquet::write(run, to),
        Format::Sqlite => tables::sqlite::write(run, to),
    }
}
