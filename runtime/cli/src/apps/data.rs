//! The data of bundles, laid out as files that a run can grant.

use super::{BundleCache, places};
use crate::download::download;
use crate::exit::{ExitCode, Failure};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};
use taps_bundle::{Bundle, DataEntry, Digest};
use taps_config::{BUNDLE_DATA, Resolved};

/// A directory in which the data of a bundle lies under its names.
pub(crate) struct LaidOut {
    directory: PathBuf,
    /// Removed at the end, where there is no cache.
    _temporary: Option<tempfile::TempDir>,
}

impl LaidOut {
    /// Lays out what the configuration of a run names; none when it names nothing.
    pub(crate) fn for_run(resolved: &Resolved, bundle: &Bundle) -> Result<Option<Self>, Failure> {
        let named: Vec<&str> = resolved
            .grants
            .iter()
            .filter_map(|grant| grant.host_path.to_str()?.strip_prefix(BUNDLE_DATA))
            .collect();
        if named.is_empty() {
            return Ok(None);
        }
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            let app = &bundle.app().name;
            Failure::new(ExitCode::Bundle, format!("data of {app}: {what}: {error}"))
        };
        let digest = bundle.digest();
        let (directory, temporary) = if let Ok(cache) = BundleCache::open() {
            (cache.data(&digest), None)
        } else {
            let made = tempfile::tempdir().map_err(|error| failed("make a directory", &error))?;
            (made.path().to_owned(), Some(made))
        };
        let laid_out = Self {
            directory,
            _temporary: temporary,
        };
        let data = &bundle.own_manifest().data;
        for entry in data.iter().filter(|entry| is_named(&named, &entry.name)) {
            laid_out
                .place(bundle, entry, resolved.switches.locked)
                .map_err(|error| failed(&entry.name, &error))?;
        }
        Ok(Some(laid_out))
    }

    /// The path of what a configuration names; of anything else, itself.
    pub(crate) fn path(&self, named: &Path) -> PathBuf {
        match named
            .to_str()
            .and_then(|text| text.strip_prefix(BUNDLE_DATA))
        {
            Some(name) => self.directory.join(name.trim_matches('/')),
            None => named.to_owned(),
        }
    }

    fn place(&self, bundle: &Bundle, entry: &DataEntry, locked: bool) -> io::Result<()> {
        let inside = Path::new(&entry.name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(io::Error::other("it lies outside of the bundle"));
        }
        let path = self.directory.join(&entry.name);
        if path.metadata().is_ok_and(|found| found.len() == entry.size) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        places::write_whole(&path, |file| {
            match (bundle.data(&entry.name), &entry.url) {
                (Some(bytes), _) => {
                    check(Digest::of(bytes), entry)?;
                    file.write_all(bytes)?;
                }
                (None, Some(url)) if locked => {
                    let text = format!("it is at {url}, and --locked fetches nothing");
                    return Err(io::Error::other(text));
                }
                (None, Some(url)) => fetch(url, entry, file)?,
                (None, None) => return Err(io::Error::other("the bundle lacks it")),
            }
            // Always the same, so that a run that is resumed finds the file that it knew.
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))?;
            file.set_permissions(fs::Permissions::from_mode(0o400))
        })
    }
}

/// Whether the configuration names a blob, or a directory above it.
fn is_named(named: &[&str], blob: &str) -> bool {
    named.iter().any(|named| {
        let prefix = named.strip_suffix('/');
        prefix.map_or(blob == *named, |prefix| {
            prefix.is_empty() || blob.starts_with(*named)
        })
    })
}

/// Fetches a blob, no more than it may be long, and checks it.
fn fetch(url: &str, entry: &DataEntry, file: &mut File) -> io::Result<()> {
    let mut hashed = Hashed {
        file,
        hasher: Sha256::new(),
    };
    download(url, &mut hashed, Some(entry.size))?;
    check(Digest::from_bytes(hashed.hasher.finalize().into()), entry)
}

fn check(found: Digest, entry: &DataEntry) -> io::Result<()> {
    if found == entry.digest {
        return Ok(());
    }
    let text = format!(
        "it has digest {found}, but the manifest says {}",
        entry.digest
    );
    Err(io::Error::other(text))
}

/// A file that is hashed as it is written.
struct Hashed<'a> {
    file: &'a mut File,
    hasher: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_blob_and_a_prefix_is_all_below() {
        assert!(is_named(&["words.txt"], "words.txt"));
        assert!(!is_named(&["words"], "words.txt"));
        assert!(is_named(&["books/"], "books/one.txt"));
        assert!(!is_named(&["books/"], "bookstore/one.txt"));
        assert!(is_named(&["/"], "anything/at/all"));
    }
}
