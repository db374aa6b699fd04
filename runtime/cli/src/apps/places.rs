//! Where this program keeps what belongs to the user, and how it writes there.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Files written by this process.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// `$NAME/taps-wasm`, or `~/FALLBACK/taps-wasm`.
fn base(name: &str, fallback: &str) -> Option<PathBuf> {
    let named = variable(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = named.or_else(|| variable("HOME").map(|home| Path::new(&home).join(fallback)))?;
    Some(base.join("taps-wasm"))
}

/// What can be made again: compiled code, bundles, descriptions.
pub(crate) fn cache() -> Option<PathBuf> {
    base("XDG_CACHE_HOME", ".cache")
}

/// What the user decided: known keys, bundles that were allowed.
pub(crate) fn config() -> Option<PathBuf> {
    base("XDG_CONFIG_HOME", ".config")
}

/// Directories in which apps are found by name: `$TAPS_WASM_APPS`, separated by colons, else `apps` in the user's
/// data directory.
pub(crate) fn apps() -> Vec<PathBuf> {
    if let Some(named) = variable("TAPS_WASM_APPS") {
        return std::env::split_paths(&named)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
    }
    let data = base("XDG_DATA_HOME", ".local/share");
    data.map(|data| data.join("apps")).into_iter().collect()
}

/// Makes a directory that only this user can look into, or checks that it is one.
pub(crate) fn private(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_private(directory)? {
        return Ok(());
    }
    let text = format!(
        "{} is not a directory owned by this user with mode 0700",
        directory.display()
    );
    Err(io::Error::other(text))
}

/// Whether it is a directory, and no link, that nobody else can look into.
fn is_private(directory: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(directory)?;
    Ok(found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.permissions().mode().trailing_zeros() >= 6)
}

/// Whether nobody but this user can have written it.
pub(crate) fn is_own(path: &Path) -> io::Result<bool> {
    let found = fs::metadata(path)?;
    Ok(found.uid() == rustix::process::geteuid().as_raw()
        && found.permissions().mode() & 0o022 == 0)
}

/// Writes a whole file or none: under another name first, for the owner only.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_added_extension(format!("tmp-{}-{number}", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            write(&mut file)?;
            file.flush()?;
            file.sync_data()
        });
    written
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
}

/// Holds a lock in a directory until dropped: for a file that is read, changed and written.
pub(crate) fn lock(directory: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(directory.join(".lock"))?;
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        write_whole(&path, |file| file.write_all(b"one")).expect("written");
        let failed = write_whole(&path, |file| {
            file.write_all(b"tw")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("read"), b"one");
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 1);
    }

    #[test]
    fn a_directory_that_others_see_is_not_private() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let private_one = directory.path().join("deep/private");
        private(&private_one).expect("made");
        private(&private_one).expect("found");
        fs::set_permissions(&private_one, fs::Permissions::from_mode(0o750)).expect("opened");
        assert!(private(&private_one).is_err());
    }
}
