//! From blobs to a bundle: each is fetched once, and checked before what it refers to.

use super::{ArtifactDocuments, Documents};
use crate::{
    ArchiveLimits, Bundle, BundleError, ComponentEntry, DataEntry, Digest, Manifest, Source,
    oci::{self, Descriptor, ImageManifest, Index, LayoutError, WasmConfig},
};
use std::{borrow::Cow, collections::HashMap, path::Path, sync::Arc};

impl Bundle {
    /// A bundle from its blobs: `fetch` gives the bytes of each, once. Sizes and digests are checked here, and all
    /// that is known of a bundle; documents are fetched before what they refer to.
    pub fn from_layout<E>(
        index: &Descriptor,
        source: Source,
        limits: &ArchiveLimits,
        fetch: impl FnMut(&Descriptor) -> Result<Vec<u8>, E>,
    ) -> Result<Self, BundleError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut fetcher = Fetcher {
            limits,
            total: 0,
            fetch,
            documents: HashMap::new(),
        };
        let (document, index_bytes) = read_index(&mut fetcher, index)?;
        let mut descriptors = document.manifests.iter();
        let count = |expected| LayoutError::Count {
            what: "index",
            digest: index.digest,
            found: document.manifests.len(),
            expected,
        };
        let first = descriptors.next().ok_or_else(|| count(1))?;
        let head = fetcher.artifact(
            "artifact of the manifest",
            first,
            oci::EMPTY,
            oci::BUNDLE_MANIFEST,
        )?;
        if head.layer.size > limits.json {
            return Err(LayoutError::TooLarge {
                what: "manifest",
                digest: head.layer.digest,
                size: head.layer.size,
                limit: limits.json,
            }
            .into());
        }
        let text = fetcher.blob("manifest", &head.layer)?;
        fetcher.documents.insert(head.layer.digest, text.clone());
        let manifest = Manifest::from_json(&text, Path::new(crate::MANIFEST_FILE))?;
        if manifest.format < 2 {
            return Err(BundleError::Inconsistent {
                app: manifest.app.name,
                reason: "format 1 is for directories; a layout has format 2".to_owned(),
            });
        }
        manifest.check()?;
        let included = || manifest.data.iter().filter(|entry| entry.url.is_none());
        let expected = 1 + manifest.components.len() + included().count();
        if document.manifests.len() != expected {
            return Err(count(expected).into());
        }
        let mut artifacts = vec![head];
        for (entry, descriptor) in manifest.components.iter().zip(descriptors.by_ref()) {
            artifacts.push(component_artifact(&mut fetcher, entry, descriptor)?);
        }
        for (entry, descriptor) in included().zip(descriptors) {
            artifacts.push(data_artifact(&mut fetcher, entry, descriptor)?);
        }
        // All that is small is sound; now what may be large.
        let mut layers: Vec<Cow<'static, [u8]>> = Vec::with_capacity(artifacts.len() - 1);
        let mut places: HashMap<Digest, usize> = HashMap::new();
        for artifact in &artifacts[1..] {
            let known = places
                .get(&artifact.layer.digest)
                .map(|at| layers[*at].clone());
            layers.push(match known {
                // Twice the same bytes count twice, as they take up memory twice.
                Some(bytes) => fetcher.again(&artifact.layer, bytes)?,
                None => Cow::Owned(fetcher.blob("layer", &artifact.layer)?),
            });
            places.insert(artifact.layer.digest, layers.len() - 1);
        }
        let data = layers.split_off(manifest.components.len());
        let documents = Documents {
            digest: index.digest,
            // As it would be written: what else a layout said of it is under no digest.
            index: (Descriptor::index(index.digest, index.size), index_bytes),
            artifacts,
            manifest: text,
        };
        Self::from_documents(manifest, layers, data, source, Arc::new(documents))
    }
}

