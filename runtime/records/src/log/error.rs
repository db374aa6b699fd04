//! What can go wrong with a log.

use std::{io, path::PathBuf};

/// Why an event log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no room for more events: the disk, the quota or the file size limit is
    /// exhausted. Everything appended before is intact; nothing can be appended any more.
    #[error("append to {}: no space left", path.display())]
    Full {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log could not be created, grown, mapped, closed or read.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, a verb.
        operation: &'static str,
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An event cannot be encoded, for example because a path in it is not UTF-8. The event is
    /// not in the log; later ones can be appended.
    #[error("encode an event")]
    Encode(#[source] postcard::Error),
    /// An event is larger than a frame can be. The event is not in the log.
    #[error("an event of {bytes} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Encoded length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The file is something else.
    #[error("{} is not an event log", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// The log was written in another version of the format.
    #[error(
        "{} has event log format {found}, this program reads format {supported}",
        path.display()
    )]
    Version {
        /// The log.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Version that this build reads.
        supported: u32,
    },
    /// Another process writes the log: the run is still going on.
    #[error("{} is in use: the run is still going on", path.display())]
    InUse {
        /// The log.
        path: PathBuf,
    },
    /// The log does not say how its run began, so nothing can go on from it: the run was killed before it
    /// began, or the beginning is damaged.
    #[error("{} does not begin with the start of a run", path.display())]
    NoStart {
        /// The log.
        path: PathBuf,
    },
}
