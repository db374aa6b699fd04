//! All apps that can be named: built in, in the user's directories, in the cache of bundles.

use super::{
    BundleCache, described, load,
    memo::{Known, Look, Memo},
    places,
};
use crate::exit::causes;
use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
};
use taps_bundle::{Bundle, Digest, MANIFEST_FILE};
use taps_config::has_extension;
use taps_schema::AppDescription;

/// An app that can be named.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What it is, with the defaults of its bundle.
    pub(crate) app: AppDescription,
    /// Where it is.
    pub(crate) place: Place,
    /// Where another app of its name is, which the name stands for.
    pub(crate) hidden_by: Option<Place>,
}

/// Where an app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Inside of this program.
    BuiltIn,
    /// In a directory of apps.
    Directory(PathBuf),
    /// In the cache of bundles; what it was pulled as.
    Cache(Digest, Vec<String>),
}

/// A file among the apps that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Why not.
    pub(crate) reason: String,
}

/// All that can be named, in the order in which names are looked up.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub(crate) entries: Vec<Entry>,
    pub(crate) broken: Vec<Broken>,
}

impl Place {
    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::BuiltIn => "built in".to_owned(),
            Self::Directory(path) => path.display().to_string(),
            Self::Cache(digest, references) => match references.first() {
                Some(reference) => format!("cache, from {reference}"),
                None => format!("cache, {}", short(digest)),
            },
        }
    }
}

/// The first digits of a digest.
pub(crate) fn short(digest: &Digest) -> String {
    format!("sha256:{}", &digest.to_hex()[..12])
}

impl Catalogue {
    /// Looks everywhere. What is broken is told, and disturbs nothing else.
    pub(crate) fn read(built_in: &[Bundle]) -> Self {
        let mut catalogue = Self::default();
        for bundle in built_in {
            catalogue.add(bundle.app().clone(), Place::BuiltIn);
        }
        let mut memo = Memo::open();
        for directory in places::apps() {
            catalogue.directory(&directory, &mut memo);
        }
        if let Some(cache) = BundleCache::existing() {
            catalogue.cache(&cache, &mut memo);
        }
        memo.close();
        catalogue
    }

    /// What a name stands for, or `NAME:VERSION`.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        let (name, version) = match name.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (name, None),
        };
        self.entries.iter().find(|entry| {
            same_name(&entry.app.name, name)
                && version.is_none_or(|version| entry.app.version == version)
        })
    }

    /// A broken file that would have that name.
    pub(crate) fn broken_as(&self, name: &str) -> Option<&Broken> {
        self.broken.iter().find(|broken| {
            let stem = broken.path.file_stem().unwrap_or_default();
            same_name(&stem.to_string_lossy(), name)
        })
    }

    fn add(&mut self, app: AppDescription, place: Place) {
        let first = self
            .entries
            .iter()
            .find(|entry| same_name(&entry.app.name, &app.name));
        self.entries.push(Entry {
            hidden_by: first.map(|first| first.place.clone()),
            app,
            place,
        });
    }

    fn broken(&mut self, path: &Path, reason: String) {
        self.broken.push(Broken {
            path: path.to_owned(),
            reason,
        });
    }

    /// The bundles and components in a directory, by file name. One that is not there has none.
    fn directory(&mut self, directory: &Path, memo: &mut Memo) {
        if !directory.exists() {
            return;
        }
        let paths = fs::read_dir(directory).and_then(|entries| {
            let paths = entries.map(|entry| Ok(entry?.path()));
            paths.collect::<std::io::Result<Vec<_>>>()
        });
        let mut paths = match paths {
            Ok(paths) => paths,
            Err(error) => return self.broken(directory, error.to_string()),
        };
        paths.sort();
        for path in paths.into_iter().filter(|path| may_be_app(path)) {
            // Links of the user are followed: the target is what counts.
            let manifest = path.join(MANIFEST_FILE);
            let looked = if path.is_dir() { &manifest } else { &path };
            match Look::at(looked) {
                Ok(look) => match memo.look(&path, look, || know(&path)) {
                    Ok(known) => self.add(known.app, Place::Directory(path)),
                    Err(reason) => self.broken(&path, reason),
                },
                Err(error) => self.broken(&path, error.to_string()),
            }
        }
    }

    /// The bundles of the cache, of each name the newest version first.
    fn cache(&mut self, cache: &BundleCache, memo: &mut Memo) {
        let kept = match cache.list() {
            Ok(kept) => kept,
            Err(failure) => return self.broken(cache.directory(), failure.message()),
        };
        let mut found = Vec::new();
        for kept in kept {
            let look = match Look::at(&kept.path) {
                Ok(look) => look,
                Err(error) => {
                    self.broken(&kept.path, error.to_string());
                    continue;
                }
            };
            match memo.look(&kept.path, look, || know(&kept.path)) {
                Ok(known) if known.digest == kept.digest => {
                    let place = Place::Cache(kept.digest, kept.references);
                    found.push((known.app, place));
                }
                Ok(known) => {
                    let reason = format!("it holds the bundle {}", known.digest);
                    self.broken(&kept.path, reason);
                }
                Err(reason) => self.broken(&kept.path, reason),
            }
        }
        found.sort_by(|(a, _), (b, _)| {
            let key = |app: &AppDescription| Reverse(parts(&app.version));
            (&a.name, key(a)).cmp(&(&b.name, key(b)))
        });
        for (app, place) in found {
            self.add(app, place);
        }
    }
}

/// Whether a name is an app's, but for case, dashes and underscores.
pub(super) fn same_name(app: &str, name: &str) -> bool {
    app.eq_ignore_ascii_case(&name.replace('_', "-"))
}

/// A version as numbers and words that can be compared: 1.10 is newer than 1.9, and 1.0 than 1.0-beta.
fn parts(version: &str) -> (Vec<u64>, bool, String) {
    let (numbers, rest) = match version.find(['-', '+']) {
        Some(at) => version.split_at(at),
        None => (version, ""),
    };
    let numbers = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.collect(), !rest.starts_with('-'), rest.to_owned())
}

fn may_be_app(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with('.') {
        return false;
    }
    if path.is_dir() {
        return path.join(MANIFEST_FILE).is_file();
    }
    has_extension(path, "taps") || has_extension(path, "wasm")
}

fn know(path: &Path) -> Result<Known, String> {
    let bundle = load(path).map_err(|failure| {
        // Who calls names the path.
        causes(failure.error.as_ref())
            .into_iter()
            .skip(1)
            .collect::<Vec<_>>()
            .join(": ")
    })?;
    Ok(Known {
        app: described(&bundle),
        digest: bundle.digest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (older, newer) in [
            ("1.9.0", "1.10.0"),
            ("1.0.0-beta", "1.0.0"),
            ("0.1", "0.1.1"),
            ("1.0.0-alpha", "1.0.0-beta"),
        ] {
            assert!(parts(older) < parts(newer), "{older} {newer}");
        }
    }
}
