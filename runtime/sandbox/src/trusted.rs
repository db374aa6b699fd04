//! Loading native code from the cache.

use std::path::Path;
use wasmtime::{Engine, component::Component};

/// Maps a compiled component.
pub(crate) fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file must be the unchanged output of `precompile_component`. `AotCache` opens
    // only directories that nobody else can write (test `a_shared_or_linked_directory_is_refused`),
    // writes files whole and renames them in, and never changes one in place.
    unsafe { Component::deserialize_file(engine, path) }
}
