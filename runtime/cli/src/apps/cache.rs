//! The bundles that are kept on this machine.
//!
//! A directory of archives that only the user can look into, each named by its digest, so that a name can never
//! come to stand for other bytes. Archives are not compressed: they are loaded at the start of runs.

use super::{
    places,
    signatures::{self, signature_path},
};
use crate::exit::{ExitCode, Failure};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use taps_bundle::{Bundle, Digest, Packing, sign::SignatureFile};

/// Which reference stood for which bundle when it was pulled.
const REFERENCES: &str = "refs.json";

/// The directory of bundles.
#[derive(Clone, Debug)]
pub(crate) struct BundleCache {
    directory: PathBuf,
}

/// A bundle that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its digest.
    pub(crate) digest: Digest,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it was pulled as, sorted.
    pub(crate) references: Vec<String>,
}

impl BundleCache {
    /// The cache of the user, made when missing.
    pub(crate) fn open() -> Result<Self, Failure> {
        let Some(cache) = places::cache() else {
            let error = "no place to keep bundles: neither XDG_CACHE_HOME nor HOME is set";
            return Err(Failure::new(ExitCode::Bundle, error));
        };
        Self::at(cache.join("bundles"))
    }

    fn at(directory: PathBuf) -> Result<Self, Failure> {
        places::private(&directory)
            .map_err(|error| failed("keep bundles in", &directory, &error))?;
        Ok(Self { directory })
    }

    /// The cache of the user, if there is one that can be trusted.
    pub(crate) fn existing() -> Option<Self> {
        let directory = places::cache()?.join("bundles");
        if !directory.is_dir() {
            return None;
        }
        Self::at(directory).ok()
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the data of a bundle is laid out.
    pub(crate) fn data(&self, digest: &Digest) -> PathBuf {
        self.directory.join("data").join(name(digest))
    }

    /// Where downloads are kept while they are not whole.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.directory.join("downloads")
    }

    /// The archive of a bundle, whether it is kept or not.
    fn archive(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{}.taps", name(digest)))
    }

    /// Keeps a bundle; what it was pulled as, and its signatures, if there are any, go with it.
    pub(crate) fn add(
        &self,
        bundle: &Bundle,
        reference: Option<&str>,
        signatures: Option<&SignatureFile>,
    ) -> Result<Digest, Failure> {
        let digest = bundle.digest();
        let path = self.archive(&digest);
        let written = |error: io::Error| failed("write", &path, &error);
        if !path.is_file() {
            places::write_whole(&path, |file| {
                let packed = bundle.pack(io::BufWriter::new(file), Packing::Plain);
                packed.map_err(io::Error::other)
            })
            .map_err(written)?;
        }
        if let Some(signatures) = signatures {
            let mut all = match self.signatures(&digest) {
                Some(known) => known,
                None => signatures.clone(),
            };
            all.merge(signatures.clone())
                .map_err(|error| Failure::new(ExitCode::Bundle, error))?;
            places::write_whole(&signature_path(&path), |file| {
                io::Write::write_all(file, all.to_json().as_bytes())
            })
            .map_err(written)?;
        }
        if let Some(reference) = reference {
            self.change_references(|references| {
                references.insert(reference.to_owned(), digest);
            })?;
        }
        Ok(digest)
    }

    /// All that is kept, by digest.
    pub(crate) fn list(&self) -> Result<Vec<Kept>, Failure> {
        let unreadable = |error: io::Error| failed("read", &self.directory, &error);
        let references = self.references()?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let Some(digest) = digest_of(&path) else {
                continue;
            };
            let names = references.iter().filter(|(_, found)| **found == digest);
            kept.push(Kept {
                digest,
                references: names.map(|(name, _)| name.clone()).collect(),
                path,
            });
        }
        kept.sort_by_key(|kept| kept.digest);
        Ok(kept)
    }

    /// A bundle that is kept, checked anew; none when it is not.
    pub(crate) fn load(&self, digest: &Digest) -> Result<Option<Bundle>, Failure> {
        let path = self.archive(digest);
        if !path.is_file() {
            return Ok(None);
        }
        let bundle = Bundle::from_archive(&path)
            .map_err(|error| Failure::new(ExitCode::Bundle, error).hint(damaged(digest)))?;
        let found = bundle.digest();
        if found != *digest {
            let error = format!("{} holds the bundle {found}", path.display());
            return Err(Failure::new(ExitCode::Bundle, error).hint(damaged(digest)));
        }
        Ok(Some(bundle))
    }

    /// The signatures of a bundle that is kept.
    pub(crate) fn signatures(&self, digest: &Digest) -> Option<SignatureFile> {
        signatures::read(&signature_path(&self.archive(digest))).ok()?
    }

    /// The bundle that a reference stood for when it was pulled last.
    pub(crate) fn referred(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        let found = self.references()?.get(reference).copied();
        Ok(found.filter(|digest| self.archive(digest).is_file()))
    }

    /// Removes a bundle, its signatures, its data and the references to it.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), Failure> {
        self.change_references(|references| references.retain(|_, found| found != digest))?;
        let data = self.data(digest);
        let removed = make_writable(&data).and_then(|()| ignore_missing(fs::remove_dir_all(&data)));
        removed.map_err(|error| failed("remove", &data, &error))?;
        let archive = self.archive(digest);
        for path in [signature_path(&archive), archive] {
            ignore_missing(fs::remove_file(&path))
                .map_err(|error| failed("remove", &path, &error))?;
        }
        Ok(())
    }

    /// Removes all bundles.
    pub(crate) fn clear(&self) -> Result<usize, Failure> {
        let kept = self.list()?;
        for kept in &kept {
            self.remove(&kept.digest)?;
        }
        let downloads = self.downloads();
        ignore_missing(fs::remove_dir_all(&downloads))
            .map_err(|error| failed("remove", &downloads, &error))?;
        Ok(kept.len())
    }

    fn references(&self) -> Result<BTreeMap<String, Digest>, Failure> {
        let path = self.directory.join(REFERENCES);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        serde_json::from_slice(&text).map_err(|error| {
            failed("read", &path, &io::Error::other(error))
                .hint("remove that file: references are kept anew when bundles are pulled")
        })
    }

    fn change_references(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Digest>),
    ) -> Result<(), Failure> {
        let path = self.directory.join(REFERENCES);
        let written = |error: io::Error| failed("write", &path, &error);
        let _lock = places::lock(&self.directory).map_err(written)?;
        let before = self.references()?;
        let mut references = before.clone();
        change(&mut references);
        if references == before {
            return Ok(());
        }
        places::write_whole(&path, |file| {
            serde_json::to_writer_pretty(file, &references).map_err(io::Error::other)
        })
        .map_err(written)
    }
}

/// Name of what belongs to a bundle. No colon: it separates directories elsewhere.
fn name(digest: &Digest) -> String {
    format!("sha256-{}", digest.to_hex())
}

/// The digest that the name of an archive says.
fn digest_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("sha256-")?.strip_suffix(".taps")?;
    Digest::from_hex(digits).ok()
}

fn damaged(digest: &Digest) -> String {
    format!(
        "what is kept is damaged: `taps-wasm bundle cache remove {digest}`, and bring it here again"
    )
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Data lies in directories without permission to write, which cannot be emptied as they are.
fn make_writable(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !directory.is_dir() {
        return Ok(());
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    let error = format!("{what} {}: {error}", path.display());
    Failure::new(ExitCode::Bundle, error)
}
