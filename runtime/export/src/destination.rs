//! Where an export goes: a place that is filled whole or not at all, or a stream.

use crate::{error::ExportError, latch::Latch};
use flate2::{Compression, write::GzEncoder};
use std::{
    fs::{self, File, Permissions},
    io::{self, BufWriter, IntoInnerError, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::{NamedTempFile, TempDir};

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Where an export goes.
pub enum Destination<'a> {
    /// To a file or directory that appears when it is whole. Text whose name ends with `.gz` is compressed.
    Path {
        /// Which.
        path: &'a Path,
        /// Whether an export that is there is replaced.
        replace: bool,
    },
    /// To a stream, as it is made.
    Stream(&'a mut dyn Write),
}

impl<'a> Destination<'a> {
    /// A path, where the format is no text.
    pub(crate) fn path(self, what: &'static str) -> Result<(&'a Path, bool), ExportError> {
        match self {
            Self::Path { path, replace } => Ok((path, replace)),
            Self::Stream(_) => Err(ExportError::NotText { what }),
        }
    }
}

/// A file that is being made, beside its place.
pub(crate) struct NewFile {
    path: PathBuf,
    replace: bool,
    file: NamedTempFile,
}

impl NewFile {
    /// Fails where there is something that is not to be replaced, and where nothing can be written.
    pub(crate) fn create(path: &Path, replace: bool) -> Result<Self, ExportError> {
        if path.is_dir() {
            return Err(in_the_way(path, "a directory", "a file"));
        }
        if !replace && path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        let file = tempfile::Builder::new()
            .prefix(".export-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory_of(path)?)
            .map_err(|source| write_failed(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            replace,
            file,
        })
    }

    /// The file under its temporary name.
    pub(crate) fn temporary(&self) -> &Path {
        self.file.path()
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Puts the file in its place.
    pub(crate) fn commit(self) -> Result<(), ExportError> {
        let Self {
            path,
            replace,
            file,
        } = self;
        let persisted = if replace {
            file.persist(&path)
        } else {
            file.persist_noclobber(&path)
        };
        match persisted {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&path)),
            Err(error) => Err(write_failed(&path, error.error)),
        }
    }
}

/// A directory of files that is being made, beside its place.
pub(crate) struct NewDirectory {
    path: PathBuf,
    directory: TempDir,
}

impl NewDirectory {
    /// Fails where there is something that is not to be replaced: a directory with other files than `ours` never is.
    pub(crate) fn create(
        path: &Path,
        replace: bool,
        ours: impl Fn(&str) -> bool,
    ) -> Result<Self, ExportError> {
        let failed = |source| write_failed(path, source);
        if !path.is_dir() && path.symlink_metadata().is_ok() {
            return Err(in_the_way(path, "no directory", "one"));
        }
        if path.is_dir() {
            if !replace {
                return Err(exists(path));
            }
            for entry in fs::read_dir(path).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if !name.to_str().is_some_and(&ours) {
                    let found = format!(
                        "a directory with other files than those of an export ({})",
                        name.display()
                    );
                    return Err(in_the_way(path, &found, "an export"));
                }
            }
        }
        let directory = tempfile::Builder::new()
            .prefix(".export-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(directory_of(path)?)
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
        })
    }

    /// The directory under its temporary name.
    pub(crate) fn temporary(&self) -> &Path {
        self.directory.path()
    }

    /// Puts the directory in its place.
    pub(crate) fn commit(self) -> Result<(), ExportError> {
        let Self { path, directory } = self;
        let failed = |source| write_failed(&path, source);
        let made = directory.path().to_owned();
        if path.is_dir() {
            // A directory that is not empty is not renamed over: the old one goes first, out of the way.
            let old = tempfile::Builder::new()
                .prefix(".export-old-")
                .tempdir_in(directory_of(&path)?)
                .map_err(failed)?;
            fs::rename(&path, old.path()).map_err(failed)?;
            if let Err(error) = fs::rename(&made, &path) {
                fs::rename(old.path(), &path).map_err(failed)?;
                return Err(failed(error));
            }
        } else {
            fs::rename(&made, &path).map_err(failed)?;
        }
        // It is no longer there under its temporary name.
        let _ = directory.keep();
        Ok(())
    }
}

/// Makes text in its place. What `make` is given writes it, and fails at the end; beside it is a directory for what
/// does not fit into memory meanwhile.
pub(crate) fn text<T>(
    to: Destination<'_>,
    make: impl FnOnce(&mut Latch<'_>, &Path) -> Result<T, ExportError>,
) -> Result<T, ExportError> {
    let (path, replace) = match to {
        Destination::Stream(out) => {
            let mut latch = Latch::new(out);
            let made = make(&mut latch, &std::env::temp_dir())?;
            latch.end().map_err(ExportError::Stream)?;
            return Ok(made);
        }
        Destination::Path { path, replace } => (path, replace),
    };
    let failed = |source| write_failed(path, source);
    let place = NewFile::create(path, replace)?;
    let beside = directory_of(path)?;
    let write = |out: &mut dyn Write| -> Result<T, ExportError> {
        let mut latch = Latch::new(out);
        let made = make(&mut latch, beside)?;
        latch.end().map_err(failed)?;
        Ok(made)
    };
    let made = if path.extension().is_some_and(|extension| extension == "gz") {
        // It has its own buffer, which it clears for each write: so they are large.
        let packed = GzEncoder::new(place.file(), Compression::default());
        let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, packed);
        let made = write(&mut buffered)?;
        let packed = buffered.into_inner().map_err(IntoInnerError::into_error);
        packed.and_then(GzEncoder::finish).map_err(failed)?;
        made
    } else {
        write(&mut BufWriter::with_capacity(BUFFER_BYTES, place.file()))?
    };
    place.commit()?;
    Ok(made)
}

fn directory_of(path: &Path) -> Result<&Path, ExportError> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    if directory.is_dir() {
        return Ok(directory);
    }
    Err(ExportError::NoDirectory {
        path: path.to_owned(),
        directory: directory.to_owned(),
    })
}

fn exists(path: &Path) -> ExportError {
    ExportError::Exists {
        path: path.to_owned(),
    }
}

fn in_the_way(path: &Path, found: &str, wanted: &'static str) -> ExportError {
    ExportError::InTheWay {
        path: path.to_owned(),
        found: found.to_owned(),
        wanted,
    }
}

pub(crate) fn write_failed(path: &Path, source: io::Error) -> ExportError {
    ExportError::Write {
        path: path.to_owned(),
        source,
    }
}
