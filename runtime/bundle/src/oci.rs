//! The documents of an OCI image layout, as far as a bundle has them.
//!
//! Own types: the order of the fields decides the digests, so no other crate may change it.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of the manifest of an artifact.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of a config of no content.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Artifact type of a bundle.
pub const BUNDLE: &str = "application/vnd.taps-wasm.bundle.v1+json";
/// Artifact type of the manifest of a bundle, and media type of its only layer.
pub const BUNDLE_MANIFEST: &str = "application/vnd.taps-wasm.manifest.v1+json";
/// Artifact type of a blob of data.
pub const DATA: &str = "application/vnd.taps-wasm.data.v1";
/// Media type of a component.
pub const WASM: &str = "application/wasm";
/// Media type of the config of a component.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// Annotation: name of a file.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Annotation: name of what an index refers to.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation: version.
pub const VERSION: &str = "org.opencontainers.image.version";
/// Annotation: what it is.
pub const DESCRIPTION: &str = "org.opencontainers.image.description";
/// Annotation: licence.
pub const LICENSES: &str = "org.opencontainers.image.licenses";
/// Annotation: where the sources are.
pub const SOURCE: &str = "org.opencontainers.image.source";

/// Bytes of a config of no content.
pub const EMPTY_BYTES: &[u8] = b"{}";

/// Version of the image layout.
pub const LAYOUT_VERSION: &str = "1.0.0";

/// Annotations by name.
pub type Annotations = BTreeMap<String, String>;

/// Why the documents of a layout are refused.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A document is not the JSON that it should be.
    #[error("{what} {digest} is not what it should be: {source}")]
    Json {
        /// Which document.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A document or a blob is larger than allowed.
    #[error("{what} {digest} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// Most bytes.
        limit: u64,
    },
    /// All blobs together are larger than allowed.
    #[error("the parts of the bundle have more than {limit} bytes, which is the most that is read")]
    TotalTooLarge {
        /// Most bytes.
        limit: u64,
    },
    /// A media type or artifact type is another one.
    #[error("{what} {digest} has {field} `{found}`; expected `{expected}`")]
    Type {
        /// What it is.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// Which field.
        field: &'static str,
        /// Value found.
        found: String,
        /// Value expected.
        expected: String,
    },
    /// A blob has another digest than its descriptor.
    #[error("{what} has digest {found}, but what refers to it says {expected}")]
    Digest {
        /// What it is.
        what: &'static str,
        /// Digest found.
        found: Digest,
        /// Digest expected.
        expected: Digest,
    },
    /// A blob has another size than its descriptor.
    #[error("{what} {digest} has {found} bytes, but what refers to it says {expected}")]
    Size {
        /// What it is.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// Size found.
        found: u64,
        /// Size expected.
        expected: u64,
    },
    /// The index or a manifest has more or fewer parts than it should.
    #[error("{what} {digest} has {found} parts; expected {expected}")]
    Count {
        /// What it is.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// Number found.
        found: usize,
        /// Number expected.
        expected: usize,
    },
    /// The layout and the manifest of the bundle disagree.
    #[error("the index has {found} where the manifest has {expected}")]
    Mismatch {
        /// What the index has.
        found: String,
        /// What the manifest has.
        expected: String,
    },
}

/// Says what a blob is, and which bytes it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the bytes.
    pub media_type: String,
    /// What kind of artifact a manifest is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub size: u64,
    /// Notes.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

impl Descriptor {
    /// Describes bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Describes bytes whose digest is known.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            artifact_type: None,
            digest,
            size,
            annotations: Annotations::new(),
        }
    }

    /// Describes the index of a bundle.
    pub fn index(digest: Digest, size: u64) -> Self {
        let mut descriptor = Self::new(INDEX, digest, size);
        descriptor.artifact_type = Some(BUNDLE.to_owned());
        descriptor
    }

    /// Whether a registry holds the bytes as a manifest, not as a blob.
    pub fn is_manifest(&self) -> bool {
        self.media_type == INDEX || self.media_type == MANIFEST
    }
}

/// An image index: `index.json` of a layout, and the index of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) annotations: Annotations,
}

/// An image manifest: of one artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) annotations: Annotations,
}

/// Config of a component, as the guidance of the CNCF for Wasm artifacts has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WasmConfig {
    /// Other readers insist on it; the same in every bundle, so that equal bundles are equal bytes.
    pub(crate) created: String,
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) layer_digests: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<WasmComponent>,
}

/// What a component imports and exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WasmComponent {
    #[serde(default)]
    pub(crate) exports: Vec<String>,
    #[serde(default)]
    pub(crate) imports: Vec<String>,
}

/// `oci-layout`, which marks the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayoutFile {
    pub(crate) image_layout_version: String,
}

/// A document as its bytes: compact JSON.
pub(crate) fn document<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .unwrap_or_else(|error| unreachable!("documents are plain data: {error}"))
}