fn read_index<F, E>(
    fetcher: &mut Fetcher<'_, F>,
    index: &Descriptor,
) -> Result<(Index, Vec<u8>), BundleError>
where
    F: FnMut(&Descriptor) -> Result<Vec<u8>, E>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let what = "index";
    same_type(
        what,
        index.digest,
        "mediaType",
        &index.media_type,
        oci::INDEX,
    )?;
    let (document, bytes): (Index, _) = fetcher.document(what, index)?;
    let stated = document.media_type.as_deref().unwrap_or(oci::INDEX);
    same_type(what, index.digest, "mediaType", stated, oci::INDEX)?;
    let kind = document.artifact_type.as_deref().unwrap_or_default();
    same_type(what, index.digest, "artifactType", kind, oci::BUNDLE)?;
    if document.manifests.len() > fetcher.limits.entries {
        return Err(LayoutError::Count {
            what,
            digest: index.digest,
            found: document.manifests.len(),
            expected: fetcher.limits.entries,
        }
        .into());
    }
    Ok((document, bytes))
}

fn component_artifact<F, E>(
    fetcher: &mut Fetcher<'_, F>,
    entry: &ComponentEntry,
    descriptor: &Descriptor,
) -> Result<ArtifactDocuments, BundleError>
where
    F: FnMut(&Descriptor) -> Result<Vec<u8>, E>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let what = "artifact of a component";
    let found = fetcher.artifact(what, descriptor, oci::WASM_CONFIG, oci::WASM)?;
    same_layer(&found.layer, &entry.file, entry.digest, entry.size)?;
    Ok(found)
}

fn data_artifact<F, E>(
    fetcher: &mut Fetcher<'_, F>,
    entry: &DataEntry,
    descriptor: &Descriptor,
) -> Result<ArtifactDocuments, BundleError>
where
    F: FnMut(&Descriptor) -> Result<Vec<u8>, E>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let what = "artifact of data";
    let found = fetcher.artifact(what, descriptor, oci::EMPTY, &entry.media_type)?;
    same_layer(&found.layer, &entry.name, entry.digest, entry.size)?;
    Ok(found)
}

/// Fetches blobs, and checks each against its descriptor.
struct Fetcher<'a, F> {
    limits: &'a ArchiveLimits,
    total: u64,
    fetch: F,
    /// What was fetched and may be wanted again: documents are small.
    documents: HashMap<Digest, Vec<u8>>,
}

