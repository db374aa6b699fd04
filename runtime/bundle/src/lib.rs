//! Bundles: an app's components with the manifest that describes them.
//!
//! Built-in apps, directories and single components all become a [`Bundle`], so that everything
//! after loading is the same for each. This crate reads and checks; it never runs a component
//! (a bare component's description comes from the sandbox, through [`Bundle::from_component`]).

mod bundle;
mod error;
mod manifest;

pub use bundle::{Bundle, COMPONENT_MAGIC, FAULT_PREFIX, Source, check_component_header};
pub use error::BundleError;
pub use manifest::{
    ComponentEntry, Digest, MANIFEST_FILE, MANIFEST_FORMAT, Manifest, MemoryProfile, TaskRoute,
};
