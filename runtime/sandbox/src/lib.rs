//! Sandboxed execution of components with wasmtime.
