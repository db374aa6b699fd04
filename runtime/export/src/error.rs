//! Why a run was not exported.

use std::{io, path::PathBuf};
use taps_report::ReportError;

/// Why a run was not exported. What was in the place of the output before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no run.
    #[error(transparent)]
    Run(#[from] ReportError),
    /// Nothing of the run can be read.
    #[error(
        "nothing of {} can be exported: {}",
        path.display(),
        notes.join("; ")
    )]
    Unreadable {
        /// The run.
        path: PathBuf,
        /// Why.
        notes: Vec<String>,
    },
    /// The log is that of a run that has submitted nothing.
    #[error("{} has no tasks: WfFormat needs at least one", path.display())]
    NoTasks {
        /// The run.
        path: PathBuf,
    },
    /// There is something already.
    #[error("{} exists", path.display())]
    Exists {
        /// What there is.
        path: PathBuf,
    },
    /// What there is cannot be replaced by what is to be written.
    #[error("{} is {found}: it is not replaced by {wanted}", path.display())]
    InTheWay {
        /// What there is.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What was to be written.
        wanted: &'static str,
    },
    /// The directory of the output does not exist.
    #[error("write {}: there is no directory {}", path.display(), directory.display())]
    NoDirectory {
        /// The output.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// A format that is no text was to be written to a stream.
    #[error("{what} cannot be written to a stream")]
    NotText {
        /// What was to be written.
        what: &'static str,
    },
    /// The output cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A stream cannot be written.
    #[error("write the export")]
    Stream(#[source] io::Error),
    /// A Parquet file cannot be written.
    #[error("write {}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: parquet::errors::ParquetError,
    },
    /// The database cannot be written.
    #[error("write {}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What the library said.
        source: rusqlite::Error,
    },
}
