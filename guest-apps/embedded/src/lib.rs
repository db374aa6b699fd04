//! The built-in apps, as bundles embedded in the binary.
