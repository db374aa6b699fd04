//! A loaded bundle.

use crate::{
    BundleError, ComponentEntry, DATA_DIRECTORY, Digest, MANIFEST_FILE, Manifest, TaskRoute, check,
    layout::Documents,
};
use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use taps_schema::{AppDescription, TaskDescription};

/// First bytes of a component: the Wasm magic number, and version 13 of layer 1.
pub const COMPONENT_MAGIC: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// Where a bundle came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Built into the program.
    Embedded,
    /// A directory with a manifest.
    Directory(PathBuf),
    /// A single component.
    Component(PathBuf),
    /// A file; `-` for a stream.
    Archive(PathBuf),
    /// A registry, by reference.
    Registry(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("built in"),
            Self::Directory(path) | Self::Component(path) | Self::Archive(path) => {
                path.display().fmt(f)
            }
            Self::Registry(reference) => f.write_str(reference),
        }
    }
}

/// A manifest with its components and data, checked against each other.
#[derive(Clone, Debug)]
pub struct Bundle {
    manifest: Manifest,
    /// What the manifest was before tasks of faults were added.
    own: Option<Arc<Manifest>>,
    components: Vec<Cow<'static, [u8]>>,
    /// Those of the manifest's blobs of data that have no URL, in its order.
    data: Arc<Vec<Cow<'static, [u8]>>>,
    source: Source,
    /// Made when wanted, or as they were read.
    pub(crate) documents: OnceLock<Arc<Documents>>,
}

/// Begins the names of tasks that [`Bundle::with_faults`] adds. No app's task has a colon in its name.
pub const FAULT_PREFIX: &str = "fault:";

impl Bundle {
    /// A bundle of one component whose description is known.
    pub fn from_component(
        description: AppDescription,
        component: Cow<'static, [u8]>,
        digest: Digest,
        source: Source,
    ) -> Result<Self, BundleError> {
        let file = format!("{}.wasm", description.name);
        Self::from_components(description, vec![(file, component, digest)], 0, source)
    }

