//! Where bundles go, and what is said of them.

use crate::exit::{ExitCode, Failure};
use crate::{new_file, render, summary};
use std::{
    fmt::Write as _,
    io,
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
    new_file::write(path, 0o644, |out| {
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
