//! What was found out about files of apps, so that it is found out once.
//!
//! A bare component has to be compiled and run to say what it is; an archive has to be unpacked. Both answers are
//! kept: the first by the digest of the component, the second by what the file looks like from outside.

use super::places;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use taps_bundle::Digest;
use taps_schema::AppDescription;

/// Answers of another version may lack something.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The file of a component's description.
fn description_file(digest: &Digest) -> Option<PathBuf> {
    let directory = places::cache()?.join("described");
    Some(directory.join(format!("{}.json", digest.to_hex())))
}

#[derive(Serialize, Deserialize)]
struct Described {
    version: String,
    app: AppDescription,
}

/// What the component of that digest said that it is, if it was asked before.
pub(super) fn described(component: &Digest) -> Option<AppDescription> {
    let path = description_file(component)?;
    // Whoever could write there could make a component seem another.
    places::private(path.parent()?).ok()?;
    let described: Described = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (described.version == VERSION).then_some(described.app)
}

/// Keeps what a component said that it is. Where that cannot be written it is asked again.
pub(super) fn remember_description(component: &Digest, app: &AppDescription) {
    let Some(path) = description_file(component) else {
        return;
    };
    let described = Described {
        version: VERSION.to_owned(),
        app: app.clone(),
    };
    let private = path.parent().map(places::private);
    if private.is_some_and(|made| made.is_ok()) {
        let _ = places::write_whole(&path, |file| {
            serde_json::to_writer(file, &described).map_err(io::Error::other)
        });
    }
}

/// A file as it looks from outside. One that looks the same has not changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    size: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Look {
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Ok(Self {
            size: found.len(),
            inode: found.ino(),
            modified_ns: ns(found.mtime(), found.mtime_nsec()),
            changed_ns: ns(found.ctime(), found.ctime_nsec()),
        })
    }
}

/// What is known of an app in a directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    /// What it is, with the defaults of its bundle.
    pub(super) app: AppDescription,
    /// Digest of the bundle.
    pub(super) digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    look: Look,
    /// Or why it cannot be used.
    found: Result<Known, String>,
}

/// Answers by path, read once and written when they changed.
#[derive(Debug, Default)]
pub(super) struct Memo {
    seen: BTreeMap<PathBuf, Seen>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: String,
    seen: BTreeMap<PathBuf, Seen>,
}

fn memo_file() -> Option<PathBuf> {
    Some(places::cache()?.join("described").join("catalogue.json"))
}

impl Memo {
    /// What is remembered; nothing where it cannot be read.
    pub(super) fn open() -> Self {
        let read = || {
            let path = memo_file()?;
            if !path.exists() {
                return None;
            }
            places::private(path.parent()?).ok()?;
            let file: File = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
            (file.version == VERSION).then_some(file.seen)
        };
        Self {
            seen: read().unwrap_or_default(),
            changed: false,
        }
    }

    /// What is at a path: remembered if it looks as it did, else found out.
    pub(super) fn look(
        &mut self,
        path: &Path,
        look: Look,
        find_out: impl FnOnce() -> Result<Known, String>,
    ) -> Result<Known, String> {
        if let Some(seen) = self.seen.get(path)
            && seen.look == look
        {
            return seen.found.clone();
        }
        let found = find_out();
        let seen = Seen {
            look,
            found: found.clone(),
        };
        self.seen.insert(path.to_owned(), seen);
        self.changed = true;
        found
    }

    /// Writes what changed; files that are gone are forgotten. Where that fails it is found out again.
    pub(super) fn close(mut self) {
        if !self.changed {
            return;
        }
        self.seen.retain(|path, _| path.exists());
        let Some(path) = memo_file() else {
            return;
        };
        let file = File {
            version: VERSION.to_owned(),
            seen: self.seen,
        };
        if path
            .parent()
            .is_some_and(|parent| places::private(parent).is_ok())
        {
            let _ = places::write_whole(&path, |out| {
                serde_json::to_writer(out, &file).map_err(io::Error::other)
            });
        }
    }
}