    /// A bundle of components (file, bytes, digest), the driver's first, whose tasks all live in the
    /// component with the index `tasks_in`.
    pub fn from_components(
        description: AppDescription,
        components: Vec<(String, Cow<'static, [u8]>, Digest)>,
        tasks_in: u32,
        source: Source,
    ) -> Result<Self, BundleError> {
        let routes = (0..description.tasks.len() as u32)
            .map(|task| TaskRoute {
                component: tasks_in,
                task,
            })
            .collect();
        let mut entries = Vec::with_capacity(components.len());
        let mut bytes = Vec::with_capacity(components.len());
        for (file, component, digest) in components {
            entries.push(ComponentEntry::scan(&file, &component, digest)?);
            bytes.push(component);
        }
        Self::from_parts(Manifest::new(description, entries, routes), bytes, source)
    }

    /// A bundle of a manifest and the bytes of its components, in the manifest's order. Neither digests nor imports
    /// are compared: the bytes are the caller's own.
    pub fn from_parts(
        manifest: Manifest,
        components: Vec<Cow<'static, [u8]>>,
        source: Source,
    ) -> Result<Self, BundleError> {
        Self::with_data(manifest, components, Vec::new(), source)
    }

    /// As [`Bundle::from_parts`], with the bytes of the data that has no URL, in the manifest's order.
    pub fn with_data(
        manifest: Manifest,
        components: Vec<Cow<'static, [u8]>>,
        data: Vec<Cow<'static, [u8]>>,
        source: Source,
    ) -> Result<Self, BundleError> {
        let bundle = Self {
            manifest,
            own: None,
            components,
            data: Arc::new(data),
            source,
            documents: OnceLock::new(),
        };
        check::parts(&bundle.manifest, &bundle.components, &bundle.data)?;
        Ok(bundle)
    }

    /// As [`Bundle::with_data`], for what came from elsewhere and is kept as it was; digests are verified already.
    pub(crate) fn from_documents(
        manifest: Manifest,
        components: Vec<Cow<'static, [u8]>>,
        data: Vec<Cow<'static, [u8]>>,
        source: Source,
        documents: Arc<Documents>,
    ) -> Result<Self, BundleError> {
        let bundle = Self::with_data(manifest, components, data, source)?;
        bundle.verify()?;
        // Nothing was made of it yet.
        let _ = bundle.documents.set(documents);
        Ok(bundle)
    }

    /// Loads a directory that holds a `manifest.json`, and verifies every digest. A manifest of format 1 becomes one
    /// of this version.
    pub fn from_directory(directory: &Path) -> Result<Self, BundleError> {
        let path = directory.join(MANIFEST_FILE);
        let text = read(&path)?;
        let mut manifest = Manifest::from_json(&text, &path)?;
        check::paths(&manifest)?;
        let mut components = Vec::with_capacity(manifest.components.len());
        for entry in &manifest.components {
            components.push(read_checked(&directory.join(&entry.file), entry.digest)?);
        }
        let folder = directory.join(DATA_DIRECTORY);
        let mut data = Vec::new();
        for entry in manifest.data.iter().filter(|entry| entry.url.is_none()) {
            data.push(read_checked(&folder.join(&entry.name), entry.digest)?);
        }
        manifest.upgrade(&components)?;
        let source = Source::Directory(directory.to_owned());
        let bundle = Self::with_data(manifest, components, data, source)?;
        bundle.verify()?;
        Ok(bundle)
    }

    /// Writes the bundle as a directory that [`Bundle::from_directory`] reads. What [`Bundle::with_faults`] added is
    /// left out.
    pub fn write_directory(&self, directory: &Path) -> std::io::Result<()> {
        let manifest = self.own_manifest();
        let put = |path: PathBuf, bytes: &[u8]| {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, bytes)
        };
        for (entry, bytes) in manifest.components.iter().zip(&self.components) {
            put(directory.join(&entry.file), bytes)?;
        }
        let folder = directory.join(DATA_DIRECTORY);
        let included = manifest.data.iter().filter(|entry| entry.url.is_none());
        for (entry, bytes) in included.zip(self.data.iter()) {
            put(folder.join(&entry.name), bytes)?;
        }
        put(directory.join(MANIFEST_FILE), manifest.to_json().as_bytes())
    }

    /// Compares the components with what the manifest says of them: imports, exports, and what a pool has to hold.
    /// Done already for every bundle from elsewhere.
    pub fn verify(&self) -> Result<(), BundleError> {
        check::components(self.own_manifest(), &self.components)
    }

    /// The same bundle for a run with faults: the components and tasks of `faults` come after its own,
    /// their names after [`FAULT_PREFIX`], and workers and routes find them as they find any other. What
    /// is said of the app stays as it was: [`Bundle::app`] and [`Bundle::own_manifest`].
    #[must_use]
    pub fn with_faults(mut self, faults: &Self) -> Self {
        let own = self.manifest.clone();
        let added = faults.own_manifest();
        let first = self.components.len() as u32;
        for (entry, bytes) in added.components.iter().zip(&faults.components) {
            self.manifest.components.push(entry.clone());
            self.components.push(bytes.clone());
        }
        for (task, route) in added.app.tasks.iter().zip(&added.routes) {
            self.manifest.app.tasks.push(TaskDescription {
                name: format!("{FAULT_PREFIX}{}", task.name),
                ..task.clone()
            });
            self.manifest.routes.push(TaskRoute {
                component: first + route.component,
                task: route.task,
            });
        }
        self.own.get_or_insert_with(|| Arc::new(own));
        self
    }

    /// The manifest, of everything that a run may execute.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest of the app alone, without what [`Bundle::with_faults`] added: for records.
    pub fn own_manifest(&self) -> &Manifest {
        self.own.as_deref().unwrap_or(&self.manifest)
    }

    /// Description of the app alone.
    pub fn app(&self) -> &AppDescription {
        &self.own_manifest().app
    }

