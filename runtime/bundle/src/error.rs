//! Why a bundle could not be loaded.

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
    /// The manifest is not what it should be.
    #[error("manifest {path}: {source}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The manifest was written by another version.
    #[error("{path} has manifest format {found}; this version reads format {expected}")]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Format found.
        found: u32,
        /// Format expected.
        expected: u32,
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
