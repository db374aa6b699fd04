//! Bundles and manifests.