    /// Bytes of a component.
    pub fn component(&self, index: usize) -> Option<&[u8]> {
        self.components.get(index).map(AsRef::as_ref)
    }

    /// Where the bundle came from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// A blob of data that is in the bundle.
    pub fn data(&self, name: &str) -> Option<&[u8]> {
        let included = self
            .own_manifest()
            .data
            .iter()
            .filter(|entry| entry.url.is_none());
        included
            .zip(self.data.iter())
            .find(|(entry, _)| entry.name == name)
            .map(|(_, bytes)| bytes.as_ref())
    }

    /// The same bundle, said to be from elsewhere: a file of a cache is from where it was pulled.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// The app's own components, then its data.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &[u8]> {
        let own = self.own_manifest().components.len();
        let components = self.components.iter().take(own);
        components.chain(self.data.iter()).map(AsRef::as_ref)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BundleError> {
    std::fs::read(path).map_err(|source| BundleError::Read {
        path: path.to_owned(),
        source,
    })
}

fn read_checked(path: &Path, expected: Digest) -> Result<Cow<'static, [u8]>, BundleError> {
    let bytes = read(path)?;
    let found = Digest::of(&bytes);
    if found == expected {
        Ok(Cow::Owned(bytes))
    } else {
        Err(BundleError::Digest {
            name: path.display().to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taps_schema::WIT_VERSION;

    fn description() -> AppDescription {
        AppDescription {
            name: "demo".into(),
            version: "1.0.0".into(),
            wit_version: WIT_VERSION.into(),
            summary: "A demo.".into(),
            driver: false,
            config: vec![],
            tasks: vec![],
            programs: vec![],
            nans: taps_schema::Nans::Canonical,
        }
    }

    fn bundle(bytes: &[u8]) -> Result<Bundle, BundleError> {
        Bundle::from_component(
            description(),
            Cow::Owned(bytes.to_vec()),
            Digest::of(bytes),
            Source::Embedded,
        )
    }

    #[test]
    fn headers_are_told_apart() {
        assert!(bundle(&COMPONENT_MAGIC).is_ok());
        assert!(matches!(bundle(b"hello"), Err(BundleError::NotWasm { .. })));
        assert!(matches!(bundle(b""), Err(BundleError::NotWasm { .. })));
        let core = [0, b'a', b's', b'm', 1, 0, 0, 0];
        assert!(matches!(bundle(&core), Err(BundleError::CoreModule { .. })));
    }

    #[test]
    fn another_wit_version_is_refused_naming_both() {
        let mut app = description();
        app.wit_version = "7.3.0".into();
        let bytes = COMPONENT_MAGIC.to_vec();
        let digest = Digest::of(&bytes);
        let error = Bundle::from_component(app, Cow::Owned(bytes), digest, Source::Embedded)
            .expect_err("incompatible");
        let text = error.to_string();
        assert!(
            text.contains("7.3.0") && text.contains(WIT_VERSION),
            "{text}"
        );
    }

    #[test]
    fn a_directory_round_trips_and_tampering_is_found() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let written = bundle(&COMPONENT_MAGIC).expect("valid");
        written.write_directory(directory.path()).expect("written");
        let read = Bundle::from_directory(directory.path()).expect("read back");
        assert_eq!(read.manifest(), written.manifest());
        let file = directory.path().join("demo.wasm");
        std::fs::write(&file, [&COMPONENT_MAGIC[..], b"x"].concat()).expect("tampered");
        assert!(matches!(
            Bundle::from_directory(directory.path()),
            Err(BundleError::Digest { .. })
        ));
    }

    #[test]
    fn a_manifest_cannot_point_outside_of_its_bundle() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut manifest = bundle(&COMPONENT_MAGIC).expect("valid").manifest().clone();
        manifest.components[0].file = "../secret".into();
        let text = serde_json::to_string(&manifest).expect("serialisable");
        std::fs::write(directory.path().join(MANIFEST_FILE), text).expect("written");
        let error = Bundle::from_directory(directory.path()).expect_err("refused");
        assert!(error.to_string().contains("outside"), "{error}");
    }
}
