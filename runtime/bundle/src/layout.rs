//! A bundle as blobs: what an archive holds, and what a registry is sent.

mod reading;

use crate::{
    Bundle, Digest, Manifest, imports,
    oci::{self, Annotations, Descriptor, ImageManifest, Index, WasmComponent, WasmConfig},
};
use std::{borrow::Cow, collections::HashSet, sync::Arc};

/// A blob with its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Cow<'a, [u8]>,
}

/// One artifact of a bundle: its manifest, a component, or a blob of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact<'a> {
    /// The image manifest, which refers to the others.
    pub manifest: Blob<'a>,
    /// The config.
    pub config: Blob<'a>,
    /// The only layer.
    pub layer: Blob<'a>,
}

/// Everything that a bundle consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout<'a> {
    /// The index, whose digest is that of the bundle.
    pub index: Blob<'a>,
    /// What it refers to: the manifest of the bundle, the components, the data.
    pub artifacts: Vec<Artifact<'a>>,
}

impl Layout<'_> {
    /// All blobs, each once, what is referred to before what refers to it: the index comes last.
    pub fn blobs(&self) -> Vec<&Blob<'_>> {
        let mut seen = HashSet::new();
        self.artifacts
            .iter()
            .flat_map(|artifact| [&artifact.config, &artifact.layer, &artifact.manifest])
            .chain([&self.index])
            .filter(|blob| seen.insert(blob.descriptor.digest))
            .collect()
    }

    /// All blobs, each once, what refers before what it refers to: the index comes first.
    pub fn by_reference(&self) -> Vec<&Blob<'_>> {
        let mut seen = HashSet::new();
        [&self.index]
            .into_iter()
            .chain(self.artifacts.iter().map(|artifact| &artifact.manifest))
            .chain(self.artifacts.iter().map(|artifact| &artifact.config))
            .chain(self.artifacts.iter().map(|artifact| &artifact.layer))
            .filter(|blob| seen.insert(blob.descriptor.digest))
            .collect()
    }

    /// Bytes of all blobs together.
    pub fn size(&self) -> u64 {
        self.blobs().iter().map(|blob| blob.descriptor.size).sum()
    }
}

/// The documents of a bundle that was read, so that it keeps its digest whoever wrote it.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) digest: Digest,
    index: (Descriptor, Vec<u8>),
    artifacts: Vec<ArtifactDocuments>,
    /// `manifest.json`.
    manifest: Vec<u8>,
}

#[derive(Clone, Debug)]
struct ArtifactDocuments {
    manifest: (Descriptor, Vec<u8>),
    config: (Descriptor, Vec<u8>),
    layer: Descriptor,
}

