//! A loaded bundle.

use crate::{BundleError, ComponentEntry, Digest, MANIFEST_FILE, MANIFEST_FORMAT, Manifest};
use crate::{MemoryProfile, TaskRoute};
use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};
use taps_schema::{AppDescription, TaskDescription, WIT_VERSION};

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
}

/// A manifest with its components, checked against each other.
#[derive(Clone, Debug)]
pub struct Bundle {
    manifest: Manifest,
    /// What the manifest was before tasks of faults were added.
    own: Option<Arc<Manifest>>,
    components: Vec<Cow<'static, [u8]>>,
    source: Source,
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
            entries.push(ComponentEntry {
                file,
                digest,
                memory: MemoryProfile::Auto,
            });
            bytes.push(component);
        }
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            app: description,
            components: entries,
            routes,
        };
        Self::from_parts(manifest, bytes, source)
    }

    /// A bundle of a manifest and the bytes of its components, in the manifest's order.
    pub fn from_parts(
        manifest: Manifest,
        components: Vec<Cow<'static, [u8]>>,
        source: Source,
    ) -> Result<Self, BundleError> {
        Self::check(Self {
            manifest,
            own: None,
            components,
            source,
        })
    }

    /// Loads a directory that holds a `manifest.json`, and verifies every digest.
    pub fn from_directory(directory: &Path) -> Result<Self, BundleError> {
        let path = directory.join(MANIFEST_FILE);
        let text = std::fs::read(&path).map_err(|source| BundleError::Read {
            path: path.clone(),
            source,
        })?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|source| BundleError::Manifest {
                path: path.clone(),
                source,
            })?;
        if manifest.format != MANIFEST_FORMAT {
            return Err(BundleError::Format {
                path,
                found: manifest.format,
                expected: MANIFEST_FORMAT,
            });
        }
        let mut components = Vec::with_capacity(manifest.components.len());
        for entry in &manifest.components {
            components.push(Cow::Owned(read_component(directory, entry)?));
        }
        Self::from_parts(
            manifest,
            components,
            Source::Directory(directory.to_owned()),
        )
    }

    /// Writes the bundle as a directory that [`Bundle::from_directory`] reads.
    pub fn write_directory(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        for (entry, bytes) in self.manifest.components.iter().zip(&self.components) {
            std::fs::write(directory.join(&entry.file), bytes)?;
        }
        let text = serde_json::to_string_pretty(&self.manifest)?;
        std::fs::write(directory.join(MANIFEST_FILE), text + "\n")
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

    fn check(self) -> Result<Self, BundleError> {
        let app = &self.manifest.app;
        if !compatible(&app.wit_version) {
            return Err(BundleError::WitVersion {
                app: app.name.clone(),
                found: app.wit_version.clone(),
                expected: WIT_VERSION,
            });
        }
        for (entry, bytes) in self.manifest.components.iter().zip(&self.components) {
            check_component_header(&entry.file, bytes)?;
        }
        let inconsistent = |reason: String| {
            Err(BundleError::Inconsistent {
                app: app.name.clone(),
                reason,
            })
        };
        if self.manifest.routes.len() != app.tasks.len() {
            return inconsistent(format!(
                "{} tasks but {} routes",
                app.tasks.len(),
                self.manifest.routes.len()
            ));
        }
        for (task, route) in app.tasks.iter().zip(&self.manifest.routes) {
            if route.component as usize >= self.components.len() {
                return inconsistent(format!(
                    "task {} lives in component {}, but there are {}",
                    task.name,
                    route.component,
                    self.components.len()
                ));
            }
            let unknown = task.grants.iter().find(|grant| {
                !app.config
                    .iter()
                    .any(|field| &field.name == *grant && field.kind.is_path())
            });
            if let Some(grant) = unknown {
                return inconsistent(format!(
                    "task {} asks for `{grant}`, which is no path in the configuration",
                    task.name
                ));
            }
        }
        Ok(self)
    }
}

/// Whether a component built against `version` of the interface works with this build:
/// major and minor agree while the major is 0.
fn compatible(version: &str) -> bool {
    let series = |v: &str| v.rsplit_once('.').map(|(series, _)| series.to_owned());
    series(version) == series(WIT_VERSION)
}

/// Checks that bytes start as a component does.
pub fn check_component_header(name: &str, bytes: &[u8]) -> Result<(), BundleError> {
    if bytes.get(..4) != Some(&COMPONENT_MAGIC[..4]) {
        return Err(BundleError::NotWasm {
            name: name.to_owned(),
        });
    }
    if bytes.get(4..8) != Some(&COMPONENT_MAGIC[4..]) {
        return Err(BundleError::CoreModule {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn read_component(directory: &Path, entry: &ComponentEntry) -> Result<Vec<u8>, BundleError> {
    let path = directory.join(&entry.file);
    // A manifest from elsewhere must not make us read outside of its bundle.
    let inside = Path::new(&entry.file)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Err(BundleError::Inconsistent {
            app: directory.display().to_string(),
            reason: format!("component file `{}` lies outside of the bundle", entry.file),
        });
    }
    let bytes = std::fs::read(&path).map_err(|source| BundleError::Read {
        path: path.clone(),
        source,
    })?;
    let found = Digest::of(&bytes);
    if found == entry.digest {
        Ok(bytes)
    } else {
        Err(BundleError::Digest {
            name: path.display().to_string(),
            found: found.to_string(),
            expected: entry.digest.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> AppDescription {
        AppDescription {
            name: "demo".into(),
            version: "1.0.0".into(),
            wit_version: WIT_VERSION.into(),
            summary: "A demo.".into(),
            driver: true,
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
