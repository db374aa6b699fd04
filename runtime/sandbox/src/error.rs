//! Why a component could not be prepared.

use taps_bundle::BundleError;
use taps_payload::StoreError;

/// Why a component could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The bytes are no component.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The bundle has no such component.
    #[error("{app} has no component {index}")]
    NoComponent {
        /// The app.
        app: String,
        /// Index asked for.
        index: usize,
    },
    /// Compilation failed.
    #[error("compile {name}")]
    Compile {
        /// The component.
        name: String,
        /// Why.
        source: wasmtime::Error,
    },
    /// An import cannot be satisfied.
    #[error("link {name}")]
    Link {
        /// The component.
        name: String,
        /// Which import, and why.
        source: wasmtime::Error,
    },
    /// An export is missing.
    #[error("{name} lacks the export `{export}`; it is not a complete taps app")]
    MissingExport {
        /// The component.
        name: String,
        /// The export.
        export: String,
    },
    /// The component has nothing to do with this runtime.
    #[error(
        "{name} neither imports nor exports `taps:core`; it is a component, but not a taps app"
    )]
    NotAnApp {
        /// The component.
        name: String,
    },
    /// The component was built against another version of the interface.
    #[error(
        "{name} speaks taps:core {found}, this version speaks {expected}; rebuild the app or use a matching taps-wasm"
    )]
    WitVersion {
        /// The component.
        name: String,
        /// Version that it was built against.
        found: String,
        /// Version of this build.
        expected: &'static str,
    },
    /// The component failed to describe itself.
    #[error("describe {name}")]
    Describe {
        /// The component.
        name: String,
        /// Why.
        source: wasmtime::Error,
    },
    /// The description is not what it should be.
    #[error("{name} describes itself in a way that cannot be read")]
    BadDescription {
        /// The component.
        name: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// There is nowhere to put payloads.
    #[error("make the payload store")]
    Store(#[from] StoreError),
}
