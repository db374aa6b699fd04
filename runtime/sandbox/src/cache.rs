//! The cache of compiled components.
//!
//! A compiled component is native code, so only files that this user's runtime wrote are loaded:
//! the directory belongs to the user, is open to nobody else and is no link; files appear by rename
//! and disappear by unlink, never change. The key holds everything that the code depends on.

use crate::Profile;
use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};
use taps_bundle::Digest;
use wasmtime::{Engine, component::Component};

/// Files written by this process.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Bytes of compiled code kept before the files used longest ago are removed.
const CAPACITY_BYTES: u64 = 1 << 30;

/// A directory of compiled components, private to the user.
#[derive(Clone, Debug)]
pub struct AotCache {
    directory: PathBuf,
}

/// Why a directory cannot serve as the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It could not be made or looked at.
    #[error("cache directory {path}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could put code into it.
    #[error("cache directory {path} is not a directory owned by this user with mode 0700")]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
}

impl AotCache {
    /// `$XDG_CACHE_HOME/taps-wasm/aot`, or `~/.cache/taps-wasm/aot`.
    pub fn default_directory() -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let base = variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))?;
        Some(base.join("taps-wasm").join("aot"))
    }

    /// Opens the cache, making the directory when missing.
    pub fn open(directory: &Path) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Io {
            path: directory.to_owned(),
            source,
        };
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        let found = fs::symlink_metadata(directory).map_err(failed)?;
        let private = found.is_dir()
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.permissions().mode().trailing_zeros() >= 6;
        if private {
            Ok(Self {
                directory: directory.to_owned(),
            })
        } else {
            Err(CacheError::NotPrivate {
                path: directory.to_owned(),
            })
        }
    }

    /// Where the cache is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The compiled component, from the cache or, after `compiling` was told, compiled now and stored. A cache that cannot be
    /// written only costs time.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        profile: Profile,
        digest: Digest,
        wasm: &[u8],
        compiling: impl FnOnce(),
    ) -> wasmtime::Result<Component> {
        let path = self.directory.join(key(engine, profile, digest));
        if let Some(component) = read(engine, &path) {
            return Ok(component);
        }
        compiling();
        let code = engine.precompile_component(wasm)?;
        if self.write(&path, &code).is_ok()
            && let Some(component) = read(engine, &path)
        {
            return Ok(component);
        }
        Component::new(engine, wasm)
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        self.evict(code.len() as u64)?;
        // A name of its own for every writer: what is loaded must never be written again.
        let temporary = path.with_extension(format!(
            "tmp-{}-{}-{}",
            std::process::id(),
            WRITTEN.fetch_add(1, Ordering::Relaxed),
            since_1970().as_nanos()
        ));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(code)?;
                // On the disk before it has its name: a crash must not leave half of it there.
                file.sync_data()
            });
        written
            .and_then(|()| fs::rename(&temporary, path))
            .inspect_err(|_| {
                let _ = fs::remove_file(&temporary);
            })
    }

    /// Removes the files used longest ago until `coming` more bytes fit.
    fn evict(&self, coming: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Others evict too: what is gone needs no room.
            if let Ok(metadata) = entry.metadata()
                && !metadata.is_dir()
            {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = coming + files.iter().map(|(_, len, _)| len).sum::<u64>();
        for (_, len, path) in files {
            if total <= CAPACITY_BYTES {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= len,
            }
        }
        Ok(())
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn read(engine: &Engine, path: &Path) -> Option<Component> {
    let found = fs::symlink_metadata(path).ok()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    // A failure to mark the use only makes eviction less exact.
    let _ = fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    crate::trusted::deserialize(engine, path).ok()
}

/// File name: component, wasmtime version, engine settings, profile, target and CPU features
/// (the last three are within wasmtime's compatibility hash as well).
fn key(engine: &Engine, profile: Profile, digest: Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!(
        "{}-48.0.8-{}-{:016x}.cwasm",
        digest.to_hex(),
        profile.name(),
        hasher.finish()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_or_linked_directory_is_refused() {
        let base = tempfile::tempdir().expect("temporary directory");
        let shared = base.path().join("shared");
        fs::create_dir(&shared).expect("made");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).expect("opened up");
        assert!(matches!(
            AotCache::open(&shared),
            Err(CacheError::NotPrivate { .. })
        ));
        let private = base.path().join("deep/private");
        AotCache::open(&private).expect("made private");
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&private, &link).expect("linked");
        assert!(matches!(
            AotCache::open(&link),
            Err(CacheError::NotPrivate { .. })
        ));
    }
}
