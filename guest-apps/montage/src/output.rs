//! Files of a run.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use taps::{Error, OutputDir, Payload, Result};

/// Bytes written at once.
const PIECE_BYTES: usize = 1 << 20;

/// The directory of the results.
pub(crate) struct Results {
    directory: PathBuf,
}

impl Results {
    /// Makes sure that the directory can be written, before any work.
    pub(crate) fn create(directory: &OutputDir) -> Result<Self> {
        let path = PathBuf::from(directory.path());
        let probe = path.join(".partial");
        let tried = fs::create_dir_all(&path)
            .and_then(|()| File::create(&probe))
            .and_then(|_| fs::remove_file(&probe));
        match tried {
            Ok(()) => Ok(Self { directory: path }),
            Err(error) => {
                let expected = format!("a directory that can be written ({error})");
                Err(Error::config("output_dir", directory, expected))
            }
        }
    }

    /// Writes a text.
    pub(crate) fn text(&self, name: &str, text: &str) -> Result<()> {
        self.pieces(name, std::iter::once(Ok(text.as_bytes().to_vec())))
    }

    /// Writes the content of a payload.
    pub(crate) fn payload(&self, name: &str, payload: &Payload) -> Result<()> {
        self.pieces(name, payload.chunks(PIECE_BYTES))
    }

    /// Writes a file that gets its name when it is whole.
    fn pieces(&self, name: &str, pieces: impl Iterator<Item = Result<Vec<u8>>>) -> Result<()> {
        let path = self.directory.join(name);
        let partial = self.directory.join(format!("{name}.partial"));
        write(&partial, pieces)
            .and_then(|()| Ok(fs::rename(&partial, &path)?))
            .map_err(|error| {
                // Nothing more can be done than to try.
                let _ = fs::remove_file(&partial);
                Error::app("OutputError", format!("failed to write {name}: {error}"))
            })
    }
}

fn write(path: &Path, pieces: impl Iterator<Item = Result<Vec<u8>>>) -> Result<()> {
    let mut file = File::create(path)?;
    for piece in pieces {
        file.write_all(&piece?)?;
    }
    Ok(file.sync_all()?)
}