impl<F, E> Fetcher<'_, F>
where
    F: FnMut(&Descriptor) -> Result<Vec<u8>, E>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn count(&mut self, from: &Descriptor) -> Result<(), BundleError> {
        self.total = self.total.saturating_add(from.size);
        if self.total > self.limits.total {
            let limit = self.limits.total;
            return Err(LayoutError::TotalTooLarge { limit }.into());
        }
        Ok(())
    }

    /// Bytes that are there, for another descriptor of the same digest.
    fn again(
        &mut self,
        from: &Descriptor,
        bytes: Cow<'static, [u8]>,
    ) -> Result<Cow<'static, [u8]>, BundleError> {
        self.count(from)?;
        if bytes.len() as u64 == from.size {
            return Ok(bytes);
        }
        Err(LayoutError::Size {
            what: "layer",
            digest: from.digest,
            found: bytes.len() as u64,
            expected: from.size,
        }
        .into())
    }

    fn blob(&mut self, what: &'static str, from: &Descriptor) -> Result<Vec<u8>, BundleError> {
        self.count(from)?;
        let digest = from.digest;
        let known = self.documents.get(&digest).cloned();
        let bytes = match known {
            Some(bytes) => bytes,
            None => (self.fetch)(from).map_err(|source| BundleError::Fetch {
                digest,
                source: source.into(),
            })?,
        };
        if bytes.len() as u64 != from.size {
            return Err(LayoutError::Size {
                what,
                digest,
                found: bytes.len() as u64,
                expected: from.size,
            }
            .into());
        }
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(LayoutError::Digest {
                what,
                found,
                expected: digest,
            }
            .into());
        }
        Ok(bytes)
    }

    fn document<T: serde::de::DeserializeOwned>(
        &mut self,
        what: &'static str,
        from: &Descriptor,
    ) -> Result<(T, Vec<u8>), BundleError> {
        let digest = from.digest;
        if from.size > self.limits.json {
            return Err(LayoutError::TooLarge {
                what,
                digest,
                size: from.size,
                limit: self.limits.json,
            }
            .into());
        }
        let bytes = self.blob(what, from)?;
        self.documents.insert(digest, bytes.clone());
        let value = serde_json::from_slice(&bytes).map_err(|source| LayoutError::Json {
            what,
            digest,
            source,
        })?;
        Ok((value, bytes))
    }

    /// The manifest and config of an artifact, whose only layer has the media type.
    fn artifact(
        &mut self,
        what: &'static str,
        from: &Descriptor,
        config_type: &'static str,
        layer_type: &str,
    ) -> Result<ArtifactDocuments, BundleError> {
        same_type(
            what,
            from.digest,
            "mediaType",
            &from.media_type,
            oci::MANIFEST,
        )?;
        let (manifest, bytes): (ImageManifest, _) = self.document(what, from)?;
        let stated = manifest.media_type.as_deref().unwrap_or(oci::MANIFEST);
        same_type(what, from.digest, "mediaType", stated, oci::MANIFEST)?;
        let config = &manifest.config;
        same_type(
            what,
            from.digest,
            "config.mediaType",
            &config.media_type,
            config_type,
        )?;
        let [layer] = manifest.layers.as_slice() else {
            return Err(LayoutError::Count {
                what,
                digest: from.digest,
                found: manifest.layers.len(),
                expected: 1,
            }
            .into());
        };
        same_type(
            what,
            from.digest,
            "layers[0].mediaType",
            &layer.media_type,
            layer_type,
        )?;
        let (value, config_bytes): (serde_json::Value, _) = self.document("config", config)?;
        if config_type == oci::WASM_CONFIG {
            check_config(config.digest, value, layer)?;
        }
        Ok(ArtifactDocuments {
            manifest: (from.clone(), bytes),
            config: (config.clone(), config_bytes),
            layer: layer.clone(),
        })
    }
}

fn same_type(
    what: &'static str,
    digest: Digest,
    field: &'static str,
    found: &str,
    expected: &str,
) -> Result<(), BundleError> {
    if found == expected {
        return Ok(());
    }
    Err(LayoutError::Type {
        what,
        digest,
        field,
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
    .into())
}

/// Checks that the config of a component is one, and is of that layer.
fn check_config(
    digest: Digest,
    value: serde_json::Value,
    layer: &Descriptor,
) -> Result<(), BundleError> {
    let what = "config";
    let config: WasmConfig = serde_json::from_value(value).map_err(|source| LayoutError::Json {
        what,
        digest,
        source,
    })?;
    same_type(what, digest, "architecture", &config.architecture, "wasm")?;
    same_type(what, digest, "os", &config.os, "wasip2")?;
    let listed: Vec<String> = config.layer_digests.iter().map(Digest::to_string).collect();
    let expected = layer.digest.to_string();
    same_type(what, digest, "layerDigests", &listed.join(", "), &expected)
}

/// A layer has to be what the manifest says that it is.
fn same_layer(
    layer: &Descriptor,
    name: &str,
    digest: Digest,
    size: u64,
) -> Result<(), BundleError> {
    let title = layer.annotations.get(oci::TITLE).map_or("", String::as_str);
    if (title, layer.digest, layer.size) == (name, digest, size) {
        return Ok(());
    }
    Err(LayoutError::Mismatch {
        found: format!("`{title}` {} of {} bytes", layer.digest, layer.size),
        expected: format!("`{name}` {digest} of {size} bytes"),
    }
    .into())
}
