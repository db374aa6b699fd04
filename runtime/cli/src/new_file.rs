//! Files that appear whole or not at all.

use crate::exit::{ExitCode, Failure};
use std::{
    fs::Permissions,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Writes a file of some bytes.
pub(crate) fn bytes(path: &Path, mode: u32, bytes: &[u8]) -> Result<u64, Failure> {
    write(path, mode, |out| out.write_all(bytes))
}

/// Writes a file of which `write` makes the content; gives its size.
pub(crate) fn write(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<u64, Failure> {
    let failed = |error: io::Error| {
        let error = format!("write {}: {error}", path.display());
        Failure::new(ExitCode::Records, error)
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        let error = format!(
            "write {}: there is no directory {}",
            path.display(),
            folder.display()
        );
        return Err(Failure::new(ExitCode::Records, error));
    }
    let mut file = tempfile::Builder::new()
        .prefix(".taps-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(failed)?;
    let mut out = BufWriter::new(file.as_file_mut());
    write(&mut out).and_then(|()| out.flush()).map_err(failed)?;
    drop(out);
    file.as_file().sync_all().map_err(failed)?;
    let size = file.as_file().metadata().map_err(failed)?.len();
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(size)
}
