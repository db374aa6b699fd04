//! The file of all counts.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use taps::{Error, OutputDir, Payload, Result};

/// Name of the file: a line `word<TAB>count` per word.
pub(crate) const FILE_NAME: &str = "counts.tsv";
/// Bytes written at once.
const PIECE_BYTES: usize = 1 << 20;

/// The file while it is written. It gets its name when it is whole; dropped before, it is removed.
pub(crate) struct CountsFile {
    partial: PathBuf,
    path: PathBuf,
    file: File,
    whole: bool,
}

impl CountsFile {
    /// Begins the file, so that a directory that cannot be written is known before any work.
    pub(crate) fn create(directory: &OutputDir) -> Result<Self> {
        let path = Path::new(directory.path()).join(FILE_NAME);
        let partial = path.with_extension("tsv.partial");
        let file = File::create(&partial).map_err(|error| {
            let expected = format!("a directory that can be written ({error})");
            Error::config("output_dir", directory, expected)
        })?;
        Ok(Self {
            partial,
            path,
            file,
            whole: false,
        })
    }

    /// Writes the content and gives the file its name.
    pub(crate) fn write(mut self, text: &Payload) -> Result<()> {
        let written = text
            .chunks(PIECE_BYTES)
            .try_for_each(|piece| Ok(self.file.write_all(&piece?)?))
            .and_then(|()| Ok(self.file.sync_all()?))
            .and_then(|()| Ok(std::fs::rename(&self.partial, &self.path)?));
        written.map_err(|error: Error| {
            Error::app(
                "OutputError",
                format!("failed to write {FILE_NAME}: {error}"),
            )
        })?;
        self.whole = true;
        Ok(())
    }
}

impl Drop for CountsFile {
    fn drop(&mut self) {
        if !self.whole {
            // Nothing more can be done than to try.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}
