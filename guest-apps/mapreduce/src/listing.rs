//! Which files there are, and which map task takes which.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use taps::{Engine, Error, InputDir, Payload, Result};

/// What opening a file costs, in bytes read: chunks of many small files are balanced, too.
const OPENING_BYTES: u64 = 16 << 10;

/// All regular files below the directory, recursively, sorted by the bytes of their paths, each
/// proven readable.
///
/// A link to a file counts as a file. A link to a directory is left out with a warning: it may
/// lead in a circle. Pipes, sockets and devices are left out. Whatever cannot be read is an error
/// that names it, before any task is submitted.
pub(crate) fn input_files(engine: &Engine, directory: &InputDir) -> Result<Vec<Payload>> {
    let root = Path::new(directory.path());
    let paths = list(root)?;
    if paths.is_empty() {
        let expected = "a directory with at least one file below it";
        return Err(Error::config("data_dir", directory, expected));
    }
    paths
        .iter()
        .map(|path| {
            let text = path
                .to_str()
                .ok_or_else(|| unreadable(root, path, "its name is not UTF-8"))?;
            let payload = engine
                .input_file(text)
                .map_err(|error| unreadable(root, path, error))?;
            // A file may be there and yet not be readable: the first byte tells.
            payload
                .read_into(0, &mut [0])
                .map_err(|error| unreadable(root, path, error))?;
            Ok(payload)
        })
        .collect()
}

fn list(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let failed = |error| unreadable(root, &directory, error);
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let failed = |error| unreadable(root, &path, error);
            let link = path.symlink_metadata().map_err(failed)?;
            let target = if link.is_symlink() {
                path.metadata().map_err(failed)?
            } else {
                link.clone()
            };
            if target.is_file() {
                files.push(path);
            } else if link.is_dir() {
                directories.push(path);
            } else if target.is_dir() {
                taps::warn!("{}: a link to a directory, left out", path.display());
            }
        }
    }
    files.sort_unstable_by(|a, b| {
        let bytes = |path: &PathBuf| path.as_os_str().as_encoded_bytes().to_owned();
        bytes(a).cmp(&bytes(b))
    });
    Ok(files)
}

/// The error of something that cannot be read: named by its path below the directory.
fn unreadable(root: &Path, path: &Path, reason: impl std::fmt::Display) -> Error {
    let (value, what) = match path.strip_prefix(root) {
        Ok(below) if !below.as_os_str().is_empty() => (below, "every file below it"),
        _ => (path, "a directory"),
    };
    Error::config(
        "data_dir",
        value.display(),
        format!("{what} to be readable ({reason})"),
    )
}

/// Spreads files over at most `chunks` chunks so that none has much more to read than another:
/// the largest file first, each to the chunk with the least so far. Within a chunk files keep
/// their order. No chunk is empty.
pub(crate) fn balance(sizes: &[u64], chunks: usize) -> Vec<Vec<usize>> {
    let mut largest_first: Vec<usize> = (0..sizes.len()).collect();
    largest_first.sort_by_key(|file| Reverse(sizes[*file]));
    let mut result = vec![Vec::new(); chunks.min(sizes.len())];
    let mut loads: BinaryHeap<_> = (0..result.len()).map(|chunk| Reverse((0, chunk))).collect();
    for file in largest_first {
        if let Some(mut least) = loads.peek_mut() {
            let Reverse((load, chunk)) = &mut *least;
            result[*chunk].push(file);
            *load += sizes[file].saturating_add(OPENING_BYTES);
        }
    }
    for chunk in &mut result {
        chunk.sort_unstable();
    }
    result
}
