//! Bundles and other files, written whole or not at all, and what is said of them.

use crate::exit::{ExitCode, Failure};
use crate::{render, summary};
use std::{
    fmt::Write as _,
    fs::Permissions,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use taps_bundle::Bundle;

/// Where a bundle goes unless the user says so.
pub(super) fn place(bundle: &Bundle) -> Result<PathBuf, Failure> {
    let app = bundle.app();
    let file = format!("{}-{}.taps", app.name, app.version);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if file.starts_with(['.', '-']) || !file.chars().all(plain) {
        let error = format!("`{file}` is no name for a file");
        return Err(Failure::new(ExitCode::Usage, error).hint("name one with --output FILE"));
    }
    Ok(file.into())
}

/// Writes a bundle; gives the size of the file.
pub(super) fn bundle(bundle: &Bundle, path: &Path) -> Result<u64, Failure> {
    whole(path, 0o644, |out| {
        bundle.write_archive(out).map_err(io::Error::other)
    })
}

/// Says what was made.
pub(super) fn tell(
    bundle: &Bundle,
    path: &Path,
    size: u64,
    signature: Option<&Path>,
    json: bool,
) -> Result<ExitCode, Failure> {
    if json {
        render::json(&serde_json::json!({
            "app": bundle.app().name,
            "version": bundle.app().version,
            "bundle": path,
            "file_bytes": size,
            "digest": bundle.digest(),
            "signature": signature,
            "components": bundle.manifest().components,
        }))?;
    } else {
        render::data(&text(bundle, path, size))?;
    }
    Ok(ExitCode::Ok)
}

/// What was made, for people.
fn text(bundle: &Bundle, path: &Path, size: u64) -> String {
    let app = bundle.app();
    let mut text = format!(
        "{} {}: {}, {}\n{}\n",
        app.name,
        app.version,
        path.display(),
        summary::bytes(size),
        bundle.digest()
    );
    for entry in &bundle.manifest().components {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}  {}", entry.file, summary::bytes(entry.size));
    }
    for entry in &bundle.manifest().data {
        let place = entry.url.as_deref().unwrap_or("included");
        let _ = writeln!(
            text,
            "  {}  {}  {place}",
            entry.name,
            summary::bytes(entry.size)
        );
    }
    text
}

/// Writes a file of some bytes.
pub(super) fn bytes(path: &Path, mode: u32, bytes: &[u8]) -> Result<u64, Failure> {
    whole(path, mode, |out| out.write_all(bytes))
}

fn whole(
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
