//! Paths that the configuration grants.

use crate::error::Problem;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use taps_schema::FieldKind;

/// Begins a path in the run directory, which is known when the run begins.
pub const RUN_DIR: &str = "{run_dir}";

/// Begins the value of a path field that stands for data of the bundle: `bundle:NAME` for one file,
/// `bundle:PREFIX/` for all below.
pub const BUNDLE_DATA: &str = "bundle:";

/// `text` made absolute against `start_dir`, without `.` parts. Symbolic links and `..` are left
/// to the system, which alone knows what they mean.
pub(crate) fn absolute(text: &str, start_dir: &Path) -> PathBuf {
    start_dir.join(text).components().collect()
}

/// Whether the path exists as its kind asks; for an output directory, whether it can be made.
pub(crate) fn check(kind: &FieldKind, path: &Path) -> Result<(), Problem> {
    let (expected, result) = match kind {
        FieldKind::InputFile => ("a readable file", check_file(path)),
        FieldKind::InputDir => ("a readable directory", check_dir(path)),
        FieldKind::OutputDir => ("a directory that can be written", check_output(path)),
        _ => return Ok(()),
    };
    result.map_err(|reason| Problem::Path {
        path: path.to_owned(),
        expected,
        reason,
    })
}

fn check_file(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    fs::File::open(path).map(drop)
}

fn check_dir(path: &Path) -> io::Result<()> {
    fs::read_dir(path)?;
    Ok(rustix::fs::access(path, rustix::fs::Access::EXEC_OK)?)
}

fn check_output(path: &Path) -> io::Result<()> {
    let mut nearest = path;
    let metadata = loop {
        match (fs::metadata(nearest), nearest.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                nearest = parent;
            }
            (found, _) => break found?,
        }
    };
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::access(nearest, access)?)
}
