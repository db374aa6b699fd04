//! Why a bundle could not be loaded.

use crate::{
    Digest, MANIFEST_FORMAT, OLDEST_MANIFEST_FORMAT, archive::ArchiveError, oci::LayoutError,
};
use std::path::PathBuf;

/// Why a bundle could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The archive is not what it should be.
    #[error("bundle {path}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Where and why.
        source: ArchiveError,
    },
    /// The archive could not be written.
    #[error("write the bundle")]
    Write(#[source] std::io::Error),
    /// The documents of the OCI image layout are not what they should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A blob could not be had from where it is.
    #[error("get {digest}")]
    Fetch {
        /// The blob.
        digest: Digest,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The manifest is not what it should be.
    #[error("manifest {path}: {source}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The manifest was written by another version.
    #[error(
        "{path} has manifest format {found}; this version reads formats {OLDEST_MANIFEST_FORMAT} to {MANIFEST_FORMAT}{}",
        if *found > MANIFEST_FORMAT { ": update taps-wasm" } else { "" }
    )]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Format found.
        found: u32,
    },
    /// The manifest needs a feature that this version lacks.
    #[error(
        "{path} requires the feature `{feature}`, which this version does not know: update taps-wasm"
    )]
    Feature {
        /// The manifest.
        path: PathBuf,
        /// The feature.
        feature: String,
    },
    /// The file is not WebAssembly.
    #[error("{name} is not a WebAssembly component: it does not start with the Wasm magic number")]
    NotWasm {
        /// File or component.
        name: String,
    },
    /// The file is a core module.
    #[error("{name} is a core Wasm module, not a component; build it for wasm32-wasip2")]
    CoreModule {
        /// File or component.
        name: String,
    },
    /// The component is damaged.
    #[error("{name} is no sound component: {source}")]
    Component {
        /// File or component.
        name: String,
        /// Where and why.
        source: crate::ScanError,
    },
    /// The component asks for something that no host offers.
    #[error("{name} imports {import}, which taps-wasm does not offer to any component")]
    Import {
        /// File or component.
        name: String,
        /// The import.
        import: String,
    },
    /// The component imports what its manifest does not list.
    #[error("{name} imports {import}, which the manifest hides")]
    Hidden {
        /// File or component.
        name: String,
        /// The import.
        import: String,
    },
    /// The component takes up more of a pool than its manifest says.
    #[error("{name} needs {found} {what} in a sandbox, but the manifest says {stated}")]
    Needs {
        /// File or component.
        name: String,
        /// Of what.
        what: &'static str,
        /// Number found.
        found: u32,
        /// Number in the manifest.
        stated: u32,
    },
    /// The component lacks what the manifest has it do.
    #[error("{name} does not export {export}, which the manifest says it does")]
    Export {
        /// File or component.
        name: String,
        /// The export.
        export: String,
    },
    /// The imports or the description need a capability that the manifest does not declare.
    #[error("manifest of {app}: `capabilities.{field}` lacks {value}, which the app needs")]
    Undeclared {
        /// The app.
        app: String,
        /// Field of the capabilities.
        field: &'static str,
        /// What is missing.
        value: String,
    },
    /// The manifest asks for the network.
    #[error(
        "manifest of {app}: `capabilities.network` is true, and taps-wasm gives no app the network"
    )]
    Network {
        /// The app.
        app: String,
    },
    /// A digest does not match.
    #[error("{name} has digest {found}, but the manifest says {expected}")]
    Digest {
        /// File.
        name: String,
        /// Digest found.
        found: String,
        /// Digest in the manifest.
        expected: String,
    },
    /// A size does not match.
    #[error("{name} has {found} bytes, but the manifest says {expected}")]
    Size {
        /// File.
        name: String,
        /// Size found.
        found: u64,
        /// Size in the manifest.
        expected: u64,
    },
    /// The manifest contradicts itself.
    #[error("manifest of {app}: {reason}")]
    Inconsistent {
        /// The app.
        app: String,
        /// What is wrong.
        reason: String,
    },
    /// The component was built against another version of the interface.
    #[error(
        "{app} speaks taps:core {found}, this version speaks {expected}; rebuild the app or use a matching taps-wasm"
    )]
    WitVersion {
        /// The app.
        app: String,
        /// Version that the app was built against.
        found: String,
        /// Version of this build.
        expected: &'static str,
    },
}