fn annotations(pairs: &[(&str, &str)]) -> Annotations {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

impl Documents {
    /// Documents of a bundle that was not read from a layout.
    pub(crate) fn of(manifest: &Manifest, exports: impl Fn(usize) -> Vec<String>) -> Self {
        let text = manifest.to_json().into_bytes();
        let empty = (
            Descriptor::of(oci::EMPTY, oci::EMPTY_BYTES),
            oci::EMPTY_BYTES.to_vec(),
        );
        let mut layer = Descriptor::of(oci::BUNDLE_MANIFEST, &text);
        layer.annotations = annotations(&[(oci::TITLE, crate::MANIFEST_FILE)]);
        let mut artifacts = vec![artifact(Some(oci::BUNDLE_MANIFEST), empty.clone(), layer)];
        for (index, entry) in manifest.components.iter().enumerate() {
            let config = oci::document(&WasmConfig {
                created: "1970-01-01T00:00:00Z".to_owned(),
                architecture: "wasm".to_owned(),
                os: "wasip2".to_owned(),
                layer_digests: vec![entry.digest],
                component: Some(WasmComponent {
                    exports: exports(index),
                    imports: entry.imports.clone(),
                }),
            });
            let config = (Descriptor::of(oci::WASM_CONFIG, &config), config);
            let mut layer = Descriptor::new(oci::WASM, entry.digest, entry.size);
            layer.annotations = annotations(&[(oci::TITLE, &entry.file)]);
            artifacts.push(artifact(None, config, layer));
        }
        for entry in manifest.data.iter().filter(|entry| entry.url.is_none()) {
            let mut layer = Descriptor::new(&entry.media_type, entry.digest, entry.size);
            layer.annotations = annotations(&[(oci::TITLE, &entry.name)]);
            artifacts.push(artifact(Some(oci::DATA), empty.clone(), layer));
        }
        let index = oci::document(&Index {
            schema_version: 2,
            media_type: Some(oci::INDEX.to_owned()),
            artifact_type: Some(oci::BUNDLE.to_owned()),
            manifests: artifacts
                .iter()
                .map(|artifact| artifact.manifest.0.clone())
                .collect(),
            annotations: index_annotations(manifest),
        });
        let digest = Digest::of(&index);
        Self {
            digest,
            index: (Descriptor::index(digest, index.len() as u64), index),
            artifacts,
            manifest: text,
        }
    }

    /// The documents with the bytes of components and data, in the order of the manifest.
    pub(crate) fn layout<'a>(&self, layers: impl Iterator<Item = &'a [u8]>) -> Layout<'a> {
        let owned = |(descriptor, bytes): &(Descriptor, Vec<u8>)| Blob {
            descriptor: descriptor.clone(),
            bytes: Cow::Owned(bytes.clone()),
        };
        let manifest: Cow<'a, [u8]> = Cow::Owned(self.manifest.clone());
        let layers = std::iter::once(manifest).chain(layers.map(Cow::Borrowed));
        let artifacts = self
            .artifacts
            .iter()
            .zip(layers)
            .map(|(documents, bytes)| Artifact {
                manifest: owned(&documents.manifest),
                config: owned(&documents.config),
                layer: Blob {
                    descriptor: documents.layer.clone(),
                    bytes,
                },
            })
            .collect();
        Layout {
            index: owned(&self.index),
            artifacts,
        }
    }
}

fn index_annotations(manifest: &Manifest) -> Annotations {
    let app = &manifest.app;
    let summary = app.summary.lines().next().unwrap_or_default();
    let mut notes = annotations(&[
        (oci::TITLE, &app.name),
        (oci::VERSION, &app.version),
        (oci::DESCRIPTION, summary),
    ]);
    if let Some(licence) = &manifest.licence {
        notes.insert(oci::LICENSES.to_owned(), licence.clone());
    }
    if let Some(sources) = &manifest.sources {
        notes.insert(oci::SOURCE.to_owned(), sources.clone());
    }
    notes
}

/// The image manifest of a config and a layer. That of a component has no artifact type, as the guidance says: its
/// config tells what it is.
fn artifact(
    artifact_type: Option<&str>,
    config: (Descriptor, Vec<u8>),
    layer: Descriptor,
) -> ArtifactDocuments {
    let document = oci::document(&ImageManifest {
        schema_version: 2,
        media_type: Some(oci::MANIFEST.to_owned()),
        artifact_type: artifact_type.map(str::to_owned),
        config: config.0.clone(),
        layers: vec![layer.clone()],
        annotations: Annotations::new(),
    });
    // Its descriptor has no artifact type: skopeo 1.9 drops that, and the index would have another digest.
    let mut descriptor = Descriptor::of(oci::MANIFEST, &document);
    descriptor.annotations = layer.annotations.clone();
    ArtifactDocuments {
        manifest: (descriptor, document),
        config,
        layer,
    }
}

impl Bundle {
    /// All parts of the bundle.
    pub fn layout(&self) -> Layout<'_> {
        self.documents().layout(self.layers())
    }

    /// The digest of the bundle: that of the index of its layout. It does not depend on how the bundle is packed, nor
    /// on what [`Bundle::with_faults`] added.
    pub fn digest(&self) -> Digest {
        self.documents().digest
    }

    fn documents(&self) -> Arc<Documents> {
        let made = self.documents.get_or_init(|| {
            let exports = |index: usize| {
                let entry = &self.own_manifest().components[index];
                let bytes = self.component(index).unwrap_or_default();
                imports::scan(&entry.file, bytes).map_or_else(|_| Vec::new(), |scan| scan.exports)
            };
            Arc::new(Documents::of(self.own_manifest(), exports))
        });
        Arc::clone(made)
    }
}
